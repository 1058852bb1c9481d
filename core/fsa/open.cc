// MS-FSA 2.1.5.1 "Server Requests an Open of a File", as far as it is about the open and not about
// finding or making the file; 2.1.5.5 "Server Requests Closing an Open". Names are removed as POSIX
// removes them (remove.cc).

#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/ondisk/file_record.h"

namespace ntfs {

using ondisk::FileAttributes;

namespace {

/// Bits of an access mask that mean nothing.
constexpr uint32_t kNoAccess = 0x0CE0FE00;
constexpr uint32_t kAttributesOnly =
    AccessMask::ReadAttributes | AccessMask::WriteAttributes | AccessMask::Synchronize;
constexpr uint32_t kModes = OpenMode::WriteThrough | OpenMode::SequentialOnly |
                            OpenMode::NoIntermediateBuffering | OpenMode::Synchronous;

Result<> check(const OpenParameters& parameters) {
  const uint32_t access = parameters.desired_access;
  const uint32_t mode = parameters.mode;
  if ((mode & ~kModes) != 0) return NtStatus::InvalidParameter;
  const bool is_synchronous = (mode & OpenMode::Synchronous) != 0;
  if (is_synchronous && (access & AccessMask::Synchronize) == 0) return NtStatus::InvalidParameter;
  if ((mode & OpenMode::Synchronous) == OpenMode::Synchronous) return NtStatus::InvalidParameter;
  const bool is_unbuffered = (mode & OpenMode::NoIntermediateBuffering) != 0;
  if (is_unbuffered && (access & AccessMask::AppendData) != 0) return NtStatus::InvalidParameter;
  if ((parameters.share_access & ~ShareAccess::All) != 0) return NtStatus::InvalidParameter;
  if (access == 0 || (access & kNoAccess) != 0) return NtStatus::AccessDenied;
  return {};
}

bool may_write(uint32_t access) {
  return (access & (AccessMask::WriteData | AccessMask::AppendData)) != 0;
}

/// Of a file that is no directory.
Result<bool> has_reparse_point(Volume& volume, const File& file) {
  const auto known = file.recall();
  if (known && (known->file_attributes & FileAttributes::ReparsePoint) == 0) return false;
  const SharedLock lock(volume.journal().metadata_lock());
  const PageRef base = TRY(volume.mft().base_record(file.reference()));
  const auto record = ondisk::FileRecordView::of_valid(base->bytes());
  const auto standard = record.find(ondisk::AttributeType::StandardInformation);
  if (!standard) return false;
  const auto information = TRY(ondisk::parse_standard_information(
      standard->value(), {"$STANDARD_INFORMATION", file.reference().raw(), 0}));
  return (information.file_attributes.get() & FileAttributes::ReparsePoint) != 0 &&
         !record.is_directory();
}

}  // namespace

/// C7: data that the owner of a reparse point keeps is refused before anybody counts on it.
Result<> ObjectStore::check_data_access(File& file, const OpenParameters& parameters) {
  const bool reads = (parameters.desired_access & AccessMask::ReadData) != 0;
  const bool writes = may_write(parameters.desired_access);
  if (parameters.reparse_point == OpenReparsePoint::Yes || !parameters.stream.empty()) return {};
  if (!reads && !writes) return {};
  if (!TRY(has_reparse_point(*volume_, file))) return {};
  if (reads) TRY(file.data().check_readable());
  return writes ? file.data().check_writable() : Result<>();
}

Result<std::unique_ptr<Open>> ObjectStore::open(const FilePtr& file,
                                                const OpenParameters& parameters) {
  TRY(check(parameters));
  TRY(check_data_access(*file, parameters));
  const bool opens_lock = options_.opens_lock == OpensLock::Yes;
  if (!opens_lock && parameters.share_access != ShareAccess::All) return NtStatus::NotSupported;
  bool is_directory = false;
  StreamPtr named;
  const auto known = parameters.stream.empty() ? file->recall() : std::nullopt;
  if (known && file->hold_again()) {
    is_directory = known->kind == FileKind::Directory;
  } else {
    // Under the lock, so that a removal sees either the holder or no file.
    const SharedLock lock(volume_->journal().metadata_lock());
    const PageRef base = TRY(volume_->mft().base_record(file->reference()));
    is_directory = ondisk::FileRecordView::of_valid(base->bytes()).is_directory();
    if (!parameters.stream.empty()) {
      named = TRY(find_stream_locked(*file, parameters.stream));
      is_directory = false;
    }
    file->holders().fetch_add(1);
  }
  if (named != nullptr) named->openers().fetch_add(1);
  Stream& stream = named != nullptr ? *named : file->data();
  StreamState* state = nullptr;
  if (opens_lock) {
    StreamExtension* extension = stream.extension();
    if (extension == nullptr) extension = &stream.extend(std::make_unique<StreamState>());
    state = static_cast<StreamState*>(extension);
  }
  std::unique_ptr<Open> open(new Open(file, std::move(named), parameters, state, is_directory));
  if (may_write(open->granted_access_)) file->writers().fetch_add(1);
  if (open->stream_ != nullptr && open->stream_->deleted()) {
    close(std::move(open));
    return NtStatus::DeletePending;
  }
  if (state == nullptr) return open;
  const bool is_for_attributes = (open->granted_access_ & ~kAttributesOnly) == 0;
  auto admitted = state->admit(*open);
  // C16: deleting the file would take its other streams along.
  const bool may_delete = (open->granted_access_ & AccessMask::Delete) != 0;
  if (admitted && may_delete && open->stream_ == nullptr) admitted = check_streams_removal(*file);
  if (admitted) {
    admitted = state->break_oplock(
        open.get(), is_for_attributes ? OplockOperation::OpenAttributes : OplockOperation::Open);
  }
  if (admitted) return open;
  close(std::move(open));
  return admitted.error();
}

void ObjectStore::close(std::unique_ptr<Open> open) {
  const FilePtr file = open->file_;
  if (open->state_ != nullptr) {
    open->state_->remove(*open);
    // X6: "If Open.File.PendingNotifications is nonzero", and those of the stream.
    const uint32_t changes = open->state_->take_changes();
    if (open->stream_ == nullptr) {
      report_file(*file, changes);
    } else {
      report_stream(*file, open->stream_->name(), NotifyAction::ModifiedStream, changes);
    }
    if (open->watches_tree_) --count_tree_watches_;
  }
  if (may_write(open->granted_access_)) file->writers().fetch_sub(1);
  const StreamPtr named = open->stream_;
  open.reset();
  // X2.
  if (named != nullptr && named->openers().fetch_sub(1) == 1 && named->deleted()) {
    remove_deleted(named);
  }
  close(file);
}

void ObjectStore::cancel(Open& open) {
  if (open.state_ != nullptr) open.state_->cancel(open);
}

Result<> ObjectStore::break_oplock(File& file, OplockOperation operation) {
  StreamExtension* extension = file.data().extension();
  if (extension == nullptr) return {};
  return static_cast<StreamState*>(extension)->break_oplock(nullptr, operation);
}

/// A name that leads nowhere is refused by whoever needs it. What takes a name away would need an
/// open with DELETE: SharingViolation.
Result<> ObjectStore::break_oplock(File& directory, std::u16string_view name,
                                   OplockOperation operation) {
  if (options_.opens_lock == OpensLock::No) return {};
  const auto file = lookup(directory, name);
  if (!file) return {};
  TRY(break_oplock(**file, operation));
  if (StreamExtension* extension = (*file)->data().extension()) {
    TRY(static_cast<StreamState*>(extension)->check_removal());
  }
  return check_streams_removal(**file);
}

/// Whether the opens of all named streams let the file be deleted.
Result<> ObjectStore::check_streams_removal(File& file) {
  for (const StreamPtr& stream : file.named_streams()) {
    StreamExtension* extension = stream->extension();
    if (extension != nullptr) TRY(static_cast<StreamState*>(extension)->check_removal());
  }
  return {};
}

}  // namespace ntfs
