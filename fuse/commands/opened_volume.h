#pragma once

// A volume that a command looks at without mounting it: read-only, and also while it is mounted.

#include <memory>
#include <string>
#include <string_view>

#include "core/fsa/object_store.h"
#include "core/io/uring_device.h"

namespace ntfs::frontend {

struct OpenedVolume {
  std::string source;
  std::unique_ptr<UringDevice> device;
  std::unique_ptr<ObjectStore> store;
};

enum class View {
  AsItIs,     ///< what is on the device, whatever the log says
  Recovered,  ///< what the next mount will show; as it is, with a warning, where nobody can tell
};
/// Errors are printed, with what to do.
Result<OpenedVolume> open_volume(const std::string& source, View view);

/// The file at `path` (UTF-8, components separated by '/'). Errors are printed.
Result<FilePtr> find_path(OpenedVolume& volume, std::string_view path);
/// Prints "SOURCE: PATH: ..." for an error that came up while the file was read.
void report_file_error(const OpenedVolume& volume, std::string_view path, NtStatus status);

/// In words, for messages.
std::string explain(NtStatus status);
/// "file", "directory", "symlink", ...
std::string_view name_of(FileKind kind);
/// ISO 8601, UTC, with 100 ns: "2024-01-31T12:00:00.1234567Z".
std::string format_time(ondisk::FileTime time);

}  // namespace ntfs::frontend
