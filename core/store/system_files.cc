#include "core/store/system_files.h"

#include <algorithm>

#include "core/ondisk/cluster_references.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/ondisk/utf16.h"
#include "core/store/attribute_definitions.h"
#include "core/store/upcase_table.h"
#include "core/store/usn_file.h"

namespace ntfs {

namespace {

using ondisk::AttributeSizes;
using ondisk::AttributeType;
using ondisk::Collation;
using ondisk::FileAttributes;
using ondisk::FileRecordFlags;
using ondisk::Indexed;
using ondisk::IndexKind;

constexpr std::u16string_view kFileNameIndex = u"$I30";
constexpr uint32_t kSystemAttributes = FileAttributes::Hidden | FileAttributes::System;

/// A file with a name, and what its $FILE_NAME says.
struct SystemFile {
  uint64_t record = 0;
  std::u16string_view name;
  uint64_t parent = ondisk::kRootRecord;
  uint32_t security_id = kSystemSecurityId;
  uint32_t index_attribute = 0;  ///< FileNameIndexPresent, ViewIndexPresent or 0
  uint64_t allocated = 0;        ///< bytes of the unnamed $DATA
  uint64_t file_size = 0;
};

/// Records up to 23 have their number as sequence number, but for 0, which may not be one.
uint16_t sequence_of(uint64_t record) {
  if (record == ondisk::kMftRecord || record >= ondisk::kFirstUserRecord) return 1;
  return static_cast<uint16_t>(record);
}

FileReference reference_of(uint64_t record) { return {record, sequence_of(record)}; }

/// All of them, those in one directory in the order of its index.
std::vector<SystemFile> list_system_files(const VolumeLayout& layout) {
  const auto file = [&layout](uint64_t record, std::u16string_view name, const ClusterRun& run,
                              uint64_t file_size) {
    return SystemFile{
        record,   name, ondisk::kRootRecord, kReadOnlySystemSecurityId, 0, layout.bytes_in(run),
        file_size};
  };
  const uint32_t directory = FileAttributes::FileNameIndexPresent;
  const uint32_t view = FileAttributes::ViewIndexPresent;
  const uint64_t extend = ondisk::kExtendRecord;
  const uint64_t root = ondisk::kRootRecord;
  std::vector<SystemFile> files = {
      file(ondisk::kAttrDefRecord, u"$AttrDef", layout.attribute_definitions,
           kAttributeDefinitionsBytes),
      {ondisk::kBadClusRecord, u"$BadClus", root, kReadOnlySystemSecurityId},
      file(ondisk::kBitmapRecord, u"$Bitmap", layout.bitmap, layout.bitmap_bytes),
      file(ondisk::kBootRecord, u"$Boot", layout.boot, kBootBytes),
      {ondisk::kExtendRecord, u"$Extend", root, kSystemSecurityId, directory},
      file(ondisk::kLogFileRecord, u"$LogFile", layout.log_file, layout.bytes_in(layout.log_file)),
      file(ondisk::kMftRecord, u"$MFT", layout.mft,
           layout.mft_records * layout.geometry.file_record_size),
      file(ondisk::kMftMirrRecord, u"$MFTMirr", layout.mftmirr,
           layout.mirrored_records * layout.geometry.file_record_size),
      {ondisk::kSecureRecord, u"$Secure", root, kSystemSecurityId, view},
      file(ondisk::kUpCaseRecord, u"$UpCase", layout.upcase, kUpCaseBytes),
      {ondisk::kVolumeRecord, u"$Volume", root, kSystemSecurityId},
      {ondisk::kRootRecord, u".", root, kRootSecurityId, directory},
      {kDeletedRecord, u"$Deleted", extend, kSystemSecurityId, directory},
      {kObjIdRecord, u"$ObjId", extend, kSystemSecurityId, view},
      {kQuotaRecord, u"$Quota", extend, kSystemSecurityId, view},
      {kReparseRecord, u"$Reparse", extend, kSystemSecurityId, view},
  };
  if (layout.geometry.has_refcounts) {
    files.insert(files.end() - 1,
                 {kRefcountsRecord, ondisk::kRefcountsName, extend, kSystemSecurityId, view});
  }
  return files;
}

ByteVector file_name_of(const SystemFile& file, ondisk::FileTime time) {
  ondisk::DuplicatedInformation duplicated;
  duplicated.creation_time.set(time.raw());
  duplicated.last_write_time.set(time.raw());
  duplicated.change_time.set(time.raw());
  duplicated.last_access_time.set(time.raw());
  duplicated.allocated_size.set(file.allocated);
  duplicated.file_size.set(file.file_size);
  duplicated.file_attributes.set(kSystemAttributes | file.index_attribute);
  return ondisk::build_file_name(reference_of(file.parent), duplicated,
                                 ondisk::NameType::Win32AndDos, file.name);
}

ByteVector standard_information(ondisk::FileTime time, uint32_t security_id, uint32_t attributes) {
  ondisk::StandardInformation information;
  information.creation_time.set(time.raw());
  information.last_write_time.set(time.raw());
  information.change_time.set(time.raw());
  information.last_access_time.set(time.raw());
  information.file_attributes.set(attributes);
  information.security_id.set(security_id);
  const ByteView bytes = bytes_of(information);
  return {bytes.begin(), bytes.end()};
}

/// Puts `entries`, which must fit, before the END entry of the empty node that `node` begins with.
void fill_node(MutableBytes node, std::span<const ByteVector> entries) {
  auto& header = struct_at<ondisk::IndexHeader>(node);
  size_t position = header.entries_offset.get();
  const auto end = node.subspan(position, header.used_bytes.get() - position);
  const ByteVector end_entry(end.begin(), end.end());
  const auto put = [&node, &position](const ByteVector& entry) {
    ASSERT(position + entry.size() <= node.size());
    std::copy(entry.begin(), entry.end(), node.begin() + static_cast<ptrdiff_t>(position));
    position += entry.size();
  };
  for (const ByteVector& entry : entries) put(entry);
  put(end_entry);
  header.used_bytes.set(static_cast<uint32_t>(position));
}

/// A file record that grows attribute by attribute, in the order of their types.
class RecordBuilder {
 public:
  RecordBuilder(const VolumeLayout& layout, uint64_t record, uint16_t flags, uint16_t link_count)
      : layout_(layout), record_(layout.geometry.file_record_size) {
    ondisk::format_file_record(record_, {record, sequence_of(record), flags, link_count, {}});
    auto& header = struct_at<ondisk::FileRecordHeader>(MutableBytes(record_));
    position_ = header.first_attribute_offset.get();
    const auto end = ByteView(record_).subspan(position_, ondisk::kEndMarkerBytes);
    end_marker_.assign(end.begin(), end.end());
  }

  void resident(AttributeType type, std::u16string_view name, ByteView value) {
    const Indexed indexed = type == AttributeType::FileName ? Indexed::Yes : Indexed::No;
    append(ondisk::build_resident(type, name, 0, instance_, value, indexed));
  }
  void nonresident(AttributeType type, std::u16string_view name, const ClusterRun& run,
                   uint64_t file_size) {
    const uint64_t allocated = layout_.bytes_in(run);
    nonresident(type, name, run, AttributeSizes{allocated, file_size, file_size, allocated});
  }
  void nonresident(AttributeType type, std::u16string_view name, const ClusterRun& run,
                   const AttributeSizes& sizes) {
    ondisk::NonresidentInit init;
    init.type = type;
    init.instance = instance_;
    init.next = Vcn(0) + run.count;
    init.sizes = sizes;
    const Run mapped{Vcn(0), run.lcn, run.count};
    const ByteVector pairs = ondisk::encode_mapping_pairs({&mapped, 1}, record_.size()).bytes;
    append(ondisk::build_nonresident(init, name, pairs));
  }
  void index_root(std::u16string_view name, Collation collation,
                  std::span<const ByteVector> entries) {
    ByteVector value = ondisk::build_index_root(root_init(collation), std::nullopt);
    size_t bytes = value.size();
    for (const ByteVector& entry : entries) bytes += entry.size();
    value.resize(bytes);
    const MutableBytes node = MutableBytes(value).subspan(ondisk::kIndexHeaderInRoot);
    fill_node(node, entries);
    struct_at<ondisk::IndexHeader>(node).allocated_bytes.set(static_cast<uint32_t>(node.size()));
    resident(AttributeType::IndexRoot, name, value);
  }
  void index_root_above(std::u16string_view name, Collation collation, Vcn child) {
    resident(AttributeType::IndexRoot, name, ondisk::build_index_root(root_init(collation), child));
  }

  ByteVector finish() {
    std::copy(end_marker_.begin(), end_marker_.end(),
              record_.begin() + static_cast<ptrdiff_t>(position_));
    auto& header = struct_at<ondisk::FileRecordHeader>(MutableBytes(record_));
    header.used_bytes.set(static_cast<uint32_t>(position_ + end_marker_.size()));
    header.next_attribute_instance.set(instance_);
    return std::move(record_);
  }

 private:
  ondisk::IndexRootInit root_init(Collation collation) const {
    return {collation == Collation::FileName ? IndexKind::FileNames : IndexKind::View, collation,
            layout_.geometry.index_block_size, layout_.geometry.index_block_steps()};
  }
  void append(const ByteVector& attribute) {
    ASSERT(position_ + attribute.size() + end_marker_.size() <= record_.size());
    std::copy(attribute.begin(), attribute.end(),
              record_.begin() + static_cast<ptrdiff_t>(position_));
    position_ += attribute.size();
    ++instance_;
  }

  const VolumeLayout& layout_;
  ByteVector record_;
  ByteVector end_marker_;
  size_t position_ = 0;
  uint16_t instance_ = 0;
};

uint16_t record_flags_of(const SystemFile& file) {
  uint16_t flags = FileRecordFlags::InUse;
  if (file.parent == ondisk::kExtendRecord) flags |= FileRecordFlags::Extend;
  if (file.index_attribute == FileAttributes::FileNameIndexPresent) {
    flags |= FileRecordFlags::Directory;
  } else if (file.index_attribute == FileAttributes::ViewIndexPresent) {
    flags |= FileRecordFlags::ViewIndex;
  }
  return flags;
}

std::vector<ByteVector> name_entries(const std::vector<SystemFile>& files, uint64_t directory,
                                     ondisk::FileTime time) {
  std::vector<ByteVector> entries;
  for (const SystemFile& file : files) {
    if (file.parent != directory) continue;
    entries.push_back(ondisk::build_entry(reference_of(file.record), file_name_of(file, time), {}));
  }
  return entries;
}

void add_volume(RecordBuilder& record, std::u16string_view label) {
  ondisk::VolumeInformation information{};
  information.major_version = std::byte{3};
  information.minor_version = std::byte{1};
  record.resident(AttributeType::VolumeName, {}, ondisk::utf16_bytes(label));
  record.resident(AttributeType::VolumeInformation, {}, bytes_of(information));
  record.resident(AttributeType::Data, {}, {});
}

void add_root_index(RecordBuilder& record, const VolumeLayout& layout) {
  record.index_root_above(kFileNameIndex, Collation::FileName, Vcn(0));
  record.nonresident(AttributeType::IndexAllocation, kFileNameIndex, layout.root_index,
                     kIndexBlockBytes);
  const le64 blocks_in_use = le64::of(1);
  record.resident(AttributeType::Bitmap, kFileNameIndex, bytes_of(blocks_in_use));
}

void add_bad_clusters(RecordBuilder& record, const VolumeLayout& layout) {
  record.resident(AttributeType::Data, {}, {});
  // Sparse in fact, without the flag: that is how every NTFS driver makes it.
  const ClusterRun everything{Lcn::hole(), ClusterCount(layout.geometry.total_clusters)};
  const uint64_t bytes = layout.bytes_in(everything);
  record.nonresident(AttributeType::Data, u"$Bad", everything, AttributeSizes{bytes, bytes, 0, 0});
}

void add_secure(RecordBuilder& record, const SystemFileInit& init) {
  std::vector<ByteVector> by_id;
  std::vector<ondisk::SdsEntryHeader> headers = init.security.entries;
  for (const auto& header : headers) by_id.push_back(ondisk::build_sii_entry(header));
  std::sort(headers.begin(), headers.end(),
            [](const auto& a, const auto& b) { return a.hash.get() < b.hash.get(); });
  std::vector<ByteVector> by_hash;
  for (const auto& header : headers) by_hash.push_back(ondisk::build_sdh_entry(header));

  record.nonresident(AttributeType::Data, u"$SDS", init.layout.sds, init.security.sds.size());
  record.index_root(u"$SDH", Collation::NtofsSecurityHash, by_hash);
  record.index_root(u"$SII", Collation::NtofsUlong, by_id);
}

/// Data of an entry of $Quota's index $Q, but for the owner's SID behind it.
struct QuotaEntry {
  le32 version;  // 2
  le32 flags;    // 1: the default limits
  le64 used_bytes;
  le64 change_time;
  le64 threshold;  // bytes; all ones: none
  le64 limit;      // likewise
  le64 exceeded_time;
};
static_assert(sizeof(QuotaEntry) == 0x30 && alignof(QuotaEntry) == 1);

void add_quota(RecordBuilder& record, ondisk::FileTime time) {
  constexpr uint32_t default_owner = 1;
  constexpr uint32_t first_owner = 0x100;
  const ByteVector administrators = ondisk::build_sid({5, {32, 544}});
  QuotaEntry quota{};
  quota.version.set(2);
  quota.flags.set(1);
  quota.change_time.set(time.raw());
  quota.threshold.set(~uint64_t{0});
  quota.limit.set(~uint64_t{0});
  const ByteView quota_bytes = bytes_of(quota);
  ByteVector with_owner(quota_bytes.begin(), quota_bytes.end());
  with_owner.insert(with_owner.end(), administrators.begin(), administrators.end());

  const le32 default_key = le32::of(default_owner);
  const le32 owner_key = le32::of(first_owner);
  const ByteVector by_sid[] = {ondisk::build_view_entry(administrators, bytes_of(owner_key), {})};
  const ByteVector by_owner[] = {ondisk::build_view_entry(bytes_of(default_key), quota_bytes, {}),
                                 ondisk::build_view_entry(bytes_of(owner_key), with_owner, {})};
  record.index_root(u"$O", Collation::NtofsSid, by_sid);
  record.index_root(u"$Q", Collation::NtofsUlong, by_owner);
}

void add_directory(RecordBuilder& record, uint64_t directory, const std::vector<SystemFile>& files,
                   const SystemFileInit& init) {
  std::vector<ByteVector> entries = name_entries(files, directory, init.time);
  if (directory == ondisk::kExtendRecord && init.usn) {
    const ByteVector name = build_usn_file_name(init.time);
    entries.push_back(ondisk::build_entry(reference_of(kUsnRecord), name, {}));
  }
  record.index_root(kFileNameIndex, Collation::FileName, entries);
}

/// What each file has behind its $FILE_NAME.
void add_contents(RecordBuilder& record, const SystemFile& file,
                  const std::vector<SystemFile>& files, const SystemFileInit& init) {
  const VolumeLayout& layout = init.layout;
  const auto data = [&](const ClusterRun& run) {
    record.nonresident(AttributeType::Data, {}, run, file.file_size);
  };
  switch (file.record) {
    case ondisk::kMftRecord:
      data(layout.mft);
      record.nonresident(AttributeType::Bitmap, {}, layout.mft_bitmap, layout.mft_bitmap_bytes());
      break;
    case ondisk::kMftMirrRecord:
      data(layout.mftmirr);
      break;
    case ondisk::kLogFileRecord:
      data(layout.log_file);
      break;
    case ondisk::kVolumeRecord:
      add_volume(record, init.label);
      break;
    case ondisk::kAttrDefRecord:
      data(layout.attribute_definitions);
      break;
    case ondisk::kRootRecord:
      add_root_index(record, layout);
      break;
    case ondisk::kBitmapRecord:
      data(layout.bitmap);
      break;
    case ondisk::kBootRecord:
      data(layout.boot);
      break;
    case ondisk::kBadClusRecord:
      add_bad_clusters(record, layout);
      break;
    case ondisk::kSecureRecord:
      add_secure(record, init);
      break;
    case ondisk::kUpCaseRecord:
      data(layout.upcase);
      break;
    case ondisk::kExtendRecord:
    case kDeletedRecord:
      add_directory(record, file.record, files, init);
      break;
    case kQuotaRecord:
      add_quota(record, init.time);
      break;
    case kObjIdRecord:
      record.index_root(u"$O", Collation::NtofsUlongs, {});
      break;
    case kRefcountsRecord:
      record.index_root(ondisk::kRefcountsIndex, Collation::NtofsUlong, {});
      break;
    case kReparseRecord:
      record.index_root(u"$R", Collation::NtofsUlongs, {});
      break;
    default:
      ASSERT(false);
  }
}

ByteVector build_record(const SystemFile& file, const std::vector<SystemFile>& files,
                        const SystemFileInit& init) {
  RecordBuilder record(init.layout, file.record, record_flags_of(file), 1);
  // As Windows has it: $STANDARD_INFORMATION repeats the view index flag, not the other one.
  const uint32_t attributes =
      kSystemAttributes | (file.index_attribute & FileAttributes::ViewIndexPresent);
  record.resident(AttributeType::StandardInformation, {},
                  standard_information(init.time, file.security_id, attributes));
  record.resident(AttributeType::FileName, {}, file_name_of(file, init.time));
  add_contents(record, file, files, init);
  return record.finish();
}

/// 12 to 15: in use, without a name.
ByteVector build_reserved_record(uint64_t number, const SystemFileInit& init) {
  RecordBuilder record(init.layout, number, FileRecordFlags::InUse, 0);
  record.resident(AttributeType::StandardInformation, {},
                  standard_information(init.time, kSystemSecurityId, kSystemAttributes));
  record.resident(AttributeType::Data, {}, {});
  return record.finish();
}

constexpr uint64_t kFirstFreeSystemRecord = 16;

}  // namespace

std::vector<ByteVector> build_system_records(const SystemFileInit& init) {
  const std::vector<SystemFile> files = list_system_files(init.layout);
  std::vector<ByteVector> records(init.layout.mft_records);
  for (const SystemFile& file : files) records[file.record] = build_record(file, files, init);
  if (init.usn) {
    records[kUsnRecord] = build_usn_file(init.layout.geometry, reference_of(kUsnRecord),
                                         kSystemSecurityId, *init.usn);
  }
  for (uint64_t number = 0; number < records.size(); ++number) {
    if (!records[number].empty()) continue;
    const bool reserved = number < kFirstFreeSystemRecord;
    records[number] = reserved ? build_reserved_record(number, init)
                               : RecordBuilder(init.layout, number, 0, 0).finish();
  }
  return records;
}

ByteVector build_root_index_block(const SystemFileInit& init) {
  ByteVector block(kIndexBlockBytes);
  ondisk::format_index_block(block, Vcn(0), std::nullopt);
  fill_node(MutableBytes(block).subspan(ondisk::kIndexHeaderInBlock),
            name_entries(list_system_files(init.layout), ondisk::kRootRecord, init.time));
  return block;
}

ByteVector build_mft_bitmap(const VolumeLayout& layout) {
  ByteVector bytes(layout.mft_bitmap_bytes());
  const auto set = [&bytes](uint64_t record) { bytes[record / 8] |= std::byte(1 << (record % 8)); };
  for (uint64_t record = 0; record < kFirstFreeSystemRecord; ++record) set(record);
  for (const SystemFile& file : list_system_files(layout)) set(file.record);
  return bytes;
}

}  // namespace ntfs
