#pragma once

// A $J in memory: pages of 4096 bytes, each of which may be missing (a hole) or unreadable.

#include <map>
#include <set>
#include <string>

#include "usn/reader.h"

namespace ntfs::usn::testing {

class MemoryRecords final : public RecordSource {
 public:
  MemoryRecords() = default;
  /// A copy of a $J, or of a piece from `base` on.
  MemoryRecords(ByteView bytes, Usn base) : first_(base), next_(base) {
    const uint64_t lead = base.raw() % kPageBytes;
    ByteVector whole(lead);
    whole.insert(whole.end(), bytes.begin(), bytes.end());
    for (uint64_t at = 0; at < whole.size(); at += kPageBytes) {
      const uint64_t length = std::min<uint64_t>(kPageBytes, whole.size() - at);
      ByteVector page(whole.begin() + static_cast<ptrdiff_t>(at),
                      whole.begin() + static_cast<ptrdiff_t>(at + length));
      page.resize(kPageBytes);
      pages_[base.raw() / kPageBytes + at / kPageBytes] = std::move(page);
    }
    next_ = Usn::from_raw(base.raw() + bytes.size());
  }

  /// Begins the journal at `first`: all before is a hole.
  void begin_at(uint64_t first) { first_ = next_ = Usn::from_raw(first); }
  /// Appends a record as NTFS does. Its usn is set.
  Usn append(Record& record) {
    const uint64_t length = build_record(record).size();
    const uint64_t room = kPageBytes - next_.raw() % kPageBytes;
    if (length > room) next_ = Usn::from_raw(next_.raw() + room);
    record.usn = next_;
    const ByteVector bytes = build_record(record);
    ByteVector& page = page_at(next_);
    std::copy(bytes.begin(), bytes.end(),
              page.begin() + static_cast<ptrdiff_t>(next_.raw() % kPageBytes));
    next_ = Usn::from_raw(next_.raw() + length);
    return record.usn;
  }
  ByteVector& page_at(Usn at) {
    ByteVector& page = pages_[at.raw() / kPageBytes];
    page.resize(kPageBytes);
    return page;
  }
  void skip_to(uint64_t next) { next_ = Usn::from_raw(next); }
  void make_unreadable(Usn at, NtStatus status) { unreadable_[at.raw() / kPageBytes] = status; }
  uint64_t count_reads() const { return count_reads_; }

  Usn first() const override { return first_; }
  Usn next() const override { return next_; }
  Usn next_data(Usn at) override {
    const auto page = pages_.lower_bound(at.raw() / kPageBytes);
    if (page == pages_.end()) return next_;
    return std::max(at, Usn::from_raw(page->first * kPageBytes));
  }
  Result<ByteVector> read_page(Usn at) override {
    ++count_reads_;
    EXPECT_TRUE(at >= first_ && at < next_);
    const uint64_t number = at.raw() / kPageBytes;
    if (unreadable_.contains(number)) return unreadable_[number];
    const ByteVector& page = pages_[number];
    const uint64_t from = at.raw() % kPageBytes;
    const uint64_t to = std::min(kPageBytes, next_.raw() - number * kPageBytes);
    return ByteVector(page.begin() + static_cast<ptrdiff_t>(from),
                      page.begin() + static_cast<ptrdiff_t>(to));
  }

 private:
  Usn first_;
  Usn next_;
  std::map<uint64_t, ByteVector> pages_;
  std::map<uint64_t, NtStatus> unreadable_;
  uint64_t count_reads_ = 0;
};

}  // namespace ntfs::usn::testing
