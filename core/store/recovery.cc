#include "core/store/recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/recovery_report.h"
#include "core/store/replay.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileRecordView;

namespace {

constexpr size_t kLastOperations = 10;
constexpr size_t kWriteBytes = 4 << 20;

/// The place of a file record that the boot sector leads to: the first ones stand together.
PageLocation first_record(const ondisk::VolumeGeometry& geometry, uint64_t number) {
  const uint64_t size = geometry.file_record_size;
  const uint64_t place = geometry.mft_lcn.raw() * geometry.cluster_size + number * size;
  return {PageKind::FileRecord, {{place, size}}, number};
}

/// The runs of the unnamed $DATA in `record`, all of which must be there.
Result<std::vector<Run>> data_runs(const FileRecordView& record, const Origin& origin,
                                   const ondisk::VolumeGeometry& geometry, uint64_t& size) {
  const auto data = record.find(AttributeType::Data);
  if (!record.in_use() || !data || data->is_resident() || data->lowest_vcn() != Vcn(0)) {
    return corrupt(origin, "$DATA attribute", 0, "a nonresident one");
  }
  size = data->valid_data_length();
  return ondisk::decode_mapping_pairs(data->mapping_pairs(), Vcn(0), data->next_vcn(),
                                      geometry.total_clusters, origin);
}

/// How many records $MFTMirr holds a copy of, those of system files; 0 when it does not say.
uint64_t count_mirrored(RecoveredPages& pages, const ondisk::VolumeGeometry& geometry) {
  const auto page = pages.get(first_record(geometry, ondisk::kMftMirrRecord));
  if (!page || !(*page)->is_usable) return 0;
  uint64_t size = 0;
  const Origin origin{"$MFTMirr", FileReference(ondisk::kMftMirrRecord, 1).raw(), 0};
  const auto runs = data_runs(FileRecordView::of_valid((*page)->bytes), origin, geometry, size);
  if (!runs || runs->empty() || runs->front().lcn != geometry.mftmirr_lcn) return 0;
  const uint64_t held = std::min(size, runs->front().count.raw() * geometry.cluster_size);
  return std::min(held / geometry.file_record_size, ondisk::kFirstUserRecord);
}

/// Patches for copies in $MFTMirr that differ although the record did not change here: a crash
/// came between the two writes.
Result<> add_stale_mirrors(RecoveredPages& pages, const ondisk::VolumeGeometry& geometry,
                           uint64_t count, std::vector<DevicePatch>& patches) {
  const uint64_t mirror = geometry.mftmirr_lcn.raw() * geometry.cluster_size;
  ByteVector record(geometry.file_record_size);
  ByteVector copy(geometry.file_record_size);
  for (uint64_t number = 0; number < count; ++number) {
    const PageLocation place = first_record(geometry, number);
    const auto page = pages.get(place);
    if (!page || (*page)->is_changed || !(*page)->is_usable) continue;
    const uint64_t copy_place = mirror + number * record.size();
    TRY(pages.read_device(place.pieces.front().offset, record));
    TRY(pages.read_device(copy_place, copy));
    if (record != copy) patches.push_back({copy_place, record});
  }
  return {};
}

Result<std::unique_ptr<LogStoreOnVolume>> log_of(BlockDevice& device, ByteView bytes,
                                                 const ondisk::VolumeGeometry& geometry) {
  const Origin origin{"$LogFile", FileReference(ondisk::kLogFileRecord, 2).raw(), 0};
  const auto record = TRY(FileRecordView::parse(bytes, origin));
  uint64_t size = 0;
  Runlist runs(TRY(data_runs(record, origin, geometry, size)));
  for (const Run& run : runs.runs()) {
    if (run.lcn.is_hole()) return corrupt(origin, "run", run.vcn.raw(), "no hole");
  }
  size = record.find(AttributeType::Data)->file_size();
  if (runs.end().raw() * geometry.cluster_size < size) return corrupt(origin, "file size", size);
  return std::make_unique<LogStoreOnVolume>(device, std::move(runs), size, geometry.cluster_size);
}

}  // namespace

Result<std::unique_ptr<LogStoreOnVolume>> find_log(BlockDevice& device,
                                                   const ondisk::VolumeGeometry& geometry) {
  const uint64_t in_table = ondisk::kLogFileRecord * geometry.file_record_size;
  RecoveredPages reader(device, geometry, {}, 0);
  ByteVector record(geometry.file_record_size);
  for (const Lcn table : {geometry.mft_lcn, geometry.mftmirr_lcn}) {
    TRY(reader.read_device(table.raw() * geometry.cluster_size + in_table, record));
    if (as_text(ByteView(record).first(4)) != "FILE" || !try_unprotect(record)) continue;
    auto log = log_of(device, record, geometry);
    if (log) return log;
  }
  return corrupt({"$LogFile", FileReference(ondisk::kLogFileRecord, 2).raw(), 0}, "file record",
                 ondisk::kLogFileRecord, "one that is whole, in $MFT or $MFTMirr");
}

Result<std::unique_ptr<Recovery>> Recovery::replay(BlockDevice& device,
                                                   const ondisk::VolumeGeometry& geometry,
                                                   std::string& why_not) {
  const auto begin = std::chrono::steady_clock::now();
  const auto log = TRY(find_log(device, geometry));
  const auto restart = TRY(lfs::RestartPages::read(*log));
  if (restart.state != lfs::LogState::Unclean) return std::unique_ptr<Recovery>();
  auto reader = lfs::LogReader::open(*log);
  if (!reader && reader.error() == NtStatus::NotSupported) {
    return refuse_recovery(why_not, reader.error(), "its version is later than LFS 2.0");
  }
  if (!reader && reader.error() == NtStatus::LogCorrupt) {
    return refuse_recovery(why_not, reader.error(), "it is damaged");
  }
  if (!reader) return reader.error();
  const LogAnalysis analysis = TRY(analyze_log(*reader, why_not));

  auto recovery = std::make_unique<Recovery>();
  RecoveryReport& report = recovery->report_;
  recovery->stamp_ = lfs::Lsn::from_raw(analysis.end.raw() + 1);
  recovery->usn_file_ = analysis.usn_file;
  recovery->usn_restart_offset_ = analysis.usn_restart_offset;
  report.end_lsn = analysis.end;
  report.records_scanned = analysis.records;
  report.transactions_committed = analysis.committed;
  RecoveredPages pages(device, geometry, recovery->stamp_, log->size_bytes());
  Replay replay(*reader, analysis, pages, geometry, log->runs(), report, why_not);
  TRY(replay.redo());
  TRY(replay.undo());
  report.last_operations = describe_last_operations(*reader, analysis, geometry, kLastOperations);
  report.pages = pages.count_changed();
  const uint64_t mirrored = count_mirrored(pages, geometry);
  TRY(add_stale_mirrors(pages, geometry, mirrored, recovery->patches_));
  auto patches = pages.take_patches(geometry.mftmirr_lcn.raw() * geometry.cluster_size, mirrored);
  std::move(patches.begin(), patches.end(), std::back_inserter(recovery->patches_));
  std::sort(recovery->patches_.begin(), recovery->patches_.end(),
            [](const DevicePatch& a, const DevicePatch& b) { return a.offset < b.offset; });
  report.duration = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begin);
  return recovery;
}

Result<> Recovery::write(BlockDevice& device) {
  AlignedBuffer buffer(kWriteBytes);
  std::vector<IoRequest> writes;
  size_t used = 0;
  for (const DevicePatch& patch : patches_) {
    if (used + patch.bytes.size() > buffer.size()) {
      TRY(device.transfer(writes));
      writes.clear();
      used = 0;
    }
    const MutableBytes copy = buffer.bytes().subspan(used, patch.bytes.size());
    std::copy(patch.bytes.begin(), patch.bytes.end(), copy.begin());
    used += copy.size();
    writes.push_back(IoRequest::write(patch.offset, copy));
  }
  TRY(device.transfer(writes));
  TRY(device.flush());
  patches_ = {};
  return {};
}

std::string describe(const RecoveryReport& report) {
  const auto count = [](uint64_t number, std::string_view what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
  };
  return fmt::format("{} and {} redone, {} undone, {} written, in {:.1f} ms",
                     count(report.transactions_committed, "transaction"),
                     count(report.records_redone, "record"),
                     count(report.transactions_undone, "transaction"), count(report.pages, "page"),
                     static_cast<double>(report.duration.count()) / 1000);
}

}  // namespace ntfs
