#include "core/store/recovered_pages.h"

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"

namespace ntfs {

namespace {

constexpr uint64_t kUnit = 512;
constexpr uint64_t kWindowBytes = 64 << 10;
/// Pages of a recovery together. The log of this driver holds the whole of a page that changes for
/// the first time since a checkpoint, or, of a record of 4 KiB, what is in use.
constexpr uint64_t kLeastLimit = uint64_t{512} << 20;
constexpr uint64_t kBytesPerByteOfLog = 8;
constexpr size_t kLsnOffset = offsetof(ondisk::FileRecordHeader, lsn);
static_assert(kLsnOffset == offsetof(ondisk::IndexBlockHeader, lsn));

std::string_view signature_of(PageKind kind) {
  return kind == PageKind::FileRecord ? "FILE" : "INDX";
}

}  // namespace

RecoveredPages::RecoveredPages(BlockDevice& device, const ondisk::VolumeGeometry& geometry,
                               lfs::Lsn stamp, uint64_t log_bytes)
    : device_(device),
      geometry_(geometry),
      stamp_(stamp),
      most_bytes_(std::max(kLeastLimit, log_bytes * kBytesPerByteOfLog)) {}

lfs::Lsn RecoveredPages::Page::lsn() const {
  return lfs::Lsn::from_raw(struct_at<le64>(bytes, kLsnOffset).get());
}

Result<> RecoveredPages::Page::verify(const ondisk::VolumeGeometry& geometry) {
  is_usable = false;
  const uint64_t position = location.pieces.front().offset;
  if (location.kind == PageKind::FileRecord) {
    const Origin origin{"file record", FileReference(location.number, 0).raw(), position};
    const auto record = TRY(ondisk::FileRecordView::parse(bytes, origin));
    const bool has_number = record.in_use() && record.has_record_number();
    if (record.total_bytes() != geometry.file_record_size ||
        (has_number && record.record_number() != location.number)) {
      return corrupt(origin, "record number", record.record_number());
    }
  } else if (location.kind == PageKind::IndexBlock) {
    TRY(ondisk::parse_index_block(bytes, Vcn(location.number), ondisk::IndexKind::Any,
                                  {"INDX buffer", 0, position}));
  }
  is_usable = true;
  return {};
}

Result<> RecoveredPages::read_window(Window& window, uint64_t from, uint64_t to) {
  window.length = 0;
  if (window.bytes.size() < to - from) window.bytes = AlignedBuffer(to - from);
  TRY(device_.read(from, window.bytes.bytes().first(to - from)));
  window.first = from;
  window.length = to - from;
  return {};
}

Result<> RecoveredPages::read_device(uint64_t offset, MutableBytes into) {
  const uint64_t end = offset + into.size();
  const auto copy = [&](const Window& window) {
    std::copy_n(window.bytes.data() + (offset - window.first), into.size(), into.data());
    return Result<>();
  };
  for (const Window& window : windows_) {
    if (offset >= window.first && end <= window.first + window.length) return copy(window);
  }
  // With its neighbours, which the log speaks of next: records are made one after the other.
  const uint64_t device_end = align_down(device_.size_bytes(), device_.logical_block_size());
  if (end > device_end) return NtStatus::EndOfFile;
  Window& window = windows_[next_window_++ % kWindows];
  const auto read = read_window(window, align_down(offset, kWindowBytes),
                                std::min(align_up(end, kWindowBytes), device_end));
  if (!read) {  // perhaps a neighbour's fault
    TRY(read_window(window, align_down(offset, AlignedBuffer::kAlignment),
                    std::min(align_up(end, AlignedBuffer::kAlignment), device_end)));
  }
  return copy(window);
}

Result<> RecoveredPages::read_place(const PageLocation& location, MutableBytes into) {
  size_t done = 0;
  for (const DevicePiece& piece : location.pieces) {
    TRY(read_device(piece.offset, into.subspan(done, piece.length)));
    done += piece.length;
  }
  return {};
}

Result<> RecoveredPages::load(Page& page) {
  TRY(read_place(page.location, page.bytes));
  open(page);
  return {};
}

/// Undoes the protection of what was read. What is torn, or was never written, is not usable.
void RecoveredPages::open(Page& page) {
  if (page.location.kind == PageKind::Raw) {
    page.is_usable = true;
    return;
  }
  page.number_to_follow = number_to_follow(page.bytes);
  if (as_text(ByteView(page.bytes).first(4)) != signature_of(page.location.kind)) return;
  if (!try_unprotect(page.bytes)) return;
  page.is_final = page.verify(geometry_).has_value() && page.lsn() == stamp_;
}

Result<RecoveredPages::Page*> RecoveredPages::get(const PageLocation& location) {
  const auto known = owners_.find(location.pieces.front().offset / kUnit);
  if (known != owners_.end()) {
    Page& page = pages_[known->second];
    if (page.location.kind != location.kind || page.location.pieces != location.pieces) {
      return NtStatus::LogCorrupt;
    }
    return &page;
  }
  uint64_t bytes = 0;
  for (const DevicePiece& piece : location.pieces) {
    for (uint64_t at = 0; at < piece.length; at += kUnit) {
      if (owners_.contains((piece.offset + at) / kUnit)) return NtStatus::LogCorrupt;
    }
    bytes += piece.length;
  }
  if (total_bytes_ + bytes > most_bytes_) return NtStatus::InsufficientResources;
  total_bytes_ += bytes;
  for (const DevicePiece& piece : location.pieces) {
    for (uint64_t at = 0; at < piece.length; at += kUnit) {
      const bool is_new = owners_.emplace((piece.offset + at) / kUnit, pages_.size()).second;
      if (!is_new) return NtStatus::LogCorrupt;  // the page overlaps itself
    }
  }
  Page& page = pages_.emplace_back();
  page.location = location;
  page.bytes.resize(bytes);
  TRY(load(page));
  return &page;
}

uint64_t RecoveredPages::count_changed() const {
  return static_cast<uint64_t>(std::count_if(pages_.begin(), pages_.end(),
                                             [](const Page& page) { return page.is_changed; }));
}

/// `page` goes to `offset` as well, where another version may stand. What cannot be read there is
/// overwritten as it is.
void RecoveredPages::look_at_copy(Page& page, uint64_t offset) {
  ByteVector both(2 * page.bytes.size());
  const MutableBytes copy = MutableBytes(both).subspan(page.bytes.size());
  if (!read_place(page.location, both) || !read_device(offset, copy)) return;
  page.number_to_follow = number_to_follow(both);
}

/// The page as it goes to the device.
void RecoveredPages::close(Page& page) const {
  if (page.location.kind == PageKind::Raw) return;
  struct_at<le64>(MutableBytes(page.bytes), kLsnOffset).set(stamp_.raw());
  protect_after(page.bytes, page.number_to_follow);
}

std::vector<DevicePatch> RecoveredPages::take_patches(uint64_t mirror_offset,
                                                      uint64_t mirror_records) {
  std::vector<DevicePatch> patches;
  for (Page& page : pages_) {
    if (!page.is_changed) continue;
    const bool is_mirrored =
        page.location.kind == PageKind::FileRecord && page.location.number < mirror_records;
    const uint64_t copy_place = mirror_offset + page.location.number * page.bytes.size();
    if (is_mirrored) look_at_copy(page, copy_place);
    close(page);
    if (is_mirrored) patches.push_back({copy_place, page.bytes});
    size_t done = 0;
    for (const DevicePiece& piece : page.location.pieces) {
      const auto part = ByteView(page.bytes).subspan(done, piece.length);
      patches.push_back({piece.offset, ByteVector(part.begin(), part.end())});
      done += piece.length;
    }
    page.bytes = {};
  }
  return patches;
}

}  // namespace ntfs
