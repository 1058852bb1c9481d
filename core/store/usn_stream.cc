#include "core/store/usn_stream.h"

#include <algorithm>

#include "core/ondisk/file_record.h"
#include "core/store/index_tree.h"
#include "core/store/usn_file.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

const FileReference kExtend(ondisk::kExtendRecord, 11);
/// $J grows by this much at a time, as on Windows; small journals by a part of their size.
constexpr uint64_t kGrowthBytes = 512 << 10;
constexpr uint64_t kGrowthPart = 8;
/// Runs that one transaction frees.
constexpr size_t kMostFreedRuns = 256;

uint64_t first_allocated(const Runlist& runs, uint64_t cluster_size, uint64_t file_size) {
  for (const Run& run : runs.runs()) {
    if (!run.lcn.is_hole()) return std::min(run.vcn.raw() * cluster_size, file_size);
  }
  return file_size;
}

}  // namespace

// Finding it.

Result<> UsnStream::load() {
  IndexTree extend(volume_, kExtend, u"$I30");
  const auto entry = extend.find_name(kUsnFileName, IndexTree::NameMatch::Exact);
  const bool is_damaged = !entry && entry.error() == NtStatus::FileCorruptError;
  const bool is_missing = !entry && entry.error() == NtStatus::ObjectNameNotFound;
  if (!entry && !is_damaged && !is_missing) return entry.error();
  if (!entry || !*entry) return {};
  const FileReference file = ondisk::IndexEntryView::of_valid(**entry, 0).reference();
  Attributes attributes(volume_, file);
  const auto maximum = attributes.find(AttributeType::Data, kUsnMaximum);
  const auto records = attributes.find(AttributeType::Data, kUsnRecords);
  // While it is being deleted parts may be gone.
  if (!maximum || !records || !maximum->view().is_resident() || records->view().is_resident()) {
    return {};
  }
  const Origin origin{"$UsnJrnl:$Max", file.raw(), 0};
  const auto information = usn::parse_max(maximum->view().value(), origin);
  if (!information) return {};
  const auto sizes = records->view().sizes();
  const auto runs = attributes.load_runs(AttributeType::Data, kUsnRecords);
  if (!runs) return {};
  if (sizes.file_size % 8 != 0 || sizes.file_size > volume_.max_file_size()) {
    (void)corrupt({"$UsnJrnl:$J", file.raw(), 0}, "file size", sizes.file_size);
    return {};
  }
  file_ = file;
  information_ = *information;
  next_ = usn::Usn::from_raw(sizes.file_size);
  first_ =
      usn::Usn::from_raw(first_allocated(*runs, volume_.geometry().cluster_size, sizes.file_size));
  exists_.store(true, std::memory_order_release);
  return {};
}

void UsnStream::start() {
  if (!exists() || !volume_.is_writable()) return;
  is_active_.store(true, std::memory_order_release);
  note_state();
}

void UsnStream::forget() {
  stop();
  exists_.store(false, std::memory_order_release);
  open_ = {};
  track_ranges({});
  stream_ = nullptr;
  tail_ = nullptr;
  volume_.journal().set_usn_restart(FileReference(), usn::Usn());
  arrivals_.announce(0, usn::Usn());
}

/// What a checkpoint writes down, and whether trimming is due.
void UsnStream::note_state() {
  volume_.journal().set_usn_restart(file_, restart());
  const auto target =
      usn::trim_target(information_, first_, next_, restart(), volume_.geometry().cluster_size);
  wants_trim_.store(target.has_value(), std::memory_order_relaxed);
}

Result<ByteVector> UsnStream::read_page(usn::Usn at) {
  ASSERT(at >= first_ && at < next_);
  const auto stream = TRY(volume_.metadata_stream(file_, AttributeType::Data, kUsnRecords));
  const PageRef page = TRY(volume_.pages().get(stream, at.raw() / usn::kPageBytes));
  const uint64_t from = at.raw() % usn::kPageBytes;
  const uint64_t to = std::min(usn::kPageBytes, next_.raw() - page->position());
  const ByteView bytes = page->bytes().subspan(from, to - from);
  return ByteVector(bytes.begin(), bytes.end());
}

// Transactions.

void UsnStream::join(Transaction& transaction) {
  if (!before_) before_ = State{information_, first_, next_};
  transaction.join(*this);
}

void UsnStream::transaction_ended(const Transaction&, bool committed) {
  if (!committed) {
    information_ = before_->information;
    first_ = before_->first;
    next_ = before_->next;
    missing_at_.reset();
    tail_ = nullptr;
    for (size_t i = open_before_.size(); i-- > 0;) {
      open_.restore(open_before_[i].file, open_before_[i].first);
    }
  } else if (was_created_) {
    exists_.store(true, std::memory_order_release);
    is_active_.store(true, std::memory_order_release);
  }
  before_.reset();
  open_before_.clear();
  was_created_ = false;
  if (exists()) note_state();
  arrivals_.announce(exists() ? information_.id : 0, next_);
}

// Appending.

/// $J, with its runs as they are after the last transaction that was taken back.
Result<MetadataStreamRef> UsnStream::stream() {
  if (stream_ == nullptr || stream_->aborts != volume_.journal().abort_count()) {
    stream_ = TRY(volume_.metadata_stream(file_, AttributeType::Data, kUsnRecords));
  }
  return stream_;
}

/// The page that holds the last bytes, and has room for more.
Result<PageRef> UsnStream::tail(const MetadataStreamRef& stream) {
  const uint64_t index = next_.raw() / usn::kPageBytes;
  if (tail_ == nullptr || tail_->index() != index) tail_ = TRY(volume_.pages().get(stream, index));
  return tail_;
}

Result<bool> UsnStream::append(Transaction& transaction, std::span<usn::Record> records) {
  join(transaction);
  const auto stream = TRY(this->stream());
  for (size_t i = 0; i < records.size();) {
    const auto place = usn::place_record(next_, usn::record_bytes(records[i]));
    const uint64_t room = usn::kPageBytes - place.usn.raw() % usn::kPageBytes;
    const auto grown = make_room(transaction, stream, place.usn.raw() + room);
    if (!grown && grown.error() == NtStatus::DiskFull) {
      TRY(note_missing(transaction));
      return false;
    }
    if (!grown) return grown.error();
    if (place.gap != 0) TRY(write(transaction, stream, ByteVector(place.gap)));
    // What fits in the page goes there in one step.
    memory_.clear();
    while (i < records.size() && memory_.size() + usn::record_bytes(records[i]) <= room) {
      usn::Record& record = records[i++];
      record.usn = usn::Usn::from_raw(place.usn.raw() + memory_.size());
      usn::append_record(record, memory_);
      const FileReference file = record.file.reference();
      open_before_.push_back({file, open_.first_of(file)});
      open_.note(file, record.reason, record.usn);
    }
    TRY(write(transaction, stream, memory_));
  }
  return true;
}

/// Writes `bytes`, which end in the page that they begin in, at the end.
Result<> UsnStream::write(Transaction& transaction, const MetadataStreamRef& stream,
                          ByteView bytes) {
  Attributes attributes(volume_, file_);
  const auto found = TRY(attributes.find(AttributeType::Data, kUsnRecords));
  auto sizes = found.view().sizes();
  sizes.file_size += bytes.size();
  sizes.valid_data_length = sizes.file_size;
  TRY(write_sizes(transaction, found, sizes));
  const uint64_t offset = next_.raw() % usn::kPageBytes;
  if (offset == 0) {
    tail_ = volume_.pages().create(stream, next_.raw() / usn::kPageBytes);
    TRY(transaction.perform_new(bytes, tail_));
  } else {
    const PageRef page = TRY(tail(stream));
    TRY(transaction.perform_unseen(update_nonresident_value(static_cast<uint32_t>(offset), bytes),
                                   page));
  }
  next_ = usn::Usn::from_raw(sizes.file_size);
  return {};
}

/// Clusters up to `end`.
Result<> UsnStream::make_room(Transaction& transaction, const MetadataStreamRef& stream,
                              uint64_t end) {
  const uint64_t cluster = volume_.geometry().cluster_size;
  const uint64_t allocated = stream->runs.end().raw() * cluster;
  if (end <= allocated) return {};
  if (end > volume_.max_file_size()) return NtStatus::DiskFull;
  const uint64_t unit = std::max(cluster, usn::kPageBytes);
  const uint64_t ahead = std::min(kGrowthBytes, information_.maximum_size / kGrowthPart);
  const ClusterCount least((align_up(end, unit) - allocated) / cluster);
  const ClusterCount wanted(std::max(align_down(ahead, unit) / cluster, least.raw()));
  const PageRef cut = TRY(volume_.pages().page_cut_short(stream));
  Lcn hint = Lcn::hole();
  if (!stream->runs.empty() && !stream->runs.runs().back().lcn.is_hole()) {
    hint = stream->runs.runs().back().lcn + stream->runs.runs().back().count;
  }
  auto runs = volume_.clusters().allocate(transaction, wanted, hint);
  if (!runs && runs.error() == NtStatus::DiskFull) {
    runs = volume_.clusters().allocate(transaction, least, hint);
  }
  if (!runs) return runs.error();
  Runlist after = stream->runs;
  for (const ClusterRun& run : *runs) after.append(run.lcn, run.count);
  Attributes attributes(volume_, file_);
  auto sizes = TRY(attributes.sizes(AttributeType::Data, kUsnRecords));
  sizes.allocated = after.end().raw() * cluster;
  sizes.total_allocated = after.allocated().raw() * cluster;
  TRY(attributes.store_runs(transaction, AttributeType::Data, kUsnRecords, stream->runs, after,
                            sizes));
  stream->runs = std::move(after);
  transaction.complete_place(cut);
  return {};
}

// $Max.

Result<> UsnStream::store_information(Transaction& transaction,
                                      const usn::JournalInformation& information) {
  join(transaction);
  Attributes attributes(volume_, file_);
  const auto found = TRY(attributes.find(AttributeType::Data, kUsnMaximum));
  TRY(attributes.update_value(transaction, found, 0, usn::build_max(information)));
  information_ = information;
  return {};
}

Result<> UsnStream::note_missing(Transaction& transaction) {
  if (missing_at_ == next_) return {};
  TRY(stamp(transaction));
  missing_at_ = next_;
  return {};
}

Result<> UsnStream::stamp(Transaction& transaction) {
  usn::JournalInformation information = information_;
  information.id = std::max(ondisk::FileTime::now().raw(), information.id + 1);
  information.lowest_valid = next_;
  return store_information(transaction, information);
}

Result<> UsnStream::resize(Transaction& transaction, const usn::JournalInformation& sizes) {
  usn::JournalInformation information = information_;
  information.maximum_size = sizes.maximum_size;
  information.allocation_delta = sizes.allocation_delta;
  return store_information(transaction, information);
}

Result<> UsnStream::create(Transaction& transaction, const usn::JournalInformation& sizes) {
  if (exists()) return NtStatus::ObjectNameCollision;
  usn::JournalInformation information = sizes;
  information.id = ondisk::FileTime::now().raw();
  information.lowest_valid = usn::Usn();
  join(transaction);
  Attributes extend(volume_, kExtend);
  const auto found = TRY(extend.find(AttributeType::StandardInformation));
  const auto standard = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", kExtend.raw(), 0}));
  const PageRef page = TRY(volume_.mft().allocate(transaction));
  const FileReference self(page->index(), Mft::next_sequence(*page));
  IndexTree index(volume_, kExtend, u"$I30");
  const ByteVector name = build_usn_file_name(ondisk::FileTime::from_raw(information.id));
  TRY(index.insert(transaction, ondisk::build_entry(self, name, std::nullopt)));
  const ByteVector record =
      build_usn_file(volume_.geometry(), self, standard.security_id.get(), information);
  const auto used = ondisk::FileRecordView::of_valid(record).used_bytes();
  TRY(volume_.mft().initialize(transaction, page, ByteView(record).first(used)));
  file_ = self;
  information_ = information;
  first_ = next_ = usn::Usn();
  was_created_ = true;
  return {};
}

// Trimming.

Result<> UsnStream::trim() {
  if (!wants_trim()) return {};
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  const uint64_t cluster = volume_.geometry().cluster_size;
  const auto target =
      usn::trim_target(information_, first_, next_, restart(), static_cast<uint32_t>(cluster));
  if (!target || !is_active()) return {};
  join(transaction);
  const auto stream = TRY(volume_.metadata_stream(file_, AttributeType::Data, kUsnRecords));
  uint64_t bytes = target->raw();
  // Of many runs the rest goes another time.
  const auto runs = stream->runs.runs();
  if (runs.size() > kMostFreedRuns) {
    const uint64_t most = runs[kMostFreedRuns].vcn.raw() * cluster;
    bytes = align_down(std::min(bytes, most), std::max(cluster, usn::kPageBytes));
  }
  if (bytes <= first_.raw()) return {};
  const Vcn end(bytes / cluster);
  for (const ClusterRun& run : stream->runs.allocated_in(Vcn(0), end - Vcn(0))) {
    TRY(volume_.clusters().free_clusters(transaction, run));
  }
  Runlist after = stream->runs;
  after.replace(Vcn(0), Lcn::hole(), end - Vcn(0));
  Attributes attributes(volume_, file_);
  auto sizes = TRY(attributes.sizes(AttributeType::Data, kUsnRecords));
  sizes.total_allocated = after.allocated().raw() * cluster;
  TRY(attributes.store_runs(transaction, AttributeType::Data, kUsnRecords, stream->runs, after,
                            sizes));
  volume_.pages().forget(*stream, first_.raw() / usn::kPageBytes, bytes / usn::kPageBytes);
  stream->runs = std::move(after);
  first_ = usn::Usn::from_raw(bytes);
  transaction.commit();
  return {};
}

}  // namespace ntfs
