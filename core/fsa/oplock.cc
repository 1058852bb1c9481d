#include "core/fsa/oplock.h"

#include <algorithm>
#include <optional>

namespace ntfs {

namespace {

constexpr uint8_t kRead = 1;
constexpr uint8_t kHandle = 2;
constexpr uint8_t kWrite = 4;

uint8_t bits(OplockLevel level) { return static_cast<uint8_t>(level); }
bool is_granular(OplockLevel level) { return bits(level) < bits(OplockLevel::LevelTwo); }
bool has(OplockLevel level, uint8_t wanted) {
  return is_granular(level) && (bits(level) & wanted) == wanted;
}
bool is_legacy_exclusive(OplockLevel level) {
  return level == OplockLevel::LevelOne || level == OplockLevel::Batch;
}
bool is_exclusive(OplockLevel level) { return is_legacy_exclusive(level) || has(level, kWrite); }
bool is_defined(OplockLevel level) {
  switch (level) {
    case OplockLevel::None:
    case OplockLevel::Read:
    case OplockLevel::ReadHandle:
    case OplockLevel::ReadWrite:
    case OplockLevel::ReadWriteHandle:
    case OplockLevel::LevelTwo:
    case OplockLevel::LevelOne:
    case OplockLevel::Batch:
      return true;
  }
  return false;
}

/// Nothing may be kept without reading.
OplockLevel without(OplockLevel level, uint8_t lost) {
  const auto left = static_cast<uint8_t>(bits(level) & ~lost);
  return (left & kRead) == 0 ? OplockLevel::None : static_cast<OplockLevel>(left);
}

/// MS-FSA 2.1.4.12.2 "Algorithm to Compare Oplock Keys". The text compares the keys of legacy
/// oplocks directly: an open without a key would break its own.
bool same_key(const OplockOwner& one, const OplockOwner& other) {
  return &one == &other || (!one.target_key.empty() && one.target_key == other.target_key);
}
bool is_own(const OplockOwner& holder, const OplockOwner* by, OplockOperation operation) {
  if (by == nullptr) return false;
  if (operation != OplockOperation::ParentChange) return same_key(holder, *by);
  return !by->parent_key.empty() && by->parent_key == holder.target_key;
}

}  // namespace

struct Oplock::Demand {
  std::optional<OplockLevel> legacy;  ///< what is left of the legacy levels
  bool batch_only = false;            ///< ... and of these only of Batch
  uint8_t lost = 0;                   ///< of the granular ones
};

Oplock::Demand Oplock::demand_of(OplockOperation operation) {
  switch (operation) {
    case OplockOperation::OpenAttributes:
      return {};
    case OplockOperation::Open:
    case OplockOperation::Read:
    case OplockOperation::FlushData:
      return {OplockLevel::LevelTwo, false, kWrite};
    case OplockOperation::OpenToOverwrite:
    case OplockOperation::Write:
    case OplockOperation::LockControl:
    case OplockOperation::SetSize:
    case OplockOperation::ZeroData:
      return {OplockLevel::None, false, kRead | kWrite};
    case OplockOperation::OpenBreakHandle:
      // 2.1.5.1.2 breaks Batch before it looks at sharing modes: the holder may have closed long
      // ago.
      return {OplockLevel::LevelTwo, true, kHandle};
    case OplockOperation::Rename:
      return {OplockLevel::None, true, kHandle};
    case OplockOperation::Delete:
    case OplockOperation::SetSecurity:
      return {std::nullopt, false, kHandle};
    case OplockOperation::ParentChange:
      return {std::nullopt, false, kRead | kWrite};
  }
  return {};
}

// Breaking.

namespace {

void tell(Oplock::Holder& holder, const OplockNotice& notice, OplockEffects& effects) {
  effects.completions.push_back({holder.request, notice});
  holder.request = nullptr;
}

void begin_break(Oplock::Holder& holder, OplockLevel target, OplockEffects& effects) {
  holder.is_breaking = true;
  holder.target = target;
  tell(holder, {NtStatus::Success, target, true}, effects);
}

}  // namespace

bool Oplock::check(OplockOperation operation, OplockWait& wait, OplockEffects& effects) {
  const Demand demand = demand_of(operation);
  bool waits = false;
  for (Holder& holder : holders_) {
    // Level II goes for its own open, too.
    const bool is_two = holder.level == OplockLevel::LevelTwo;
    if (!is_two && is_own(*holder.owner, wait.owner, operation)) continue;
    waits = break_holder(holder, demand, effects) || waits;
  }
  std::erase_if(holders_, [](const Holder& holder) { return holder.level == OplockLevel::None; });
  if (waits) waits_.push_back(&wait);
  return waits;
}

/// True: the operation waits. A level of None: nothing is left of the holder.
bool Oplock::break_holder(Holder& holder, const Demand& demand, OplockEffects& effects) {
  switch (holder.level) {
    case OplockLevel::LevelTwo:
      if (demand.legacy != OplockLevel::None || demand.batch_only) return false;
      break;
    case OplockLevel::Read:
      if ((demand.lost & kRead) == 0) return false;
      break;
    case OplockLevel::ReadHandle:
      return break_read_handle(holder, demand, effects);
    default:
      return break_exclusive(holder, demand, effects);
  }
  tell(holder, {NtStatus::Success, OplockLevel::None, false}, effects);
  holder.level = OplockLevel::None;
  return false;
}

bool Oplock::break_exclusive(Holder& holder, const Demand& demand, OplockEffects& effects) {
  if (is_legacy_exclusive(holder.level)) {
    if (!demand.legacy) return false;
    if (demand.batch_only && holder.level != OplockLevel::Batch) return false;
    if (!holder.is_breaking) {
      begin_break(holder, *demand.legacy, effects);
    } else if (*demand.legacy == OplockLevel::None) {
      holder.target = OplockLevel::None;
    }
    return true;
  }
  if ((bits(holder.level) & demand.lost) == 0) return false;
  if (holder.is_breaking) {
    holder.target = without(holder.target, demand.lost);
  } else {
    begin_break(holder, without(holder.level, demand.lost), effects);
  }
  return true;
}

/// Who writes does not wait for those that only read: the acknowledgement says that handles are
/// closed.
bool Oplock::break_read_handle(Holder& holder, const Demand& demand, OplockEffects& effects) {
  const bool loses_read = (demand.lost & kRead) != 0;
  const bool loses_handle = (demand.lost & kHandle) != 0;
  if (!loses_read && !loses_handle) return false;
  const OplockLevel target = loses_read ? OplockLevel::None : OplockLevel::Read;
  if (!holder.is_breaking) {
    begin_break(holder, target, effects);
  } else if (loses_read) {
    holder.target = OplockLevel::None;
  }
  return loses_handle;
}

// Granting.

Result<> Oplock::request(const OplockOwner& owner, OplockLevel level, OplockRequest& request,
                         const OplockSituation& situation, OplockEffects& effects) {
  if (!is_defined(level)) return NtStatus::InvalidParameter;
  if (situation.is_directory && level != OplockLevel::Read && level != OplockLevel::ReadHandle &&
      level != OplockLevel::None) {
    return NtStatus::InvalidParameter;
  }
  if (level == OplockLevel::None) {
    effects.completions.push_back({&request, {}});
    return {};
  }
  TRY(check_grant(owner, level, situation));
  switch_over(owner, level, effects);
  holders_.push_back({&owner, level, &request});
  return {};
}

Result<> Oplock::check_grant(const OplockOwner& owner, OplockLevel level,
                             const OplockSituation& situation) const {
  if (situation.is_synchronous) return NtStatus::OplockNotGranted;
  if (has(level, kHandle) && situation.is_deleted) return NtStatus::OplockNotGranted;
  const bool is_breaking = std::any_of(holders_.begin(), holders_.end(),
                                       [](const Holder& holder) { return holder.is_breaking; });
  if (is_breaking) return NtStatus::OplockNotGranted;
  if (is_exclusive(level)) {
    return may_exclude(owner, level, situation) ? Result<>() : NtStatus::OplockNotGranted;
  }
  if (situation.has_range_lock) return NtStatus::OplockNotGranted;
  return may_share(owner, level) ? Result<>() : NtStatus::OplockNotGranted;
}

bool Oplock::may_share(const OplockOwner& owner, OplockLevel level) const {
  return std::all_of(holders_.begin(), holders_.end(), [&](const Holder& holder) {
    if (is_exclusive(holder.level)) return false;
    // II and RH never stand side by side.
    if (level == OplockLevel::LevelTwo) return holder.level != OplockLevel::ReadHandle;
    if (level == OplockLevel::ReadHandle) return holder.level != OplockLevel::LevelTwo;
    // R after RH would be less than what the key has.
    return holder.level != OplockLevel::ReadHandle || !same_key(*holder.owner, owner);
  });
}

bool Oplock::may_exclude(const OplockOwner& owner, OplockLevel level,
                         const OplockSituation& situation) const {
  if (is_legacy_exclusive(level)) {
    if (!situation.is_sole_open) return false;
    return holders_.empty() ||
           (holders_.size() == 1 && holders_.front().level == OplockLevel::LevelTwo);
  }
  if (holders_.empty()) return situation.is_sole_open;
  if (!situation.others_share_key) return false;
  // An upgrade of what the key holds.
  return std::all_of(holders_.begin(), holders_.end(), [&](const Holder& holder) {
    return is_granular(holder.level) && same_key(*holder.owner, owner) &&
           without(holder.level, static_cast<uint8_t>(~bits(level))) == holder.level;
  });
}

/// What the new oplock takes the place of.
void Oplock::switch_over(const OplockOwner& owner, OplockLevel level, OplockEffects& effects) {
  for (Holder& holder : holders_) {
    const bool is_two = holder.level == OplockLevel::LevelTwo;
    if (is_legacy_exclusive(level)) {
      tell(holder, {NtStatus::Success, OplockLevel::None, false}, effects);
    } else if (level == OplockLevel::LevelTwo) {
      if (!is_two || holder.owner != &owner) continue;
      tell(holder, {NtStatus::OplockSwitchedToNewHandle, level, false}, effects);
    } else {
      if (is_two || !same_key(*holder.owner, owner)) continue;
      tell(holder, {NtStatus::OplockSwitchedToNewHandle, level, false}, effects);
    }
    holder.level = OplockLevel::None;
  }
  std::erase_if(holders_, [](const Holder& holder) { return holder.level == OplockLevel::None; });
}

// Acknowledging.

Result<> Oplock::acknowledge(const OplockOwner& owner, OplockLevel level, OplockRequest& request,
                             const OplockSituation& situation, OplockEffects& effects) {
  const auto found = std::find_if(holders_.begin(), holders_.end(), [&](const Holder& holder) {
    return holder.owner == &owner && holder.is_breaking;
  });
  if (found == holders_.end()) return NtStatus::InvalidOplockProtocol;
  if (is_legacy_exclusive(found->level)) {
    TRY(acknowledge_legacy(*found, level, request, effects));
  } else {
    TRY(acknowledge_granular(*found, level, request, situation, effects));
  }
  std::erase_if(holders_, [](const Holder& holder) { return holder.level == OplockLevel::None; });
  release_waits(effects);
  return {};
}

Result<> Oplock::acknowledge_legacy(Holder& holder, OplockLevel level, OplockRequest& request,
                                    OplockEffects& effects) {
  if (level != OplockLevel::None && level != OplockLevel::LevelTwo) {
    return NtStatus::InvalidOplockProtocol;
  }
  holder.is_breaking = false;
  if (level == OplockLevel::LevelTwo && holder.target == OplockLevel::LevelTwo) {
    holder.level = OplockLevel::LevelTwo;
    holder.request = &request;
    return {};
  }
  // Nothing is asked for, or nothing is left: the answer says so.
  holder.level = OplockLevel::None;
  effects.completions.push_back({&request, {}});
  return {};
}

Result<> Oplock::acknowledge_granular(Holder& holder, OplockLevel level, OplockRequest& request,
                                      const OplockSituation& situation, OplockEffects& effects) {
  if (!is_defined(level)) return NtStatus::InvalidParameter;
  if (!is_granular(level)) return NtStatus::InvalidOplockProtocol;
  // While operations wait, no more than was told; else no more than there was.
  OplockLevel most = waits_.empty() ? holder.level : holder.target;
  if (situation.is_deleted) most = without(most, kHandle);
  // The text does not look again whether other opens have come meanwhile.
  const bool is_alone = situation.is_sole_open || situation.others_share_key;
  if (!is_alone || holders_.size() != 1) most = without(most, kWrite);
  if ((bits(level) & ~bits(most)) != 0) {
    effects.completions.push_back({&request, {NtStatus::CannotGrantRequestedOplock, most, true}});
    return {};
  }
  holder.is_breaking = false;
  holder.level = level;
  holder.request = &request;
  if (level == OplockLevel::None) {
    holder.request = nullptr;
    effects.completions.push_back({&request, {}});
  }
  return {};
}

void Oplock::close(const OplockOwner& owner, OplockEffects& effects) {
  for (Holder& holder : holders_) {
    if (holder.owner != &owner) continue;
    const NtStatus status =
        is_granular(holder.level) ? NtStatus::OplockHandleClosed : NtStatus::Success;
    if (!holder.is_breaking) tell(holder, {status, OplockLevel::None, false}, effects);
    holder.level = OplockLevel::None;
  }
  std::erase_if(holders_, [](const Holder& holder) { return holder.level == OplockLevel::None; });
  release_waits(effects);
}

void Oplock::withdraw(const OplockWait& wait) { std::erase(waits_, &wait); }

/// Those for whom nobody's acknowledgement is missing any more.
void Oplock::release_waits(OplockEffects& effects) {
  std::erase_if(waits_, [&](OplockWait* wait) {
    const bool stays = std::any_of(holders_.begin(), holders_.end(), [&](const Holder& holder) {
      return holder.is_breaking &&
             (wait->owner == nullptr || !same_key(*holder.owner, *wait->owner));
    });
    if (!stays) effects.released.push_back(wait);
    return !stays;
  });
}

}  // namespace ntfs
