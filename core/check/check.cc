#include "core/check/check.h"

#include <fmt/format.h>

#include "core/base/trace.h"
#include "core/check/context.h"
#include "core/check/mft_check.h"
#include "core/check/system_check.h"

namespace ntfs {

namespace check {
namespace {

/// The geometry of the boot sector, or of its copy at the end of the device.
Result<ondisk::VolumeGeometry> find_geometry(VolumeReader& reader, BlockDevice& device,
                                             Findings& findings) {
  const uint64_t unit = device.logical_block_size();
  if (device.size_bytes() < 2 * unit) return NtStatus::UnrecognizedVolume;
  AlignedBuffer sector = device.allocate(AlignedBuffer::kAlignment);
  TRY(device.read(0, sector.bytes().first(unit)));
  auto geometry = ondisk::parse_boot_sector(sector.bytes(), device.size_bytes(), {"boot sector"});
  if (geometry) return geometry;
  const NtStatus status = geometry.error();
  const std::string reason =
      status == NtStatus::UnrecognizedVolume ? "no NTFS boot sector" : last_corruption();
  ByteVector backup(ondisk::kBootSectorBytes);
  const uint64_t position = device.size_bytes() - device.size_bytes() % unit - unit;
  if (!reader.read(position, backup)) return status;
  geometry = ondisk::parse_boot_sector(backup, device.size_bytes(), {"boot sector", 0, position});
  if (!geometry) return status;
  findings.add({"boot sector", {}, "first sector of the volume"}, "the geometry of its copy",
               reason, "the boot sector is bad");
  return geometry;
}

void check_with_geometry(VolumeReader& reader, const CheckOptions& options, Findings& findings,
                         CheckReport& report) {
  report.clusters_total = reader.geometry().total_clusters;
  check_boot_sectors(reader, findings);
  const std::optional<Stream> mft = find_mft(reader, findings);
  if (!mft) return;
  const uint64_t count = mft->file_size / reader.geometry().file_record_size;
  Context context(reader, options, findings, reader.geometry().total_clusters, count);
  context.report = report;
  context.upcase = load_upcase(*mft, reader);
  if (options.strict_duplicates) {
    context.index_names.keep_duplicates();
  }
  check_mft_records(*mft, context);
  check_mft_bitmap(context);
  check_mft_mirror(*mft, context);
  if (context.geometry().has_refcounts) {
    check_cluster_references(context);
  } else {
    context.claims.report_overlaps();
  }
  check_cluster_bitmap(context);
  check_names(context);
  check_reachability(context);
  check_system_files(context);
  check_log(context);
  check_usn(context);
  check_security(context);
  check_link_tables(context);
  context.report.clusters_used = context.claims.count_claimed();
  report = context.report;
}

}  // namespace
}  // namespace check

Result<CheckReport> check_volume(BlockDevice& device, const CheckOptions& options) {
  check::Findings findings(options.max_findings);
  check::VolumeReader reader(device, findings);
  const ondisk::VolumeGeometry geometry = TRY(check::find_geometry(reader, device, findings));
  reader.set_geometry(geometry);
  CheckReport report;
  check::check_with_geometry(reader, options, findings, report);
  findings.move_to(report);
  return report;
}

}  // namespace ntfs
