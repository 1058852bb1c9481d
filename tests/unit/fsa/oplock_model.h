#pragma once

// Oplocks once more, as MS-FSA writes them: a State of flags beside the lists of holders, and a
// case for each state and demand. Shares nothing with core/fsa/oplock but the names of levels and
// operations. Opens are numbers.
//
// Source: MS-FSA 2.1.4.12, 2.1.4.13, 2.1.5.18, 2.1.5.19, with the corrections that oplock.h names.

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "core/fsa/oplock.h"

namespace ntfs::testing {

class OplockModel {
 public:
  using Level = OplockLevel;
  struct Told {
    int open;
    NtStatus status;
    Level level;
    bool acknowledge_required;
    auto operator<=>(const Told&) const = default;
  };
  struct Outcome {
    NtStatus status = NtStatus::Success;
    bool waits = false;
    std::vector<Told> told;
    std::vector<int> released;  ///< opens whose operations waited
    bool operator==(const Outcome&) const = default;
  };

  /// `keys[i]`: of open i; 0 is empty.
  explicit OplockModel(std::vector<int> keys)
      : keys_(std::move(keys)), alive_(keys_.size(), true) {}

  bool is_alive(int open) const { return alive_[static_cast<size_t>(open)]; }
  bool is_waiting(int open) const { return contains(waits_, open); }

  Outcome request(int open, Level level) {
    Outcome out;
    if (level == Level::LevelOne || level == Level::Batch) {
      request_legacy_exclusive(open, level, out);
    } else if (level == Level::LevelTwo) {
      request_two(open, out);
    } else if (level == Level::Read || level == Level::ReadHandle) {
      request_shared(open, level, out);
    } else {
      request_exclusive(open, level, out);
    }
    return out;
  }

  Outcome check(int by, OplockOperation operation) {
    Outcome out;
    if ((state_ & (kOne | kBatch)) != 0) {
      check_legacy(by, operation, out);
    } else if ((state_ & kWrite) != 0) {
      check_exclusive(by, operation, out);
    } else {
      check_shared(by, operation, out);
    }
    if (out.waits) waits_.push_back(by);
    return out;
  }

  Outcome acknowledge(int open, Level level) {
    Outcome out;
    const auto entry = std::find_if(queue_.begin(), queue_.end(),
                                    [open](const Breaking& b) { return b.open == open; });
    if (entry != queue_.end()) {
      acknowledge_queued(*entry, level, out);
    } else if (exclusive_ == open && (state_ & kAnyBreak) != 0) {
      if ((state_ & (kOne | kBatch)) != 0) {
        acknowledge_legacy(open, level, out);
      } else {
        acknowledge_exclusive(open, level, out);
      }
    } else {
      out.status = NtStatus::InvalidOplockProtocol;
    }
    return out;
  }

  Outcome close(int open) {
    Outcome out;
    alive_[static_cast<size_t>(open)] = false;
    if (exclusive_ == open) {
      const bool is_legacy = (state_ & (kOne | kBatch)) != 0;
      if ((state_ & kAnyBreak) == 0) {
        out.told.push_back({open, is_legacy ? NtStatus::Success : NtStatus::OplockHandleClosed,
                            Level::None, false});
      }
      become_free();
      release_all(out);
      return out;
    }
    const auto drop = [&](std::vector<int>& list, NtStatus status) {
      if (std::erase(list, open) != 0) out.told.push_back({open, status, Level::None, false});
    };
    drop(two_, NtStatus::Success);
    drop(read_, NtStatus::OplockHandleClosed);
    drop(handle_, NtStatus::OplockHandleClosed);
    std::erase_if(queue_, [open](const Breaking& b) { return b.open == open; });
    recompute();
    release_unqueued(out);
    return out;
  }

  /// The same for states that are alike.
  std::string describe() const {
    std::string text = std::to_string(state_) + "x" + std::to_string(exclusive_);
    const auto add = [&](std::vector<int> list, const char* name) {
      std::sort(list.begin(), list.end());
      text += name;
      for (const int open : list) text += std::to_string(open);
    };
    add(two_, "t");
    add(read_, "r");
    add(handle_, "h");
    add(waits_, "w");
    std::vector<int> queue;
    for (const Breaking& b : queue_) queue.push_back(b.open * 2 + (b.to_read ? 1 : 0));
    add(queue, "q");
    for (const bool alive : alive_) text += alive ? '+' : '-';
    return text;
  }

 private:
  static constexpr unsigned kNone = 1, kOne = 2, kBatch = 4, kTwo = 8, kExclusive = 16, kRead = 32,
                            kWrite = 64, kHandle = 128, kMixed = 256, kToTwo = 512, kToNone = 1024,
                            kToTwoToNone = 2048, kToRead = 4096, kToWrite = 8192, kToHandle = 16384,
                            kToNothing = 32768;
  static constexpr unsigned kAnyBreak =
      kToTwo | kToNone | kToTwoToNone | kToRead | kToWrite | kToHandle | kToNothing;
  struct Breaking {
    int open;
    bool to_read;
  };

  static bool contains(const std::vector<int>& list, int open) {
    return std::find(list.begin(), list.end(), open) != list.end();
  }
  bool same(int one, int other) const {
    if (one == other) return true;
    const int key = keys_[static_cast<size_t>(one)];
    return key != 0 && key == keys_[static_cast<size_t>(other)];
  }
  int count_alive() const {
    return static_cast<int>(std::count(alive_.begin(), alive_.end(), true));
  }
  bool others_share_key(int open) const {
    for (int i = 0; i < static_cast<int>(keys_.size()); ++i) {
      if (is_alive(i) && !same(i, open)) return false;
    }
    return true;
  }
  static unsigned flags_of(Level level) {
    switch (level) {
      case Level::Read:
        return kRead;
      case Level::ReadHandle:
        return kRead | kHandle;
      case Level::ReadWrite:
        return kRead | kWrite;
      case Level::ReadWriteHandle:
        return kRead | kWrite | kHandle;
      default:
        return 0;
    }
  }
  static Level level_of(unsigned flags) {
    if ((flags & kRead) == 0) return Level::None;
    const bool writes = (flags & kWrite) != 0;
    const bool handles = (flags & kHandle) != 0;
    if (writes) return handles ? Level::ReadWriteHandle : Level::ReadWrite;
    return handles ? Level::ReadHandle : Level::Read;
  }

  void become_free() {
    state_ = kNone;
    exclusive_ = -1;
  }

  /// 2.1.4.13: the first that matches.
  void recompute() {
    if (exclusive_ >= 0) return;
    const bool read = !read_.empty(), handle = !handle_.empty(), two = !two_.empty();
    if (!read && !handle && !two && queue_.empty()) {
      state_ = kNone;
    } else if (read && (handle || !queue_.empty())) {
      state_ = kRead | kHandle | kMixed;
    } else if (handle) {
      state_ = kRead | kHandle;
    } else if (read && two) {
      state_ = kRead | kTwo;
    } else if (read) {
      state_ = kRead;
    } else if (two) {
      state_ = kTwo;
    } else {
      const auto to_read = [](const Breaking& b) { return b.to_read; };
      state_ = kRead | kHandle;
      if (std::all_of(queue_.begin(), queue_.end(), to_read)) state_ |= kToRead;
      if (std::none_of(queue_.begin(), queue_.end(), to_read)) state_ |= kToNothing;
    }
  }

  void tell_switched(std::vector<int>& list, int open, Level level, Outcome& out) {
    std::erase_if(list, [&](int other) {
      if (!same(other, open)) return false;
      out.told.push_back({other, NtStatus::OplockSwitchedToNewHandle, level, false});
      return true;
    });
  }

  void request_legacy_exclusive(int open, Level level, Outcome& out) {
    const bool is_free = state_ == kNone || (state_ == kTwo && two_.size() == 1);
    if (count_alive() != 1 || !is_free) {
      out.status = NtStatus::OplockNotGranted;
      return;
    }
    for (const int other : two_) out.told.push_back({other, NtStatus::Success, Level::None, false});
    two_.clear();
    state_ = kExclusive | (level == Level::Batch ? kBatch : kOne);
    exclusive_ = open;
  }

  void request_two(int open, Outcome& out) {
    if ((state_ != kNone && state_ != kTwo && state_ != kRead && state_ != (kRead | kTwo)) ||
        !queue_.empty()) {
      out.status = NtStatus::OplockNotGranted;
      return;
    }
    if (std::erase(two_, open) != 0) {
      out.told.push_back({open, NtStatus::OplockSwitchedToNewHandle, Level::LevelTwo, false});
    }
    two_.push_back(open);
    recompute();
  }

  void request_shared(int open, Level level, Outcome& out) {
    const bool wants_handle = level == Level::ReadHandle;
    bool may = queue_.empty() && exclusive_ < 0;
    if (wants_handle) {
      may = may && two_.empty();
    } else {
      for (const int other : handle_) may = may && !same(other, open);
    }
    if (!may) {
      out.status = NtStatus::OplockNotGranted;
      return;
    }
    tell_switched(read_, open, level, out);
    if (wants_handle) tell_switched(handle_, open, level, out);
    (wants_handle ? handle_ : read_).push_back(open);
    recompute();
  }

  void request_exclusive(int open, Level level, Outcome& out) {
    const bool wants_handle = level == Level::ReadWriteHandle;
    bool may =
        (state_ & kAnyBreak) == 0 && queue_.empty() && (state_ & (kOne | kBatch | kTwo)) == 0;
    if (state_ == kNone) {
      may = count_alive() == 1;
    } else {
      may = may && others_share_key(open);
      for (const int other : read_) may = may && same(other, open);
      for (const int other : handle_) may = may && same(other, open) && wants_handle;
      if (exclusive_ >= 0) {
        may = may && same(exclusive_, open) && (wants_handle || (state_ & kHandle) == 0);
      }
    }
    if (!may) {
      out.status = NtStatus::OplockNotGranted;
      return;
    }
    tell_switched(read_, open, level, out);
    tell_switched(handle_, open, level, out);
    if (exclusive_ >= 0) {
      out.told.push_back({exclusive_, NtStatus::OplockSwitchedToNewHandle, level, false});
    }
    state_ = kExclusive | flags_of(level);
    exclusive_ = open;
  }

  void check_legacy(int by, OplockOperation operation, Outcome& out) {
    if (same(by, exclusive_)) return;
    const bool is_batch = (state_ & kBatch) != 0;
    const bool to_none =
        operation == OplockOperation::Write || (operation == OplockOperation::Rename && is_batch);
    const bool to_two = operation == OplockOperation::Read;
    if (!to_none && !to_two) return;
    out.waits = true;
    if ((state_ & kAnyBreak) == 0) {
      out.told.push_back(
          {exclusive_, NtStatus::Success, to_two ? Level::LevelTwo : Level::None, true});
      state_ |= to_two ? kToTwo : kToNone;
    } else if ((state_ & kToTwo) != 0 && to_none) {
      state_ = (state_ & ~kToTwo) | kToTwoToNone;
    }
  }

  void check_exclusive(int by, OplockOperation operation, Outcome& out) {
    if (same(by, exclusive_)) return;
    const bool has_handle = (state_ & kHandle) != 0;
    const bool lose_write = operation == OplockOperation::Read;
    const bool lose_both = operation == OplockOperation::Write;
    const bool lose_handle = !lose_write && !lose_both;
    if (lose_handle && !has_handle) return;
    out.waits = true;
    const unsigned breaking = state_ & kAnyBreak;
    unsigned next = breaking;
    if (breaking == 0) {
      if (lose_both) next = kToNothing;
      if (lose_write) next = has_handle ? kToRead | kToHandle : kToRead;
      if (lose_handle) next = kToRead | kToWrite;
      out.told.push_back({exclusive_, NtStatus::Success, target_of(next), true});
    } else if (lose_both) {
      next = kToNothing;
    } else if (breaking == (kToRead | kToWrite) && lose_write) {
      next = kToRead;
    } else if (breaking == (kToRead | kToHandle) && lose_handle) {
      next = kToRead;
    }
    state_ = (state_ & ~kAnyBreak) | next;
  }

  static Level target_of(unsigned breaking) {
    if ((breaking & kToNothing) != 0) return Level::None;
    if ((breaking & kToWrite) != 0) return Level::ReadWrite;
    return (breaking & kToHandle) != 0 ? Level::ReadHandle : Level::Read;
  }

  void check_shared(int by, OplockOperation operation, Outcome& out) {
    if (operation == OplockOperation::Write) {
      for (const int open : two_) out.told.push_back({open, NtStatus::Success, Level::None, false});
      two_.clear();
      std::erase_if(read_, [&](int open) {
        if (same(open, by)) return false;
        out.told.push_back({open, NtStatus::Success, Level::None, false});
        return true;
      });
      for (Breaking& b : queue_) b.to_read = b.to_read && same(b.open, by);
      queue_handles(by, false, out);
    } else if (operation != OplockOperation::Read) {
      for (const Breaking& b : queue_) out.waits = out.waits || !same(b.open, by);
      if (queue_handles(by, true, out)) out.waits = true;
    }
    recompute();
  }

  bool queue_handles(int by, bool to_read, Outcome& out) {
    return std::erase_if(handle_, [&](int open) {
             if (same(open, by)) return false;
             queue_.push_back({open, to_read});
             out.told.push_back(
                 {open, NtStatus::Success, to_read ? Level::Read : Level::None, true});
             return true;
           }) != 0;
  }

  void acknowledge_legacy(int open, Level level, Outcome& out) {
    if (level != Level::None && level != Level::LevelTwo) {
      out.status = NtStatus::InvalidOplockProtocol;
      return;
    }
    const bool keeps_two = (state_ & kToTwo) != 0 && level == Level::LevelTwo;
    become_free();
    if (keeps_two) {
      two_.push_back(open);
      recompute();
    } else {
      out.told.push_back({open, NtStatus::Success, Level::None, false});
    }
    release_all(out);
  }

  static bool is_granular(Level level) {
    return level != Level::LevelTwo && level != Level::LevelOne && level != Level::Batch;
  }
  bool refuse_more(int open, Level level, unsigned most, Outcome& out) const {
    if (!is_granular(level)) {
      out.status = NtStatus::InvalidOplockProtocol;
      return true;
    }
    if ((flags_of(level) & ~most) == 0) return false;
    out.told.push_back({open, NtStatus::CannotGrantRequestedOplock, level_of(most), true});
    return true;
  }

  void acknowledge_exclusive(int open, Level level, Outcome& out) {
    unsigned most = state_ & (kRead | kWrite | kHandle);
    if (!waits_.empty()) most = flags_of(target_of(state_ & kAnyBreak));
    if (!others_share_key(open)) most &= ~kWrite;
    if (refuse_more(open, level, most, out)) return;
    become_free();
    if (level == Level::None) out.told.push_back({open, NtStatus::Success, Level::None, false});
    if (level == Level::Read) read_.push_back(open);
    if (level == Level::ReadHandle) handle_.push_back(open);
    if ((flags_of(level) & kWrite) != 0) {
      state_ = kExclusive | flags_of(level);
      exclusive_ = open;
    }
    recompute();
    release_all(out);
  }

  void acknowledge_queued(const Breaking& entry, Level level, Outcome& out) {
    const int open = entry.open;
    unsigned most = kRead | kHandle;
    if (!waits_.empty()) most = entry.to_read ? kRead : 0;
    if (refuse_more(open, level, most, out)) return;
    std::erase_if(queue_, [open](const Breaking& b) { return b.open == open; });
    if (level == Level::None) out.told.push_back({open, NtStatus::Success, Level::None, false});
    if (level == Level::Read) read_.push_back(open);
    if (level == Level::ReadHandle) handle_.push_back(open);
    recompute();
    release_unqueued(out);
  }

  void release_all(Outcome& out) {
    out.released.insert(out.released.end(), waits_.begin(), waits_.end());
    waits_.clear();
  }
  /// Nothing of another key is left in the queue.
  void release_unqueued(Outcome& out) {
    if (exclusive_ >= 0) return;
    std::erase_if(waits_, [&](int waiter) {
      for (const Breaking& b : queue_) {
        if (!same(b.open, waiter)) return false;
      }
      out.released.push_back(waiter);
      return true;
    });
  }

  std::vector<int> keys_;
  std::vector<bool> alive_;
  unsigned state_ = kNone;
  int exclusive_ = -1;
  std::vector<int> two_, read_, handle_, waits_;
  std::vector<Breaking> queue_;
};

}  // namespace ntfs::testing
