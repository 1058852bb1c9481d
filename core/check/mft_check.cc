#include "core/check/mft_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "core/base/multi_sector.h"
#include "core/check/file_check.h"

namespace ntfs::check {

using ondisk::AttributeListEntry;
using ondisk::AttributeType;

namespace {

constexpr size_t kChunkBytes = size_t{4} << 20;
/// NTFS knows no more.
/// Bytes of $MFT that an attribute takes at least.
constexpr uint64_t kMinListEntryShare = sizeof(ondisk::ResidentForm);
constexpr uint64_t kMirroredRecords = 4;
constexpr uint64_t kMaxRecords = uint64_t{1} << 32;

/// A file record with the bytes that its views are into.
struct LoadedRecord {
  ByteVector bytes;
  Record record;
  RecordState state = RecordState::Bad;
};

void load(const Stream& mft, uint64_t number, VolumeReader& reader, Findings& findings,
          LoadedRecord& loaded) {
  const uint64_t size = reader.geometry().file_record_size;
  loaded.bytes.resize(size);
  if (number >= mft.file_size / size) return;
  if (!reader.read(mft, number * size, loaded.bytes)) return;
  loaded.state = read_record(loaded.bytes, number, loaded.record, findings);
}

/// The extents of an attribute in one record, in order of their vcns.
std::vector<const Attribute*> extents_of(const Record& record, AttributeType type) {
  std::vector<const Attribute*> extents;
  for (const Attribute& attribute : record.attributes) {
    if (attribute.type == type && attribute.name.empty()) extents.push_back(&attribute);
  }
  std::sort(extents.begin(), extents.end(),
            [](const Attribute* a, const Attribute* b) { return a->lowest_vcn < b->lowest_vcn; });
  return extents;
}

/// Record 0, from its place or from $MFTMirr.
bool load_mft_record(VolumeReader& reader, Findings& findings, LoadedRecord& loaded) {
  const ondisk::VolumeGeometry& geometry = reader.geometry();
  for (const Lcn lcn : {geometry.mft_lcn, geometry.mftmirr_lcn}) {
    Findings quiet(0);
    loaded.bytes.resize(geometry.file_record_size);
    if (!reader.read(lcn.raw() * geometry.cluster_size, loaded.bytes)) continue;
    loaded.state = read_record(loaded.bytes, 0, loaded.record, quiet);
    if (loaded.state == RecordState::InUse &&
        !extents_of(loaded.record, AttributeType::Data).empty()) {
      return true;
    }
    findings.add({"$MFT", FileReference(0, 1), fmt::format("record 0 at lcn {:#x}", lcn.raw())},
                 "the record of $MFT", "something else", "$MFT cannot be found there");
  }
  return false;
}

/// Entries of the attribute list of $MFT that are about its runs, in order of their vcns.
std::vector<AttributeListEntry> data_entries(const Record& base, VolumeReader& reader) {
  Findings quiet(0);
  const CheckOptions options;
  Context context(reader, options, quiet, 0, 0);
  std::vector<AttributeListEntry> entries = read_attribute_list(base, context);
  std::erase_if(entries, [](const AttributeListEntry& entry) {
    return entry.type != AttributeType::Data || !entry.name.empty();
  });
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.lowest_vcn < b.lowest_vcn; });
  return entries;
}

}  // namespace

std::optional<Stream> find_mft(VolumeReader& reader, Findings& findings) {
  LoadedRecord base;
  if (!load_mft_record(reader, findings, base)) return std::nullopt;
  const uint64_t total = reader.geometry().total_clusters;
  Stream mft;
  bool good = put_together_quietly(extents_of(base.record, AttributeType::Data), total, mft) &&
              !mft.resident;
  for (const AttributeListEntry& entry : data_entries(base.record, reader)) {
    if (!good) break;
    if (mft.runs.empty() || entry.lowest_vcn < mft.runs.back().end()) continue;
    // An extent of $MFT is in a record that the extents before it cover.
    LoadedRecord loaded;
    Findings quiet(0);
    load(mft, entry.reference.record(), reader, quiet, loaded);
    good = loaded.state == RecordState::InUse;
    for (const Attribute* extent : extents_of(loaded.record, AttributeType::Data)) {
      if (good && extent->lowest_vcn == entry.lowest_vcn.raw()) {
        good = append_quietly(*extent, total, mft);
      }
    }
  }
  const uint64_t record_size = reader.geometry().file_record_size;
  const uint64_t covered =
      mft.runs.empty() ? 0 : mft.runs.back().end().raw() * reader.geometry().cluster_size;
  if (!good || mft.file_size > covered) {
    findings.add({"$MFT", FileReference(0, 1), "runs"}, fmt::format("{:#x} bytes", mft.file_size),
                 fmt::format("{:#x} bytes", covered), "the runs of $MFT cannot be put together");
    if (covered == 0) return std::nullopt;
    mft.file_size = std::min(mft.file_size, covered);
  }
  if (mft.file_size % record_size != 0) {
    findings.add({"$MFT", FileReference(0, 1), "file size"},
                 fmt::format("a multiple of {}", record_size), number(mft.file_size),
                 "$MFT is not made of whole records");
  }
  if (mft.file_size / record_size > kMaxRecords) {
    findings.add({"$MFT", FileReference(0, 1), "file size"}, kMaxRecords * record_size,
                 mft.file_size, "$MFT is larger than can be");
    return std::nullopt;
  }
  return mft;
}

UpCase load_upcase(const Stream& mft, VolumeReader& reader) {
  Findings quiet(0);
  LoadedRecord loaded;
  load(mft, ondisk::kUpCaseRecord, reader, quiet, loaded);
  if (loaded.state != RecordState::InUse) return {};
  Stream table;
  if (!put_together_quietly(extents_of(loaded.record, AttributeType::Data),
                            reader.geometry().total_clusters, table) ||
      table.file_size != UpCase::kTableBytes) {
    return {};
  }
  return UpCase(reader.read_all(table, UpCase::kTableBytes));
}

namespace {

class MftPass {
 public:
  MftPass(const Stream& mft, Context& context) : mft_(mft), context_(context) {}
  void run();

 private:
  void take(MutableBytes bytes, uint64_t number);
  void check_listed_file(uint64_t number);
  void load_extensions(const Record& base, const std::vector<AttributeListEntry>& entries,
                       std::deque<LoadedRecord>& extensions);
  void check_extensions();

  const Stream& mft_;
  Context& context_;
  Record record_;
  std::vector<uint64_t> listed_files_;  // base records with an attribute list
  uint64_t count_list_entries_ = 0;
};

void MftPass::run() {
  const uint64_t record_size = context_.geometry().file_record_size;
  const uint64_t count = context_.records.count();
  context_.report.records = count;
  CheckProgress* progress = context_.options.progress;
  if (progress != nullptr) progress->records_total = count;
  ByteVector chunk;
  for (uint64_t first = 0; first < count;) {
    const uint64_t part = std::min<uint64_t>(count - first, kChunkBytes / record_size);
    chunk.resize(part * record_size);
    context_.reader.read(mft_, first * record_size, chunk);
    for (uint64_t i = 0; i < part; ++i) {
      take(MutableBytes(chunk).subspan(i * record_size, record_size), first + i);
    }
    first += part;
    if (progress != nullptr) progress->records = first;
  }
  for (const uint64_t number : listed_files_) check_listed_file(number);
  check_extensions();
}

void MftPass::take(MutableBytes bytes, uint64_t number) {
  const RecordState state = read_record(bytes, number, record_, context_.findings);
  if (state == RecordState::Zero) return;
  RecordInfo& info = context_.records.at(number);
  info.state = state;
  if (state == RecordState::Bad) return;
  info.sequence = record_.reference.sequence();
  info.flags = record_.flags;
  info.base = record_.base;
  if (state != RecordState::InUse) return;
  context_.see_lsn(struct_at<ondisk::FileRecordHeader>(ByteView(bytes)).lsn.get(),
                   record_.reference);
  ++context_.report.records_in_use;
  if (record_.base.raw() != 0) return;
  const bool has_list =
      std::any_of(record_.attributes.begin(), record_.attributes.end(),
                  [](const Attribute& a) { return a.type == AttributeType::AttributeList; });
  if (has_list) {
    listed_files_.push_back(number);
  } else {
    check_file({&record_, {}}, context_);
  }
}

void MftPass::check_listed_file(uint64_t number) {
  // What is wrong with the records alone was found in the pass.
  Findings quiet(0);
  LoadedRecord base;
  load(mft_, number, context_.reader, quiet, base);
  if (base.state != RecordState::InUse) return;
  const std::vector<AttributeListEntry> entries = read_attribute_list(base.record, context_);
  // Each entry stands for an attribute in $MFT, which is about as long: what is far beyond that is
  // the same clusters read over and over.
  count_list_entries_ += entries.size();
  if (count_list_entries_ > mft_.file_size / kMinListEntryShare) {
    context_.findings.add({"attribute list", base.record.reference, "entries"},
                          mft_.file_size / kMinListEntryShare, count_list_entries_,
                          "attribute lists have more entries than $MFT has room for attributes");
    return;
  }
  std::deque<LoadedRecord> extensions;
  load_extensions(base.record, entries, extensions);
  FileRecords file{&base.record, {}};
  for (const LoadedRecord& extension : extensions) file.extensions.push_back(&extension.record);
  check_attribute_list(entries, file, context_);
  check_file(file, context_);
}

void MftPass::load_extensions(const Record& base, const std::vector<AttributeListEntry>& entries,
                              std::deque<LoadedRecord>& extensions) {
  std::vector<FileReference> references;
  for (const AttributeListEntry& entry : entries) references.push_back(entry.reference);
  std::sort(references.begin(), references.end());
  references.erase(std::unique(references.begin(), references.end()), references.end());
  for (const FileReference reference : references) {
    if (reference == base.reference) continue;
    const RecordInfo& info = context_.records.get(reference.record());
    if (info.state != RecordState::InUse || info.sequence != reference.sequence() ||
        info.base != base.reference) {
      context_.findings.add({"attribute list", base.reference, name_reference(reference)},
                            "an extension record of this file", "something else",
                            "the attribute list refers to a record that is not of this file");
      continue;
    }
    Findings quiet(0);
    LoadedRecord& loaded = extensions.emplace_back();
    load(mft_, reference.record(), context_.reader, quiet, loaded);
    if (loaded.state == RecordState::InUse) {
      context_.records.at(reference.record()).listed = true;
    } else {
      extensions.pop_back();
    }
  }
}

void MftPass::check_extensions() {
  for (uint64_t number = 0; number < context_.records.count(); ++number) {
    const RecordInfo& info = context_.records.get(number);
    if (info.state != RecordState::InUse || info.base.raw() == 0 || info.listed) continue;
    context_.findings.add({"file record", FileReference(number, info.sequence), "base reference"},
                          "a base record that lists it", name_reference(info.base),
                          "an extension record belongs to no file");
  }
}

}  // namespace

void check_mft_records(const Stream& mft, Context& context) { MftPass(mft, context).run(); }

void check_mft_bitmap(Context& context) {
  const FileReference file(ondisk::kMftRecord, 1);
  const Stream* bitmap = context.find_kept(ondisk::kMftRecord, AttributeType::Bitmap, {});
  if (bitmap == nullptr) {
    context.findings.add({"$MFT", file, "$BITMAP"}, "present", "absent or bad",
                         "$MFT has no usable bitmap");
    return;
  }
  const uint64_t count = context.records.count();
  if (bitmap->file_size < divide_up(count, 8)) {
    context.findings.add({"$MFT bitmap", file, "file size"}, divide_up(count, 8), bitmap->file_size,
                         "the bitmap of $MFT has no bit for some records");
  }
  // What lies far beyond the last record need not be looked at.
  const ByteVector bits = context.reader.read_all(*bitmap, divide_up(count, 8) + 0x10000);
  for (uint64_t number = 0; number < bits.size() * 8; ++number) {
    const bool set = (static_cast<uint8_t>(bits[number / 8]) >> (number % 8) & 1) != 0;
    const RecordInfo& info = context.records.get(number);
    if (info.state == RecordState::Bad) continue;
    const bool in_use = info.state == RecordState::InUse;
    if (set == in_use) continue;
    const Place place{"$MFT bitmap", FileReference(number, info.sequence),
                      fmt::format("bit {}", number)};
    if (number >= count) {
      context.findings.add(place, "clear", "set", "a bit beyond the last file record is set");
    } else if (in_use) {
      context.findings.add(place, "set", "clear", "a file record in use is marked free");
    } else {
      context.findings.add(place, "clear", "set", "a free file record is marked in use");
    }
  }
}

void check_mft_mirror(const Stream& mft, Context& context) {
  const FileReference file(ondisk::kMftMirrRecord, 1);
  const Stream* mirror = context.find_kept(ondisk::kMftMirrRecord, AttributeType::Data, {});
  const uint64_t size = context.geometry().file_record_size;
  if (mirror == nullptr || mirror->file_size < kMirroredRecords * size) {
    context.findings.add({"$MFTMirr", file, "file size"}, kMirroredRecords * size,
                         mirror == nullptr ? 0 : mirror->file_size,
                         "$MFTMirr does not hold the first records of $MFT");
    return;
  }
  // A cluster may hold more, but only these are kept up to date.
  const uint64_t count = std::min<uint64_t>(kMirroredRecords, mft.file_size / size);
  ByteVector original(size);
  ByteVector copy(size);
  for (uint64_t number = 0; number < count; ++number) {
    context.reader.read(mft, number * size, original);
    context.reader.read(*mirror, number * size, copy);
    if (original == copy) continue;
    // The update sequence numbers may differ.
    const bool whole = try_unprotect(original) && try_unprotect(copy);
    const size_t array =
        struct_at<MultiSectorHeader>(ByteView(original)).update_sequence_array_offset.get();
    const size_t skip_end = std::min<size_t>(size, array + 2 * (1 + size / kSequenceStride));
    const bool equal = whole &&
                       std::equal(original.begin(),
                                  original.begin() + static_cast<ptrdiff_t>(array), copy.begin()) &&
                       std::equal(original.begin() + static_cast<ptrdiff_t>(skip_end),
                                  original.end(), copy.begin() + static_cast<ptrdiff_t>(skip_end));
    if (equal) continue;
    context.findings.add({"$MFTMirr", file, fmt::format("record {}", number)}, "a copy of $MFT's",
                         "another content", "$MFTMirr differs from $MFT");
  }
}

}  // namespace ntfs::check
