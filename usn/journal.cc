#include "usn/journal.h"

#include <algorithm>

#include "usn/reason.h"

namespace ntfs::usn {

namespace {

struct RawMax {
  le64 maximum_size;
  le64 allocation_delta;
  le64 id;
  le64 lowest_valid;
};
static_assert(sizeof(RawMax) == kMaxStreamBytes && alignof(RawMax) == 1);

/// A volume gives its journal no more than this part of itself.
constexpr uint64_t kPartOfVolume = 32;
/// Deltas in a maximum size, where nobody says otherwise.
constexpr uint64_t kDefaultDeltas = 4;

}  // namespace

std::array<std::byte, kMaxStreamBytes> build_max(const JournalInformation& information) {
  std::array<std::byte, kMaxStreamBytes> bytes{};
  auto& raw = struct_at<RawMax>(MutableBytes(bytes));
  raw.maximum_size.set(information.maximum_size);
  raw.allocation_delta.set(information.allocation_delta);
  raw.id.set(information.id);
  raw.lowest_valid.set(information.lowest_valid.raw());
  return bytes;
}

Result<JournalInformation> parse_max(ByteView value, const Origin& origin) {
  const auto raw = view_as<RawMax>(value);
  if (!raw) return corrupt(origin, "length", value.size());
  JournalInformation information;
  information.maximum_size = (*raw)->maximum_size.get();
  information.allocation_delta = (*raw)->allocation_delta.get();
  information.id = (*raw)->id.get();
  information.lowest_valid = Usn::from_raw((*raw)->lowest_valid.get());
  if (information.maximum_size == 0) return corrupt(origin, "maximum size", 0);
  return information;
}

Result<JournalInformation> with_sizes(uint64_t maximum_size, uint64_t allocation_delta,
                                      uint32_t cluster_size) {
  constexpr uint64_t kMostBytes = uint64_t{1} << 40;
  if (maximum_size == 0 || maximum_size > kMostBytes) return NtStatus::InvalidParameter;
  if (allocation_delta > maximum_size) return NtStatus::InvalidParameter;
  const uint64_t unit = std::max<uint64_t>(cluster_size, kLeastDelta);
  const uint64_t maximum = std::max(maximum_size, kLeastMaximumSize);
  const uint64_t delta = allocation_delta != 0 ? allocation_delta : maximum / kDefaultDeltas;
  JournalInformation information;
  information.allocation_delta = align_up(delta, unit);
  information.maximum_size = divide_up(maximum, unit) * unit;
  return information;
}

uint64_t default_maximum_size(uint64_t volume_bytes) {
  return std::clamp(volume_bytes / kPartOfVolume, kLeastMaximumSize, kDefaultMaximumSize);
}

Placement place_record(Usn next, uint64_t length) {
  const uint64_t room = kPageBytes - next.raw() % kPageBytes;
  if (length <= room) return {0, next};
  return {room, Usn::from_raw(next.raw() + room)};
}

std::optional<Usn> trim_target(const JournalInformation& information, Usn first, Usn next,
                               Usn restart, uint32_t cluster_size) {
  const uint64_t most = information.maximum_size + information.allocation_delta;
  if (next.raw() - first.raw() <= most) return std::nullopt;
  const uint64_t unit = std::max<uint64_t>(cluster_size, kPageBytes);
  uint64_t target = next.raw() - information.maximum_size;
  const uint64_t delta = information.allocation_delta;
  if (delta != 0 && target / delta * delta > first.raw()) target = target / delta * delta;
  target = align_down(std::min(target, restart.raw()), unit);
  if (target <= first.raw()) return std::nullopt;
  return Usn::from_raw(target);
}

void OpenRecords::note(FileReference file, uint32_t reason, Usn usn) {
  if ((reason & Reason::Close) != 0) {
    restore(file, std::nullopt);
  } else if (!first_.contains(file)) {
    insert(file, usn);
  }
}

std::optional<Usn> OpenRecords::oldest() const {
  if (by_usn_.empty()) return std::nullopt;
  return by_usn_.front().usn;
}

std::optional<Usn> OpenRecords::first_of(FileReference file) const {
  const auto found = first_.find(file);
  return found == first_.end() ? std::nullopt : std::optional(found->second);
}

void OpenRecords::restore(FileReference file, std::optional<Usn> first) {
  first_.erase(file);
  if (first) insert(file, *first);
  drop_closed();
}

bool OpenRecords::is_open(const Entry& entry) const {
  const auto found = first_.find(entry.file);
  return found != first_.end() && found->second == entry.usn;
}

void OpenRecords::insert(FileReference file, Usn first) {
  first_.insert_or_assign(file, first);
  // New records come last.
  auto place = by_usn_.end();
  while (place != by_usn_.begin() && std::prev(place)->usn > first) --place;
  by_usn_.insert(place, {first, file});
}

void OpenRecords::drop_closed() {
  while (!by_usn_.empty() && !is_open(by_usn_.front())) by_usn_.pop_front();
  // A file that stays open must not keep the entries of all that follow.
  constexpr size_t kFewEntries = 1024;
  if (by_usn_.size() <= kFewEntries || by_usn_.size() / 2 <= first_.size()) return;
  std::erase_if(by_usn_, [&](const Entry& entry) { return !is_open(entry); });
}

}  // namespace ntfs::usn
