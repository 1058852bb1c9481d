#include "fuse/commands/signatures.h"

#include <blkid/blkid.h>
#include <fmt/format.h>

#include <memory>

namespace ntfs::frontend {

namespace {

/// What `name` ("TYPE", "PTTYPE") is; "" when it was not found.
std::string value_of(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  return blkid_probe_lookup_value(probe, name, &value, nullptr) == 0 ? value : "";
}

}  // namespace

Result<std::string> recognize_content(const std::string& path) {
  const std::unique_ptr<blkid_struct_probe, decltype(&blkid_free_probe)> probe(
      blkid_new_probe_from_filename(path.c_str()), &blkid_free_probe);
  if (probe == nullptr) return NtStatus::IoDeviceError;
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM);
  blkid_probe_enable_partitions(probe.get(), 1);
  const int found = blkid_do_probe(probe.get());
  if (found < 0) return NtStatus::IoDeviceError;
  if (found != 0) return std::string();
  const std::string type = value_of(probe.get(), "TYPE");
  if (!type.empty()) return fmt::format("data of the type {}", type);
  return fmt::format("a partition table ({})", value_of(probe.get(), "PTTYPE"));
}

}  // namespace ntfs::frontend
