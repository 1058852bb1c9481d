#include "core/store/index_blocks.h"

#include <algorithm>
#include <bit>

#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeSizes;
using ondisk::AttributeType;

namespace {

/// $BITMAP is as long as its bits need, in steps of this many bytes.
constexpr uint64_t kBitmapStep = 8;
/// A longer $BITMAP leaves the file record.
constexpr uint64_t kMaxResidentBitmap = 64;
/// Clusters are allocated ahead: as much again as there is, up to this; in large indexes a part.
constexpr uint64_t kAheadBytes = 64 << 10;
constexpr uint64_t kAheadPart = 16;
constexpr uint64_t kMostAheadBytes = 1 << 20;
/// What the log takes for one freed run, at most.
constexpr uint64_t kLogBytesOfRun = 256;

bool is_missing(NtStatus status) { return status == NtStatus::ObjectNameNotFound; }

/// The first clear bit of `bytes` from `bit` on, below `limit`; `limit` if there is none.
uint64_t next_clear(ByteView bytes, uint64_t bit, uint64_t limit) {
  limit = std::min<uint64_t>(limit, bytes.size() * 8);
  while (bit < limit) {
    const auto byte = std::to_integer<uint8_t>(bytes[bit / 8]);
    const auto rest = static_cast<uint8_t>(~byte & (0xFFu << (bit % 8)));
    if (rest != 0) return std::min<uint64_t>(limit, bit / 8 * 8 + std::countr_zero(rest));
    bit = (bit / 8 + 1) * 8;
  }
  return limit;
}

}  // namespace

IndexBlocks::IndexBlocks(Volume& volume, FileReference owner, std::u16string_view name)
    : volume_(volume), owner_(owner), name_(name), attributes_(volume, owner) {}

uint32_t IndexBlocks::block_bytes() const { return volume_.geometry().index_block_size; }

Result<MetadataStreamRef> IndexBlocks::stream(AttributeType type) {
  return volume_.metadata_stream(owner_, type, name_);
}

Result<uint64_t> IndexBlocks::count() {
  const auto blocks = stream(AttributeType::IndexAllocation);
  if (!blocks) {
    if (is_missing(blocks.error())) return uint64_t{0};
    return blocks.error();
  }
  return (*blocks)->runs.end().raw() * volume_.geometry().cluster_size / block_bytes();
}

Result<uint64_t> IndexBlocks::number_of(Vcn vcn) const {
  const uint64_t steps = volume_.geometry().index_block_steps();
  if (vcn.raw() % steps != 0) {
    return corrupt({"index", owner_.raw(), 0}, "vcn of a subnode", vcn.raw());
  }
  return vcn.raw() / steps;
}

Result<PageRef> IndexBlocks::get(Vcn vcn) {
  const uint64_t number = TRY(number_of(vcn));
  if (blocks_ == nullptr || streams_version_ != volume_.streams_version()) {
    streams_version_ = volume_.streams_version();
    auto blocks = stream(AttributeType::IndexAllocation);
    if (!blocks && !is_missing(blocks.error())) return blocks.error();
    blocks_ = blocks ? std::move(*blocks) : nullptr;
  }
  const uint64_t in_use =
      blocks_ ? blocks_->runs.end().raw() * volume_.geometry().cluster_size / block_bytes() : 0;
  if (number >= in_use) {
    return corrupt({"index", owner_.raw(), 0}, "vcn of a subnode", vcn.raw(), "a block");
  }
  return volume_.pages().get(blocks_, number);
}

// Taking and giving back.

Result<IndexBlocks::Fresh> IndexBlocks::allocate(Transaction& transaction) {
  auto existing = stream(AttributeType::IndexAllocation);
  if (!existing) {
    if (!is_missing(existing.error())) return existing.error();
    return take(transaction, TRY(create_allocation(transaction)), 0);
  }
  const MetadataStreamRef blocks = std::move(existing).value();
  const auto sizes = TRY(attributes_.sizes(AttributeType::IndexAllocation, name_));
  const uint64_t count = sizes.file_size / block_bytes();
  const auto unused = TRY(find_clear(transaction, blocks->id, count));
  if (unused) return take(transaction, blocks, *unused);
  TRY(grow(transaction, blocks, count + 1));
  return take(transaction, blocks, count);
}

Result<IndexBlocks::Fresh> IndexBlocks::take(Transaction& transaction,
                                             const MetadataStreamRef& stream, uint64_t block) {
  TRY(change_bit(transaction, block, Bit::Set));
  const Vcn vcn(block * volume_.geometry().index_block_steps());
  return Fresh{volume_.pages().create(stream, block), vcn};
}

Result<> IndexBlocks::free(Transaction& transaction, Vcn vcn) {
  const auto blocks = TRY(stream(AttributeType::IndexAllocation));
  const uint64_t number = TRY(number_of(vcn));
  const PageRef page = TRY(get(vcn));
  TRY(empty(transaction, page));
  TRY(change_bit(transaction, number, Bit::Clear));
  transaction.note_freed_block(blocks->id, number);
  return {};
}

/// Leaves but the END entry, with its subnode in a node above the leaves: some readers show what
/// blocks hold without asking $BITMAP, and so would show removed names.
Result<> IndexBlocks::empty(Transaction& transaction, const PageRef& page) {
  const auto node = ondisk::IndexBlockView::of_valid(page->bytes()).node();
  if (node.is_empty()) return {};
  const auto last = node.end_entry();
  const ByteVector end = ondisk::build_end_entry(
      last.has_subnode() ? std::optional(last.subnode_vcn()) : std::nullopt);
  const auto first = static_cast<uint32_t>(ondisk::kIndexHeaderInBlock) + node.entries_offset();
  return transaction.perform(write_end_of_index_buffer(first, end), page);
}

Result<> IndexBlocks::release_all(Transaction& transaction) {
  const auto blocks = stream(AttributeType::IndexAllocation);
  if (!blocks) return is_missing(blocks.error()) ? Result<>() : blocks.error();
  const uint64_t log_bytes = (*blocks)->runs.runs().size() * kLogBytesOfRun;
  if (transaction.log_bytes() + log_bytes > transaction.log_budget()) return {};
  TRY(release_stream(transaction, AttributeType::IndexAllocation));
  return release_stream(transaction, AttributeType::Bitmap);
}

Result<> IndexBlocks::release_stream(Transaction& transaction, AttributeType type) {
  const auto found = TRY(attributes_.find(type, name_));
  const bool is_resident = found.view().is_resident();
  MetadataStreamRef gone;
  if (!is_resident) gone = TRY(stream(type));
  TRY(attributes_.remove(transaction, type, name_));
  if (is_resident) return {};
  for (const Run& run : gone->runs.runs()) {
    if (run.lcn.is_hole()) continue;
    TRY(volume_.clusters().free_clusters(transaction, {run.lcn, run.count}));
  }
  volume_.drop_metadata_stream(transaction, gone);
  return {};
}

// Growing $INDEX_ALLOCATION.

/// `before` with at least `least_bytes` more at its end, `wanted_bytes` if there is the space.
Result<Runlist> IndexBlocks::allocate_runs(Transaction& transaction, uint64_t least_bytes,
                                           uint64_t wanted_bytes, const Runlist& before) {
  const uint64_t cluster = volume_.geometry().cluster_size;
  const ClusterCount least(divide_up(least_bytes, cluster));
  const ClusterCount wanted(divide_up(wanted_bytes, cluster));
  Lcn hint = Lcn::hole();
  if (!before.empty() && !before.runs().back().lcn.is_hole()) {
    hint = before.runs().back().lcn + before.runs().back().count;
  }
  auto runs = volume_.clusters().allocate(transaction, wanted, hint);
  if (!runs && runs.error() == NtStatus::DiskFull && least < wanted) {
    runs = volume_.clusters().allocate(transaction, least, hint);
  }
  if (!runs) return runs.error();
  Runlist after = before;
  for (const ClusterRun& run : *runs) after.append(run.lcn, run.count);
  return after;
}

Result<MetadataStreamRef> IndexBlocks::create_allocation(Transaction& transaction) {
  const uint64_t block = block_bytes();
  Runlist runs = TRY(allocate_runs(transaction, block, block, Runlist()));
  const uint64_t allocated = runs.end().raw() * volume_.geometry().cluster_size;
  TRY(attributes_.make_nonresident(transaction, AttributeType::IndexAllocation, name_, runs,
                                   {allocated, block, block, allocated}));
  const auto blocks =
      volume_.add_metadata_stream(owner_, AttributeType::IndexAllocation, name_, std::move(runs));
  const std::array<std::byte, kBitmapStep> bitmap{};
  TRY(attributes_.set_value(transaction, AttributeType::Bitmap, name_, bitmap));
  return blocks;
}

/// Makes room for `blocks` blocks in file size and bitmap.
Result<> IndexBlocks::grow(Transaction& transaction, const MetadataStreamRef& stream,
                           uint64_t blocks) {
  const uint64_t block = block_bytes();
  const uint64_t needed = blocks * block;
  const uint64_t allocated = stream->runs.end().raw() * volume_.geometry().cluster_size;
  if (needed > allocated) {
    const uint64_t ahead = std::max(std::min(allocated, kAheadBytes), allocated / kAheadPart);
    const uint64_t wanted = std::max(block, std::min(ahead, kMostAheadBytes));
    TRY(add_clusters(transaction, stream, needed - allocated,
                     std::max(wanted, needed - allocated)));
  }
  auto sizes = TRY(attributes_.sizes(AttributeType::IndexAllocation, name_));
  sizes.file_size = needed;
  sizes.valid_data_length = needed;
  TRY(attributes_.set_sizes(transaction, AttributeType::IndexAllocation, name_, sizes));
  return extend_bitmap(transaction, blocks);
}

/// Allocates more for a stream of the index; its file size stays.
Result<> IndexBlocks::add_clusters(Transaction& transaction, const MetadataStreamRef& stream,
                                   uint64_t least_bytes, uint64_t wanted_bytes) {
  Runlist after = TRY(allocate_runs(transaction, least_bytes, wanted_bytes, stream->runs));
  auto sizes = TRY(attributes_.sizes(stream->type, name_));
  sizes.allocated = after.end().raw() * volume_.geometry().cluster_size;
  sizes.total_allocated = after.allocated().raw() * volume_.geometry().cluster_size;
  TRY(attributes_.store_runs(transaction, stream->type, name_, stream->runs, after, sizes));
  stream->runs = std::move(after);
  return {};
}

// $BITMAP.

/// The first of `blocks` blocks that is free, and was so before the transaction: a new block has no
/// undo, so one that the transaction freed keeps its bytes until the end.
Result<std::optional<uint64_t>> IndexBlocks::find_clear(const Transaction& transaction,
                                                        uint64_t stream_id, uint64_t blocks) {
  const auto usable_in = [&](ByteView bytes, uint64_t first, uint64_t limit) {
    uint64_t bit = next_clear(bytes, 0, limit);
    while (bit < limit && transaction.has_freed_block(stream_id, first + bit)) {
      bit = next_clear(bytes, bit + 1, limit);
    }
    return bit < std::min<uint64_t>(limit, bytes.size() * 8) ? std::optional(first + bit)
                                                             : std::nullopt;
  };
  const auto found = TRY(attributes_.find(AttributeType::Bitmap, name_));
  if (found.view().is_resident()) return usable_in(found.view().value(), 0, blocks);
  const auto bitmap = TRY(stream(AttributeType::Bitmap));
  const auto sizes = TRY(attributes_.sizes(AttributeType::Bitmap, name_));
  const uint64_t end = std::min(blocks, sizes.file_size * 8);
  const uint64_t bits_per_page = uint64_t{bitmap->page_bytes} * 8;
  for (uint64_t first = 0; first < end; first += bits_per_page) {
    const PageRef page = TRY(volume_.pages().get(bitmap, first / bits_per_page));
    const auto bit = usable_in(page->bytes(), first, std::min(end - first, bits_per_page));
    if (bit) return bit;
  }
  return std::optional<uint64_t>();
}

Result<> IndexBlocks::change_bit(Transaction& transaction, uint64_t block, Bit value) {
  const auto found = TRY(attributes_.find(AttributeType::Bitmap, name_));
  const auto attribute = found.view();
  if (block / 8 >= attribute.value_length()) {
    return corrupt({"$BITMAP of an index", owner_.raw(), 0}, "length", attribute.value_length());
  }
  const auto bit = static_cast<uint32_t>(block % 8);
  if (attribute.is_resident()) {
    std::byte byte = attribute.value()[block / 8];
    const std::byte mask{static_cast<uint8_t>(1u << bit)};
    byte = value == Bit::Set ? byte | mask : byte & ~mask;
    return attributes_.update_value(transaction, found, static_cast<uint32_t>(block / 8),
                                    bytes_of(byte));
  }
  const auto bitmap = TRY(stream(AttributeType::Bitmap));
  const uint64_t bits_per_page = uint64_t{bitmap->page_bytes} * 8;
  const PageRef page = TRY(volume_.pages().get(bitmap, block / bits_per_page));
  const auto range = encode_bit_range(static_cast<uint32_t>(block % bits_per_page), 1);
  return transaction.perform(value == Bit::Set ? set_bits(range) : clear_bits(range), page);
}

Result<> IndexBlocks::extend_bitmap(Transaction& transaction, uint64_t blocks) {
  const uint64_t needed = align_up(divide_up(blocks, 8), kBitmapStep);
  const auto found = TRY(attributes_.find(AttributeType::Bitmap, name_));
  const auto attribute = found.view();
  if (attribute.value_length() >= needed) return {};
  if (!attribute.is_resident()) return extend_nonresident_bitmap(transaction, needed);
  ByteVector value(attribute.value().begin(), attribute.value().end());
  value.resize(needed);
  const uint32_t room = TRY(attributes_.resident_room(AttributeType::Bitmap, name_));
  if (needed <= std::min<uint64_t>(kMaxResidentBitmap, room)) {
    return attributes_.set_value(transaction, AttributeType::Bitmap, name_, value);
  }
  return make_bitmap_nonresident(transaction, value);
}

Result<> IndexBlocks::make_bitmap_nonresident(Transaction& transaction, ByteView value) {
  constexpr uint64_t kPageBytes = 4096;
  // Whole pages, so that a page never grows while it is in the cache.
  const uint64_t bytes = align_up(value.size(), kPageBytes);
  Runlist runs = TRY(allocate_runs(transaction, bytes, bytes, Runlist()));
  const uint64_t allocated = runs.end().raw() * volume_.geometry().cluster_size;
  TRY(attributes_.make_nonresident(transaction, AttributeType::Bitmap, name_, runs,
                                   {allocated, value.size(), value.size(), allocated}));
  const auto bitmap =
      volume_.add_metadata_stream(owner_, AttributeType::Bitmap, name_, std::move(runs));
  for (uint64_t at = 0; at < value.size(); at += kPageBytes) {
    const PageRef page = volume_.pages().create(bitmap, at / kPageBytes);
    TRY(transaction.perform_new(value.subspan(at, std::min(kPageBytes, value.size() - at)), page));
  }
  return {};
}

Result<> IndexBlocks::extend_nonresident_bitmap(Transaction& transaction, uint64_t bytes) {
  const auto bitmap = TRY(stream(AttributeType::Bitmap));
  auto sizes = TRY(attributes_.sizes(AttributeType::Bitmap, name_));
  const uint64_t page_bytes = bitmap->page_bytes;
  const uint64_t before = sizes.allocated;
  if (bytes > before) {
    const uint64_t more = align_up(bytes, page_bytes) - before;
    TRY(add_clusters(transaction, bitmap, more, more));
    sizes = TRY(attributes_.sizes(AttributeType::Bitmap, name_));
    if (before % page_bytes != 0) {
      // The page that was cut short by the clusters gets the rest of its place.
      const PageRef old = TRY(volume_.pages().get(bitmap, before / page_bytes));
      const PageRef whole = volume_.pages().create(bitmap, before / page_bytes);
      TRY(transaction.perform_new(old->bytes(), whole));
    }
  }
  TRY(zero_bitmap(transaction, bitmap, sizes.file_size, bytes, align_up(before, page_bytes)));
  sizes.file_size = bytes;
  sizes.valid_data_length = bytes;
  return attributes_.set_sizes(transaction, AttributeType::Bitmap, name_, sizes);
}

/// Clears the bytes [from, to). Pages from `fresh_from` on were never written.
Result<> IndexBlocks::zero_bitmap(Transaction& transaction, const MetadataStreamRef& bitmap,
                                  uint64_t from, uint64_t to, uint64_t fresh_from) {
  const uint64_t page_bytes = bitmap->page_bytes;
  const ByteVector zeros(page_bytes);
  while (from < to) {
    const uint64_t in_page = from % page_bytes;
    const uint64_t length = std::min(page_bytes - in_page, to - from);
    const ByteView part = ByteView(zeros).first(length);
    if (from >= fresh_from && in_page == 0) {
      const PageRef page = volume_.pages().create(bitmap, from / page_bytes);
      TRY(transaction.perform_new(part, page));
    } else {
      const PageRef page = TRY(volume_.pages().get(bitmap, from / page_bytes));
      TRY(transaction.perform(update_nonresident_value(static_cast<uint32_t>(in_page), part),
                              page));
    }
    from += length;
  }
  return {};
}

}  // namespace ntfs
