#include "tests/crash/power_cut.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <random>

namespace ntfs::crash {

namespace {

constexpr std::array<std::string_view, 8> kKindNames = {"none", "all",  "earlier", "drop",
                                                        "only", "tear", "tail",    "random"};

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

/// Sectors [first, end) of a write.
struct Part {
  size_t first = 0;
  size_t end = 0;
};

/// What `random` leaves of a write: nothing, all, its start, its end, or any sectors.
std::vector<Part> random_parts(size_t sectors, std::mt19937_64& random) {
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  switch (below(8)) {
    case 0:
    case 1:
    case 2:
      return {};
    case 3:
    case 4:
      return {{0, sectors}};
    case 5:
      return {{0, below(sectors)}};
    case 6:
      return {{below(sectors), sectors}};
    default: {
      std::vector<Part> parts;
      for (size_t i = 0; i < sectors; ++i) {
        if (below(2) == 0) parts.push_back({i, i + 1});
      }
      return parts;
    }
  }
}

struct PendingRange {
  size_t first = 0;  ///< of the recording's writes
  size_t end = 0;
  size_t of_call = 0;  ///< where the running call's own begin
};

PendingRange pending_at(const Recording& recording, size_t call) {
  if (call < recording.calls.size()) {
    const Recording::Call& running = recording.calls[call];
    return {running.sure_writes, running.end_write, running.first_write};
  }
  const Recording::Call& last = recording.calls.back();
  const bool is_sure =
      last.kind == Recording::CallKind::DurableTransfer || last.kind == Recording::CallKind::Flush;
  const size_t sure = is_sure ? last.end_write : last.sure_writes;
  return {sure, recording.writes.size(), recording.writes.size()};
}

std::vector<Part> parts_of(const PowerCut& cut, size_t index, const PendingRange& pending,
                           size_t sectors, std::mt19937_64& random) {
  using Kind = PowerCut::Kind;
  const std::vector<Part> whole = {{0, sectors}};
  const size_t kept = std::min<size_t>(cut.detail, sectors);
  switch (cut.kind) {
    case Kind::None:
      return {};
    case Kind::All:
      return whole;
    case Kind::Earlier:
      return pending.first + index < pending.of_call ? whole : std::vector<Part>{};
    case Kind::Drop:
      return index == cut.write ? std::vector<Part>{} : whole;
    case Kind::Only:
      return index == cut.write ? whole : std::vector<Part>{};
    case Kind::Tear:
      return index == cut.write ? std::vector<Part>{{0, kept}} : whole;
    case Kind::Tail:
      return index == cut.write ? std::vector<Part>{{kept, sectors}} : whole;
    case Kind::Random:
      return random_parts(sectors, random);
  }
  return {};
}

std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

std::string PowerCut::to_text() const {
  const auto name = kKindNames[static_cast<size_t>(kind)];
  switch (kind) {
    case Kind::None:
    case Kind::All:
    case Kind::Earlier:
      return fmt::format("{}{}", call, name);
    case Kind::Drop:
    case Kind::Only:
      return fmt::format("{}{}{}", call, name, write);
    case Kind::Tear:
    case Kind::Tail:
      return fmt::format("{}{}{}s{}", call, name, write, detail);
    case Kind::Random:
      return fmt::format("{}{}{}", call, name, detail);
  }
  return {};
}

std::optional<PowerCut> PowerCut::parse(std::string_view text) {
  PowerCut cut;
  const auto call = take_number(text);
  if (!call) return std::nullopt;
  cut.call = *call;
  const auto name = std::find_if(kKindNames.begin(), kKindNames.end(),
                                 [&](std::string_view one) { return text.starts_with(one); });
  if (name == kKindNames.end()) return std::nullopt;
  cut.kind = static_cast<Kind>(name - kKindNames.begin());
  text.remove_prefix(name->size());
  if (cut.kind >= Kind::Drop) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    (cut.kind == Kind::Random ? cut.detail : cut.write) = *number;
  }
  if (text.starts_with("s")) {
    text.remove_prefix(1);
    const auto sectors = take_number(text);
    if (!sectors) return std::nullopt;
    cut.detail = *sectors;
  }
  return text.empty() ? std::optional(cut) : std::nullopt;
}

std::vector<PowerCut> choose_cuts(const Recording& recording, uint32_t sector_size, size_t limit,
                                  uint64_t seed) {
  using Kind = PowerCut::Kind;
  std::vector<PowerCut> cuts;
  if (recording.writes.empty()) return cuts;
  std::mt19937_64 random(seed);
  const auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  // First each moment with everything and with nothing of what was pending, then at random.
  std::vector<PowerCut> plain;
  for (size_t call = 0; call <= recording.calls.size(); ++call) {
    if (pending_at(recording, call).first == pending_at(recording, call).end) continue;
    plain.push_back({call, Kind::None, 0, 0});
    plain.push_back({call, Kind::All, 0, 0});
    plain.push_back({call, Kind::Earlier, 0, 0});
  }
  if (plain.empty()) return cuts;
  std::shuffle(plain.begin(), plain.end(), random);
  for (size_t i = 0; cuts.size() < limit; ++i) {
    if (i % 4 == 0 && i / 4 < plain.size()) {
      cuts.push_back(plain[i / 4]);
      continue;
    }
    PowerCut cut;
    cut.call = plain[below(plain.size())].call;
    const PendingRange pending = pending_at(recording, cut.call);
    cut.kind = static_cast<Kind>(static_cast<size_t>(Kind::Drop) + below(5));
    cut.write = below(pending.end - pending.first);
    const size_t sectors = recording.writes[pending.first + cut.write].length / sector_size;
    if (cut.kind == Kind::Tear || cut.kind == Kind::Tail) {
      if (sectors == 1) cut.kind = Kind::Only;
      cut.detail = sectors == 1 ? 0 : 1 + below(sectors - 1);
    }
    if (cut.kind == Kind::Random) cut.detail = random() >> 32;
    cuts.push_back(cut);
  }
  std::stable_sort(cuts.begin(), cuts.end(),
                   [](const PowerCut& a, const PowerCut& b) { return a.call < b.call; });
  return cuts;
}

std::vector<PowerCut> every_cut(const Recording& recording, uint32_t sector_size,
                                size_t first_call) {
  using Kind = PowerCut::Kind;
  std::vector<PowerCut> cuts;
  if (recording.writes.empty()) return cuts;
  for (size_t call = first_call; call <= recording.calls.size(); ++call) {
    const PendingRange pending = pending_at(recording, call);
    if (pending.first == pending.end) continue;
    for (const Kind kind : {Kind::None, Kind::All, Kind::Earlier}) {
      cuts.push_back({call, kind, 0, 0});
    }
    for (size_t i = pending.of_call; i < pending.end; ++i) {
      const size_t sectors = recording.writes[i].length / sector_size;
      cuts.push_back({call, Kind::Drop, i - pending.first, 0});
      if (sectors > 1) cuts.push_back({call, Kind::Tear, i - pending.first, sectors / 2});
    }
  }
  return cuts;
}

std::unique_ptr<DiskImage> CutDisks::make(const PowerCut& cut, uint64_t promise) {
  const PendingRange pending = pending_at(recording_, std::min(cut.call, recording_.calls.size()));
  ASSERT(pending.first >= sure_writes_);
  if (pending.first > sure_writes_) made_.clear();
  for (; sure_writes_ < pending.first; ++sure_writes_) {
    const auto& write = recording_.writes[sure_writes_];
    sure_.write(write.offset, recording_.bytes_of(write));
  }
  auto image = std::make_unique<DiskImage>(&sure_);
  std::mt19937_64 random(cut.detail);
  uint64_t signature = mix(promise);
  for (size_t i = pending.first; i < pending.end; ++i) {
    const auto& write = recording_.writes[i];
    const size_t sectors = write.length / sector_size_;
    for (const Part& part : parts_of(cut, i - pending.first, pending, sectors, random)) {
      if (part.first >= part.end) continue;
      const uint64_t start = part.first * sector_size_;
      const uint64_t length = (part.end - part.first) * sector_size_;
      image->write(write.offset + start, recording_.bytes_of(write).subspan(start, length));
      signature = mix(signature + mix(i) + mix(part.first * 0x10001 + part.end));
    }
  }
  if (std::find(made_.begin(), made_.end(), signature) != made_.end()) return nullptr;
  made_.push_back(signature);
  return image;
}

}  // namespace ntfs::crash
