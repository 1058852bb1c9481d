#include "core/store/format.h"

#include <sys/random.h>

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/base/trace.h"
#include "core/store/attribute_definitions.h"
#include "core/store/default_security.h"
#include "core/store/format_layout.h"
#include "core/store/log_store.h"
#include "core/store/system_files.h"
#include "core/store/upcase_table.h"
#include "lfs/log_file.h"

namespace ntfs {

namespace {

constexpr uint64_t kChunkBytes = 1 << 20;

/// Writes the volume, file after file.
class VolumeWriter {
 public:
  /// Both must outlive the object.
  VolumeWriter(BlockDevice& device, const VolumeLayout& layout, DeviceContent content)
      : device_(device),
        layout_(layout),
        content_(content),
        buffer_(device.allocate(kChunkBytes)) {}

  /// Puts `value` at the start of `run`, and zeros behind it.
  Result<> write_value(const ClusterRun& run, ByteView value) {
    ASSERT(value.size() <= layout_.bytes_in(run));
    for (uint64_t done = 0; done < layout_.bytes_in(run); done += kChunkBytes) {
      const uint64_t length = std::min(kChunkBytes, layout_.bytes_in(run) - done);
      const MutableBytes chunk = chunk_of(length);
      if (done < value.size()) {
        const ByteView part = value.subspan(done, std::min(length, value.size() - done));
        std::copy(part.begin(), part.end(), chunk.begin());
      }
      TRY(device_.write(layout_.offset_of(run) + done, chunk));
    }
    return {};
  }

  /// $Bitmap: the clusters of all system files, and the bits behind the volume's last cluster.
  Result<> write_bitmap() {
    for (uint64_t done = 0; done < layout_.bytes_in(layout_.bitmap); done += kChunkBytes) {
      const uint64_t length = std::min(kChunkBytes, layout_.bytes_in(layout_.bitmap) - done);
      const MutableBytes chunk = chunk_of(length);
      bool any = false;
      for (const ClusterRun& run : layout_.runs()) any |= set_bits(chunk, 8 * done, run);
      const Lcn end(layout_.geometry.total_clusters);
      any |= set_bits(chunk, 8 * done, {end, Lcn(8 * layout_.bitmap_bytes) - end});
      if (!any && content_ == DeviceContent::Zeroed) continue;
      TRY(device_.write(layout_.offset_of(layout_.bitmap) + done, chunk));
    }
    return {};
  }

  /// The block of the device that holds `bytes` at `position`, with what else is in it unchanged.
  Result<> write_inside_block(uint64_t position, ByteView bytes) {
    const uint64_t start = align_down(position, device_.logical_block_size());
    const uint64_t end = align_up(position + bytes.size(), device_.logical_block_size());
    const MutableBytes chunk = chunk_of(end - start);
    TRY(device_.read(start, chunk));
    std::copy(bytes.begin(), bytes.end(), chunk.begin() + static_cast<ptrdiff_t>(position - start));
    return device_.write(start, chunk);
  }

 private:
  /// The front of the buffer, zeroed.
  MutableBytes chunk_of(uint64_t length) {
    const MutableBytes chunk = buffer_.bytes().first(length);
    std::fill(chunk.begin(), chunk.end(), std::byte{0});
    return chunk;
  }

  /// Sets the bits of `run` in `chunk`, whose first bit stands for the cluster `first`. Whether
  /// there were any.
  static bool set_bits(MutableBytes chunk, uint64_t first, const ClusterRun& run) {
    const uint64_t from = std::max(run.lcn.raw(), first);
    const uint64_t to = std::min(run.end().raw(), first + 8 * chunk.size());
    for (uint64_t bit = from; bit < to; ++bit) {
      const uint64_t inside = bit - first;
      chunk[inside / 8] |= std::byte(1 << (inside % 8));
    }
    return from < to;
  }

  BlockDevice& device_;
  const VolumeLayout& layout_;
  const DeviceContent content_;
  AlignedBuffer buffer_;
};

Result<uint64_t> random_serial() {
  uint64_t serial = 0;
  if (getrandom(&serial, sizeof(serial), 0) != sizeof(serial)) {
    return NtStatus::InsufficientResources;
  }
  return serial;
}

/// All records of $MFT, as they stand on the device.
ByteVector protected_records(const SystemFileInit& init) {
  ByteVector bytes;
  for (ByteVector& record : build_system_records(init)) {
    protect(record);
    bytes.insert(bytes.end(), record.begin(), record.end());
  }
  return bytes;
}

/// Everything but the boot sectors and the log.
Result<> write_files(VolumeWriter& writer, const SystemFileInit& init) {
  const VolumeLayout& layout = init.layout;
  TRY(writer.write_value(layout.attribute_definitions, attribute_definitions()));
  TRY(writer.write_value(layout.upcase, default_upcase_bytes()));
  TRY(writer.write_value(layout.sds, init.security.sds));
  ByteVector root_index = build_root_index_block(init);
  protect(root_index);
  TRY(writer.write_value(layout.root_index, root_index));
  ByteVector mft_bitmap = build_mft_bitmap(layout);
  if (init.usn) mft_bitmap[kUsnRecord / 8] |= std::byte(1 << (kUsnRecord % 8));
  TRY(writer.write_value(layout.mft_bitmap, mft_bitmap));
  TRY(writer.write_bitmap());
  const ByteVector records = protected_records(init);
  TRY(writer.write_value(layout.mft, records));
  const size_t mirrored = layout.mirrored_records * layout.geometry.file_record_size;
  return writer.write_value(layout.mftmirr, ByteView(records).first(mirrored));
}

/// The change journal that `options` ask for.
Result<std::optional<usn::JournalInformation>> usn_of(const FormatOptions& options,
                                                      const ondisk::VolumeGeometry& geometry,
                                                      ondisk::FileTime time) {
  if (!options.usn_size) return std::optional<usn::JournalInformation>();
  const uint64_t volume_bytes = geometry.total_clusters * geometry.cluster_size;
  const uint64_t size =
      *options.usn_size != 0 ? *options.usn_size : usn::default_maximum_size(volume_bytes);
  auto information = TRY(usn::with_sizes(size, 0, geometry.cluster_size));
  information.id = time.raw();
  return std::optional(information);
}

FormatSummary summary_of(const VolumeLayout& layout) {
  FormatSummary summary;
  summary.geometry = layout.geometry;
  summary.log_bytes = layout.bytes_in(layout.log_file);
  summary.mft_records = layout.mft_records;
  summary.free_clusters = layout.geometry.total_clusters;
  for (const ClusterRun& run : layout.runs()) summary.free_clusters -= run.count.raw();
  return summary;
}

}  // namespace

std::string format_refusal(const FormatOptions& options, uint64_t device_bytes) {
  std::string why;
  const auto layout = plan_layout(options, device_bytes, build_default_security().sds.size(), why);
  return layout ? std::string() : why;
}

Result<FormatSummary> format_volume(BlockDevice& device, const FormatOptions& options) {
  const DefaultSecurity security = build_default_security();
  std::string why;
  auto planned = plan_layout(options, device.size_bytes(), security.sds.size(), why);
  if (!planned) {
    log_line(LogLevel::Error, why);
    return planned.error();
  }
  VolumeLayout& layout = *planned;
  layout.geometry.serial = options.serial ? *options.serial : TRY(random_serial());
  const auto time = options.time ? *options.time : ondisk::FileTime::now();
  const auto usn = TRY(usn_of(options, layout.geometry, time));
  const SystemFileInit init{layout, security, options.label, time, usn};

  // The boot sectors come last, so that what is cut short is no volume.
  VolumeWriter writer(device, layout, options.content);
  TRY(writer.write_value(layout.boot, {}));
  TRY(device.flush());
  TRY(write_files(writer, init));
  const ClusterRun& log_run = layout.log_file;
  LogStoreOnVolume log(device, Runlist({Run{Vcn(0), log_run.lcn, log_run.count}}),
                       layout.bytes_in(log_run), layout.geometry.cluster_size);
  TRY(lfs::LogFile::format(log));
  TRY(device.flush());

  const auto boot_sector = ondisk::serialize_boot_sector(layout.geometry);
  ByteVector backup(boot_sector.begin(), boot_sector.end());
  backup.resize(layout.geometry.sector_size);
  TRY(writer.write_inside_block(layout.geometry.backup_boot_sector_position(), backup));
  TRY(writer.write_value(layout.boot, boot_sector));
  TRY(device.flush());
  return summary_of(layout);
}

}  // namespace ntfs
