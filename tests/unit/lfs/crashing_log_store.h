#pragma once

// A log file in memory whose power may fail in every write. What a call of write_durable was given
// is in flight until it returns: of each sector, the device holds the old or the new content after
// a crash. The store shows a judge all such images (or a random choice where they are too many) by
// taking them on one after the other; the judge reads them through the store itself.
// One thread at a time.

#include <array>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "lfs/log_store.h"

namespace ntfs::lfs::testing {

class CrashingLogStore final : public LogStore {
 public:
  enum class Damage {
    WholePages,   ///< each page is old or new
    TornSectors,  ///< some page has old and new sectors
  };
  using Judge = std::function<void(Damage)>;

  CrashingLogStore(uint64_t size_bytes, std::mt19937_64& random)
      : bytes_(size_bytes, std::byte{0xFF}), random_(random) {}

  uint64_t size_bytes() const override { return bytes_.size(); }
  Result<> read(uint64_t offset, MutableBytes into) override {
    const auto from = slice(ByteView(bytes_), offset, into.size());
    if (!from) return NtStatus::EndOfFile;
    std::memcpy(into.data(), from->data(), into.size());
    return {};
  }
  Result<> write_durable(std::span<const LogWrite> writes) override;

  void set_judge(Judge judge) { judge_ = std::move(judge); }
  /// The power fails in the `calls`-th write from now (0: the next one).
  void lose_power_in(uint64_t calls) { calls_until_crash_ = calls; }
  bool has_power() const { return has_power_; }
  void restore_power() {
    has_power_ = true;
    calls_until_crash_ = kNever;
  }
  /// Another driver empties the log.
  void wipe() { std::fill(bytes_.begin(), bytes_.end(), std::byte{0xFF}); }
  /// It was stopped soon after it had begun to.
  void wipe_restart_pages() { std::fill_n(bytes_.begin(), 2 * kPage, std::byte{0xFF}); }

  ByteView bytes() const { return bytes_; }
  uint64_t count_images() const { return count_images_; }

 private:
  static constexpr size_t kPage = 4096;
  static constexpr size_t kSector = 512;
  static constexpr size_t kSectors = kPage / kSector;
  static constexpr uint32_t kWhole = (1U << kSectors) - 1;
  /// Up to that many atoms (sectors of one page, or pages) every subset is shown.
  static constexpr size_t kExhaustiveAtoms = 10;
  static constexpr size_t kRandomSubsets = 96;
  static constexpr uint64_t kNever = ~uint64_t{0};

  struct InFlight {
    uint64_t offset = 0;
    ByteVector before, after;
    uint32_t arrived = 0;  ///< which sectors are the new ones
  };

  void take_on(InFlight& page, uint32_t arrived);
  void show();
  void show_sector_subsets(InFlight& page);
  void show_page_subsets();
  void show_random_subsets();

  ByteVector bytes_;
  std::mt19937_64& random_;
  Judge judge_;
  std::vector<InFlight> pages_;
  uint64_t calls_until_crash_ = kNever;
  bool has_power_ = true;
  uint64_t count_images_ = 0;
};

inline void CrashingLogStore::take_on(InFlight& page, uint32_t arrived) {
  for (size_t sector = 0; sector < kSectors; ++sector) {
    if (((page.arrived ^ arrived) >> sector & 1) == 0) continue;
    const ByteVector& from = (arrived >> sector & 1) != 0 ? page.after : page.before;
    std::memcpy(bytes_.data() + page.offset + sector * kSector, from.data() + sector * kSector,
                kSector);
  }
  page.arrived = arrived;
}

inline void CrashingLogStore::show() {
  ++count_images_;
  bool torn = false;
  for (const InFlight& page : pages_) torn |= page.arrived != 0 && page.arrived != kWhole;
  judge_(torn ? Damage::TornSectors : Damage::WholePages);
}

inline void CrashingLogStore::show_sector_subsets(InFlight& page) {
  for (uint32_t arrived = 0; arrived <= kWhole; ++arrived) {
    take_on(page, arrived);
    show();
  }
}

inline void CrashingLogStore::show_page_subsets() {
  for (uint32_t subset = 0; subset < 1U << pages_.size(); ++subset) {
    for (size_t i = 0; i < pages_.size(); ++i) {
      take_on(pages_[i], (subset >> i & 1) != 0 ? kWhole : 0);
    }
    show();
  }
}

/// Every beginning of the pages; then pages, and then sectors by chance, from few to most of them.
inline void CrashingLogStore::show_random_subsets() {
  for (size_t i = 0; pages_.size() > kExhaustiveAtoms && i <= pages_.size(); ++i) {
    for (size_t p = 0; p < pages_.size(); ++p) take_on(pages_[p], p < i ? kWhole : 0);
    show();
  }
  for (size_t i = 0; i < kRandomSubsets; ++i) {
    const uint64_t share = 1 + random_() % 15;  // of 16 arrive
    for (InFlight& page : pages_) {
      uint32_t arrived = random_() % 16 < share ? kWhole : 0;
      if (i % 2 == 0) {
        arrived = 0;
        for (size_t s = 0; s < kSectors; ++s) arrived |= (random_() % 16 < share ? 1U : 0U) << s;
      }
      take_on(page, arrived);
    }
    show();
  }
}

inline Result<> CrashingLogStore::write_durable(std::span<const LogWrite> writes) {
  if (!has_power_) return NtStatus::IoDeviceError;
  pages_.clear();
  for (const LogWrite& write : writes) {
    for (size_t at = 0; at < write.bytes.size(); at += kPage) {
      const ByteView after = write.bytes.subspan(at, kPage);
      const auto before =
          bytes_.begin() + static_cast<ByteVector::difference_type>(write.offset + at);
      pages_.push_back({write.offset + at,
                        {before, before + static_cast<ByteVector::difference_type>(kPage)},
                        {after.begin(), after.end()},
                        0});
    }
  }
  if (judge_) {
    if (pages_.size() == 1) {
      show_sector_subsets(pages_.front());
    } else {
      if (pages_.size() <= kExhaustiveAtoms) show_page_subsets();
      show_random_subsets();
    }
  }
  const bool crashes = calls_until_crash_-- == 0;
  for (InFlight& page : pages_) {
    take_on(page, crashes ? static_cast<uint32_t>(random_()) & kWhole : kWhole);
  }
  if (!crashes) return {};
  has_power_ = false;
  return NtStatus::IoDeviceError;
}

}  // namespace ntfs::lfs::testing
