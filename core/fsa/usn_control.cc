#include "core/fsa/usn_control.h"

#include <algorithm>
#include <bit>

#include "core/fsa/usn_life_cycle.h"
#include "core/ondisk/file_record.h"
#include "core/store/file_records.h"
#include "core/store/usn_file.h"
#include "usn/reader.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;

namespace {

/// $J of a volume, as far as it goes when this is made. Each call takes the metadata lock.
class JournalStream final : public usn::RecordSource {
 public:
  JournalStream(Volume& volume, usn::Usn first, usn::Usn next)
      : volume_(volume), first_(first), next_(next) {}

  usn::Usn first() const override { return first_; }
  usn::Usn next() const override { return next_; }

  usn::Usn next_data(usn::Usn at) override {
    const SharedLock lock(volume_.journal().metadata_lock());
    const auto stream =
        volume_.metadata_stream(volume_.usn().file(), AttributeType::Data, kUsnRecords);
    if (!stream) return next_;
    const uint64_t cluster = volume_.geometry().cluster_size;
    const Runlist& runs = (*stream)->runs;
    for (Vcn vcn(at.raw() / cluster); at < next_ && vcn < runs.end();) {
      const Run run = runs.find(vcn);
      if (!run.lcn.is_hole()) return at;
      vcn = run.end();
      at = usn::Usn::from_raw(vcn.raw() * cluster);
    }
    return next_;
  }

  Result<ByteVector> read_page(usn::Usn at) override {
    const SharedLock lock(volume_.journal().metadata_lock());
    UsnStream& usn = volume_.usn();
    if (!usn.exists() || at < usn.first()) return NtStatus::JournalEntryDeleted;
    if (at >= usn.next()) return ByteVector();
    return usn.read_page(at);
  }

 private:
  Volume& volume_;
  const usn::Usn first_;
  const usn::Usn next_;
};

Result<> check_versions(UsnVersions versions) {
  const bool are_some =
      versions.least <= versions.most && versions.most >= 2 && versions.least <= 4;
  return are_some ? NtStatus::Success : NtStatus::InvalidParameter;
}

/// The record in a version that the caller can read. Nothing: there is none.
std::optional<usn::Record> in_version(usn::Record record, UsnVersions versions) {
  if (record.major_version != 4) {
    const bool is_wide = record.file.high != 0 || record.parent.high != 0;
    if (is_wide && versions.most < 3) return std::nullopt;
    record.major_version = versions.most >= 3 ? 3 : 2;
  }
  if (record.major_version < versions.least || record.major_version > versions.most) {
    return std::nullopt;
  }
  return record;
}

bool is_wanted(const usn::Record& record, const UsnReadParameters& parameters) {
  if ((record.reason & parameters.reason_mask) == 0) return false;
  const bool only_closed = parameters.only_on_close == UsnReadParameters::OnlyOnClose::Yes &&
                           (parameters.reason_mask & usn::Reason::Close) != 0;
  return !only_closed || (record.reason & usn::Reason::Close) != 0;
}

/// Collects records up to a number of bytes.
class Collection {
 public:
  explicit Collection(size_t most_bytes) : most_bytes_(most_bytes) {}

  /// False: it is full. BufferTooSmall: not even one fits.
  Result<bool> add(usn::Record record) {
    const size_t bytes = usn::build_record(record).size();
    if (bytes > most_bytes_ - used_bytes_) {
      if (records_.empty()) return NtStatus::BufferTooSmall;
      return false;
    }
    used_bytes_ += bytes;
    records_.push_back(std::move(record));
    return true;
  }
  std::vector<usn::Record> take() { return std::move(records_); }

 private:
  const size_t most_bytes_;
  size_t used_bytes_ = 0;
  std::vector<usn::Record> records_;
};

/// Puts together what a record says of a file as it stands.
class Description {
 public:
  explicit Description(FileReference file) { record_.file = usn::FileId::of(file); }

  Result<> take(const ondisk::AttributeView& attribute) {
    if (!attribute.is_resident()) return {};
    if (attribute.type() == AttributeType::StandardInformation) {
      const auto information = TRY(ondisk::parse_standard_information(
          attribute.value(), {"$STANDARD_INFORMATION", record_.file.low, 0}));
      record_.file_attributes |= information.file_attributes.get();
      record_.usn = usn::Usn::from_raw(information.usn.get());
    } else if (attribute.type() == AttributeType::FileName) {
      take_name(ondisk::FileNameView::of_valid(attribute.value()));
    }
    return {};
  }
  void take_directory() { record_.file_attributes |= FileAttributes::Directory; }

  /// Nothing: it has no name.
  std::optional<usn::Record> finish() && {
    if (record_.name.empty()) return std::nullopt;
    if (record_.file_attributes == 0) record_.file_attributes = FileAttributes::Normal;
    return std::move(record_);
  }

 private:
  /// The name that has a short one, else the first.
  void take_name(const ondisk::FileNameView& name) {
    if (name.name_type() == ondisk::NameType::Dos) return;
    const bool has_short_name = name.name_type() != ondisk::NameType::Posix;
    if (!record_.name.empty() && (has_short_name_ || !has_short_name)) return;
    has_short_name_ = has_short_name;
    record_.parent = usn::FileId::of(name.parent());
    record_.name = name.name();
  }

  usn::Record record_;
  bool has_short_name_ = false;
};

/// Nothing: the file has no name. Caller holds the metadata lock.
Result<std::optional<usn::Record>> describe_file(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  const PageRef base = TRY(attributes.base());
  Description description(file);
  TRY(attributes.for_each(
      [&](const Attributes::Found& found) { return description.take(found.view()); }));
  if (ondisk::FileRecordView::of_valid(base->bytes()).is_directory()) description.take_directory();
  return std::move(description).finish();
}

/// Whether a change journal speaks of files with that record.
bool is_journaled(const ondisk::FileRecordView& record, uint64_t number) {
  const bool is_user = number >= ondisk::kFirstUserRecord || number == ondisk::kRootRecord;
  return is_user && record.in_use() && record.is_base() &&
         (record.flags() & ondisk::FileRecordFlags::Extend) == 0;
}

}  // namespace

Result<UsnJournalData> UsnControls::query() {
  // What is noted becomes records.
  if (volume_.usn().is_active() && volume_.is_writable()) TRY(volume_.commit());
  const SharedLock lock(volume_.journal().metadata_lock());
  TRY(check_usn_exists(volume_));
  const UsnStream& usn = volume_.usn();
  UsnJournalData data;
  data.id = usn.information().id;
  data.first = usn.first();
  data.next = usn.next();
  data.lowest_valid = usn.information().lowest_valid;
  data.max_usn = volume_.max_file_size();
  data.maximum_size = usn.information().maximum_size;
  data.allocation_delta = usn.information().allocation_delta;
  data.ranges = usn.range_tracking();
  return data;
}

Result<UsnReadAnswer> UsnControls::read(const UsnReadParameters& parameters) {
  TRY(check_versions(parameters.versions));
  std::optional<JournalStream> stream;
  FileReference file;
  usn::Usn start = parameters.start;
  {
    const SharedLock lock(volume_.journal().metadata_lock());
    TRY(check_usn_exists(volume_));
    const UsnStream& usn = volume_.usn();
    if (parameters.journal_id != usn.information().id) return NtStatus::InvalidParameter;
    if (start == usn::Usn()) start = usn.first();
    if (start < usn.first()) return NtStatus::JournalEntryDeleted;
    file = usn.file();
    stream.emplace(volume_, usn.first(), usn.next());
  }
  if (!TRY(usn::is_record_start(*stream, file, start))) return NtStatus::InvalidParameter;
  usn::Reader reader(*stream, file, start, stream->next());
  Collection collection(parameters.most_bytes);
  UsnReadAnswer answer;
  answer.next = start;
  while (auto record = TRY(reader.next())) {
    const usn::Usn at = record->usn;
    if (is_wanted(*record, parameters)) {
      auto told = in_version(std::move(*record), parameters.versions);
      if (told && !TRY(collection.add(std::move(*told)))) {
        answer.next = at;
        answer.records = collection.take();
        return answer;
      }
    }
  }
  answer.next = std::max(start, reader.position());
  answer.records = collection.take();
  answer.count_damaged = reader.count_damaged();
  return answer;
}

Result<UsnReadAnswer> UsnControls::read(UsnReadParameters parameters, UsnArrivals::Waiter& waiter) {
  constexpr std::chrono::hours kForever{24};  // then it looks again
  const auto most = parameters.timeout.count() != 0
                        ? std::min<std::chrono::seconds>(parameters.timeout, kForever)
                        : kForever;
  while (true) {
    auto answer = TRY(read(std::as_const(parameters)));
    if (!answer.records.empty() || parameters.bytes_to_wait_for == 0) return answer;
    parameters.start = answer.next;
    const uint64_t until = TRY(checked_add(answer.next.raw(), parameters.bytes_to_wait_for));
    TRY(volume_.usn().arrivals().wait(parameters.journal_id, usn::Usn::from_raw(until), most,
                                      waiter));
  }
}

Result<UsnEnumerateAnswer> UsnControls::enumerate(const UsnEnumerateParameters& parameters) {
  TRY(check_versions(parameters.versions));
  if (parameters.low > parameters.high) return NtStatus::InvalidParameter;
  Collection collection(parameters.most_bytes);
  uint64_t number = parameters.start_record;
  bool is_full = false;
  bool found_any = false;
  while (!is_full) {
    const SharedLock lock(volume_.journal().metadata_lock());
    TRY(check_usn_exists(volume_));
    if (number >= volume_.mft().total_records()) break;
    const auto page = volume_.mft().record(number);
    const auto view = page ? std::optional(ondisk::FileRecordView::of_valid((*page)->bytes()))
                           : std::nullopt;  // damaged: reported
    if (view && is_journaled(*view, number)) {
      auto record = describe_file(volume_, FileReference(number, view->sequence()));
      const bool is_there = record && *record && (*record)->usn >= parameters.low &&
                            (*record)->usn <= parameters.high;
      auto told = is_there ? in_version(std::move(**record), parameters.versions) : std::nullopt;
      if (told) {
        is_full = !TRY(collection.add(std::move(*told)));
        found_any = true;
      }
    }
    if (!is_full) ++number;
  }
  if (!found_any) return NtStatus::EndOfFile;
  return UsnEnumerateAnswer{number, collection.take()};
}

Result<usn::Record> UsnControls::read_file_data(File& file, UsnVersions versions) {
  TRY(check_versions(versions));
  if (versions.least > 3) return NtStatus::InvalidParameter;
  const SharedLock lock(volume_.journal().metadata_lock());
  auto record = TRY(describe_file(volume_, file.reference()));
  if (!record) return NtStatus::ObjectNameNotFound;
  auto told = in_version(std::move(*record), versions);
  if (!told) return NtStatus::InvalidParameter;
  return std::move(*told);
}

Result<> UsnControls::track_ranges(usn::RangeTracking tracking) {
  constexpr uint64_t kLeastChunk = uint64_t{4} << 10;
  constexpr uint64_t kMostChunk = uint64_t{1} << 30;
  if (tracking.chunk_size == 0) tracking.chunk_size = usn::kDefaultRangeChunk;
  if (tracking.file_size_threshold == 0) tracking.file_size_threshold = usn::kDefaultRangeThreshold;
  const uint64_t chunk = tracking.chunk_size;
  if (!std::has_single_bit(chunk) || chunk < kLeastChunk || chunk > kMostChunk) {
    return NtStatus::InvalidParameter;
  }
  const SharedLock lock(volume_.journal().metadata_lock());
  TRY(check_usn_exists(volume_));
  if (!volume_.usn().is_active()) return NtStatus::JournalNotActive;
  volume_.usn().track_ranges(tracking);
  return {};
}

Result<usn::Usn> UsnControls::write_close_record(File& file) {
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  {
    const SharedLock lock(volume_.journal().metadata_lock());
    TRY(check_usn_exists(volume_));
  }
  if (!volume_.usn().is_active()) return NtStatus::JournalNotActive;
  file.post_close();
  {
    Transaction transaction(volume_.journal());
    TRY(transaction.begin());
    FileRecords records(transaction, volume_, file);
    TRY(records.add_noted());
    TRY(records.append());
    TRY(records.store_last());
    transaction.commit();
  }
  const SharedLock lock(volume_.journal().metadata_lock());
  const auto record = TRY(describe_file(volume_, file.reference()));
  return record ? record->usn : usn::Usn();
}

}  // namespace ntfs
