#include "tests/crash/recording_device.h"

#include <algorithm>

#include "tests/support/unseen_mix.h"

namespace ntfs::crash {

using CallKind = Recording::CallKind;

Result<> RecordingDevice::check(uint64_t offset, uint64_t length) const {
  if (offset % block_size_ != 0 || length % block_size_ != 0) return NtStatus::InvalidParameter;
  if (offset > size_bytes() || length > size_bytes() - offset) return NtStatus::EndOfFile;
  return {};
}

void RecordingDevice::begin_call(CallKind kind) {
  if (recording_ == nullptr) return;
  const size_t first = recording_->writes.size();
  recording_->calls.push_back({kind, first, first, sure_writes_});
}

void RecordingDevice::end_call() {
  if (recording_ == nullptr) return;
  Recording::Call& call = recording_->calls.back();
  call.end_write = recording_->writes.size();
  if (call.kind == CallKind::DurableTransfer || call.kind == CallKind::Flush) {
    sure_writes_ = call.end_write;
  }
}

void RecordingDevice::put(uint64_t offset, ByteView from) {
  if (unseen_mix_.empty()) {
    ByteVector before(from.size());
    image_.read(offset, before);
    unseen_mix_ = testing::unseen_mix(before, from, offset);
  }
  if (recording_ != nullptr) {
    recording_->writes.push_back({offset, from.size(), recording_->bytes.size()});
    recording_->bytes.insert(recording_->bytes.end(), from.begin(), from.end());
  }
  image_.write(offset, from);
}

Result<> RecordingDevice::run(std::span<const IoRequest> requests, CallKind kind) {
  for (const IoRequest& request : requests) {
    TRY(check(request.offset, request.memory.size()));
    if (kind == CallKind::DurableTransfer && request.kind != IoRequest::Kind::Write) {
      return NtStatus::InvalidParameter;
    }
  }
  const bool writes = std::any_of(requests.begin(), requests.end(), [](const IoRequest& request) {
    return request.kind == IoRequest::Kind::Write;
  });
  const MutexLock lock(mutex_);
  if (writes) begin_call(kind);
  for (const IoRequest& request : requests) {
    if (request.kind == IoRequest::Kind::Read) {
      image_.read(request.offset, request.memory);
    } else {
      put(request.offset, request.memory);
    }
  }
  if (writes) end_call();
  return {};
}

Result<> RecordingDevice::transfer(std::span<const IoRequest> requests) {
  return run(requests, CallKind::Transfer);
}

Result<> RecordingDevice::transfer_durable(std::span<const IoRequest> writes) {
  return run(writes, CallKind::DurableTransfer);
}

Result<> RecordingDevice::flush() {
  const MutexLock lock(mutex_);
  begin_call(CallKind::Flush);
  end_call();
  return {};
}

Result<> RecordingDevice::discard(uint64_t offset, uint64_t length_bytes) {
  TRY(check(offset, length_bytes));
  const ByteVector garbage(length_bytes, kDiscarded);
  const MutexLock lock(mutex_);
  begin_call(CallKind::Discard);
  put(offset, garbage);
  end_call();
  return {};
}

std::string RecordingDevice::unseen_mix() const {
  const MutexLock lock(mutex_);
  return unseen_mix_;
}

size_t RecordingDevice::count_calls() const {
  const MutexLock lock(mutex_);
  return recording_ == nullptr ? 0 : recording_->calls.size();
}

}  // namespace ntfs::crash
