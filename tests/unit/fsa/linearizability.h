#pragma once

// Whether what several threads were answered by one stream could have come one request after the
// other: a history of requests with the moments of asking and answering, a model of the stream that
// shares no code with the store, and a search for an order that the model agrees with (Wing and
// Gong, "Testing and Verifying Concurrent Objects"; memory of states seen, after Lowe).
//
// Content is counted in cells of 512 bytes, each of one value. A request that breaks an oplock does
// so before it has its effect: in between others may see the one without the other, as MS-FSA has
// it (the request starts again after a break).

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "core/base/status.h"

namespace ntfs::testing {

constexpr uint64_t kCellBytes = 512;
constexpr int kCellsOfACluster = 8;
/// A cell whose bytes were not all the same.
constexpr uint8_t kTorn = 255;

using Cells = std::vector<uint8_t>;

/// One request and its answer.
struct Event {
  enum class Kind {
    Write,          ///< at, count, value; at -1: the end, -2: the position
    Read,           ///< at, count -> cells
    SetSize,        ///< at
    SetAllocation,  ///< at
    ZeroData,       ///< at, count
    Punch,          ///< at, count; also past the end
    Size,           ///< -> at
    Lock,           ///< at, count, is_exclusive
    Unlock,         ///< at, count
    RequestOplock,  ///< that is for reading
    HasOplock,      ///< -> at: 0 or 1
    Close,          ///< locks and oplock go with it
    Other,          ///< changes nothing, and always succeeds
  };
  Kind kind = Kind::Other;
  int thread = 0;
  int open = 0;  ///< of the thread; locks and positions are its own
  bool is_synchronous = false;
  int at = 0;
  int count = 0;
  uint8_t value = 0;
  bool is_exclusive = false;
  // The answer.
  NtStatus status = NtStatus::Success;
  Cells cells;
  // Moments: asked before it took effect, answered after.
  uint64_t asked = 0;
  uint64_t answered = 0;
};

class StreamModel {
 public:
  static constexpr int kThreads = 2;

  explicit StreamModel(Cells cells) : cells_(std::move(cells)) {}

  /// Does what the event asks for. False: the answer would have been another.
  bool apply(const Event& event) {
    using Kind = Event::Kind;
    switch (event.kind) {
      case Kind::Write:
        return write(event);
      case Kind::Read:
        return read(event);
      case Kind::SetSize:
        break_oplocks(event);
        cells_.resize(static_cast<size_t>(event.at));
        return event.status == NtStatus::Success;
      case Kind::SetAllocation: {
        break_oplocks(event);
        const int whole = (event.at + kCellsOfACluster - 1) / kCellsOfACluster * kCellsOfACluster;
        if (whole < size()) cells_.resize(static_cast<size_t>(whole));
        return event.status == NtStatus::Success;
      }
      case Kind::ZeroData:
      case Kind::Punch:
        return zero(event);
      case Kind::Size:
        return event.at == size();
      case Kind::Lock:
        return lock(event);
      case Kind::Unlock:
        return unlock(event);
      case Kind::RequestOplock:
        if (!locks_.empty()) return event.status == NtStatus::OplockNotGranted;
        has_oplock_[static_cast<size_t>(event.thread)] = true;
        return event.status == NtStatus::Success;
      case Kind::HasOplock:
        return (event.at != 0) == has_oplock_[static_cast<size_t>(event.thread)];
      case Kind::Close:
        std::erase_if(locks_, [&](const Held& held) { return held.owner == owner_of(event); });
        if (event.open == 0) has_oplock_[static_cast<size_t>(event.thread)] = false;
        return true;
      case Kind::Other:
        return event.status == NtStatus::Success;
    }
    return false;
  }

  /// Whether the event begins by breaking an oplock that is there now.
  bool may_break(const Event& event) const {
    using Kind = Event::Kind;
    const bool breaks = event.kind == Kind::Write || event.kind == Kind::SetSize ||
                        event.kind == Kind::SetAllocation || event.kind == Kind::ZeroData ||
                        event.kind == Kind::Punch || event.kind == Kind::Lock;
    return breaks && has_oplock_[static_cast<size_t>(1 - event.thread)];
  }
  void break_oplocks(const Event& event) {
    has_oplock_[static_cast<size_t>(1 - event.thread)] = false;
  }

  /// Tells states apart.
  std::string key() const {
    std::string key(cells_.begin(), cells_.end());
    for (const Held& held : locks_) {
      key += {'|', static_cast<char>(held.owner), static_cast<char>(held.from),
              static_cast<char>(held.count), held.is_exclusive ? 'x' : 's'};
    }
    for (const int position : positions_) key += {'@', static_cast<char>(position)};
    for (const bool has : has_oplock_) key += has ? '+' : '-';
    return key;
  }

 private:
  struct Held {
    int owner;
    int from;
    int count;
    bool is_exclusive;
    bool operator==(const Held&) const = default;
  };
  static constexpr int kOpens = 4;  // of a thread

  static int owner_of(const Event& event) { return event.thread * kOpens + event.open; }
  int size() const { return static_cast<int>(cells_.size()); }
  int& position_of(const Event& event) {
    return positions_.at(static_cast<size_t>(owner_of(event)));
  }

  bool meets_lock(const Event& event, int from, bool writes) const {
    for (const Held& held : locks_) {
      if (from >= held.from + held.count || held.from >= from + event.count) continue;
      const bool is_own = held.owner == owner_of(event);
      if (held.is_exclusive ? !is_own : writes) return true;
    }
    return false;
  }

  bool write(const Event& event) {
    const int from = event.at == -1 ? size() : event.at == -2 ? position_of(event) : event.at;
    break_oplocks(event);
    if (meets_lock(event, from, true)) return event.status == NtStatus::FileLockConflict;
    const int end = from + event.count;
    if (end > size()) cells_.resize(static_cast<size_t>(end));
    std::fill(cells_.begin() + from, cells_.begin() + end, event.value);
    if (event.is_synchronous) position_of(event) = end;
    return event.status == NtStatus::Success;
  }

  bool read(const Event& event) {
    if (meets_lock(event, event.at, false)) return event.status == NtStatus::FileLockConflict;
    if (event.at >= size()) return event.status == NtStatus::EndOfFile;
    const int end = std::min(event.at + event.count, size());
    if (event.is_synchronous) position_of(event) = end;
    return event.status == NtStatus::Success &&
           event.cells == Cells(cells_.begin() + event.at, cells_.begin() + end);
  }

  bool zero(const Event& event) {
    break_oplocks(event);
    if (meets_lock(event, event.at, true)) return event.status == NtStatus::FileLockConflict;
    const int end = std::min(event.at + event.count, size());
    if (event.at < end) std::fill(cells_.begin() + event.at, cells_.begin() + end, uint8_t{0});
    return event.status == NtStatus::Success;
  }

  bool lock(const Event& event) {
    break_oplocks(event);
    for (const Held& held : locks_) {
      if (event.at >= held.from + held.count || held.from >= event.at + event.count) continue;
      const bool is_own = held.owner == owner_of(event);
      const bool conflicts = held.is_exclusive ? !is_own || event.is_exclusive : event.is_exclusive;
      if (conflicts) return event.status == NtStatus::LockNotGranted;
    }
    locks_.push_back({owner_of(event), event.at, event.count, event.is_exclusive});
    return event.status == NtStatus::Success;
  }

  /// An exclusive one goes first, else the last shared one.
  bool unlock(const Event& event) {
    for (const bool is_exclusive : {true, false}) {
      const Held wanted{owner_of(event), event.at, event.count, is_exclusive};
      for (size_t i = locks_.size(); i-- > 0;) {
        if (!(locks_[i] == wanted)) continue;
        locks_.erase(locks_.begin() + static_cast<std::ptrdiff_t>(i));
        return event.status == NtStatus::Success;
      }
    }
    return event.status == NtStatus::RangeNotLocked;
  }

  Cells cells_;
  std::vector<Held> locks_;
  std::array<int, kThreads * kOpens> positions_{};
  std::array<bool, kThreads> has_oplock_{};
};

/// Looks for an order of the events, each between its asking and its answer, whose answers are
/// those of the model.
class LinearizationSearch {
 public:
  explicit LinearizationSearch(const std::vector<Event>& history) : history_(history) {}

  bool finds(const StreamModel& start) { return search(0, start); }
  size_t count_states() const { return seen_.size(); }

 private:
  /// `done`: the events that have taken effect, a bit each.
  bool search(uint64_t done, const StreamModel& model) {
    if (done == (uint64_t{1} << history_.size()) - 1) return true;
    if (!seen_.insert(std::to_string(done) + ":" + model.key()).second) return false;
    uint64_t first_answer = UINT64_MAX;
    for (size_t i = 0; i < history_.size(); ++i) {
      if ((done >> i & 1) == 0) first_answer = std::min(first_answer, history_[i].answered);
    }
    for (size_t i = 0; i < history_.size(); ++i) {
      const Event& event = history_[i];
      // Whoever was asked after another's answer comes after that one.
      if ((done >> i & 1) != 0 || event.asked > first_answer) continue;
      if (model.may_break(event)) {
        StreamModel broken = model;
        broken.break_oplocks(event);
        if (search(done, broken)) return true;
      }
      StreamModel next = model;
      if (next.apply(event) && search(done | uint64_t{1} << i, next)) return true;
    }
    return false;
  }

  const std::vector<Event>& history_;
  std::set<std::string> seen_;
};

inline bool is_linearizable(const std::vector<Event>& history, const Cells& start) {
  return LinearizationSearch(history).finds(StreamModel(start));
}

/// For people.
inline std::string to_text(const Event& event) {
  static constexpr std::array<const char*, 13> kNames = {
      "write", "read",   "set size",       "set allocation", "zero data", "punch", "size",
      "lock",  "unlock", "request oplock", "has the oplock", "close",     "other"};
  std::string text = "[" + std::to_string(event.asked) + "," + std::to_string(event.answered) +
                     "] thread " + std::to_string(event.thread) + " open " +
                     std::to_string(event.open) + ": " + kNames[static_cast<size_t>(event.kind)] +
                     " " + std::to_string(event.at) + "+" + std::to_string(event.count) +
                     " value " + std::to_string(event.value) + " -> " +
                     std::string(name_of(event.status));
  for (const uint8_t cell : event.cells) text += " " + std::to_string(cell);
  return text;
}
inline std::string to_text(const std::vector<Event>& history) {
  std::string text;
  for (const Event& event : history) text += to_text(event) + "\n";
  return text;
}

}  // namespace ntfs::testing
