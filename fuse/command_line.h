#pragma once

// The command line of ntfs-wal: which commands there are, and their options.

namespace ntfs::frontend {

/// Runs what the command line asks for; returns the exit code.
int run_command_line(int argc, char** argv);

}  // namespace ntfs::frontend
