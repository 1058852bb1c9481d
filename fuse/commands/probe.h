#pragma once

// `ntfs-wal probe SOURCE`: can it be mounted? Writes nothing. Exit codes as ntfs-3g.probe(8).

#include <string>

namespace ntfs::frontend {

// Exit codes.
constexpr int kProbeYes = 0;
constexpr int kProbeUsage = 11;
constexpr int kProbeNotNtfs = 12;
constexpr int kProbeInconsistent = 13;
constexpr int kProbeHibernated = 14;
constexpr int kProbeLogUnclean = 15;
constexpr int kProbeInUse = 16;
constexpr int kProbeUnknown = 18;
constexpr int kProbePrivilege = 19;
constexpr int kProbeMemory = 20;
constexpr int kProbeFuse = 21;

struct ProbeOptions {
  std::string source;
  bool readwrite = false;
  bool json = false;
};
int run_probe(const ProbeOptions& options);

}  // namespace ntfs::frontend
