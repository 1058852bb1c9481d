// MS-FSA 2.1.5.14 "Server Requests a Query of Security Information", 2.1.5.17 "Server Requests
// Setting of Security Information"; of 2.1.5.1.1 "Creation of a New File" the descriptor. The marks
// S are those of the conformance table (docs/conformance.md).

#include "core/fsa/security.h"

#include "core/fsa/names.h"
#include "core/fsa/small_values.h"
#include "core/fsa/stream_state.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/security_descriptors.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::DescriptorControl;
using ondisk::SecurityDescriptor;
using ondisk::StandardInformation;

namespace {

constexpr uint16_t kOwnerControl = DescriptorControl::OwnerDefaulted;
constexpr uint16_t kGroupControl = DescriptorControl::GroupDefaulted;
constexpr uint16_t kDaclControl =
    DescriptorControl::DaclPresent | DescriptorControl::DaclDefaulted |
    DescriptorControl::DaclAutoInherited | DescriptorControl::DaclProtected;
constexpr uint16_t kSaclControl =
    DescriptorControl::SaclPresent | DescriptorControl::SaclDefaulted |
    DescriptorControl::SaclAutoInherited | DescriptorControl::SaclProtected;

/// Puts those parts of `from` into `into`.
void take_parts(const SecurityDescriptor& from, uint32_t parts, SecurityDescriptor& into) {
  const auto take = [&](uint32_t part, uint16_t control, auto SecurityDescriptor::*member) {
    if ((parts & part) == 0) return;
    into.*member = from.*member;
    into.control = static_cast<uint16_t>((into.control & ~control) | (from.control & control));
  };
  take(SecurityInformation::Owner, kOwnerControl, &SecurityDescriptor::owner);
  take(SecurityInformation::Group, kGroupControl, &SecurityDescriptor::group);
  take(SecurityInformation::Dacl, kDaclControl, &SecurityDescriptor::dacl);
  take(SecurityInformation::Sacl, kSaclControl, &SecurityDescriptor::sacl);
}

Result<> check_parts(uint32_t parts) {
  return (parts & ~SecurityInformation::All) == 0 ? Result<>() : Result<>(NtStatus::NotSupported);
}

/// What somebody asks to be set.
Result<SecurityDescriptor> parse_wanted(uint32_t parts, ByteView descriptor) {
  TRY(check_parts(parts));
  auto wanted = ondisk::parse_security_descriptor(descriptor, Origin{});
  const bool is_good = wanted && descriptor.size() <= SecurityDescriptors::kMostBytes &&
                       (wanted->control & DescriptorControl::SelfRelative) != 0;
  if (!is_good) return NtStatus::InvalidSecurityDescr;
  // S7
  if ((parts & SecurityInformation::Owner) != 0 && !wanted->owner) return NtStatus::InvalidOwner;
  return wanted;
}

struct FoundInformation {
  Attributes::Found found;
  StandardInformation information;
};

Result<FoundInformation> find_standard_information(Attributes& attributes) {
  const auto found = TRY(attributes.find(AttributeType::StandardInformation));
  const auto information = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", attributes.file().raw(), 0}));
  return FoundInformation{found, information};
}

Result<uint32_t> security_id_of(Volume& volume, FileReference file) {
  Attributes attributes(volume, file);
  return TRY(find_standard_information(attributes))
  .information.security_id.get();
}

/// Descriptors that other drivers give each file of its own are inherited, too.
Result<uint32_t> inherit_own(Transaction& transaction, Volume& volume, FileReference directory,
                             Inheritor inheritor, const std::optional<FileOwner>& owner) {
  SecurityDescriptor parent;
  const auto own = read_small_value(volume, directory, AttributeType::SecurityDescriptor);
  if (!own && own.error() != NtStatus::ObjectNameNotFound) return own.error();
  if (own) {
    const Origin origin{"$SECURITY_DESCRIPTOR", directory.raw(), 0};
    parent = TRY(ondisk::parse_security_descriptor(*own, origin));
  }
  const auto made = TRY(inherit(parent, inheritor, owner.value_or(owner_from_parent(parent))));
  return volume.security().add(transaction, ondisk::build_security_descriptor(made));
}

}  // namespace

Result<ByteVector> read_security(Volume& volume, FileReference file) {
  const uint32_t id = TRY(security_id_of(volume, file));
  if (id == 0) return read_small_value(volume, file, AttributeType::SecurityDescriptor);
  const auto descriptor = TRY(volume.security().find(id));
  return descriptor->bytes;
}

Result<> write_security(Transaction& transaction, Volume& volume, FileReference file,
                        ByteView descriptor) {
  const le32 id = le32::of(TRY(volume.security().add(transaction, descriptor)));
  Attributes attributes(volume, file);
  auto [found, information] = TRY(find_standard_information(attributes));
  if (found.view().value().size() < sizeof(StandardInformation)) {
    // The form of NTFS 1.2, which has no place for the id.
    information.security_id = id;
    TRY(attributes.set_value(transaction, AttributeType::StandardInformation, u"",
                             bytes_of(information)));
  } else {
    TRY(attributes.update_value(transaction, found, offsetof(StandardInformation, security_id),
                                bytes_of(id)));
  }
  const auto own = attributes.find(AttributeType::SecurityDescriptor);
  if (!own) return own.error() == NtStatus::ObjectNameNotFound ? Result<>() : own.error();
  return remove_small_value(transaction, volume, file, AttributeType::SecurityDescriptor);
}

Result<uint32_t> security_of_new_file(Transaction& transaction, Volume& volume,
                                      FileReference directory, const CreateParameters& parameters) {
  if (!parameters.security_descriptor.empty()) {
    return volume.security().add(transaction, parameters.security_descriptor);
  }
  const uint32_t parent = TRY(security_id_of(volume, directory));
  // The file system's own files are all alike.
  if (directory.record() == ondisk::kExtendRecord) return parent;
  const Inheritor inheritor =
      parameters.kind == FileKind::Directory ? Inheritor::Directory : Inheritor::File;
  if (parent == 0) {
    return inherit_own(transaction, volume, directory, inheritor, parameters.owner);
  }
  return volume.security().inherit(transaction, parent, inheritor, parameters.owner);
}

Result<ByteVector> ObjectStore::query_security(File& file, uint32_t parts) {
  TRY(check_parts(parts));
  const SharedLock lock(volume_->journal().metadata_lock());
  ByteVector bytes = TRY(read_security(*volume_, file.reference()));
  if (parts == SecurityInformation::All) return bytes;
  const Origin origin{"security descriptor", file.reference().raw(), 0};
  const auto whole = TRY(ondisk::parse_security_descriptor(bytes, origin));
  SecurityDescriptor asked;  // S2
  take_parts(whole, parts, asked);
  return ondisk::build_security_descriptor(asked);
}

Result<ByteVector> ObjectStore::query_security(Open& open, uint32_t parts) {
  // S1
  uint32_t needed = 0;
  if ((parts & ~SecurityInformation::Sacl) != 0) needed |= AccessMask::ReadControl;
  if ((parts & SecurityInformation::Sacl) != 0) needed |= AccessMask::AccessSystemSecurity;
  if ((open.granted_access() & needed) != needed) return NtStatus::AccessDenied;
  return query_security(*open.file(), parts);
}

/// The file's descriptor with those parts of `wanted`: as it is given where that is all of it.
Result<ByteVector> ObjectStore::merge_security(FileReference file, uint32_t parts,
                                               const SecurityDescriptor& wanted) {
  SecurityDescriptor merged;
  const auto before = read_security(*volume_, file);
  if (!before && before.error() != NtStatus::ObjectNameNotFound) return before.error();
  if (before) {
    const Origin origin{"security descriptor", file.raw(), 0};
    merged = TRY(ondisk::parse_security_descriptor(*before, origin));
  }
  take_parts(wanted, parts, merged);  // S8
  if (!merged.owner) return NtStatus::InvalidOwner;
  return ondisk::build_security_descriptor(merged);
}

Result<> ObjectStore::set_security(File& file, uint32_t parts, ByteView descriptor) {
  if (!volume_->is_writable()) return NtStatus::MediaWriteProtected;
  const uint64_t record = file.reference().record();
  if (record < kFirstOrdinaryRecord && record != ondisk::kRootRecord) return NtStatus::AccessDenied;
  const SecurityDescriptor wanted = TRY(parse_wanted(parts, descriptor));
  const auto set = with_reclaim(*volume_, [&]() -> Result<> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    TRY(volume_->mft().base_record(file.reference()));
    ByteVector merged;
    if (parts != SecurityInformation::All) {
      merged = TRY(merge_security(file.reference(), parts, wanted));
    }
    FileRecords records(transaction, *volume_, file);
    TRY(records.add_noted());
    TRY(write_security(transaction, *volume_, file.reference(),
                       parts == SecurityInformation::All ? descriptor : ByteView(merged)));
    TRY(records.add(usn::Reason::SecurityChange));  // S6
    TRY(records.append());
    TRY(records.store_last());
    transaction.commit();
    return {};
  });
  TRY(Result<>(set));
  note_security_change(file);
  return {};
}

/// S9
void ObjectStore::note_security_change(File& file) {
  FileTimes times;
  times.change = ondisk::FileTime::now();
  file.note_times(times);
  const auto information = query_information(file);
  if (information && information->kind != FileKind::Directory) file.note_archive();
  report_file(file, NotifyFilter::Security);
  // Where nobody has the file open, this was an open, the change, and a close.
  if (file.holders().load() == 0) file.post_close();
}

Result<> ObjectStore::set_security(Open& open, uint32_t parts, ByteView descriptor) {
  // S4
  constexpr uint32_t kOfOwner = SecurityInformation::Owner | SecurityInformation::Group;
  uint32_t needed = 0;
  if ((parts & kOfOwner) != 0) needed |= AccessMask::WriteOwner;
  if ((parts & SecurityInformation::Dacl) != 0) needed |= AccessMask::WriteDac;
  if ((parts & SecurityInformation::Sacl) != 0) needed |= AccessMask::AccessSystemSecurity;
  if ((open.granted_access() & needed) != needed) return NtStatus::AccessDenied;
  // S5
  if (open.state_ != nullptr) {
    TRY(open.state_->break_oplock(&open, OplockOperation::SetSecurity));
  }
  return set_security(*open.file(), parts, descriptor);
}

}  // namespace ntfs
