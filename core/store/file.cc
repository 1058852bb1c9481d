#include "core/store/file.h"

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"
#include "core/store/small_value.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;
using ondisk::FileTime;

namespace {

/// What a user may change; the rest says what the file is.
constexpr uint32_t kSettableAttributes = FileAttributes::ReadOnly | FileAttributes::Hidden |
                                         FileAttributes::System | FileAttributes::Archive |
                                         FileAttributes::Temporary | FileAttributes::Offline |
                                         FileAttributes::NotContentIndexed;

/// Directory entries that change along with something else; others wait for the write-back.
constexpr size_t kMostNamesAtOnce = 16;
/// Notes for the change journal that wait for the file's next transaction.
constexpr size_t kMostNotes = 16;
/// Transactions in which a write-back tells a file's names.
constexpr int kMostSteps = 1024;

void take_newer(std::optional<FileTime>& into, const std::optional<FileTime>& from) {
  if (from) into = from;
}

void merge(FileTimes& into, const FileTimes& from) {
  take_newer(into.creation, from.creation);
  take_newer(into.last_write, from.last_write);
  take_newer(into.change, from.change);
  take_newer(into.last_access, from.last_access);
}

/// What names repeat of $EA_INFORMATION, 0 without one; nothing if it is not to be believed.
Result<std::optional<uint32_t>> packed_ea_length(Attributes& attributes) {
  const auto found = attributes.find(AttributeType::EaInformation);
  if (!found && found.error() == NtStatus::ObjectNameNotFound) return std::optional<uint32_t>(0);
  if (!found) return found.error();
  if (!found->view().is_resident()) return std::optional<uint32_t>();
  const auto information = view_as<ondisk::EaInformation>(found->view().value());
  if (!information) return std::optional<uint32_t>();
  return std::optional<uint32_t>((*information)->packed_length.get());
}

/// The same of the reparse point of a file that is said to have one.
Result<std::optional<uint32_t>> reparse_tag(Volume& volume, FileReference file) {
  const auto value = read_small_value(volume, file, AttributeType::ReparsePoint);
  const bool is_told = value || value.error() == NtStatus::ObjectNameNotFound ||
                       value.error() == NtStatus::FileCorruptError;
  if (!is_told) return value.error();
  if (!value || value->size() < sizeof(le32)) return std::optional<uint32_t>();
  return std::optional<uint32_t>(struct_at<le32>(*value).get());
}

void put(le64& field, const std::optional<FileTime>& time) {
  if (time) field.set(time->raw());
}

}  // namespace

// Named streams. None is destroyed, nor locked, with mutex_ held.

StreamPtr File::named_stream(std::u16string_view name) {
  ASSERT(!name.empty());
  const MutexLock lock(mutex_);
  auto it = named_.find(name);
  if (it == named_.end()) {
    it = named_.emplace(name, std::make_shared<Stream>(volume_, *this, name)).first;
  }
  return it->second;
}

void File::forget_stream(const Stream& stream) {
  StreamPtr forgotten;
  const MutexLock lock(mutex_);
  const auto it = named_.find(stream.name());
  if (it == named_.end() || it->second.get() != &stream) return;
  forgotten = std::move(it->second);
  named_.erase(it);
}

std::vector<StreamPtr> File::named_streams() const {
  std::vector<StreamPtr> streams;
  const MutexLock lock(mutex_);
  for (const auto& [name, stream] : named_) streams.push_back(stream);
  return streams;
}

bool File::has_dirty_data() const {
  if (data_.is_dirty()) return true;
  const MutexLock lock(mutex_);
  return std::any_of(named_.begin(), named_.end(),
                     [](const auto& entry) { return entry.second->is_dirty(); });
}

void File::drop_unused_streams() {
  std::vector<StreamPtr> unused;
  const MutexLock lock(mutex_);
  std::erase_if(named_, [&](auto& entry) {
    // Others get theirs from here, with the lock held.
    if (entry.second.use_count() != 1 || entry.second->is_dirty()) return false;
    unused.push_back(std::move(entry.second));
    return true;
  });
}

void File::note_times(const FileTimes& times) {
  {
    const MutexLock lock(mutex_);
    merge(noted_.times, times);
    has_noted_ = true;
  }
  volume_.add_dirty(*this);
}

uint32_t File::settable_attributes(uint32_t attributes) { return attributes & kSettableAttributes; }

void File::note_attributes(uint32_t attributes) {
  {
    const MutexLock lock(mutex_);
    noted_.attributes = attributes & kSettableAttributes;
    has_noted_ = true;
  }
  volume_.add_dirty(*this);
}

void File::note_modified() {
  FileTimes times;
  times.last_write = times.change = FileTime::now();
  note_modified(times);
}

void File::note_archive() { note_modified(FileTimes{}); }

void File::note_modified(const FileTimes& times) {
  {
    const MutexLock lock(mutex_);
    merge(noted_.times, times);
    noted_.archive = true;
    has_noted_ = true;
  }
  volume_.add_dirty(*this);
}

usn::FileChanges::Ticket File::post(uint32_t reasons) {
  if (!FileRecords::are_kept_of(volume_, reference_)) return 0;
  usn::FileChanges::Ticket ticket = 0;
  {
    const MutexLock lock(mutex_);
    if ((reasons & ~changes_.reasons()) == 0) return 0;
    ticket = changes_.post(reasons, FileTime::now().raw());
  }
  volume_.add_dirty(*this);
  return ticket;
}

void File::retract(usn::FileChanges::Ticket ticket) {
  if (ticket == 0) return;
  const MutexLock lock(mutex_);
  changes_.retract(ticket);
}

void File::note_written(uint64_t offset, uint64_t length) {
  const usn::RangeTracking tracking = volume_.usn().range_tracking();
  if (tracking.chunk_size == 0 || !FileRecords::are_kept_of(volume_, reference_)) return;
  const auto sizes = data().sizes();
  const uint64_t size = sizes ? sizes->file_size : offset + length;
  const MutexLock lock(mutex_);
  const uint64_t within = offset < size ? std::min(length, size - offset) : 0;
  changes_.note_written({offset, within}, size, tracking);
}

void File::post_close() {
  bool has_more = has_dirty_data();
  bool are_many = false;
  {
    const MutexLock lock(mutex_);
    if (changes_.reasons() == 0) return;
    changes_.close(FileTime::now().raw());
    has_more = has_more || has_noted_;
    are_many = changes_.count_noted() >= kMostNotes;
  }
  // The record goes with what is to be written of the file, if anything is.
  if (are_many) {
    volume_.write_notes(*this);
  } else if (has_more) {
    volume_.add_dirty(*this);
  } else {
    volume_.add_closed(*this);
  }
}

bool File::has_noted() const {
  const MutexLock lock(mutex_);
  return has_noted_ || names_lag_;
}

void File::overlay(ondisk::StandardInformation& disk) const {
  const MutexLock lock(mutex_);
  overlay_noted(disk);
}

void File::overlay_noted(ondisk::StandardInformation& disk) const {
  if (!has_noted_) return;
  put(disk.creation_time, noted_.times.creation);
  put(disk.last_write_time, noted_.times.last_write);
  put(disk.change_time, noted_.times.change);
  put(disk.last_access_time, noted_.times.last_access);
  uint32_t attributes = disk.file_attributes.get();
  if (noted_.attributes) {
    attributes = (attributes & ~kSettableAttributes) | *noted_.attributes;
  }
  if (noted_.archive) attributes |= FileAttributes::Archive;
  disk.file_attributes.set(attributes);
}

bool File::hold_again() {
  uint64_t holders = holders_.load();
  while (holders != 0) {
    if (holders_.compare_exchange_weak(holders, holders + 1)) return true;
  }
  return false;
}

void File::remember(RecordMemo memo) {
  const MutexLock lock(mutex_);
  memo_ = std::make_unique<RecordMemo>(std::move(memo));
}

std::optional<FileInformation> File::recall() const {
  const MutexLock lock(mutex_);
  if (memo_ == nullptr || !memo_->is_current()) return std::nullopt;
  FileInformation information = memo_->information;
  ondisk::StandardInformation standard = memo_->standard;
  overlay_noted(standard);
  information.take(standard);
  return information;
}

/// Entries that repeat it already cost nothing. Leaves those for which the transaction has no room.
Result<> File::log_names(Transaction& transaction, const ondisk::StandardInformation& information,
                         const std::optional<Stream::Sizes>& sizes, size_t most_names) {
  Attributes attributes(volume_, reference_);
  const bool has_tag = (information.file_attributes.get() & FileAttributes::ReparsePoint) != 0;
  const auto ea_length_or_tag =
      TRY(has_tag ? reparse_tag(volume_, reference_) : packed_ea_length(attributes));
  const auto repeat = [&](ondisk::DuplicatedInformation& info) {
    info.creation_time = information.creation_time;
    info.last_write_time = information.last_write_time;
    info.change_time = information.change_time;
    info.last_access_time = information.last_access_time;
    if (sizes) {
      info.allocated_size.set(sizes->allocated);
      info.file_size.set(sizes->file_size);
    }
    if (ea_length_or_tag) info.ea_length_or_reparse_tag.set(*ea_length_or_tag);
    // The bits that copy the record's flags stand in names only.
    const uint32_t kept = info.file_attributes.get() &
                          (FileAttributes::FileNameIndexPresent | FileAttributes::ViewIndexPresent);
    info.file_attributes.set(information.file_attributes.get() | kept);
  };
  // The tree's pages may change under the attribute's page: keys are copied first.
  std::vector<ByteVector> names;
  for (const auto& found : TRY(attributes.all_of(AttributeType::FileName))) {
    const auto view = found.view();
    if (!view.is_resident()) continue;
    names.emplace_back(view.value().begin(), view.value().end());
  }
  size_t told = 0;
  for (; told < names.size(); ++told) {
    if (told != 0 && (told >= most_names || transaction.is_large())) break;
    const ByteVector& name = names[told];
    const auto view = TRY(ondisk::FileNameView::parse(name, {"$FILE_NAME", reference_.raw(), 0}));
    IndexTree parent(volume_, view.parent(), u"$I30");
    const auto updated = parent.update_file_name(transaction, name, repeat);
    // What is wrong with a directory, which has been told, must not keep its files from the disk.
    if (!updated && updated.error() != NtStatus::ObjectNameNotFound &&
        updated.error() != NtStatus::FileCorruptError) {
      return updated;
    }
  }
  const MutexLock lock(mutex_);
  leaves_names_ = told < names.size();
  return {};
}

Result<> File::log_information(Transaction& transaction,
                               const std::optional<Stream::Sizes>& sizes) {
  return log_information(transaction, sizes, kMostNamesAtOnce);
}

Result<> File::log_information(Transaction& transaction, const std::optional<Stream::Sizes>& sizes,
                               size_t most_names) {
  Attributes attributes(volume_, reference_);
  const auto found = TRY(attributes.find(AttributeType::StandardInformation));
  const auto value = found.view().value();
  auto information = TRY(
      ondisk::parse_standard_information(value, {"$STANDARD_INFORMATION", reference_.raw(), 0}));
  {
    const MutexLock lock(mutex_);
    overlay_noted(information);
    logged_ = noted_;
    has_logged_ = has_noted_;
    noted_ = {};
    has_noted_ = false;
    memo_.reset();  // the record does not say yet what is not noted any more
  }
  transaction.join(shared_from_this());
  FileRecords records(transaction, volume_, *this);
  TRY(records.add_noted());
  TRY(records.append());
  if (records.last()) information.usn.set(records.last()->raw());
  const ByteView bytes = bytes_of(information).first(value.size());
  // From the first changed byte to the end of times and attributes, as Windows does.
  size_t first = 0;
  while (first < bytes.size() && bytes[first] == value[first]) ++first;
  size_t end = bytes.size();
  while (end > first && bytes[end - 1] == value[end - 1]) --end;
  if (first < end) {
    TRY(attributes.update_value(transaction, found, static_cast<uint32_t>(first),
                                bytes.subspan(first, end - first)));
  }
  return log_names(transaction, information, sizes, most_names);
}

void File::transaction_ended(const Transaction&, bool committed) {
  bool lags = false;
  {
    const MutexLock lock(mutex_);
    changes_.ended(committed);
    if (!committed && has_logged_) {
      // What was noted since goes first.
      const Noted newer = noted_;
      noted_ = logged_;
      merge(noted_.times, newer.times);
      if (newer.attributes) noted_.attributes = newer.attributes;
      noted_.archive = noted_.archive || newer.archive;
      has_noted_ = true;
    }
    logged_ = {};
    has_logged_ = false;
    if (committed) {
      names_lag_ = leaves_names_;
    } else {
      leaves_names_ = names_lag_;
    }
    lags = names_lag_;
  }
  if (lags) volume_.add_dirty(*this);
}

Result<> File::write_back_data(Stream::Durable durable) {
  if (data_.is_dirty()) {
    const auto written = data_.write_back(durable);
    if (!written && written.error() != NtStatus::ObjectNameNotFound) return written;
  }
  const std::vector<StreamPtr> named = named_streams();
  if (named.empty()) return {};
  for (const StreamPtr& stream : named) {
    const auto written = stream->write_back();
    if (!written && written.error() != NtStatus::ObjectNameNotFound) return written;
  }
  return {};
}

Result<> File::write_information() {
  std::optional<Stream::Sizes> sizes;
  const auto known = data_.sizes();
  if (known) sizes = *known;
  Transaction transaction(volume_.journal());
  TRY(transaction.begin());
  const auto logged = log_information(transaction, sizes, SIZE_MAX);
  if (!logged) return logged.error() == NtStatus::ObjectNameNotFound ? Result<>() : logged;
  transaction.commit();
  return {};
}

Result<> File::write_back(Stream::Durable durable) {
  if (freed_) return {};
  TRY(write_back_data(durable));
  drop_unused_streams();
  if (!has_noted()) return {};
  // Who changes the file all the time does not keep this going.
  for (int step = 0; step < kMostSteps && !freed_; ++step) {
    TRY(write_information());
    const MutexLock lock(mutex_);
    if (!names_lag_) break;
  }
  return {};
}

}  // namespace ntfs
