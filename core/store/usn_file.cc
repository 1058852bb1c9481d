#include "core/store/usn_file.h"

#include "core/ondisk/file_record.h"
#include "core/store/attributes.h"
#include "core/store/operations.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;
using ondisk::FileRecordFlags;

namespace {

constexpr uint32_t kAttributes = FileAttributes::Hidden | FileAttributes::System;

/// Adds an attribute behind the others, with the function that recovery runs.
void add(MutableBytes record, ByteView attribute) {
  const auto view = ondisk::FileRecordView::of_valid(record);
  apply(create_attribute(view.end_marker_offset(), attribute), PageKind::FileRecord, record,
        lfs::Lsn());
}

uint16_t next_instance(ByteView record) {
  return ondisk::FileRecordView::of_valid(record).next_attribute_instance();
}

ByteVector build_records(uint16_t instance, uint32_t cluster_size) {
  ondisk::NonresidentInit init;
  init.type = AttributeType::Data;
  init.flags = ondisk::AttributeFlags::Sparse;
  init.instance = instance;
  init.compression_unit = sparse_compression_unit(cluster_size);
  const std::array<std::byte, 1> no_runs{};
  return ondisk::build_nonresident(init, kUsnRecords, no_runs);
}

}  // namespace

ByteVector build_usn_file_name(ondisk::FileTime time) {
  ondisk::DuplicatedInformation duplicated{};
  const auto now = le64::of(time.raw());
  duplicated.creation_time = now;
  duplicated.last_write_time = now;
  duplicated.change_time = now;
  duplicated.last_access_time = now;
  duplicated.file_attributes.set(kAttributes);
  return ondisk::build_file_name(FileReference(ondisk::kExtendRecord, 11), duplicated,
                                 ondisk::NameType::Posix, kUsnFileName);
}

ByteVector build_usn_file(const ondisk::VolumeGeometry& geometry, FileReference self,
                          uint32_t security_id, const usn::JournalInformation& information) {
  ondisk::FileRecordInit init;
  init.record_number = self.record();
  init.sequence = self.sequence();
  init.flags = FileRecordFlags::InUse | FileRecordFlags::Extend;
  ByteVector record(geometry.file_record_size);
  ondisk::format_file_record(record, init);
  ondisk::StandardInformation standard{};
  const auto now = le64::of(information.id);  // the id is when the journal was made
  standard.creation_time = now;
  standard.last_write_time = now;
  standard.change_time = now;
  standard.last_access_time = now;
  standard.file_attributes.set(kAttributes | FileAttributes::SparseFile);
  standard.security_id.set(security_id);
  const auto resident = [&](AttributeType type, std::u16string_view name, ByteView value,
                            ondisk::Indexed indexed) {
    add(record, ondisk::build_resident(type, name, 0, next_instance(record), value, indexed));
  };
  resident(AttributeType::StandardInformation, {}, bytes_of(standard), ondisk::Indexed::No);
  resident(AttributeType::FileName, {},
           build_usn_file_name(ondisk::FileTime::from_raw(information.id)), ondisk::Indexed::Yes);
  add(record, build_records(next_instance(record), geometry.cluster_size));
  resident(AttributeType::Data, kUsnMaximum, usn::build_max(information), ondisk::Indexed::No);
  return record;
}

}  // namespace ntfs
