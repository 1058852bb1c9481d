#pragma once

// One crash image on trial: recovered, judged, closed, checked; and, where asked for, crashed again
// during its recovery, and used afterwards.

#include <cstdint>
#include <string>
#include <vector>

#include "tests/crash/power_cut.h"
#include "tests/crash/run.h"

namespace ntfs::crash {

/// What names a crash image: a workload, a power cut in it, and perhaps one in its recovery.
struct Case {
  std::string workload;
  std::vector<PowerCut> cuts;  ///< one or two

  std::string to_text() const;
  static std::optional<Case> parse(const std::string& text);
};

struct Outcome {
  std::string failure;     ///< "" when all is as it must be
  std::string case_text;   ///< of the image that failed
  uint64_t images = 0;     ///< tried, those of crashes during the recovery included
  uint64_t recrashed = 0;  ///< those
  uint64_t used = 0;       ///< images that were used after their recovery
};

/// Called before each image is tried, with its case.
using Announce = void (*)(const std::string& case_text);

class Trial {
 public:
  /// All must outlive the trial.
  Trial(const Start& start, const Run& run, Announce announce)
      : start_(start), run_(run), announce_(announce) {}

  /// `recrashes`: how many crashes of the recovery to try. `uses`: random operations afterwards.
  /// `seed` chooses both.
  struct Extras {
    size_t recrashes = 0;
    size_t uses = 0;
    uint64_t seed = 0;
  };
  /// Without a crash: the volume as it was closed shows the last state. "" when it does.
  std::string try_closed();
  Outcome try_image(const Case& name, const DiskImage& crashed, const Extras& extras);
  /// The second of two cuts alone, as try_image would.
  Outcome replay_recrash(const Case& name, const DiskImage& crashed);
  /// The image of the case's last cut; null when it cannot be made.
  bool save(const Case& name, const DiskImage& crashed, const std::string& path);

 private:
  struct Recovered {
    std::string failure;
    Tree tree;
  };
  Recovered recover(DiskImage& disk, Recording* recording, size_t uses, uint64_t seed);
  std::string use(ObjectStore& store, const Tree& tree, size_t count, uint64_t seed,
                  Tree& expected);
  std::string try_recrash(const DiskImage& recrashed, const Tree& expected);

  const Start& start_;
  const Run& run_;
  const Announce announce_;
};

}  // namespace ntfs::crash
