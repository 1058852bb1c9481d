// MS-FSA 2.1.5.12 "Server Requests a Query of File Information".

#include <algorithm>

#include "core/fsa/link_target.h"
#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/small_values.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::AttributeView;

namespace {

void take_sizes(const AttributeView& attribute, FileInformation& information) {
  if (attribute.is_resident()) {
    information.file_size = attribute.value().size();
    information.allocated_size = align_up(information.file_size, 8);
  } else if (attribute.lowest_vcn() == Vcn(0)) {
    information.file_size = attribute.file_size();
    information.allocated_size = attribute.total_allocated();
  }
}

/// What attribute records say of the file.
struct Seen {
  ondisk::StandardInformation standard{};
  bool has_reparse = false;
  bool has_long_eas = false;   ///< nonresident
  uint64_t wof_allocated = 0;  ///< bytes
};

Result<> take_attribute(const AttributeView& view, FileInformation& information, Seen& seen) {
  switch (view.type()) {
    case AttributeType::StandardInformation:
      seen.standard = TRY(ondisk::parse_standard_information(
          view.value(), {"$STANDARD_INFORMATION", information.reference.raw(), 0}));
      information.take(seen.standard);
      return {};
    case AttributeType::FileName:
      if (ondisk::FileNameView::of_valid(view.value()).name_type() != ondisk::NameType::Dos) {
        ++information.link_count;
      }
      return {};
    case AttributeType::Data:
      if (!view.has_name()) {
        take_sizes(view, information);
      } else if (!view.is_resident() && view.lowest_vcn() == Vcn(0) &&
                 view.name_equals(ondisk::kWofStreamName)) {
        seen.wof_allocated = view.total_allocated();
      }
      return {};
    case AttributeType::IndexAllocation:
      if (view.name_equals(u"$I30")) take_sizes(view, information);
      return {};
    case AttributeType::ReparsePoint:
      seen.has_reparse = true;
      return {};
    case AttributeType::Ea:
      information.has_eas = true;
      if (view.is_resident()) {
        information.linux_metadata =
            linux_metadata_of(view.value(), {"$EA", information.reference.raw(), 0});
      } else {
        seen.has_long_eas = true;
      }
      return {};
    default:
      return {};
  }
}

Result<> take_reparse(Volume& volume, std::string_view mount_point, FileInformation& information) {
  const FileReference file = information.reference;
  const ByteVector value = TRY(read_small_value(volume, file, AttributeType::ReparsePoint));
  const auto point = ondisk::ReparsePointView::parse(value, {"reparse point", file.raw(), 0});
  if (!point) return {};
  information.reparse_tag = point->tag();
  information.kind = kind_of(point->tag(), information.kind == FileKind::Directory);
  if (information.kind == FileKind::Symlink) {
    const std::string target = TRY(link_target(volume, mount_point, file, value));
    information.file_size = target.size();
  }
  return {};
}

bool may_be_interix(const FileInformation& information) {
  return (information.file_attributes & ondisk::FileAttributes::System) != 0 &&
         information.kind == FileKind::File && information.reparse_tag == 0 &&
         information.file_size <= kMostInterixBytes;
}

/// A regular file when its data cannot be read.
InterixFile read_interix_file(File& file, uint32_t file_attributes) {
  AlignedBuffer buffer(align_up(kMostInterixBytes, AlignedBuffer::kAlignment));
  const auto length = file.data().read(0, buffer.size(), buffer.bytes());
  if (!length) return {};
  return interix_file(ByteView(buffer.bytes()).first(*length), file_attributes);
}

}  // namespace

Result<FileInformation> ObjectStore::query_information(File& file) {
  if (const File::Remains* remains = file.remains()) {
    FileInformation information;
    information.reference = file.reference();
    information.kind = kind_of(remains->reparse_tag, remains->is_directory);
    return information;
  }
  FileInformation information = TRY(query_record(file));
  if (!may_be_interix(information)) return information;
  const InterixFile interix = read_interix_file(file, information.file_attributes);
  information.kind = interix.kind;
  if (interix.kind == FileKind::Symlink) information.file_size = interix.target.size();
  if (interix.device != 0) information.linux_metadata.device = interix.device;
  return information;
}

/// What the file's record, and what is noted of the file, say.
Result<FileInformation> ObjectStore::query_record(File& file) {
  // Buffered data is ahead of what the record says. Asked for before the metadata lock is taken.
  std::optional<Stream::Sizes> buffered;
  if (file.data().is_dirty()) {
    auto sizes = file.data().sizes();
    if (sizes) buffered = *sizes;
  }
  std::optional<FileInformation> information = file.recall();
  if (!information) {
    const SharedLock lock(volume_->journal().metadata_lock());
    information = TRY(read_record(file));
  }
  if (buffered && information->kind == FileKind::File) {
    information->file_size = buffered->file_size;
    if (information->reparse_tag != ondisk::ReparseTag::Wof) {
      information->allocated_size = buffered->allocated;
    }
  }
  if (file.is_unlinked()) information->link_count = 0;
  return *information;
}

/// Without what is buffered. Remembers what one record alone says. Caller holds the metadata lock.
Result<FileInformation> ObjectStore::read_record(File& file) {
  FileInformation information;
  information.reference = file.reference();
  const PageRef base = TRY(volume_->mft().base_record(file.reference()));
  const auto record = ondisk::FileRecordView::of_valid(base->bytes());
  information.kind = record.is_directory() ? FileKind::Directory : FileKind::File;
  Seen seen;
  const bool is_whole = !record.find(AttributeType::AttributeList);
  if (is_whole) {
    for (const AttributeView view : record) TRY(take_attribute(view, information, seen));
  } else {
    Attributes attributes(*volume_, file.reference());
    for (const auto& found : TRY(attributes.all())) {
      TRY(take_attribute(found.view(), information, seen));
    }
  }
  const bool is_raw = volume_->options().encrypted == VolumeOptions::Encrypted::Raw;
  const bool is_encrypted = (information.file_attributes & ondisk::FileAttributes::Encrypted) != 0;
  if (is_raw && is_encrypted && !volume_->is_writable()) {
    information.file_size = Stream::raw_size(information.file_size);
  }
  if (seen.has_reparse) {
    TRY(take_reparse(*volume_, options_.mount_point, information));
    const bool is_wof = information.reparse_tag == ondisk::ReparseTag::Wof;
    if (is_wof) information.allocated_size = seen.wof_allocated;
  }
  if (seen.has_long_eas) {
    const auto value = TRY(read_small_value(*volume_, file.reference(), AttributeType::Ea));
    information.linux_metadata = linux_metadata_of(value, {"$EA", file.reference().raw(), 0});
  }
  // Where a link leads does not hang on its record alone.
  if (is_whole && !seen.has_reparse && !seen.has_long_eas) {
    file.remember({seen.standard, information, base, base->changes()});
  }
  file.overlay(seen.standard);
  information.take(seen.standard);
  return information;
}

/// For whoever asks next, where the record alone says it all; what is wrong with it is told then.
/// Caller holds the metadata lock.
void ObjectStore::remember(File& file) {
  if (file.recall()) return;
  const auto base = volume_->mft().base_record(file.reference());
  if (!base) return;
  const auto record = ondisk::FileRecordView::of_valid((*base)->bytes());
  const bool says_all =
      !record.find(AttributeType::AttributeList) && !record.find(AttributeType::ReparsePoint);
  if (says_all) (void)read_record(file);
}

Result<std::string> ObjectStore::read_link(File& file) {
  {
    const SharedLock lock(volume_->journal().metadata_lock());
    const auto value = read_small_value(*volume_, file.reference(), AttributeType::ReparsePoint);
    if (value) return link_target(*volume_, options_.mount_point, file.reference(), *value);
    if (value.error() != NtStatus::ObjectNameNotFound) return value.error();
  }
  const FileInformation information = TRY(query_record(file));
  if (!may_be_interix(information)) return NtStatus::NotAReparsePoint;
  InterixFile interix = read_interix_file(file, information.file_attributes);
  if (interix.kind != FileKind::Symlink) return NtStatus::NotAReparsePoint;
  return std::move(interix.target);
}

}  // namespace ntfs
