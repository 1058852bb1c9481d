#pragma once

// Paths of files by the number of their record, as the volume stands; for reports.

#include <cstdint>
#include <string>
#include <unordered_map>

#include "core/store/volume.h"

namespace ntfs::frontend {

class PathNames {
 public:
  /// `volume` must outlive the object.
  explicit PathNames(Volume& volume) : volume_(volume) {}

  /// "/dir/file", one of its paths; "" when it cannot be told (any more).
  const std::string& path_of(uint64_t record);

 private:
  struct Name {
    uint64_t parent = 0;
    std::string text;
  };
  Result<Name> name_of(uint64_t record);

  Volume& volume_;
  std::unordered_map<uint64_t, std::string> known_;
};

}  // namespace ntfs::frontend
