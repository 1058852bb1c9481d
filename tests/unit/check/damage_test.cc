// One damage at a time to a good volume: the checker must name it.

#include <gtest/gtest.h>

#include <algorithm>

#include "core/check/check.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/reparse_point.h"
#include "core/ondisk/security_descriptor.h"
#include "tests/unit/check/sample_volumes.h"
#include "tests/unit/check/volume_editor.h"

namespace ntfs {
namespace {

using ondisk::AttributeHeader;
using ondisk::AttributeType;
using ondisk::FileRecordHeader;
using ondisk::FileRecordView;
using ondisk::IndexBlockHeader;
using ondisk::IndexBlockView;
using ondisk::IndexEntryHeader;
using ondisk::NonresidentForm;
using ondisk::NonresidentSparseForm;
using ondisk::ResidentForm;
using testing::MemoryDevice;
using testing::VolumeEditor;

constexpr std::u16string_view kI30 = u"$I30";

/// The good volume that every test damages a copy of; null, with the reason, where none can be
/// made.
struct GoodVolume {
  std::unique_ptr<MemoryDevice> device;
  std::string reason;
};

const GoodVolume& good_volume() {
  static const GoodVolume volume = [] {
    GoodVolume made;
    testing::ScratchDirectory directory;
    const auto image = directory.path() / "good.img";
    made.reason = testing::make_peer_volume(image, {"24M", "4096", 650});
    if (made.reason.empty()) made.device = MemoryDevice::load(image.string());
    return made;
  }();
  return volume;
}

template <typename T>
T& at(MutableBytes bytes, size_t offset = 0) {
  return struct_at<T>(bytes, offset);
}

struct Damage {
  const char* name;
  const char* structure;
  const char* message;
  void (*apply)(VolumeEditor& volume);
};

void PrintTo(const Damage& damage, std::ostream* stream) { *stream << damage.name; }

class DamagedVolume : public ::testing::TestWithParam<Damage> {};

TEST_P(DamagedVolume, IsNamed) {
  const GoodVolume& good = good_volume();
  if (good.device == nullptr) GTEST_SKIP() << good.reason;
  const auto device = good.device->clone();
  VolumeEditor editor(*device);
  GetParam().apply(editor);
  CheckOptions options;
  options.strict_lsns = true;
  const auto report = check_volume(*device, options);
  ASSERT_TRUE(report);
  std::string lines;
  bool named = false;
  for (const Finding& finding : report->errors) {
    lines += to_line(finding) + "\n";
    named = named ||
            (finding.structure == GetParam().structure && finding.message == GetParam().message);
  }
  EXPECT_TRUE(named) << lines;
  // One damage may show in several places, but not everywhere.
  EXPECT_LE(report->errors.size(), 60u) << lines;
  EXPECT_EQ(report->suppressed, 0u);
}

TEST(GoodVolume, HasNoFindings) {
  const GoodVolume& good = good_volume();
  if (good.device == nullptr) GTEST_SKIP() << good.reason;
  const auto report = check_volume(*good.device, {});
  ASSERT_TRUE(report);
  for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
}

std::string name_of_case(const ::testing::TestParamInfo<Damage>& info) { return info.param.name; }

// ---- Boot sector, $MFT, file records ----

void edit_header(VolumeEditor& volume, std::u16string_view name,
                 const std::function<void(FileRecordHeader&)>& change) {
  volume.edit_record(volume.find(name),
                     [&](MutableBytes bytes) { change(at<FileRecordHeader>(bytes)); });
}

void edit_mft_bit(VolumeEditor& volume, uint64_t number) {
  const uint64_t position = volume.position(0, AttributeType::Bitmap, {}, number / 8);
  volume.edit(position, 1,
              [&](MutableBytes bytes) { bytes[0] ^= static_cast<std::byte>(1 << number % 8); });
}

const Damage kRecordDamages[] = {
    {"BackupBootSector", "boot sector", "the copy of the boot sector differs",
     [](VolumeEditor& volume) {
       volume.edit(volume.geometry().backup_boot_sector_position() + 0x60, 1,
                   [](MutableBytes bytes) { bytes[0] ^= std::byte{1}; });
     }},
    {"BootSector", "boot sector", "the boot sector is bad",
     [](VolumeEditor& volume) {
       volume.edit(0, 512, [](MutableBytes bytes) { bytes[3] = std::byte{'X'}; });
     }},
    {"MirrorOfMft", "$MFTMirr", "$MFTMirr differs from $MFT",
     [](VolumeEditor& volume) {
       const uint64_t mirror = volume.geometry().mftmirr_lcn.raw() * volume.geometry().cluster_size;
       volume.edit(mirror + 1024 + 0x60, 1, [](MutableBytes bytes) { bytes[0] ^= std::byte{1}; });
     }},
    {"TornRecord", "file record", "the record was not written as a whole",
     [](VolumeEditor& volume) {
       const uint64_t position = volume.record_position(volume.find(u"plain"));
       volume.edit(position + 1022, 2, [](MutableBytes bytes) { bytes[0] ^= std::byte{1}; });
     }},
    {"Signature", "file record", "this is no file record",
     [](VolumeEditor& volume) {
       volume.edit(volume.record_position(volume.find(u"plain")), 4,
                   [](MutableBytes bytes) { bytes[0] = std::byte{'B'}; });
     }},
    {"FirstRecord", "$MFT", "$MFT cannot be found there",
     [](VolumeEditor& volume) {
       volume.edit(volume.record_position(0), 4,
                   [](MutableBytes bytes) { bytes[0] = std::byte{'B'}; });
     }},
    {"RecordNumber", "file record", "the record says another record number",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.record_number_low.set(3); });
     }},
    {"RecordSequence", "index entry",
     "an index entry refers to its file with another sequence number",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.sequence.set(77); });
     }},
    {"ZeroSequence", "file record", "a used record has a sequence number",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.sequence.set(0); });
     }},
    {"FreedRecord", "$MFT bitmap", "a free file record is marked in use",
     [](VolumeEditor& volume) {
       edit_header(volume, u"small", [](FileRecordHeader& h) { h.flags.set(0); });
     }},
    {"FreedRecordInDirectory", "index entry", "an index entry has no matching $FILE_NAME attribute",
     [](VolumeEditor& volume) {
       edit_header(volume, u"small", [](FileRecordHeader& h) { h.flags.set(0); });
     }},
    {"MftBitClear", "$MFT bitmap", "a file record in use is marked free",
     [](VolumeEditor& volume) { edit_mft_bit(volume, volume.find(u"plain")); }},
    {"MftBitSet", "$MFT bitmap", "a free file record is marked in use",
     [](VolumeEditor& volume) { edit_mft_bit(volume, 17); }},
    {"TotalBytes", "file record", "the record says another size",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.total_bytes.set(2048); });
     }},
    {"UsedBytes", "file record", "the used size does not end behind the END marker",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain",
                   [](FileRecordHeader& h) { h.used_bytes.set(h.used_bytes.get() + 8); });
     }},
    {"FirstAttribute", "file record", "attributes cannot begin there",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.first_attribute_offset.set(8); });
     }},
    {"LinkCount", "file", "the link count is not the number of $FILE_NAME attributes",
     [](VolumeEditor& volume) {
       edit_header(volume, u"linked", [](FileRecordHeader& h) { h.link_count.set(5); });
     }},
    {"NextInstance", "file record", "the next instance number of a record is in use",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.next_attribute_instance.set(0); });
     }},
    {"DirectoryFlag", "file", "the directory flag and the presence of $INDEX_ROOT \"$I30\" differ",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.flags.set(3); });
     }},
    {"ViewFlag", "file", "the view index flag and the presence of a view index differ",
     [](VolumeEditor& volume) {
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.flags.set(9); });
     }},
    {"BaseReference", "file record", "an extension record belongs to no file",
     [](VolumeEditor& volume) {
       edit_header(volume, u"small",
                   [](FileRecordHeader& h) { h.base_reference.set(FileReference(5, 5).raw()); });
     }},
};

INSTANTIATE_TEST_SUITE_P(Records, DamagedVolume, ::testing::ValuesIn(kRecordDamages), name_of_case);

// ---- Attributes ----

void edit_data(VolumeEditor& volume, std::u16string_view name,
               const std::function<void(NonresidentForm&)>& change) {
  volume.edit_attribute(volume.find(name), AttributeType::Data, {},
                        [&](MutableBytes bytes) { change(at<NonresidentForm>(bytes)); });
}

MutableBytes pairs_of(MutableBytes attribute) {
  return attribute.subspan(at<NonresidentForm>(attribute).mapping_pairs_offset.get());
}

/// Changes the flags of $Bitmap for one cluster.
void flip_cluster(VolumeEditor& volume, uint64_t lcn) {
  const uint64_t position = volume.position(6, AttributeType::Data, {}, lcn / 8);
  volume.edit(position, 1,
              [&](MutableBytes bytes) { bytes[0] ^= static_cast<std::byte>(1 << lcn % 8); });
}

const Damage kAttributeDamages[] = {
    {"Length", "file record", "the length of an attribute is impossible",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<AttributeHeader>(bytes).record_length.set(0x7FFFFFF0); });
     }},
    {"Type", "file record", "the type of an attribute is unknown",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<AttributeHeader>(bytes).type_code.set(0x81); });
     }},
    {"TypeOrder", "file record", "the attributes are not in the order of their types",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<AttributeHeader>(bytes).type_code.set(0x20); });
     }},
    {"Form", "file record", "unknown form",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<AttributeHeader>(bytes).form_code = std::byte{2}; });
     }},
    {"Instance", "file record", "two attributes of a record have the same instance number",
     [](VolumeEditor& volume) {
       volume.edit_record(volume.find(u"plain"), [](MutableBytes bytes) {
         const FileRecordView view = FileRecordView::of_valid(bytes);
         const auto name = view.find(AttributeType::FileName);
         at<AttributeHeader>(bytes, view.find(AttributeType::Data)->offset())
             .instance.set(name->instance());
       });
     }},
    {"Name", "file record", "the name lies outside of the attribute",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<AttributeHeader>(bytes).name_length = std::byte{200}; });
     }},
    {"Value", "file record", "the value lies outside of the attribute",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"small"), AttributeType::Data, {},
           [](MutableBytes bytes) { at<ResidentForm>(bytes).value_length.set(0xFFFFFFF8); });
     }},
    {"MappingPairsOffset", "file record", "the mapping pairs lie outside of the attribute",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain", [](NonresidentForm& f) { f.mapping_pairs_offset.set(0x8000); });
     }},
    {"Vcns", "file record", "the vcns of an attribute are impossible",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain", [](NonresidentForm& f) { f.highest_vcn.set(~uint64_t{0} - 9); });
     }},
    {"MappingPairs", "attribute", "the mapping pairs are bad",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"plain"), AttributeType::Data, {},
                             [](MutableBytes bytes) { pairs_of(bytes)[0] = std::byte{0x99}; });
     }},
    {"HighestVcn", "attribute", "the mapping pairs are bad",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain",
                 [](NonresidentForm& f) { f.highest_vcn.set(f.highest_vcn.get() + 1); });
     }},
    {"LowestVcn", "attribute", "an extent of an attribute is missing",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain", [](NonresidentForm& f) {
         f.lowest_vcn.set(1);
         f.highest_vcn.set(f.highest_vcn.get() + 1);
       });
     }},
    {"AllocatedSize", "attribute", "the allocated size is not that of the runs",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain",
                 [](NonresidentForm& f) { f.allocated_size.set(f.allocated_size.get() + 4096); });
     }},
    {"FileSize", "attribute", "the file size is larger than the allocated size",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain", [](NonresidentForm& f) { f.file_size.set(1000000); });
     }},
    {"ValidDataLength", "attribute", "the valid data length is larger than the file size",
     [](VolumeEditor& volume) {
       edit_data(volume, u"plain",
                 [](NonresidentForm& f) { f.valid_data_length.set(f.file_size.get() + 1); });
     }},
    {"TotalAllocated", "attribute", "the total allocated size is not that of the runs",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"sparse"), AttributeType::Data, {}, [](MutableBytes b) {
         auto& form = at<NonresidentSparseForm>(b);
         form.total_allocated.set(form.total_allocated.get() + 4096);
       });
     }},
    {"HoleWithoutFlag", "attribute",
     "an attribute that is neither sparse nor compressed has a hole",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"plain"), AttributeType::Data, {}, [](MutableBytes b) {
         // The distance of the first run goes; the rest of the record becomes slack.
         const MutableBytes pairs = pairs_of(b);
         pairs[0] &= std::byte{0x0F};
         pairs[1 + static_cast<size_t>(pairs[0])] = std::byte{0};
       });
     }},
    {"ClaimedTwice", "cluster", "a cluster is claimed twice",
     [](VolumeEditor& volume) {
       ByteVector pairs;
       volume.edit_attribute(volume.find(u"plain"), AttributeType::Data, {}, [&](MutableBytes b) {
         const MutableBytes from = pairs_of(b);
         pairs.assign(from.begin(), from.end());
       });
       volume.edit_attribute(volume.find(u"other"), AttributeType::Data, {}, [&](MutableBytes b) {
         const MutableBytes into = pairs_of(b);
         std::copy_n(pairs.begin(), std::min(pairs.size(), into.size()), into.begin());
       });
     }},
    {"ClusterLeaked", "$Bitmap", "a cluster is leaked: marked in use, claimed by nothing",
     [](VolumeEditor& volume) { flip_cluster(volume, volume.geometry().total_clusters - 20); }},
    {"ClusterMarkedFree", "$Bitmap", "a cluster in use is marked free",
     [](VolumeEditor& volume) {
       const uint64_t at_byte = volume.position(volume.find(u"plain"), AttributeType::Data, {}, 0);
       flip_cluster(volume, at_byte / volume.geometry().cluster_size);
     }},
    {"BitPastTheEnd", "$Bitmap", "bits past the last cluster must be set",
     [](VolumeEditor& volume) { flip_cluster(volume, volume.geometry().total_clusters); }},
    {"NoStandardInformation", "file", "a file has no $STANDARD_INFORMATION",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"plain"), AttributeType::StandardInformation, {},
                             [](MutableBytes b) { at<AttributeHeader>(b).type_code.set(0x40); });
     }},
    {"EmptyStandardInformation", "file", "$STANDARD_INFORMATION has an impossible length",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::StandardInformation, {},
           [](MutableBytes b) { at<ondisk::ResidentForm>(b).value_length.set(0); });
     }},
    {"NoData", "file", "a file has no unnamed $DATA",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"plain"), AttributeType::Data, {},
                             [](MutableBytes b) { at<AttributeHeader>(b).type_code.set(0x100); });
     }},
    {"SecurityId", "file", "a file refers to a security descriptor that does not exist",
     [](VolumeEditor& volume) {
       volume.edit_value(
           volume.find(u"$Quota"), AttributeType::StandardInformation, {},
           [](MutableBytes b) { at<ondisk::StandardInformation>(b).security_id.set(0x7777); });
     }},
    {"NoSecurity", "file", "a file has no security descriptor",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"plain"), AttributeType::SecurityDescriptor, {},
                             [](MutableBytes b) { at<AttributeHeader>(b).type_code.set(0x40); });
     }},
    {"EaInformation", "file", "$EA_INFORMATION does not describe $EA",
     [](VolumeEditor& volume) {
       volume.edit_value(volume.find(u"device"), AttributeType::EaInformation, {},
                         [](MutableBytes b) {
                           auto& information = at<ondisk::EaInformation>(b);
                           information.packed_length.set(information.packed_length.get() + 1);
                         });
     }},
    {"EaLength", "file", "the length of an extended attribute is impossible",
     [](VolumeEditor& volume) {
       volume.edit_value(volume.find(u"device"), AttributeType::Ea, {}, [](MutableBytes b) {
         at<ondisk::EaEntryHeader>(b).entry_length.set(0x10000);
       });
     }},
    {"ReparseFlag", "file", "the file attribute and the presence of a reparse point differ",
     [](VolumeEditor& volume) {
       volume.edit_value(
           volume.find(u"plain"), AttributeType::StandardInformation, {}, [](MutableBytes b) {
             // The old form of the value is shorter than the structure.
             constexpr size_t kPlace = offsetof(ondisk::StandardInformation, file_attributes);
             at<le32>(b, kPlace).set(ondisk::FileAttributes::ReparsePoint);
           });
     }},
    {"ReparseTag", "$Reparse", "a file is not in the index",
     [](VolumeEditor& volume) {
       volume.edit_value(volume.find(u"symlink"), AttributeType::ReparsePoint, {},
                         [](MutableBytes b) { at<ondisk::ReparseHeader>(b).tag.set(0xA0000003); });
     }},
    {"ReparseLength", "file", "a reparse point is not as long as it says",
     [](VolumeEditor& volume) {
       volume.edit_value(
           volume.find(u"symlink"), AttributeType::ReparsePoint, {},
           [](MutableBytes b) { at<ondisk::ReparseHeader>(b).data_length.set(0x1000); });
     }},
};

INSTANTIATE_TEST_SUITE_P(Attributes, DamagedVolume, ::testing::ValuesIn(kAttributeDamages),
                         name_of_case);

// ---- Attribute lists ----

/// The list of "streams", wherever it is.
void edit_list(VolumeEditor& volume, const std::function<void(MutableBytes)>& change) {
  const uint64_t number = volume.find(u"streams");
  const ByteVector bytes = volume.record(number);
  const auto list = FileRecordView::of_valid(bytes).find(AttributeType::AttributeList);
  ASSERT_TRUE(list);
  if (list->is_resident()) {
    volume.edit_value(number, AttributeType::AttributeList, {}, change);
  } else {
    volume.edit(volume.position(number, AttributeType::AttributeList, {}, 0), list->file_size(),
                change);
  }
}

using ListEntry = ondisk::AttributeListEntryHeader;

size_t last_entry(MutableBytes list) {
  size_t last = 0;
  for (size_t i = 0; i < list.size(); i += at<ListEntry>(list, i).entry_length.get()) last = i;
  return last;
}

const Damage kListDamages[] = {
    {"EntryInstance", "attribute list", "an entry names no attribute, or one named before",
     [](VolumeEditor& volume) {
       edit_list(volume, [](MutableBytes list) {
         at<ListEntry>(list, last_entry(list)).instance.set(0x4321);
       });
     }},
    {"UnlistedAttribute", "attribute list", "an attribute is not listed",
     [](VolumeEditor& volume) {
       edit_list(volume, [](MutableBytes list) {
         at<ListEntry>(list, last_entry(list)).instance.set(0x4321);
       });
     }},
    {"EntryReference", "attribute list",
     "the attribute list refers to a record that is not of this file",
     [](VolumeEditor& volume) {
       edit_list(volume, [](MutableBytes list) {
         at<ListEntry>(list, last_entry(list)).file_reference.set(FileReference(5, 5).raw());
       });
     }},
    {"EntryLength", "attribute list", "the lengths of an entry are impossible",
     [](VolumeEditor& volume) {
       edit_list(volume, [](MutableBytes list) {
         at<ListEntry>(list, last_entry(list)).entry_length.set(0x7FF8);
       });
     }},
    {"TooLong", "attribute list", "the attribute list is too long",
     [](VolumeEditor& volume) {
       volume.edit_attribute(volume.find(u"streams"), AttributeType::AttributeList, {},
                             [](MutableBytes b) {
                               auto& form = at<NonresidentForm>(b);
                               ASSERT_EQ(form.header.form_code, std::byte{1});
                               form.file_size.set(uint64_t{1} << 30);
                             });
     }},
    {"EntryOrder", "attribute list", "the entries are not in order",
     [](VolumeEditor& volume) {
       edit_list(volume, [](MutableBytes list) {
         at<ListEntry>(list, last_entry(list)).type_code.set(0x30);
       });
     }},
    {"ExtensionFreed", "attribute list",
     "the attribute list refers to a record that is not of this file",
     [](VolumeEditor& volume) {
       uint64_t extension = 0;
       edit_list(volume, [&](MutableBytes list) {
         const auto& entry = at<ListEntry>(list, last_entry(list));
         extension = FileReference::from_raw(entry.file_reference.get()).record();
       });
       volume.edit_record(extension,
                          [](MutableBytes bytes) { at<FileRecordHeader>(bytes).sequence.set(99); });
     }},
};

INSTANTIATE_TEST_SUITE_P(AttributeLists, DamagedVolume, ::testing::ValuesIn(kListDamages),
                         name_of_case);

// ---- Indexes and names ----

/// Offset of entry `index` in a block.
size_t entry_offset(MutableBytes block, size_t index) {
  size_t offset =
      ondisk::kIndexHeaderInBlock + at<IndexBlockHeader>(block).index.entries_offset.get();
  for (; index > 0; --index) offset += at<IndexEntryHeader>(block, offset).entry_length.get();
  return offset;
}

/// A leaf of the directory "many" that is in use, and its number.
void edit_leaf(VolumeEditor& volume, const std::function<void(MutableBytes)>& change) {
  const uint64_t many = volume.find(u"many");
  for (uint64_t block = 0; block < 64; ++block) {
    bool done = false;
    volume.edit_block(many, kI30, block, [&](MutableBytes bytes) {
      const auto node = IndexBlockView::of_valid(bytes).node();
      if (node.has_subnodes() || node.used_bytes() < 500) return;
      done = true;
      change(bytes);
    });
    if (done) return;
  }
  ADD_FAILURE() << "no leaf";
}

void edit_root_node(VolumeEditor& volume, std::u16string_view name,
                    const std::function<void(MutableBytes)>& change) {
  volume.edit_value(volume.find(name), AttributeType::IndexRoot, kI30, change);
}

/// The first entry of the node below the root of "many" points to nowhere.
void lose_leaf(VolumeEditor& volume) {
  uint64_t inner = 0;
  edit_root_node(volume, u"many",
                 [&](MutableBytes value) { inner = at<le64>(value, value.size() - 8).get(); });
  volume.edit_block(volume.find(u"many"), kI30, inner, [&](MutableBytes block) {
    const size_t first = entry_offset(block, 0);
    const auto& entry = at<IndexEntryHeader>(block, first);
    ASSERT_TRUE((entry.flags.get() & ondisk::IndexEntryFlags::Subnode) != 0);
    at<le64>(block, first + entry.entry_length.get() - 8).set(0x100000);
  });
}

void edit_index_bitmap(VolumeEditor& volume, size_t byte, std::byte flip) {
  volume.edit_value(volume.find(u"many"), AttributeType::Bitmap, kI30,
                    [&](MutableBytes bytes) { bytes[byte] ^= flip; });
}

void edit_name(VolumeEditor& volume, std::u16string_view name,
               const std::function<void(MutableBytes)>& change) {
  volume.edit_value(volume.find(name), AttributeType::FileName, {}, change);
}

const Damage kIndexDamages[] = {
    {"KeyOrder", "index", "the keys of an index are out of order",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         const size_t first = entry_offset(block, 1);
         const size_t key = first + sizeof(IndexEntryHeader) + sizeof(ondisk::FileNameHeader);
         at<le16>(block, key).set(u'z');
       });
     }},
    {"SubnodeSeparation", "index", "the keys of an index are out of order",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         // The last key of a leaf becomes larger than the parent's.
         size_t last = 0;
         while (!IndexBlockView::of_valid(block)
                     .node()
                     .entry_at(static_cast<uint32_t>(entry_offset(block, last + 1) -
                                                     ondisk::kIndexHeaderInBlock))
                     ->is_end()) {
           ++last;
         }
         const size_t key =
             entry_offset(block, last) + sizeof(IndexEntryHeader) + sizeof(ondisk::FileNameHeader);
         at<le16>(block, key).set(u'z');
       });
     }},
    {"BlockSignature", "index", "this is no index block",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) { block[0] = std::byte{'X'}; });
     }},
    {"TornBlock", "index", "an index block was not written as a whole",
     [](VolumeEditor& volume) {
       const uint64_t position =
           volume.position(volume.find(u"many"), AttributeType::IndexAllocation, kI30, 0);
       volume.edit(position + 510, 2, [](MutableBytes bytes) { bytes[0] ^= std::byte{1}; });
     }},
    {"BlockVcn", "index", "an index block says another vcn",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) { at<IndexBlockHeader>(block).vcn.set(0x999); });
     }},
    {"NodeHeader", "index", "the header of an index node is impossible",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         at<IndexBlockHeader>(block).index.used_bytes.set(0x10000);
       });
     }},
    {"NodeFlag", "index", "an index entry differs from its node in having a subnode",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         at<IndexBlockHeader>(block).index.flags = ondisk::IndexHeaderFlags::HasSubnodes;
       });
     }},
    {"EntryLength", "index", "the lengths of an index entry are impossible",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         at<IndexEntryHeader>(block, entry_offset(block, 2)).entry_length.set(0xFFF8);
       });
     }},
    {"KeyLength", "index", "the key of an index entry is not as long as its name",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         auto& entry = at<IndexEntryHeader>(block, entry_offset(block, 2));
         entry.key_length.set(static_cast<uint16_t>(entry.key_length.get() - 2));
       });
     }},
    {"EndEntryMissing", "index", "the lengths of an index entry are impossible",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         auto& header = at<IndexBlockHeader>(block).index;
         header.used_bytes.set(header.used_bytes.get() - 16);
         const size_t end = ondisk::kIndexHeaderInBlock + header.used_bytes.get();
         // What is the last entry now reaches over the end.
         for (size_t i = 0;; ++i) {
           const size_t offset = entry_offset(block, i);
           auto& entry = at<IndexEntryHeader>(block, offset);
           if (offset + entry.entry_length.get() < end) continue;
           entry.entry_length.set(static_cast<uint16_t>(entry.entry_length.get() + 8));
           break;
         }
       });
     }},
    {"SubnodeOutside", "index", "an index entry points outside of $INDEX_ALLOCATION",
     [](VolumeEditor& volume) { lose_leaf(volume); }},
    {"BlockReachedTwice", "index", "an index block is reached twice",
     [](VolumeEditor& volume) {
       uint64_t root_child = 0;
       edit_root_node(volume, u"many", [&](MutableBytes value) {
         root_child = at<le64>(value, value.size() - 8).get();
       });
       // The node below points to itself.
       volume.edit_block(volume.find(u"many"), kI30, root_child, [&](MutableBytes block) {
         const auto& entry = at<IndexEntryHeader>(block, entry_offset(block, 0));
         at<le64>(block, entry_offset(block, 0) + entry.entry_length.get() - 8).set(root_child);
       });
     }},
    {"BlockLeaked", "index", "an index block is leaked",
     [](VolumeEditor& volume) { lose_leaf(volume); }},
    {"BlockBitClear", "index", "the bit of a reachable index block is clear in $BITMAP",
     [](VolumeEditor& volume) { edit_index_bitmap(volume, 0, std::byte{2}); }},
    {"BlockBitBeyond", "index", "an index bitmap has a bit set beyond the last block",
     [](VolumeEditor& volume) {
       const ByteVector record = volume.record(volume.find(u"many"));
       const auto bitmap = FileRecordView::of_valid(record).find(AttributeType::Bitmap, kI30);
       edit_index_bitmap(volume, bitmap->value().size() - 1, std::byte{0x80});
     }},
    {"Collation", "index", "name, indexed type and collation of an index do not go together",
     [](VolumeEditor& volume) {
       edit_root_node(volume, u"outer", [](MutableBytes value) {
         at<ondisk::IndexRootHeader>(value).collation.set(0x10);
       });
     }},
    {"BlockSize", "index", "the index block size is not that of the boot sector",
     [](VolumeEditor& volume) {
       edit_root_node(volume, u"outer", [](MutableBytes value) {
         at<ondisk::IndexRootHeader>(value).index_block_size.set(8192);
       });
     }},
    {"BlockSteps", "index", "the index block size is told in two different ways",
     [](VolumeEditor& volume) {
       edit_root_node(volume, u"outer", [](MutableBytes value) {
         at<ondisk::IndexRootHeader>(value).index_block_steps = std::byte{7};
       });
     }},
    {"EntrySequence", "index entry",
     "an index entry refers to its file with another sequence number",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         auto& entry = at<IndexEntryHeader>(block, entry_offset(block, 2));
         entry.file_reference_or_data.set(entry.file_reference_or_data.get() ^ (uint64_t{1} << 50));
       });
     }},
    {"EntryOfAnotherFile", "index entry", "an index entry has no matching $FILE_NAME attribute",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         at<IndexEntryHeader>(block, entry_offset(block, 2))
             .file_reference_or_data.set(FileReference(5, 5).raw());
       });
     }},
    {"EntryParent", "index entry", "an index entry says another parent than the directory it is in",
     [](VolumeEditor& volume) {
       edit_leaf(volume, [](MutableBytes block) {
         const size_t key = entry_offset(block, 2) + sizeof(IndexEntryHeader);
         at<ondisk::FileNameHeader>(block, key).parent_reference.set(FileReference(5, 5).raw());
       });
     }},
    {"NameWithoutEntry", "file name", "a $FILE_NAME attribute has no matching index entry",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<le16>(value, sizeof(ondisk::FileNameHeader)).set(u'q');
       });
     }},
    {"NameParentSequence", "file name",
     "a $FILE_NAME refers to its parent with another sequence number",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<ondisk::FileNameHeader>(value).parent_reference.set(FileReference(5, 9).raw());
       });
     }},
    {"NameWithSlash", "file", "a name is impossible",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<le16>(value, sizeof(ondisk::FileNameHeader)).set(u'/');
       });
     }},
    {"NameLength", "file", "a $FILE_NAME is not as long as its name",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<ondisk::FileNameHeader>(value).name_length = std::byte{200};
       });
     }},
    {"NameType", "file", "a $FILE_NAME has an unknown name type",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<ondisk::FileNameHeader>(value).name_type = std::byte{9};
       });
     }},
    {"LonelyDosName", "file", "a DOS name stands beside exactly one Win32 name",
     [](VolumeEditor& volume) {
       edit_name(volume, u"plain", [](MutableBytes value) {
         at<ondisk::FileNameHeader>(value).name_type =
             static_cast<std::byte>(ondisk::NameType::Dos);
       });
     }},
    {"NameNotIndexed", "file", "a $FILE_NAME is not marked as indexed",
     [](VolumeEditor& volume) {
       volume.edit_attribute(
           volume.find(u"plain"), AttributeType::FileName, {},
           [](MutableBytes b) { at<ResidentForm>(b).resident_flags = std::byte{0}; });
     }},
    {"DirectoryCycle", "directory",
     "a directory is its own ancestor: it cannot be reached from the root",
     [](VolumeEditor& volume) {
       const uint64_t inner = volume.find(u"inner");
       const ByteVector record = volume.record(inner);
       const uint64_t reference = FileRecordView::of_valid(record).reference().raw();
       edit_name(volume, u"outer", [&](MutableBytes value) {
         at<ondisk::FileNameHeader>(value).parent_reference.set(reference);
       });
     }},
};

INSTANTIATE_TEST_SUITE_P(Indexes, DamagedVolume, ::testing::ValuesIn(kIndexDamages), name_of_case);

// ---- System files ----

void edit_sds(VolumeEditor& volume, uint64_t offset, std::byte flip) {
  volume.edit(volume.position(9, AttributeType::Data, u"$SDS", offset), 1,
              [&](MutableBytes bytes) { bytes[0] ^= flip; });
}

/// The restart pages become good ones of LFS 1.1 with the clean flag or without.
void put_restart_pages(VolumeEditor& volume, uint16_t flags) {
  const uint64_t position = volume.position(2, AttributeType::Data, {}, 0);
  ByteVector page(4096);
  std::memcpy(page.data(), "RSTR", 4);
  at<le16>(page, 4).set(0x1E);
  at<le16>(page, 6).set(9);
  at<le32>(page, 0x10).set(4096);
  at<le32>(page, 0x14).set(4096);
  at<le16>(page, 0x18).set(0x30);
  at<le16>(page, 0x1A).set(1);
  at<le16>(page, 0x1C).set(1);
  const ByteVector record = volume.record(2);
  const uint64_t size = FileRecordView::of_valid(record).find(AttributeType::Data)->file_size();
  at<le16>(page, 0x38).set(1);
  at<le16>(page, 0x3A).set(0xFFFF);
  at<le16>(page, 0x3E).set(flags);
  at<le32>(page, 0x40).set(67 - static_cast<uint32_t>(std::bit_width(size)));
  at<le16>(page, 0x44).set(0xE0);
  at<le16>(page, 0x46).set(0x40);
  at<le64>(page, 0x48).set(size);
  protect(page);
  volume.write(position, page);
  volume.write(position + 4096, page);
}

const Damage kSystemDamages[] = {
    {"VolumeVersion", "$Volume", "this is not NTFS 3.1",
     [](VolumeEditor& volume) {
       volume.edit_value(3, AttributeType::VolumeInformation, {}, [](MutableBytes b) {
         at<ondisk::VolumeInformation>(b).minor_version = std::byte{0};
       });
     }},
    {"DirtyFlag", "$Volume", "the volume is marked dirty",
     [](VolumeEditor& volume) {
       volume.edit_value(3, AttributeType::VolumeInformation, {}, [](MutableBytes b) {
         at<ondisk::VolumeInformation>(b).flags.set(ondisk::VolumeFlags::Dirty);
       });
     }},
    {"LogUnclean", "$LogFile", "the log has to be replayed",
     [](VolumeEditor& volume) { put_restart_pages(volume, 0); }},
    {"LogCorrupt", "$LogFile", "the log is corrupt",
     [](VolumeEditor& volume) {
       put_restart_pages(volume, 2);
       const uint64_t position = volume.position(2, AttributeType::Data, {}, 0);
       for (const uint64_t page : {position, position + 4096}) {
         volume.edit(page + 0x40, 1, [](MutableBytes b) { b[0] ^= std::byte{1}; });
       }
     }},
    {"LsnBeyondTheLog", "$LogFile",
     "a file record or index block carries an lsn beyond the end of the log",
     [](VolumeEditor& volume) {
       put_restart_pages(volume, 2);
       edit_header(volume, u"plain", [](FileRecordHeader& h) { h.lsn.set(0x123456); });
     }},
    {"UpCase", "$UpCase", "$UpCase gives another upper case for ASCII",
     [](VolumeEditor& volume) {
       volume.edit(volume.position(10, AttributeType::Data, {}, 2 * u'~'), 1,
                   [](MutableBytes b) { b[0] ^= std::byte{1}; });
     }},
    {"UpCaseSize", "$UpCase", "$UpCase is not a whole table",
     [](VolumeEditor& volume) {
       volume.edit_attribute(10, AttributeType::Data, {},
                             [](MutableBytes b) { at<NonresidentForm>(b).file_size.set(4096); });
     }},
    {"AttrDef", "$AttrDef", "the types of $AttrDef are out of order",
     [](VolumeEditor& volume) {
       volume.edit(volume.position(4, AttributeType::Data, {}, 0xA0 + 0x80), 1,
                   [](MutableBytes b) { b[0] = std::byte{0xF0}; });
     }},
    {"BadClusSize", "$BadClus", "$Bad does not cover the volume",
     [](VolumeEditor& volume) {
       volume.edit_attribute(8, AttributeType::Data, u"$Bad",
                             [](MutableBytes b) { at<NonresidentForm>(b).file_size.set(4096); });
     }},
    {"DescriptorHash", "$Secure", "a security descriptor has another hash",
     [](VolumeEditor& volume) { edit_sds(volume, 0x18, std::byte{1}); }},
    {"DescriptorCopy", "$Secure", "the copies of the security descriptors differ",
     [](VolumeEditor& volume) { edit_sds(volume, 0x40018, std::byte{1}); }},
    {"DescriptorOffset", "$Secure", "a security descriptor says another offset",
     [](VolumeEditor& volume) { edit_sds(volume, 8, std::byte{0x10}); }},
    {"DescriptorLength", "$Secure", "the length of a security descriptor is impossible",
     [](VolumeEditor& volume) { edit_sds(volume, 0x12, std::byte{0x7F}); }},
    {"Descriptor", "$Secure", "a security descriptor is bad",
     [](VolumeEditor& volume) { edit_sds(volume, 0x14, std::byte{0x02}); }},
    {"SecurityIndex", "$Secure", "an index entry does not lead to its security descriptor",
     [](VolumeEditor& volume) {
       const ByteVector record = volume.record(9);
       const auto root = FileRecordView::of_valid(record).find(AttributeType::IndexRoot, u"$SII");
       const auto change = [](MutableBytes bytes, size_t node) {
         const size_t entry = node + at<ondisk::IndexHeader>(bytes, node).entries_offset.get();
         const size_t data =
             at<IndexEntryHeader>(bytes, entry).file_reference_or_data.get() & 0xFFFF;
         at<le64>(bytes, entry + data + 8).set(0x5550);
       };
       if (ondisk::IndexRootView::of_valid(root->value()).node().has_subnodes()) {
         volume.edit_block(9, u"$SII", 0,
                           [&](MutableBytes b) { change(b, ondisk::kIndexHeaderInBlock); });
       } else {
         volume.edit_value(9, AttributeType::IndexRoot, u"$SII",
                           [&](MutableBytes b) { change(b, ondisk::kIndexHeaderInRoot); });
       }
     }},
};

INSTANTIATE_TEST_SUITE_P(SystemFiles, DamagedVolume, ::testing::ValuesIn(kSystemDamages),
                         name_of_case);

}  // namespace
}  // namespace ntfs
