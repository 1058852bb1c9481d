#pragma once

// A small volume in memory, open for tests of the store's parts: files without a name, the checker,
// mounting again.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "core/check/check.h"
#include "core/ondisk/file_record.h"
#include "core/store/attributes.h"
#include "core/store/format.h"
#include "core/store/transaction.h"
#include "core/store/volume.h"
#include "tests/support/memory_device.h"

namespace ntfs::testing {

class ScratchVolume {
 public:
  struct Shape {
    uint64_t size_bytes = uint64_t{64} << 20;
    uint32_t cluster_size = 4096;
    uint32_t record_size = 1024;
    bool reflink = false;
    VolumeOptions::Discard discard = VolumeOptions::Discard::No;
    std::chrono::milliseconds commit_interval = std::chrono::minutes(10);  ///< 0: no thread
  };

  explicit ScratchVolume(const Shape& shape) : shape_(shape), device_(shape.size_bytes) {
    FormatOptions options;
    options.cluster_size = shape.cluster_size;
    options.record_size = shape.record_size;
    options.reflink = shape.reflink;
    options.content = DeviceContent::Zeroed;
    EXPECT_TRUE(format_volume(device_, options).has_value());
    open();
  }

  Volume& volume() { return *volume_; }
  MemoryDevice& device() { return device_; }

  /// Unmounts cleanly and mounts again.
  void reopen() {
    reopen_after([] {});
  }
  /// The same, with a change of the device in between.
  template <typename Change>
  void reopen_after(Change&& change) {
    EXPECT_TRUE(volume_->close().has_value());
    change();
    open();
  }

  /// A new file without a name: $STANDARD_INFORMATION and an empty $DATA.
  FileReference make_file() {
    Transaction transaction(volume_->journal());
    EXPECT_TRUE(transaction.begin().has_value());
    auto page = volume_->mft().allocate(transaction);
    EXPECT_TRUE(page.has_value());
    ByteVector record(volume_->geometry().file_record_size);
    ondisk::FileRecordInit init;
    init.record_number = (*page)->index();
    init.sequence = Mft::next_sequence(**page);
    init.flags = ondisk::FileRecordFlags::InUse;
    ondisk::format_file_record(record, init);
    ondisk::StandardInformation information{};
    information.security_id.set(kDefaultFileSecurityId);
    ByteVector attributes =
        ondisk::build_resident(ondisk::AttributeType::StandardInformation, {}, 0, 0,
                               bytes_of(information), ondisk::Indexed::No);
    const ByteVector data =
        ondisk::build_resident(ondisk::AttributeType::Data, {}, 0, 1, {}, ondisk::Indexed::No);
    attributes.insert(attributes.end(), data.begin(), data.end());
    const size_t first = ondisk::first_attribute_offset_of(record.size());
    const size_t end = first + attributes.size();
    std::copy(attributes.begin(), attributes.end(), record.begin() + static_cast<ptrdiff_t>(first));
    auto& header = struct_at<ondisk::FileRecordHeader>(MutableBytes(record));
    header.used_bytes.set(static_cast<uint32_t>(end + ondisk::kEndMarkerBytes));
    header.next_attribute_instance.set(2);
    struct_at<le32>(MutableBytes(record), end).set(0xFFFFFFFF);
    const ByteView image = ByteView(record).first(header.used_bytes.get());
    EXPECT_TRUE(volume_->mft().initialize(transaction, *page, image).has_value());
    transaction.commit();
    return FileReference((*page)->index(), init.sequence);
  }

  /// Writes everything in place and has the checker look at it. The first finding, or "".
  std::string check() {
    if (!volume_->journal().checkpoint()) return "the checkpoint failed";
    CheckOptions options;
    options.live = true;
    const auto report = check_volume(device_, options);
    if (!report) return "the checker could not run";
    for (const Finding& finding : report->errors) {
      if (!ignores_ || !ignores_(finding)) return to_line(finding);
    }
    return {};
  }
  /// Findings that a test brings about on purpose.
  void ignore(bool (*ignores)(const Finding&)) { ignores_ = ignores; }

 private:
  void open() {
    volume_.reset();
    VolumeOptions options;
    options.commit_interval = shape_.commit_interval;
    options.discard = shape_.discard;
    std::string why_not;
    auto volume = Volume::open(device_, options, why_not);
    ASSERT(volume.has_value());
    volume_ = std::move(volume).value();
  }

  const Shape shape_;
  MemoryDevice device_;
  std::unique_ptr<Volume> volume_;
  bool (*ignores_)(const Finding&) = nullptr;
};

/// Runs `change(transaction)` in a transaction of its own; commits if it succeeds.
template <typename Change>
NtStatus in_transaction(Volume& volume, Change&& change) {
  Transaction transaction(volume.journal());
  if (const auto begun = transaction.begin(); !begun) return begun.error();
  const Result<> done = change(transaction);
  if (!done) return done.error();
  transaction.commit();
  return NtStatus::Success;
}

/// What `read()` gives, with the metadata lock held as readers must. Not inside a transaction.
template <typename Read>
auto reading(Volume& volume, Read&& read) {
  const SharedLock lock(volume.journal().metadata_lock());
  return read();
}

}  // namespace ntfs::testing
