// MS-FSA 2.1.5.8 "Server Requests a Byte-Range Lock", 2.1.5.9 "Server Requests an Unlock of a
// Byte-Range", 2.1.5.18 "Server Requests an Oplock", 2.1.5.19 "Server Acknowledges an Oplock
// Break". The marks K and O are those of the conformance table (docs/conformance.md).

#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"

namespace ntfs {

namespace {

ByteRangeLock lock_of(const Open& open, const LockParameters& wanted) {
  return {.offset = wanted.offset,
          .length = wanted.length,
          .mode = wanted.mode,
          .owner = &open,
          .key = wanted.key,
          .kind = wanted.kind,
          .process = wanted.process};
}

/// K1, K2: for locking and unlocking alike.
Result<> check_range(const Open& open, const LockParameters& wanted) {
  if (open.is_directory()) return NtStatus::InvalidParameter;
  const uint64_t last = wanted.offset + wanted.length - 1;
  if (wanted.length != 0 && last < wanted.offset) return NtStatus::InvalidLockRange;
  return {};
}

}  // namespace

Result<> ObjectStore::lock(Open& open, const LockParameters& wanted, PendingLock* waiter) {
  if (open.state_ == nullptr) return NtStatus::NotSupported;
  TRY(check_range(open, wanted));
  // K3: "If LockOffset is less than Open.Stream.AllocationSize".
  const Stream::Sizes sizes = TRY(open.stream().sizes());
  const bool breaks = wanted.offset < sizes.mapped;
  using BreaksOplock = StreamState::BreaksOplock;
  return open.state_->lock(lock_of(open, wanted), waiter,
                           breaks ? BreaksOplock::Yes : BreaksOplock::No);
}

Result<> ObjectStore::unlock(Open& open, const LockParameters& held) {
  if (open.state_ == nullptr) return NtStatus::NotSupported;
  TRY(check_range(open, held));
  if (held.kind == ByteRangeLock::Kind::Range) return open.state_->unlock(lock_of(open, held));
  open.state_->unlock_part(held.offset, held.length, held.key);
  return {};
}

Result<std::optional<ByteRangeLock>> ObjectStore::query_lock(Open& open,
                                                             const LockParameters& wanted) {
  if (open.state_ == nullptr) return NtStatus::NotSupported;
  TRY(check_range(open, wanted));
  return open.state_->conflict_with(lock_of(open, wanted));
}

void ObjectStore::cancel(Stream& stream, PendingLock& waiter) {
  auto* state = static_cast<StreamState*>(stream.extension());
  if (state != nullptr) state->cancel(waiter);
}

Result<> ObjectStore::request_oplock(Open& open, OplockLevel level, OplockRequest& request) {
  if (open.state_ == nullptr) return NtStatus::NotSupported;
  return open.state_->request_oplock(open, level, request);
}

Result<> ObjectStore::acknowledge_oplock_break(Open& open, OplockLevel level,
                                               OplockRequest& request) {
  if (open.state_ == nullptr) return NtStatus::NotSupported;
  return open.state_->acknowledge_oplock_break(open, level, request);
}

}  // namespace ntfs
