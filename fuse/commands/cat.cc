#include "fuse/commands/cat.h"

#include <cstdio>

#include "core/base/trace.h"
#include "fuse/commands/exit_codes.h"
#include "fuse/commands/opened_volume.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

}  // namespace

int run_cat(const CatOptions& options) {
  auto volume = open_volume(options.source, View::Recovered);
  if (!volume) return exit_code_of(volume.error());
  const auto file = find_path(*volume, options.path);
  if (!file) return exit_code_of(file.error());
  AlignedBuffer buffer = volume->device->allocate(kPieceBytes);
  for (uint64_t offset = 0;;) {
    const auto read = volume->store->read(**file, offset, kPieceBytes, buffer.bytes());
    if (!read) {
      report_file_error(*volume, options.path, read.error());
      return exit_code_of(read.error());
    }
    if (*read == 0) break;
    if (std::fwrite(buffer.data(), 1, *read, stdout) != *read) {
      log_line(LogLevel::Error, "the output could not be written: " + last_system_error().text);
      return kExitIo;
    }
    offset += *read;
  }
  if (std::fflush(stdout) == 0) return kExitSuccess;
  log_line(LogLevel::Error, "the output could not be written: " + last_system_error().text);
  return kExitIo;
}

}  // namespace ntfs::frontend
