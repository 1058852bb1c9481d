// Named data streams: MS-FSA 2.1.5.12.30 "FileStreamInformation", 2.1.5.1.1 and 2.1.5.1.2 where the
// stream is a named one, 2.1.5.15.3 "FileDispositionInformation" of one. The marks C and X are
// those of the fact sheet of MS-FSA.

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

Result<> check_stream_name(std::u16string_view name) {
  if (name.empty() || name.find(u'\0') != std::u16string_view::npos) {
    return NtStatus::ObjectNameInvalid;
  }
  return name.size() <= ondisk::kMaxNameUnits ? Result<>() : NtStatus::NameTooLong;
}

/// What a new name may not be for Windows. MS-FSCC 2.1.5.3 "Streamname".
Result<> check_new_name(std::u16string_view name, const ObjectStoreOptions& options) {
  const bool is_forbidden = options.windows_names && name.find_first_of(u"\\/:") != name.npos;
  return is_forbidden ? Result<>(NtStatus::ObjectNameInvalid) : Result<>();
}

/// Buffered data is ahead of what the record says.
void take_sizes(Stream& stream, StreamInformation& information) {
  if (!stream.is_dirty()) return;
  const auto sizes = stream.sizes();
  if (!sizes) return;
  information.file_size = sizes->file_size;
  information.allocated_size = sizes->allocated;
}

}  // namespace

Result<std::vector<StreamInformation>> ObjectStore::query_streams(File& file) {
  std::vector<StreamInformation> streams;
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    Attributes attributes(*volume_, file.reference());
    TRY(attributes.for_each([&](const Attributes::Found& found) -> Result<> {
      const auto view = found.view();
      if (view.type() != AttributeType::Data) return {};
      if (!view.is_resident() && view.lowest_vcn() != Vcn(0)) return {};
      const uint64_t allocated =
          view.is_resident() ? align_up(view.value_length(), 8) : view.total_allocated();
      streams.push_back({view.name(), view.value_length(), allocated});
      return {};
    }));
  }
  if (!streams.empty() && streams.front().name.empty()) take_sizes(file.data(), streams.front());
  for (const StreamPtr& known : file.named_streams()) {
    const auto it =
        std::find_if(streams.begin(), streams.end(),
                     [&](const StreamInformation& each) { return each.name == known->name(); });
    if (it == streams.end()) continue;
    if (known->deleted()) {
      streams.erase(it);
    } else {
      take_sizes(*known, *it);
    }
  }
  return streams;
}

/// The caller holds the metadata lock.
Result<StreamPtr> ObjectStore::find_stream_locked(File& file, std::u16string_view name) {
  Attributes attributes(*volume_, file.reference());
  std::u16string stored(name);
  const auto found = attributes.find(AttributeType::Data, name);
  if (!found) {
    const bool is_missing = found.error() == NtStatus::ObjectNameNotFound;
    if (!is_missing || !options_.ignore_case) return found.error();
    const auto all = TRY(attributes.all_of(AttributeType::Data));
    const auto same = std::find_if(all.begin(), all.end(), [&](const Attributes::Found& each) {
      return equal_ignoring_case(each.view().name(), name, volume_->upcase());
    });
    if (same == all.end()) return NtStatus::ObjectNameNotFound;
    stored = same->view().name();
  }
  StreamPtr stream = file.named_stream(stored);
  if (stream->deleted()) return NtStatus::DeletePending;
  return stream;
}

Result<StreamPtr> ObjectStore::find_stream(File& file, std::u16string_view name) {
  TRY(check_stream_name(name));
  const SharedLock lock(volume_->journal().metadata_lock());
  return find_stream_locked(file, name);
}

/// What the file system keeps its own records in is not for users.
Result<> ObjectStore::check_ordinary(File& file) {
  const FileReference reference = file.reference();
  if (reference.record() < kFirstOrdinaryRecord) return NtStatus::AccessDenied;
  for (const NameInDirectory& name : TRY(names_of(reference))) {
    if (name.directory.record() == ondisk::kExtendRecord) return NtStatus::AccessDenied;
  }
  return {};
}

Result<> ObjectStore::check_stream_change(File& file) {
  TRY(check_data());
  if (file.reference().record() == ondisk::kRootRecord) return {};
  return check_ordinary(file);
}

Result<> ObjectStore::create_stream(File& file, std::u16string_view name) {
  TRY(check_stream_name(name));
  TRY(check_stream_change(file));
  const auto found = find_stream(file, name);
  if (found) return NtStatus::ObjectNameCollision;
  if (found.error() != NtStatus::ObjectNameNotFound) return found.error();
  return set_stream(file, name, {});
}

Result<> ObjectStore::set_stream(File& file, std::u16string_view name, ByteView value) {
  TRY(check_stream_name(name));
  if (value.size() > Stream::kMostReplaced) return NtStatus::FileTooLarge;
  TRY(check_stream_change(file));
  auto found = find_stream(file, name);
  const bool is_new = !found && found.error() == NtStatus::ObjectNameNotFound;
  if (!found && !is_new) return found.error();
  if (is_new) TRY(check_new_name(name, options_));
  const StreamPtr stream = is_new ? file.named_stream(name) : *found;
  if (stream->deleted()) return NtStatus::DeletePending;  // it is just going
  uint32_t reasons = usn::Reason::StreamChange;           // C15
  if (!is_new) {
    StreamExtension* extension = stream->extension();
    if (extension != nullptr) {
      auto* state = static_cast<StreamState*>(extension);
      TRY(state->break_oplock(nullptr, OplockOperation::OpenToOverwrite));
    }
    const Stream::Sizes before = TRY(stream->sizes());
    reasons = before.file_size == 0 ? 0 : usn::Reason::NamedDataTruncation;  // C14
  }
  if (!value.empty()) reasons |= usn::Reason::NamedDataExtend;
  UsnPost post(file, reasons);
  TRY(with_reclaim(*volume_, [&] { return stream->replace(value); }));
  post.keep();
  note_stream_change(file);
  if (is_new) {
    report_stream(file, name, NotifyAction::AddedStream, NotifyFilter::StreamName);
  } else {
    report_stream(file, stream->name(), NotifyAction::ModifiedStream,
                  NotifyFilter::StreamSize | NotifyFilter::StreamWrite);
  }
  return {};
}

/// C15: change time and archive bit.
void ObjectStore::note_stream_change(File& file) const {
  FileTimes times;
  times.change = ondisk::FileTime::now();
  file.note_modified(times);
}

Result<ByteVector> ObjectStore::read_stream(File& file, std::u16string_view name) {
  const StreamPtr stream = TRY(find_stream(file, name));
  const Stream::Sizes sizes = TRY(stream->sizes());
  if (sizes.file_size > Stream::kMostReplaced) return NtStatus::BufferOverflow;
  if (sizes.file_size == 0) return ByteVector();
  AlignedBuffer memory = volume_->device().allocate(align_up(sizes.file_size, 4096));
  const size_t length = TRY(stream->read(0, sizes.file_size, memory.bytes()));
  const ByteView value = memory.bytes().first(length);
  return ByteVector(value.begin(), value.end());
}

Result<> ObjectStore::remove_stream(File& file, std::u16string_view name) {
  TRY(check_stream_name(name));
  TRY(check_stream_change(file));
  const StreamPtr stream = TRY(find_stream(file, name));
  if (StreamExtension* extension = stream->extension()) {
    auto* state = static_cast<StreamState*>(extension);
    TRY(state->break_oplock(nullptr, OplockOperation::Delete));
    TRY(state->check_removal());
  }
  stream->deleted() = true;
  if (stream->openers().load() != 0) return {};
  auto removed = remove_now(*stream);
  if (!removed) stream->deleted() = false;
  return removed;
}

/// X2: "If Open.Stream.IsDeleted is TRUE".
Result<> ObjectStore::remove_now(Stream& stream) {
  File& file = stream.file();
  UsnPost post(file, usn::Reason::StreamChange);
  TRY(with_reclaim(*volume_, [&] { return stream.remove(); }));
  post.keep();
  file.forget_stream(stream);
  note_stream_change(file);
  report_stream(file, stream.name(), NotifyAction::RemovedStream, NotifyFilter::StreamName);
  return {};
}

/// After its last open is closed.
void ObjectStore::remove_deleted(const StreamPtr& stream) {
  File& file = stream->file();
  if (file.is_unlinked()) return;  // it goes with the file
  const auto removed = remove_now(*stream);
  if (removed) return;
  if (removed.error() == NtStatus::ObjectNameNotFound) return file.forget_stream(*stream);
  log_line(LogLevel::Error,
           fmt::format("removing a stream of the file {}-{} failed: {}", file.reference().record(),
                       file.reference().sequence(), name_of(removed.error())));
}

}  // namespace ntfs
