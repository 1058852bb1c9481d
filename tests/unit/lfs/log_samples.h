#pragma once

// Logs that Windows wrote, if the folder of sample images is there.

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "core/base/bytes.h"

namespace ntfs::testing {

/// The folder named by NTFS_WAL_IMAGES, or ../shared/images beside the source tree.
inline std::filesystem::path images_folder() {
  if (const char* named = std::getenv("NTFS_WAL_IMAGES")) return named;
  std::error_code error;
  auto source = std::filesystem::absolute(__FILE__, error).lexically_normal();
  for (int up = 0; up < 4; ++up) source = source.parent_path();
  return source.parent_path() / "shared" / "images";
}

/// The unpacked bytes of `name`.xz in its folder raw/; nothing where it is not there.
inline std::optional<ByteVector> raw_sample(const std::string& name) {
  const auto path = images_folder() / "raw" / (name + ".xz");
  if (!std::filesystem::exists(path)) return std::nullopt;
  std::FILE* pipe = popen(("xz -dc '" + path.string() + "'").c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  ByteVector bytes;
  std::array<std::byte, 65536> buffer;
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(count));
  }
  if (pclose(pipe) != 0) return std::nullopt;
  return bytes;
}

}  // namespace ntfs::testing
