#pragma once

// Exit codes of the commands that have no tradition of their own. Source: sysexits.h.

#include "core/base/status.h"

namespace ntfs::frontend {

constexpr int kExitSuccess = 0;
constexpr int kExitUsage = 64;        ///< the command line is wrong
constexpr int kExitData = 65;         ///< not NTFS, or damaged
constexpr int kExitNoInput = 66;      ///< SOURCE, or PATH on it, is not there
constexpr int kExitUnavailable = 69;  ///< not in this version
constexpr int kExitCannotCreate = 73;
constexpr int kExitIo = 74;
constexpr int kExitInUse = 75;  ///< mounted, or open elsewhere
constexpr int kExitNoPermission = 77;

/// The exit code for a command that failed with `status`.
int exit_code_of(NtStatus status);

}  // namespace ntfs::frontend
