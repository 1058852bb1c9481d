// MS-FSA 2.1.5.10 "Server Requests an FsControl Request": FSCTL_SET_REPARSE_POINT,
// FSCTL_GET_REPARSE_POINT, FSCTL_DELETE_REPARSE_POINT. RP1 to RP16 are the steps of the conformance
// table.

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/fsa/stream_state.h"
#include "core/fsa/usn_post.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;
using ondisk::ReparsePointView;
using ondisk::ReparseTag;

namespace {

/// Owner and mode for Linux stand in extended attributes beside reparse points, too.
constexpr std::string_view kLinuxMetadataPrefix = "$LX";

Result<> check_extended_attributes(Volume& volume, FileReference file) {
  const auto value = read_small_value(volume, file, AttributeType::Ea);
  if (!value) return value.error() == NtStatus::ObjectNameNotFound ? Result<>() : value.error();
  const auto eas = TRY(ondisk::parse_eas(*value, {"$EA", file.raw(), 0}));
  const bool is_linux_only = std::all_of(eas.begin(), eas.end(), [](const ondisk::Ea& ea) {
    return ea.name.starts_with(kLinuxMetadataPrefix);
  });
  return is_linux_only ? Result<>() : NtStatus::EasNotSupported;
}

/// RP10, RP11: the tag, and the GUID of a tag that is not Microsoft's, are those of `old`.
Result<> check_same(const ReparsePointView& old, const ReparsePointView& given) {
  if (old.tag() != given.tag()) return NtStatus::IoReparseTagMismatch;
  if (!std::ranges::equal(old.guid(), given.guid())) return NtStatus::ReparseAttributeConflict;
  return {};
}

/// The reparse point that the file has, or an empty value.
Result<ByteVector> old_value(Volume& volume, FileReference file) {
  TRY(volume.mft().base_record(file));
  auto value = read_small_value(volume, file, AttributeType::ReparsePoint);
  if (value || value.error() != NtStatus::ObjectNameNotFound) return value;
  return ByteVector();
}

Result<ReparsePointView> view_of(ByteView value, FileReference file) {
  return ReparsePointView::parse(value, {"reparse point", file.raw(), 0});
}

/// What a file's attributes say of it.
Result<> tell_attributes(Transaction& transaction, Attributes& file, uint32_t tag) {
  const auto found = TRY(file.find(AttributeType::StandardInformation));
  const auto information = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", file.file().raw(), 0}));
  uint32_t attributes = information.file_attributes.get() & ~FileAttributes::ReparsePoint;
  if (tag != 0) attributes |= FileAttributes::ReparsePoint;
  return file.update_value(transaction, found,
                           offsetof(ondisk::StandardInformation, file_attributes),
                           bytes_of(le32::of(attributes)));
}

/// What changes beside the value; `tag`: 0 when the reparse point is gone.
Result<> tell_change(Transaction& transaction, Volume& volume, File& file, uint32_t tag) {
  Attributes attributes(volume, file.reference());
  TRY(tell_attributes(transaction, attributes, tag));
  return file.log_information(transaction, std::nullopt);
}

/// RP7, RP9 to RP11; then RP12.
Result<> set_now(Transaction& transaction, Volume& volume, const Open& open, ByteView value,
                 const ReparsePointView& point) {
  File& file = *open.file();
  const FileReference reference = file.reference();
  const ByteVector old = TRY(old_value(volume, reference));
  if (open.is_directory() && (point.tag() & ReparseTag::DirectoryBit) == 0) {
    IndexTree entries(volume, reference, u"$I30");
    if (!TRY(entries.is_empty())) return NtStatus::DirectoryNotEmpty;
  }
  TRY(check_extended_attributes(volume, reference));
  if (!old.empty()) {
    const auto view = TRY(view_of(old, reference));
    TRY(check_same(view, point));
    TRY(remove_small_value(transaction, volume, reference, AttributeType::ReparsePoint));
  }
  TRY(insert_small_value(transaction, volume, reference, AttributeType::ReparsePoint, value,
                         kResidentReparseBytes));
  TRY(list_reparse_point(transaction, volume, point.tag(), reference));
  return tell_change(transaction, volume, file, point.tag());
}

Result<> delete_now(Transaction& transaction, Volume& volume, File& file,
                    const ReparsePointView& head) {
  const FileReference reference = file.reference();
  const ByteVector old = TRY(old_value(volume, reference));
  if (old.empty()) return NtStatus::NotAReparsePoint;
  const auto view = TRY(view_of(old, reference));
  TRY(check_same(view, head));
  TRY(remove_small_value(transaction, volume, reference, AttributeType::ReparsePoint));
  TRY(unlist_reparse_point(transaction, volume, head.tag(), reference));
  return tell_change(transaction, volume, file, 0);
}

Result<> check_empty(const Open& open) {
  if (open.is_directory()) return {};
  const Stream::Sizes sizes = TRY(open.stream().sizes());
  return sizes.file_size == 0 ? Result<>() : NtStatus::IoReparseDataInvalid;
}

}  // namespace

/// RP1, RP2. RP3 does not arise: volumes before version 3 are not written to.
Result<> ObjectStore::check_reparse_change(const Open& open) const {
  constexpr uint32_t kNeeded = AccessMask::WriteData | AccessMask::WriteAttributes;
  if ((open.granted_access() & kNeeded) == 0) return NtStatus::AccessDenied;
  TRY(check_data());
  // Not in the document: the system files are the file system's own.
  const bool is_system = open.file()->reference().record() < kFirstOrdinaryRecord;
  return is_system ? NtStatus::AccessDenied : Result<>();
}

/// RP12, RP15: times, archive bit, and who is told. The document says LAST_ACCESS; what changes is
/// an attribute.
void ObjectStore::finish_reparse_change(Open& open) {
  open.file()->data().note_reparse_change();
  FileTimes times;
  times.change = ondisk::FileTime::now();
  if (open.is_directory()) {
    open.file()->note_times(times);
  } else {
    open.file()->note_modified(times);
  }
  if (open.state_ != nullptr) open.state_->note_change(NotifyFilter::Attributes);
}

Result<> ObjectStore::set_reparse_point(Open& open, ByteView value) {
  TRY(check_reparse_change(open));
  const auto point = TRY(ReparsePointView::parse_request(value));  // RP4
  if (point.tag() <= ReparseTag::LastReserved) return NtStatus::IoReparseTagInvalid;
  const bool is_mount_point = point.tag() == ReparseTag::MountPoint;
  if (is_mount_point && !open.is_directory()) return NtStatus::NotADirectory;  // RP5
  const bool is_symlink = point.tag() == ReparseTag::Symlink;
  if (is_mount_point || is_symlink) TRY(ondisk::windows_link(point));
  if (is_symlink) {
    if (!open.has_symbolic_link_access()) return NtStatus::AccessDenied;  // RP6
    TRY(check_empty(open));                                               // RP8
  }
  // The data may be somewhere else then: nothing of it is kept back.
  if (!open.is_directory()) TRY(open.file()->data().write_back());
  UsnPost post(*open.file(), usn::Reason::ReparsePointChange);
  const auto done = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(set_now(transaction, *volume_, open, value, point));
    transaction.commit();
    return {};
  });
  TRY(Result<>(done));
  post.keep();
  finish_reparse_change(open);
  return {};
}

Result<ReparsePoint> ObjectStore::get_reparse_point(Open& open, size_t room) {
  const SharedLock lock(volume_->journal().metadata_lock());
  ReparsePoint answer;
  answer.value = TRY(old_value(*volume_, open.file()->reference()));
  if (answer.value.empty()) return NtStatus::NotAReparsePoint;
  const auto point = TRY(view_of(answer.value, open.file()->reference()));
  if (room < sizeof(ondisk::ReparseHeader) + point.guid().size()) return NtStatus::BufferTooSmall;
  if (answer.value.size() > room) {
    answer.value.resize(room);
    answer.status = NtStatus::BufferOverflow;
  }
  return answer;
}

Result<> ObjectStore::delete_reparse_point(Open& open, ByteView head) {
  TRY(check_reparse_change(open));
  const auto point = TRY(ReparsePointView::parse_request(head));
  if (!point.data().empty()) return NtStatus::IoReparseDataInvalid;
  if (point.tag() <= ReparseTag::LastReserved) return NtStatus::IoReparseTagInvalid;
  UsnPost post(*open.file(), usn::Reason::ReparsePointChange);
  const auto done = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(delete_now(transaction, *volume_, *open.file(), point));
    transaction.commit();
    return {};
  });
  TRY(Result<>(done));
  post.keep();
  finish_reparse_change(open);
  return {};
}

}  // namespace ntfs
