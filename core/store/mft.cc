#include "core/store/mft.h"

#include <algorithm>
#include <bit>

#include "core/base/multi_sector.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/attribute_list.h"
#include "core/store/attributes.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileRecordView;

namespace {

constexpr uint64_t kBitmapPageBits = 4096 * 8;
/// $MFT grows by an eighth, within these bounds.
constexpr uint64_t kLeastGrowthBytes = 256 << 10;
constexpr uint64_t kMostGrowthBytes = 16 << 20;
/// Records that files do not use: extension records of $MFT itself may.
constexpr uint64_t kFirstSpareRecord = 16;
/// An $MFT of more runs than this keeps some free records for itself: one growth takes one or two,
/// those taken in their place lie right only for the growth after the next.
constexpr size_t kManyRuns = 64;
constexpr size_t kReserve = 32;
/// Its growth is in small steps, too, where no space follows its end.
constexpr uint64_t kMostNewRuns = 64;

const FileReference kMftFile(ondisk::kMftRecord, 1);

}  // namespace

Mft::Mft(Volume& volume, MetadataStreamRef records)
    : volume_(volume),
      records_(std::move(records)),
      hint_(ondisk::kFirstUserRecord),
      untouched_(0) {}

Result<> Mft::load() {
  TRY(reload());
  bitmap_ = TRY(volume_.metadata_stream(kMftFile, AttributeType::Bitmap, u""));
  untouched_ = total_;
  return {};
}

/// Makes the extension records readable: each extent of $MFT may say where the record of the next
/// one lies.
Result<> Mft::reach_extents() {
  Attributes attributes(volume_, kMftFile);
  const PageRef base = TRY(attributes.base());
  const auto list = FileRecordView::of_valid(base->bytes()).find(AttributeType::AttributeList);
  if (!list) return {};
  Runlist& runs = records_->runs;
  for (const auto& entry : TRY(load_attribute_list(volume_, kMftFile, *list))) {
    const bool is_records = entry.type == AttributeType::Data && entry.name.empty();
    if (!is_records || entry.lowest_vcn < runs.end()) continue;
    const auto found = TRY(resolve_entry(volume_, kMftFile, base, entry));
    const auto view = found.view();
    const Origin origin{"$MFT runlist", kMftFile.raw(), found.page->position() + found.offset};
    if (view.is_resident() || view.lowest_vcn() != runs.end()) {
      return corrupt(origin, "lowest vcn", entry.lowest_vcn.raw(), "highest of the last + 1");
    }
    const auto decoded =
        ondisk::decode_mapping_pairs(view.mapping_pairs(), runs.end(), view.next_vcn(),
                                     volume_.geometry().total_clusters, origin);
    if (!decoded) return decoded.error();
    for (const Run& run : *decoded) runs.append(run.lcn, run.count);
  }
  return {};
}

Result<> Mft::reload() {
  TRY(reach_extents());
  Attributes attributes(volume_, kMftFile);
  records_->runs = TRY(attributes.load_whole_runs(AttributeType::Data, u""));
  const auto sizes = TRY(attributes.sizes(AttributeType::Data, u""));
  total_ = sizes.valid_data_length / records_->page_bytes;
  if (bitmap_ != nullptr) {
    bitmap_->runs = TRY(attributes.load_whole_runs(AttributeType::Bitmap, u""));
  }
  return {};
}

uint64_t Mft::total_records() const { return total_; }

Result<PageRef> Mft::record(uint64_t number) {
  if (total_ != 0 && number >= total_) return NtStatus::EndOfFile;
  return volume_.pages().get(records_, number);
}

Result<PageRef> Mft::base_record(FileReference file) {
  auto page = record(file.record());
  if (!page) {
    return page.error() == NtStatus::EndOfFile ? NtStatus::ObjectNameNotFound : page.error();
  }
  const auto view = FileRecordView::of_valid((*page)->bytes());
  if (!view.in_use() || !view.is_base() || view.sequence() != file.sequence()) {
    return NtStatus::ObjectNameNotFound;
  }
  return page;
}

uint16_t Mft::next_sequence(const MetadataPage& page) {
  const uint16_t sequence = FileRecordView::of_valid(page.bytes()).sequence();
  return sequence == 0 ? 1 : sequence;
}

Result<bool> Mft::is_allocated(uint64_t number) {
  const PageRef page = TRY(volume_.pages().get(bitmap_, number / kBitmapPageBits));
  const uint64_t bit = number % kBitmapPageBits;
  return ((page->bytes()[bit / 8] >> (bit % 8)) & std::byte{1}) != std::byte{0};
}

// Allocation.

void Mft::reclaim() {
  const uint64_t completed = volume_.journal().completed_interval();
  size_t done = 0;
  while (done < freed_.size() && freed_[done].interval <= completed) {
    not_reusable_.erase(freed_[done].number);
    if (freed_[done].number >= ondisk::kFirstUserRecord) {
      hint_ = std::min(hint_, freed_[done].number);
    }
    ++done;
  }
  freed_.erase(freed_.begin(), freed_.begin() + static_cast<ptrdiff_t>(done));
}

/// The first reusable record in [from, to); `to` if there is none.
Result<uint64_t> Mft::find_free(uint64_t from, uint64_t to) {
  full_pages_.resize(divide_up(total_, kBitmapPageBits));
  uint64_t number = from;
  while (number < to) {
    const uint64_t page_index = number / kBitmapPageBits;
    const uint64_t page_end = std::min(to, (page_index + 1) * kBitmapPageBits);
    if (full_pages_[page_index]) {
      number = page_end;
      continue;
    }
    const PageRef page = TRY(volume_.pages().get(bitmap_, page_index));
    bool is_full = number % kBitmapPageBits == 0 && page_end % kBitmapPageBits == 0;
    while (number < page_end) {
      const uint64_t bit = number % kBitmapPageBits;
      uint64_t word = 0;
      std::memcpy(&word, page->bytes().data() + bit / 64 * 8, 8);
      word = ~word & (~uint64_t{0} << (bit % 64));
      if (word == 0) {
        number = page_index * kBitmapPageBits + (bit / 64 + 1) * 64;
        continue;
      }
      is_full = false;
      number = page_index * kBitmapPageBits + bit / 64 * 64 +
               static_cast<uint64_t>(std::countr_zero(word));
      if (number < page_end && !not_reusable_.contains(number)) return number;
      ++number;
    }
    full_pages_[page_index] = is_full;
    number = std::min(number, page_end);
  }
  return to;
}

/// Sets free records aside for $MFT, the first ones that there are.
Result<> Mft::fill_reserve() {
  if (records_->runs.runs().size() <= kManyRuns) return {};
  while (reserve_.size() < kReserve) {
    const uint64_t number = TRY(find_free(hint_, total_));
    if (number >= total_) return {};
    reserve_.insert(number);
    not_reusable_.insert(number);
  }
  return {};
}

Result<uint64_t> Mft::take_free() {
  reclaim();
  if (growing_) return take_own();
  TRY(fill_reserve());
  const uint64_t number = TRY(find_free(hint_, total_));
  if (number < total_) hint_ = number + 1;
  return number;
}

/// A free record for an extension record of $MFT: one whose place does not depend on what that
/// record is going to say.
Result<uint64_t> Mft::take_own() {
  const uint64_t end = std::min(total_, TRY(end_of_settled_records()));
  const uint64_t number = TRY(find_free(kFirstSpareRecord, end));
  // The first one: some readers find extension records in the first extent only.
  const uint64_t kept = reserve_.empty() ? total_ : *reserve_.begin();
  if (number < std::min(kept, end)) return number;
  if (kept >= end) return total_;
  reserve_.erase(kept);
  not_reusable_.erase(kept);
  return kept;
}

/// Growth changes the last extent of $MFT only. One past the last record that lies before it.
Result<uint64_t> Mft::end_of_settled_records() {
  const auto runs = records_->runs.runs();
  // A first extent is divided behind its first third at the earliest.
  Vcn end = runs[runs.size() / 4].vcn;
  Attributes attributes(volume_, kMftFile);
  const PageRef base = TRY(attributes.base());
  const auto list = FileRecordView::of_valid(base->bytes()).find(AttributeType::AttributeList);
  if (list) {
    for (const auto& entry : TRY(load_attribute_list(volume_, kMftFile, *list))) {
      const bool is_records = entry.type == AttributeType::Data && entry.name.empty();
      if (is_records && entry.lowest_vcn != Vcn(0)) end = entry.lowest_vcn;
    }
  }
  const uint64_t records = end.raw() * volume_.geometry().cluster_size / records_->page_bytes;
  return std::max(records, ondisk::kFirstUserRecord);
}

Result<PageRef> Mft::allocate(Transaction& transaction) {
  transaction.join(*this);
  while (true) {
    uint64_t number = TRY(take_free());
    if (number >= total_) {
      if (growing_) return NtStatus::FileSystemLimitation;
      TRY(grow(transaction));
      continue;
    }
    taking_.push_back(number);
    auto page =
        number >= untouched_ ? volume_.pages().create_record(records_, number) : record(number);
    untouched_ = std::max(untouched_, number + 1);
    if (!page && page.error() != NtStatus::FileCorruptError) return page.error();
    const bool usable = !page || !FileRecordView::of_valid((*page)->bytes()).in_use();
    if (!usable) {
      // The bitmap says free, the record says in use: leave it to the checker.
      corrupt({"$MFT bitmap", 0, number}, "bit", 0, "1: the file record is in use");
      not_reusable_.insert(number);
      continue;
    }
    TRY(change_bit(transaction, number, true));
    if (page) return page;
    return volume_.pages().create(records_, number);
  }
}

Result<> Mft::initialize(Transaction& transaction, const PageRef& page, ByteView image) {
  return transaction.perform(initialize_file_record(image), page);
}

Result<> Mft::free(Transaction& transaction, const PageRef& page) {
  transaction.join(*this);
  TRY(transaction.perform(deallocate_file_record(), page));
  freeing_.push_back(page->index());
  not_reusable_.insert(page->index());
  return change_bit(transaction, page->index(), false);
}

Result<> Mft::change_bit(Transaction& transaction, uint64_t number, bool set) {
  const PageRef page = TRY(volume_.pages().get(bitmap_, number / kBitmapPageBits));
  if (!set) note_free(number);
  const auto range = encode_bit_range(static_cast<uint32_t>(number % kBitmapPageBits), 1);
  return transaction.perform(set ? set_bits(range) : clear_bits(range), page);
}

/// The bit of `number` is clear again, or will be: searches look at its page.
void Mft::note_free(uint64_t number) {
  const uint64_t page_index = number / kBitmapPageBits;
  if (page_index < full_pages_.size()) full_pages_[page_index] = false;
}

void Mft::transaction_ended(const Transaction&, bool committed) {
  for (const uint64_t number : freeing_) {
    if (committed) {
      freed_.push_back({number, volume_.journal().interval()});
    } else {
      not_reusable_.erase(number);
    }
  }
  freeing_.clear();
  growing_ = false;
  if (!committed) {
    for (const uint64_t number : taking_) {
      note_free(number);
      hint_ = std::min(hint_, std::max(number, ondisk::kFirstUserRecord));
    }
    if (changed_) {
      // Records beyond the old end lie elsewhere when $MFT grows again.
      volume_.pages().forget(*records_, total_before_);
      const auto reloaded = reload();
      untouched_ = std::min(untouched_, total_);
      if (!reloaded) volume_.journal().fail(reloaded.error(), "reading $MFT again");
    }
  }
  taking_.clear();
  changed_ = false;
}

// Growth.

Result<> Mft::format_records(const Runlist& runs, uint64_t first_record, uint64_t end_record) {
  // Nothing refers to these clusters yet: they are written like file data, before the log record
  // that makes them part of $MFT (the journal flushes the device before the log).
  const uint64_t record_size = records_->page_bytes;
  const uint64_t cluster = volume_.geometry().cluster_size;
  const uint64_t unit = std::max(record_size, cluster);
  const uint64_t from = first_record * record_size;
  const uint64_t to = end_record * record_size;
  AlignedBuffer buffer = volume_.device().allocate(align_up(to, unit) - align_down(from, unit));
  const uint64_t base = align_down(from, unit);
  if (base < from) {
    // The cluster holds older records, which only the page cache knows as they are.
    for (uint64_t number = base / record_size; number < first_record; ++number) {
      const PageRef page = TRY(record(number));
      const MutableBytes copy = buffer.bytes().subspan(number * record_size - base, record_size);
      std::copy(page->bytes().begin(), page->bytes().end(), copy.begin());
      protect(copy);
    }
  }
  for (uint64_t number = first_record; number < end_record; ++number) {
    const MutableBytes record = buffer.bytes().subspan(number * record_size - base, record_size);
    ondisk::FileRecordInit init;
    init.record_number = number;
    ondisk::format_file_record(record, init);
    protect(record);
  }
  std::vector<IoRequest> writes;
  // Only the new records go out: in units of the record where a cluster holds several.
  for (uint64_t at = from; at < to;) {
    const Run run = runs.find(Vcn(at / cluster));
    const uint64_t in_cluster = at % cluster;
    const uint64_t length = std::min(to - at, run.count.raw() * cluster - in_cluster);
    writes.push_back(IoRequest::write(run.lcn.raw() * cluster + in_cluster,
                                      buffer.bytes().subspan(at - base, length)));
    at += length;
  }
  return volume_.device().transfer(writes);
}

Result<> Mft::grow_bitmap(Transaction& transaction, uint64_t records) {
  Attributes attributes(volume_, kMftFile);
  const uint64_t cluster = volume_.geometry().cluster_size;
  const auto old = TRY(attributes.sizes(AttributeType::Bitmap, u""));
  const uint64_t bytes = align_up(divide_up(records, 8), 8);
  if (bytes <= old.valid_data_length) return {};
  const Runlist before = bitmap_->runs;
  ondisk::AttributeSizes sizes = old;
  if (bytes > old.allocated) {
    const PageRef last = TRY(volume_.pages().page_cut_short(bitmap_));
    const uint64_t wanted =
        align_up(bytes - old.allocated, std::max<uint64_t>(cluster, 4096)) / cluster;
    const Lcn hint = before.runs().back().lcn + before.runs().back().count;
    const auto runs = TRY(volume_.clusters().allocate(transaction, ClusterCount(wanted), hint));
    for (const ClusterRun& run : runs) bitmap_->runs.append(run.lcn, run.count);
    sizes.allocated = bitmap_->runs.end().raw() * cluster;
    sizes.total_allocated = sizes.allocated;
    transaction.complete_place(last);
  }
  // New bytes are zero before the size says that they count.
  const ByteVector zeros(4096);
  for (uint64_t at = old.valid_data_length; at < bytes;) {
    const uint64_t page_index = at / 4096;
    const uint64_t end = std::min<uint64_t>({(page_index + 1) * 4096, sizes.allocated});
    if (at % 4096 == 0) {
      const PageRef page = volume_.pages().create(bitmap_, page_index);
      TRY(transaction.perform_new(ByteView(zeros).first(end - at), page));
    } else {
      const PageRef page = TRY(volume_.pages().get(bitmap_, page_index));
      TRY(transaction.perform(update_nonresident_value(static_cast<uint32_t>(at % 4096),
                                                       ByteView(zeros).first(end - at)),
                              page));
    }
    at = end;
  }
  sizes.file_size = sizes.valid_data_length = bytes;
  return attributes.store_runs(transaction, AttributeType::Bitmap, u"", before, bitmap_->runs,
                               sizes);
}

Result<> Mft::grow(Transaction& transaction) {
  if (!changed_) total_before_ = total_;
  changed_ = true;
  growing_ = true;
  const uint64_t record_size = records_->page_bytes;
  const uint64_t cluster = volume_.geometry().cluster_size;
  const Runlist before = records_->runs;
  Runlist after = before;
  if (before.end().raw() * cluster < (total_ + 1) * record_size) {
    const uint64_t unit = std::max(record_size, cluster);
    const uint64_t wanted_bytes =
        align_up(std::clamp(total_ * record_size / 8, kLeastGrowthBytes, kMostGrowthBytes), unit);
    const Run& last = before.runs().back();
    const auto next = TRY(volume_.clusters().allocate_at(transaction, last.lcn + last.count,
                                                         ClusterCount(wanted_bytes / cluster)));
    after.append(next.lcn, next.count);
    if (after.end().raw() * cluster < align_up((total_ + 1) * record_size, unit)) {
      uint64_t more = wanted_bytes / cluster;
      // Each may be a run of its own, and what they fill an extension record that must be there.
      if (before.runs().size() > kManyRuns) {
        more = std::min(more, std::max(kMostNewRuns, unit / cluster));
      }
      auto runs = volume_.clusters().allocate(transaction, ClusterCount(more), Lcn::hole());
      if (!runs) {  // little space is left: as much as one record needs
        runs = volume_.clusters().allocate(transaction, ClusterCount(unit / cluster), Lcn::hole());
      }
      for (const ClusterRun& run : TRY(std::move(runs))) after.append(run.lcn, run.count);
    }
  }
  const uint64_t new_total = after.end().raw() * cluster / record_size;
  TRY(format_records(after, total_, new_total));
  TRY(grow_bitmap(transaction, new_total));
  records_->runs = after;
  ondisk::AttributeSizes sizes;
  sizes.allocated = sizes.total_allocated = after.end().raw() * cluster;
  sizes.file_size = sizes.valid_data_length = new_total * record_size;
  Attributes attributes(volume_, kMftFile);
  TRY(attributes.store_runs(transaction, AttributeType::Data, u"", before, after, sizes));
  total_ = new_total;
  growing_ = false;
  return {};
}

}  // namespace ntfs
