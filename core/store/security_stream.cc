#include "core/store/security_stream.h"

#include <algorithm>

#include "core/ondisk/file_record.h"
#include "core/store/attributes.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::kSdsBlockBytes;
using ondisk::SdsEntryHeader;

namespace {

const FileReference kSecure(ondisk::kSecureRecord, 9);
constexpr std::u16string_view kName = u"$SDS";
constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kPairBytes = 2 * kSdsBlockBytes;
/// The stream grows by this much at a time.
constexpr uint64_t kGrowthBytes = 16 << 10;

/// Where an entry of `length` bytes goes in a stream that ends at `end`.
uint64_t place_behind(uint64_t end, uint64_t length) {
  if (end % kPairBytes > kSdsBlockBytes) {
    const uint64_t offset = align_up(end - kSdsBlockBytes, ondisk::kSdsAlignment);
    if (offset % kPairBytes + length <= kSdsBlockBytes) return offset;
  }
  return align_up(end, kPairBytes);
}

}  // namespace

// Reading.

Result<ByteVector> SecurityStream::read_bytes(const MetadataStreamRef& stream, uint64_t offset,
                                              uint64_t length) {
  const uint64_t allocated = stream->runs.end().raw() * volume_.geometry().cluster_size;
  if (offset > allocated || length > allocated - offset) {
    return corrupt({"$SDS entry", kSecure.raw(), offset}, "offset", offset, "inside the stream");
  }
  ByteVector bytes;
  bytes.reserve(length);
  while (bytes.size() < length) {
    const uint64_t at = offset + bytes.size();
    const PageRef page = TRY(volume_.pages().get(stream, at / kPageBytes));
    const uint64_t in_page = at % kPageBytes;
    const uint64_t count = std::min(kPageBytes - in_page, length - bytes.size());
    const ByteView part = page->bytes().subspan(in_page, count);
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

Result<ByteVector> SecurityStream::read(const SdsEntryHeader& header) {
  const uint64_t offset = header.offset.get();
  const uint64_t length = header.length.get();
  const Origin origin{"$SDS entry", kSecure.raw(), offset};
  if (length < sizeof(SdsEntryHeader) || length > kSdsBlockBytes) {
    return corrupt(origin, "length", length);
  }
  const auto stream = TRY(volume_.metadata_stream(kSecure, AttributeType::Data, kName));
  NtStatus status = NtStatus::FileCorruptError;
  for (const uint64_t copy : {uint64_t{0}, kSdsBlockBytes}) {
    const auto bytes = read_bytes(stream, offset + copy, length);
    if (!bytes) {
      status = bytes.error();
      continue;
    }
    const auto entry = ondisk::parse_sds_entry(*bytes, offset, origin);
    if (entry && entry->header.security_id.get() == header.security_id.get()) {
      return ByteVector(entry->descriptor.begin(), entry->descriptor.end());
    }
  }
  return status;
}

// Appending.

/// Clusters up to `end`.
Result<> SecurityStream::make_room(Transaction& transaction, const MetadataStreamRef& stream,
                                   uint64_t end) {
  const uint64_t cluster = volume_.geometry().cluster_size;
  const uint64_t allocated = stream->runs.end().raw() * cluster;
  if (end <= allocated) return {};
  const uint64_t unit = std::max(cluster, kPageBytes);
  const ClusterCount least((align_up(end, unit) - allocated) / cluster);
  const ClusterCount wanted = std::max(least, ClusterCount(kGrowthBytes / cluster));
  const PageRef cut = TRY(volume_.pages().page_cut_short(stream));
  const Run last = stream->runs.runs().back();
  auto runs = volume_.clusters().allocate(transaction, wanted, last.lcn + last.count);
  if (!runs && runs.error() == NtStatus::DiskFull) {
    runs = volume_.clusters().allocate(transaction, least, last.lcn + last.count);
  }
  if (!runs) return runs.error();
  Runlist after = stream->runs;
  for (const ClusterRun& run : *runs) after.append(run.lcn, run.count);
  Attributes attributes(volume_, kSecure);
  auto sizes = TRY(attributes.sizes(AttributeType::Data, kName));
  sizes.allocated = sizes.total_allocated = after.end().raw() * cluster;
  TRY(attributes.store_runs(transaction, AttributeType::Data, kName, stream->runs, after, sizes));
  stream->runs = std::move(after);
  transaction.complete_place(cut);
  return {};
}

Result<> SecurityStream::zero_on_device(const MetadataStream& stream, uint64_t from, uint64_t to) {
  const uint64_t cluster = volume_.geometry().cluster_size;
  const AlignedBuffer zeros(std::min(to - from, kSdsBlockBytes));
  std::vector<IoRequest> writes;
  for (uint64_t at = from; at < to;) {
    const Run run = stream.runs.find(Vcn(at / cluster));
    if (run.lcn.is_hole()) return corrupt({"$SDS", kSecure.raw(), at}, "run", 0, "no hole");
    const uint64_t in_run = at - run.vcn.raw() * cluster;
    const uint64_t length =
        std::min({to - at, run.count.raw() * cluster - in_run, uint64_t{zeros.size()}});
    writes.push_back(
        IoRequest::write(run.lcn.raw() * cluster + in_run, zeros.bytes().first(length)));
    at += length;
  }
  return volume_.device().transfer(writes);
}

/// Writes inside one of the two blocks. Pages behind the old end are made, not read: none of them
/// is in the cache with what an earlier transaction left there.
Result<> SecurityStream::write(Transaction& transaction, const MetadataStreamRef& stream,
                               uint64_t offset, ByteView bytes) {
  while (!bytes.empty()) {
    const uint64_t in_page = offset % kPageBytes;
    const ByteView part = bytes.first(std::min<uint64_t>(kPageBytes - in_page, bytes.size()));
    const uint64_t index = offset / kPageBytes;
    if (in_page == 0 && offset >= old_end_) {
      TRY(transaction.perform_new(part, volume_.pages().create(stream, index)));
    } else {
      const PageRef page = TRY(volume_.pages().get(stream, index));
      const auto update = update_nonresident_value(static_cast<uint32_t>(in_page), part);
      TRY(transaction.perform_unseen(update, page));
    }
    offset += part.size();
    bytes = bytes.subspan(part.size());
  }
  return {};
}

Result<> SecurityStream::write_zeros(Transaction& transaction, const MetadataStreamRef& stream,
                                     uint64_t from, uint64_t to) {
  return write(transaction, stream, from, ByteVector(to - from));
}

/// Before the stream reaches a new pair of blocks, up to `end`: zeros in what is left of the old
/// pair, and in what of the new one no entry fills.
Result<> SecurityStream::begin_block(Transaction& transaction, const MetadataStreamRef& stream,
                                     uint64_t end) {
  const uint64_t old_pair_end = align_up(old_end_, kPairBytes);
  if (old_end_ % kPairBytes > kSdsBlockBytes) {
    TRY(write_zeros(transaction, stream, old_end_ - kSdsBlockBytes, old_pair_end - kSdsBlockBytes));
  }
  const uint64_t whole_pages = align_up(old_end_, kPageBytes);
  TRY(write_zeros(transaction, stream, old_end_, whole_pages));
  // Nothing shows these bytes yet: they are written like file data, before the record that does
  // (the journal flushes the device before the log). In the log they would take half a megabyte.
  return zero_on_device(*stream, whole_pages, end);
}

Result<SdsEntryHeader> SecurityStream::append(Transaction& transaction, uint32_t id,
                                              ByteView descriptor) {
  Attributes attributes(volume_, kSecure);
  const auto stream = TRY(volume_.metadata_stream(kSecure, AttributeType::Data, kName));
  auto sizes = TRY(attributes.sizes(AttributeType::Data, kName));
  const Origin origin{"$SDS", kSecure.raw(), 0};
  if (stream->runs.empty()) return corrupt(origin, "clusters", 0, "some");
  if (sizes.valid_data_length != sizes.file_size) {
    return corrupt(origin, "valid data length", sizes.valid_data_length, "the file size");
  }
  old_end_ = sizes.file_size;
  const uint64_t length = sizeof(SdsEntryHeader) + descriptor.size();
  const uint64_t offset = place_behind(old_end_, length);
  const uint64_t end = offset + kSdsBlockBytes + length;
  TRY(make_room(transaction, stream, end));
  const auto found = TRY(attributes.find(AttributeType::Data, kName));
  sizes = found.view().sizes();
  sizes.file_size = end;
  TRY(write_sizes(transaction, found, sizes));
  if (offset >= old_end_) {
    const uint64_t allocated = stream->runs.end().raw() * volume_.geometry().cluster_size;
    TRY(begin_block(transaction, stream, std::min(align_up(end, kPageBytes), allocated)));
  } else {
    TRY(write_zeros(transaction, stream, old_end_ - kSdsBlockBytes, offset));
    TRY(write_zeros(transaction, stream, old_end_, offset + kSdsBlockBytes));
  }
  ByteVector entry = ondisk::build_sds_entry(id, offset, descriptor);
  TRY(write(transaction, stream, offset + kSdsBlockBytes, entry));
  const uint64_t block_end = align_down(offset, kPairBytes) + kSdsBlockBytes;
  const uint64_t next = align_up(offset + length, ondisk::kSdsAlignment) + sizeof(SdsEntryHeader);
  entry.resize(std::min(next, block_end) - offset);
  TRY(write(transaction, stream, offset, entry));
  sizes.valid_data_length = end;
  TRY(write_sizes(transaction, found, sizes));
  return struct_at<SdsEntryHeader>(ByteView(entry));
}

}  // namespace ntfs
