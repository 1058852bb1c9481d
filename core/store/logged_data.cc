#include "core/store/logged_data.h"

#include <algorithm>

#include "core/store/journal.h"
#include "core/store/transaction.h"

namespace ntfs {

namespace {

/// So that no record covers a page of the log: then its flushes are cheap (lfs/log_format.md).
constexpr size_t kMostInRecord = 2048;

struct Changed {
  size_t from = 0;
  size_t to = 0;
  bool is_empty() const { return from == to; }
};

/// Where `after` differs from `before`; in whole words. What is longer differs.
Changed compare(ByteView before, ByteView after) {
  const size_t known = std::min(before.size(), after.size());
  const ByteView old = before.first(known);
  const ByteView now = after.first(known);
  const auto first = static_cast<size_t>(std::ranges::mismatch(now, old).in1 - now.begin());
  if (first == after.size()) return {};
  size_t end = after.size();
  if (end == known) {
    const auto last = std::mismatch(now.rbegin(), now.rend(), old.rbegin()).first;
    end = static_cast<size_t>(now.rend() - last);
  }
  return {align_down(first, sizeof(le64)), align_up(end, sizeof(le64))};
}

}  // namespace

bool LoggedData::is_settled() const {
  return last_interval_.load(std::memory_order_acquire) <= journal_.completed_interval();
}

bool LoggedData::is_in_place(const Logged& logged) const {
  return logged.interval <= journal_.completed_interval();
}

PageRef LoggedData::find(Lcn lcn) const { return look_up(lcn).page; }

/// Without a page where all is in place.
LoggedData::Logged LoggedData::look_up(Lcn lcn) const {
  if (is_settled()) return {};
  const MutexLock lock(mutex_);
  const auto it = clusters_.find(lcn);
  return it == clusters_.end() || is_in_place(it->second) ? Logged{} : it->second;
}

void LoggedData::forget_settled() {
  const MutexLock lock(mutex_);
  std::erase_if(clusters_, [this](const auto& entry) { return is_in_place(entry.second); });
}

Result<> LoggedData::log(Transaction& transaction, const MetadataStreamRef& stream, Vcn vcn,
                         Lcn lcn, ByteView bytes) {
  Logged logged = look_up(lcn);
  if (logged.page == nullptr) {
    logged.page = std::make_shared<MetadataPage>(stream, vcn.raw(), PagePlace{{lcn}, 0, vcn});
  }
  const PageRef& page = logged.page;
  ASSERT(page->stream()->file == stream->file && page->index() == vcn.raw());
  // Behind what the log has of it, the device holds what was there before, not what the page says.
  const Changed changed = compare(page->bytes().first(logged.length), bytes);
  if (changed.is_empty()) return {};
  for (size_t at = changed.from; at < changed.to; at += kMostInRecord) {
    const ByteView part = bytes.subspan(at, std::min(changed.to - at, kMostInRecord));
    TRY(transaction.perform_unseen(update_nonresident_value(static_cast<uint32_t>(at), part),
                                   page));
  }
  logged.length = std::max(logged.length, bytes.size());
  logged.interval = journal_.interval();
  last_interval_.store(logged.interval, std::memory_order_release);
  const MutexLock lock(mutex_);
  clusters_[lcn] = std::move(logged);
  return {};
}

/// Adds what of the request's clusters is not in place.
void LoggedData::add_parts(const IoRequest& request, std::vector<Part>& parts) const {
  const uint64_t end = request.offset + request.memory.size();
  const MutexLock lock(mutex_);
  for (auto it = clusters_.lower_bound(Lcn(request.offset / kClusterBytes));
       it != clusters_.end() && it->first.raw() * kClusterBytes < end; ++it) {
    if (is_in_place(it->second)) continue;
    const uint64_t start = it->first.raw() * kClusterBytes;
    const uint64_t from = std::max(request.offset, start);
    const uint64_t to = std::min(end, start + kClusterBytes);
    parts.push_back(
        {request.memory.subspan(from - request.offset, to - from), it->second.page, from - start});
  }
}

/// Before a transfer: finds what has to be read from pages; makes a checkpoint where some of them
/// would be overwritten.
Result<> LoggedData::prepare(std::span<const IoRequest> requests, std::vector<Part>& read) {
  std::vector<Part> overwritten;
  for (const IoRequest& request : requests) {
    add_parts(request, request.kind == IoRequest::Kind::Read ? read : overwritten);
  }
  return overwritten.empty() ? Result<>() : journal_.checkpoint();
}

Result<> LoggedData::transfer(std::span<const IoRequest> requests) {
  if (is_settled()) return device_.transfer(requests);
  std::vector<Part> read;
  TRY(prepare(requests, read));
  TRY(device_.transfer(requests));
  if (read.empty()) return {};
  const SharedLock lock(journal_.metadata_lock());
  for (const Part& part : read) {
    std::ranges::copy(part.page->bytes().subspan(part.offset, part.into.size()), part.into.begin());
  }
  return {};
}

Result<> LoggedData::transfer_durable(std::span<const IoRequest> writes) {
  std::vector<Part> read;
  if (!is_settled()) TRY(prepare(writes, read));
  return device_.transfer_durable(writes);
}

}  // namespace ntfs
