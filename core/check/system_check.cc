#include "core/check/system_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/cluster_references.h"

namespace ntfs::check {

using ondisk::AttributeType;

namespace {

constexpr size_t kAttrDefEntryBytes = 0xA0;
constexpr size_t kAttrDefTypeOffset = 0x80;

/// The first cluster of a stream, where it has one.
Lcn first_lcn(const Stream& stream) {
  return stream.runs.empty() ? Lcn::hole() : stream.runs.front().lcn;
}

void check_volume_file(Context& context) {
  const FileReference file(ondisk::kVolumeRecord, 3);
  const Stream* value =
      context.find_kept(ondisk::kVolumeRecord, AttributeType::VolumeInformation, {});
  if (value == nullptr || value->value.size() < sizeof(ondisk::VolumeInformation)) {
    context.findings.add({"$Volume", file, "$VOLUME_INFORMATION"}, "present", "absent or bad",
                         "the volume does not say its version");
    return;
  }
  const auto& information = struct_at<ondisk::VolumeInformation>(ByteView(value->value));
  if (information.major_version != std::byte{3} || information.minor_version != std::byte{1}) {
    context.findings.add({"$Volume", file, "version"}, "3.1",
                         fmt::format("{}.{}", static_cast<int>(information.major_version),
                                     static_cast<int>(information.minor_version)),
                         "this is not NTFS 3.1");
  }
  if ((information.flags.get() & ondisk::VolumeFlags::Dirty) != 0 && !context.options.live) {
    context.findings.add({"$Volume", file, "flags"}, "clear", "set", "the volume is marked dirty");
  }
}

void check_attrdef(Context& context) {
  const FileReference file(ondisk::kAttrDefRecord, 4);
  const Stream* data = context.find_kept(ondisk::kAttrDefRecord, AttributeType::Data, {});
  if (data == nullptr || data->file_size == 0 || data->file_size % kAttrDefEntryBytes != 0) {
    context.findings.add({"$AttrDef", file, "file size"}, "entries of 160 bytes",
                         number(data == nullptr ? 0 : data->file_size),
                         "$AttrDef is not made of whole entries");
    return;
  }
  const ByteVector table = context.reader.read_all(*data, 0x10000);
  uint32_t before = 0;
  for (size_t at = 0; at + kAttrDefEntryBytes <= table.size(); at += kAttrDefEntryBytes) {
    const uint32_t type = struct_at<le32>(ByteView(table), at + kAttrDefTypeOffset).get();
    if (type == 0) break;
    if (type <= before) {
      context.findings.add({"$AttrDef", file, fmt::format("entry at {:#x}", at)},
                           fmt::format("a type above {:#x}", before), fmt::format("{:#x}", type),
                           "the types of $AttrDef are out of order");
      return;
    }
    before = type;
  }
  if (before < static_cast<uint32_t>(AttributeType::LoggedUtilityStream)) {
    context.findings.add({"$AttrDef", file, "last type"}, 0x100, before,
                         "$AttrDef does not define all types");
  }
}

void check_upcase(Context& context) {
  const FileReference file(ondisk::kUpCaseRecord, 10);
  const Stream* data = context.find_kept(ondisk::kUpCaseRecord, AttributeType::Data, {});
  if (data == nullptr || data->file_size != UpCase::kTableBytes || !context.upcase.is_loaded()) {
    context.findings.add({"$UpCase", file, "file size"}, UpCase::kTableBytes,
                         data == nullptr ? 0 : data->file_size, "$UpCase is not a whole table");
    return;
  }
  for (char16_t unit = 0; unit < 0x80; ++unit) {
    const bool lower = unit >= u'a' && unit <= u'z';
    const auto expected = static_cast<char16_t>(lower ? unit - 0x20 : unit);
    if (context.upcase(unit) == expected) continue;
    context.findings.add({"$UpCase", file, fmt::format("code unit {:#x}", uint32_t{unit})},
                         uint64_t{expected}, uint64_t{context.upcase(unit)},
                         "$UpCase gives another upper case for ASCII");
    return;
  }
}

void check_first_lcn(Context& context, uint64_t record, const char* structure, Lcn expected) {
  const Stream* data = context.find_kept(record, AttributeType::Data, {});
  const uint16_t sequence = context.records.get(record).sequence;
  if (data == nullptr) {
    context.findings.add({structure, FileReference(record, sequence), "$DATA"}, "present",
                         "absent or bad", "a system file has no usable data");
  } else if (first_lcn(*data) != expected) {
    context.findings.add({structure, FileReference(record, sequence), "first lcn"}, expected.raw(),
                         first_lcn(*data).raw(), "a system file is not where the boot sector says");
  }
}

void check_bad_clusters(Context& context) {
  const FileReference file(ondisk::kBadClusRecord, 8);
  const Stream* bad = context.find_kept(ondisk::kBadClusRecord, AttributeType::Data, u"$Bad");
  const uint64_t expected = context.geometry().total_clusters * context.geometry().cluster_size;
  if (bad != nullptr && bad->file_size == expected) return;
  context.findings.add({"$BadClus", file, "$DATA \"$Bad\", file size"}, expected,
                       bad == nullptr ? 0 : bad->file_size, "$Bad does not cover the volume");
}

}  // namespace

void check_boot_sectors(VolumeReader& reader, Findings& findings) {
  const uint64_t position = reader.geometry().backup_boot_sector_position();
  const Place place{"boot sector", {}, fmt::format("copy at byte {:#x}", position)};
  ByteVector first(ondisk::kBootSectorBytes);
  reader.read(0, first);
  const auto is_copy_at = [&](uint64_t at) {
    ByteVector backup(ondisk::kBootSectorBytes);
    return at + backup.size() <= reader.device_bytes() && reader.read(at, backup) &&
           backup == first;
  };
  // ntfsresize leaves it in the last sector of the device.
  const uint64_t sector = reader.geometry().sector_size;
  if (is_copy_at(position)) return;
  if (is_copy_at(align_down(reader.device_bytes(), sector) - sector)) return;
  if (position + ondisk::kBootSectorBytes > reader.device_bytes()) {
    findings.add(place, "behind the last sector of the volume", "end of the device",
                 "there is no copy of the boot sector");
  } else {
    findings.add(place, "the boot sector", "another content",
                 "the copy of the boot sector differs");
  }
}

void check_cluster_bitmap(Context& context) {
  const Stream* bitmap = context.find_kept(ondisk::kBitmapRecord, AttributeType::Data, {});
  if (bitmap == nullptr) {
    context.findings.add({"$Bitmap", FileReference(ondisk::kBitmapRecord, 6), "$DATA"}, "present",
                         "absent or bad", "the cluster bitmap cannot be read");
    return;
  }
  context.claims.compare_with(*bitmap, context.reader);
}

void check_cluster_references(Context& context) {
  const Place place{"$Refcounts", {}, "$C"};
  if (!context.has_refcounts_index) {
    context.findings.add(place, "present", "absent", "the counts of shared clusters are missing");
  }
  std::vector<ondisk::ClusterReferences> counts;
  for (const ViewEntry& entry : context.refcounts_index) {
    const auto parsed = ondisk::parse_cluster_references(
        entry.key, entry.data, context.geometry().total_clusters, {"$Refcounts"});
    if (!parsed) {
      context.findings.add(place, last_corruption());
    } else if (!counts.empty() && parsed->run.lcn < counts.back().run.end()) {
      context.findings.add(place, counts.back().run.end().raw(), parsed->run.lcn.raw(),
                           "two entries count the same cluster");
    } else {
      counts.push_back(*parsed);
    }
  }
  context.claims.compare_with(counts);
}

void check_system_files(Context& context) {
  check_volume_file(context);
  check_attrdef(context);
  check_upcase(context);
  check_bad_clusters(context);
  check_first_lcn(context, ondisk::kMftRecord, "$MFT", context.geometry().mft_lcn);
  check_first_lcn(context, ondisk::kMftMirrRecord, "$MFTMirr", context.geometry().mftmirr_lcn);
  check_first_lcn(context, ondisk::kBootRecord, "$Boot", Lcn(0));
  for (uint64_t record = 0; record <= ondisk::kExtendRecord; ++record) {
    if (context.records.get(record).is_base_in_use()) continue;
    context.findings.add({"file record", FileReference(record, 0), "state"}, "a file",
                         "none that is in use and whole", "a system file is missing");
  }
}

namespace {

/// Keys of an index and claims of files, both sorted: what one side lacks.
template <typename Claim, typename Describe>
void compare_claims(std::vector<Claim>& files, std::vector<Claim>& index, const char* structure,
                    Describe describe, Context& context) {
  std::sort(files.begin(), files.end());
  std::sort(index.begin(), index.end());
  auto file = files.begin();
  auto entry = index.begin();
  while (file != files.end() || entry != index.end()) {
    if (entry == index.end() || (file != files.end() && *file < *entry)) {
      context.findings.add({structure, file->file, describe(*file)}, "an index entry", "none",
                           "a file is not in the index");
      ++file;
    } else if (file == files.end() || *entry < *file) {
      context.findings.add({structure, entry->file, describe(*entry)}, "a file", "none",
                           "an index entry has no file");
      ++entry;
    } else {
      ++file;
      ++entry;
    }
  }
}

}  // namespace

void check_link_tables(Context& context) {
  std::vector<ReparseClaim> reparse;
  for (const ViewEntry& entry : context.reparse_index) {
    if (entry.key.size() != 12) {
      context.findings.add({"$Reparse", {}, "$R, key length"}, 12, entry.key.size(),
                           "a key of $R has an impossible length");
      continue;
    }
    const ByteView key(entry.key);
    reparse.push_back(
        {struct_at<le32>(key).get(), FileReference::from_raw(struct_at<le64>(key, 4).get())});
  }
  compare_claims(
      context.reparse_points, reparse, "$Reparse",
      [](const ReparseClaim& claim) { return fmt::format("$R, tag {:#x}", claim.tag); }, context);
  std::vector<ObjectIdClaim> ids;
  for (const ViewEntry& entry : context.object_id_index) {
    ObjectIdClaim claim;
    if (entry.key.size() != claim.id.size() || entry.data.size() < 8) {
      context.findings.add({"$ObjId", {}, "$O, key length"}, claim.id.size(), entry.key.size(),
                           "an entry of $O has an impossible length");
      continue;
    }
    std::copy(entry.key.begin(), entry.key.end(), claim.id.begin());
    claim.file = FileReference::from_raw(struct_at<le64>(ByteView(entry.data)).get());
    ids.push_back(claim);
  }
  compare_claims(
      context.object_ids, ids, "$ObjId",
      [](const ObjectIdClaim& claim) {
        return fmt::format("$O, id that begins {:#010x}",
                           struct_at<le32>(ByteView(claim.id)).get());
      },
      context);
}

}  // namespace ntfs::check
