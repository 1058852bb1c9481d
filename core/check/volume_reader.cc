#include "core/check/volume_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace ntfs::check {

namespace {

constexpr size_t kTransferBytes = size_t{4} << 20;

void fill_zero(MutableBytes bytes) { std::fill(bytes.begin(), bytes.end(), std::byte{0}); }

}  // namespace

bool VolumeReader::read(uint64_t offset, MutableBytes into) {
  if (buffer_.size() == 0)
    buffer_ = device_.allocate(kTransferBytes + 2 * AlignedBuffer::kAlignment);
  const uint64_t unit = device_.logical_block_size();
  bool good = true;
  while (!into.empty()) {
    const size_t part = std::min(into.size(), kTransferBytes);
    const uint64_t from = align_down(offset, unit);
    const uint64_t length = align_up(offset + part, unit) - from;
    Result<> done = NtStatus::EndOfFile;
    if (offset <= device_.size_bytes() && part <= device_.size_bytes() - offset) {
      done = device_.read(from, buffer_.bytes().first(length));
    }
    if (done) {
      std::memcpy(into.data(), buffer_.data() + (offset - from), part);
    } else {
      fill_zero(into.first(part));
      findings_.add({"device", {}, fmt::format("byte {:#x}, length {:#x}", offset, part)}, "data",
                    std::string(name_of(done.error())), "part of the volume cannot be read");
      good = false;
    }
    into = into.subspan(part);
    offset += part;
  }
  return good;
}

bool VolumeReader::read(const Stream& stream, uint64_t offset, MutableBytes into) {
  ASSERT(offset <= stream.file_size && into.size() <= stream.file_size - offset);
  if (stream.resident) {
    std::copy_n(stream.value.begin() + static_cast<ptrdiff_t>(offset), into.size(), into.begin());
    return true;
  }
  const uint64_t valid = std::min(stream.valid_data_length, stream.file_size);
  const size_t good_bytes =
      offset >= valid ? 0 : static_cast<size_t>(std::min<uint64_t>(valid - offset, into.size()));
  fill_zero(into.subspan(good_bytes));
  return read_valid(stream, offset, into.first(good_bytes));
}

bool VolumeReader::read_valid(const Stream& stream, uint64_t offset, MutableBytes into) {
  const uint64_t cluster = geometry_.cluster_size;
  auto run = std::upper_bound(stream.runs.begin(), stream.runs.end(), offset / cluster,
                              [](uint64_t vcn, const Run& r) { return vcn < r.vcn.raw(); });
  if (run != stream.runs.begin()) --run;
  bool good = true;
  while (!into.empty()) {
    if (run == stream.runs.end() || offset >= run->end().raw() * cluster) {
      if (run != stream.runs.end() && ++run != stream.runs.end()) continue;
      fill_zero(into);  // the runs are too short, which their own check reports
      return false;
    }
    const uint64_t in_run = offset - run->vcn.raw() * cluster;
    const uint64_t left = run->count.raw() * cluster - in_run;
    const size_t part = static_cast<size_t>(std::min<uint64_t>(left, into.size()));
    if (run->lcn.is_hole()) {
      fill_zero(into.first(part));
    } else {
      good = read(run->lcn.raw() * cluster + in_run, into.first(part)) && good;
    }
    into = into.subspan(part);
    offset += part;
  }
  return good;
}

ByteVector VolumeReader::read_all(const Stream& stream, uint64_t max_bytes) {
  ByteVector bytes(static_cast<size_t>(std::min(stream.file_size, max_bytes)));
  read(stream, 0, bytes);
  return bytes;
}

}  // namespace ntfs::check
