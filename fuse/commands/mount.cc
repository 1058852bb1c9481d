#include "fuse/commands/mount.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/trace.h"
#include "fuse/mount_point.h"
#include "fuse/reply.h"
#include "fuse/served_mount.h"

namespace ntfs::frontend {

namespace {

int refuse(const std::string& text, int code) {
  log_line(LogLevel::Error, text);
  return code;
}

/// What the mounting process would give its own files.
ShownOwnership ownership_of_caller() {
  ShownOwnership ownership;
  const mode_t mask = umask(0);
  umask(mask);
  ownership.uid = getuid();
  ownership.gid = getgid();
  ownership.file_mask = mask;
  ownership.directory_mask = mask;
  return ownership;
}

/// "" when `directory` can be mounted on.
std::string problem_of_directory(const std::string& directory) {
  struct stat status {};
  if (stat(directory.c_str(), &status) != 0) {
    const SystemError error = last_system_error();
    if (error.kind == SystemError::Kind::NotConnected) {
      return "a mount whose process has ended is still there; unmount it first";
    }
    return error.text + "; create the directory first";
  }
  return S_ISDIR(status.st_mode) ? "" : "it is not a directory; give one to mount on";
}

/// As the mount table shows it: a path that means the same everywhere.
std::string shown_source(const std::string& source) {
  return source.starts_with('/') ? source : absolute_path(source);
}

}  // namespace

int run_mount(const MountCommandOptions& command) {
  ParsedOptions parsed =
      parse_mount_options(command.options, ownership_of_caller(),
                          command.sloppy ? UnknownOptions::Note : UnknownOptions::Refuse);
  if (!parsed.error.empty()) return refuse(parsed.error, kMountUsage);
  if (access(command.source.c_str(), F_OK) != 0) {
    if (parsed.options.nofail) return kMountSucceeded;
    return refuse(fmt::format("{}: {}", command.source, last_system_error().text), kMountFailed);
  }
  MountRequest request;
  request.source = shown_source(command.source);
  request.directory = absolute_path(command.directory);
  request.options = std::move(parsed.options);
  request.trace_requests = command.trace_requests;
  const std::string problem = problem_of_directory(request.directory);
  if (!problem.empty()) {
    return refuse(fmt::format("{}: {}", command.directory, problem), kMountFailed);
  }
  if (command.fake) return kMountSucceeded;
  if (command.verbose) {
    log_line(LogLevel::Note, fmt::format("mounting {} on {}", request.source, request.directory));
  }
  // The device is opened behind the fork: rings and locks belong to one process.
  if (command.foreground) return serve_mount(request, ReadyNotice());
  Forked forked = fork_daemon(kMountFailed);
  if (forked.is_parent) return forked.exit_code;
  return serve_mount(request, std::move(forked.notice));
}

int run_mount_helper(int argc, char** argv) {
  MountCommandOptions command;
  // What mount(8) and fstab mount is there for everybody, as any other file system.
  if (geteuid() == 0) command.options = "allow_other";
  optind = 1;
  for (int option = 0; (option = getopt(argc, argv, "sfnvN:o:t:")) != -1;) {
    switch (option) {
      case 's':
        command.sloppy = true;
        break;
      case 'f':
        command.fake = true;
        break;
      case 'v':
        command.verbose = true;
        break;
      case 'o':
        if (!command.options.empty()) command.options += ',';
        command.options += optarg;
        break;
      case 'n':  // there is no mtab to leave alone
      case 't':
        break;
      default:
        return refuse("usage: mount.ntfs-wal SOURCE DIR [-sfnv] [-o OPTIONS]", kMountUsage);
    }
  }
  if (argc - optind != 2) {
    return refuse("usage: mount.ntfs-wal SOURCE DIR [-sfnv] [-o OPTIONS]", kMountUsage);
  }
  command.source = argv[optind];
  command.directory = argv[optind + 1];
  return run_mount(command);
}

}  // namespace ntfs::frontend
