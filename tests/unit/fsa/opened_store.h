#pragma once

// A store in memory with one file, asked through opens. For the tests of MS-FSA's algorithms, which
// say with proves() what steps of the document they prove: scripts/conformance makes the table.

#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <random>
#include <string>

#include "core/check/check.h"
#include "core/fsa/object_store.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"

namespace ntfs::testing {

using Buffering = Stream::Buffering;
using KeepSize = Stream::KeepSize;
struct Closer {
  ObjectStore* store = nullptr;
  void operator()(Open* open) const { store->close(std::unique_ptr<Open>(open)); }
};
using OpenPtr = std::unique_ptr<Open, Closer>;

constexpr auto kBuffered = Buffering::Buffered;
constexpr auto kUnbuffered = Buffering::Unbuffered;
constexpr uint32_t kReadWrite = AccessMask::ReadData | AccessMask::WriteData;
constexpr uint32_t kSynchronous = OpenMode::SynchronousIoNonalert;

/// The steps that the running test proves, by the ids of steps.tsv, separated by spaces.
inline void proves(const std::string& steps) { ::testing::Test::RecordProperty("proves", steps); }

/// Bytes of which none is zero.
inline ByteVector filled(size_t length, int seed) {
  ByteVector bytes(length);
  for (size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<std::byte>((i * 7 + static_cast<size_t>(seed) * 31) % 255 + 1);
  }
  return bytes;
}

/// Holds an oplock, and waits until it is told of a break.
class Holder final : public OplockRequest {
 public:
  void complete(const OplockNotice& notice) override { told_.set_value(notice); }
  OplockNotice told() { return told_.get_future().get(); }

 private:
  std::promise<OplockNotice> told_;
};

class OpenedStore {
 public:
  struct Shape {
    uint64_t bytes = uint64_t{16} << 20;
    uint32_t cluster_size = 4096;
    OpensLock opens_lock = OpensLock::Yes;
    DeviceContent content = DeviceContent::Zeroed;
    bool reflink = false;
    std::string mount_point = "";
  };

  explicit OpenedStore(const Shape& shape) : shape_(shape) {
    device_ = std::make_unique<MemoryDevice>(shape.bytes);
    FormatOptions format;
    format.cluster_size = shape.cluster_size;
    format.content = shape.content;
    format.reflink = shape.reflink;
    EXPECT_TRUE(format_volume(*device_, format).has_value());
    mount(VolumeOptions::Access::ReadWrite);
    auto made = store_->create(*store_->root(), u"file", {});
    EXPECT_TRUE(made.has_value());
    if (made) file_ = *made;
  }
  OpenedStore() : OpenedStore(Shape{}) {}

  void mount(VolumeOptions::Access access) {
    ObjectStoreOptions options;
    options.volume.access = access;
    options.volume.commit_interval = std::chrono::hours(1);
    options.opens_lock = shape_.opens_lock;
    options.mount_point = shape_.mount_point;
    std::string why_not;
    auto store = ObjectStore::mount(*device_, options, why_not);
    ASSERT_TRUE(store) << name_of(store.error()) << " " << why_not;
    store_ = std::move(*store);
  }
  /// Unmounts and mounts again; opens must have been closed.
  void remount(VolumeOptions::Access access = VolumeOptions::Access::ReadWrite) {
    ASSERT_TRUE(store_->dismount());
    file_.reset();
    store_.reset();
    mount(access);
    file_ = *store_->lookup(*store_->root(), u"file");
  }
  /// As after a power cut: what was not written is gone. Opens must have been closed.
  void crash() {
    auto survivor = device_->clone();
    file_.reset();
    store_.reset();
    device_ = std::move(survivor);
    mount(VolumeOptions::Access::ReadWrite);
    file_ = *store_->lookup(*store_->root(), u"file");
  }

  /// The checker finds nothing on the mounted volume. With Entries::RepeatTheirFiles directory
  /// entries are compared with what they repeat, too: a link leaves those of other names behind.
  enum class Entries { MayLag, RepeatTheirFiles };
  void check(Entries entries = Entries::MayLag) {
    ASSERT_TRUE(store_->flush());
    ASSERT_TRUE(store_->volume().journal().checkpoint());
    CheckOptions options;
    options.live = true;
    options.strict_duplicates = entries == Entries::RepeatTheirFiles;
    const auto report = check_volume(*device_, options);
    ASSERT_TRUE(report);
    for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
  }

  FilePtr make(File& directory, std::u16string_view name, FileKind kind) {
    CreateParameters parameters;
    parameters.kind = kind;
    auto made = store().create(directory, name, parameters);
    EXPECT_TRUE(made.has_value());
    return made ? *made : nullptr;
  }
  OpenPtr open(uint32_t mode = 0, uint32_t access = kReadWrite, OplockKey key = {}) {
    OpenParameters parameters;
    parameters.desired_access = access | AccessMask::Synchronize;
    parameters.mode = mode;
    parameters.oplock_keys.target_key = key;
    auto made = store_->open(file_, parameters);
    EXPECT_TRUE(made.has_value());
    return OpenPtr(made ? made->release() : nullptr, Closer{store_.get()});
  }

  /// Success: and all bytes were written.
  NtStatus write(Open& open, int64_t offset, ByteView bytes, Buffering buffering = kBuffered,
                 LockKey key = 0) {
    // As the front end gives them: aligned memory.
    AlignedBuffer memory(std::max<size_t>(bytes.size(), 1));
    std::copy(bytes.begin(), bytes.end(), memory.data());
    const auto done =
        store_->write(open, {offset, ByteView(memory.bytes()).first(bytes.size()), buffering, key});
    if (!done) return done.error();
    EXPECT_EQ(*done, bytes.size());
    return NtStatus::Success;
  }

  struct Answer {
    NtStatus status = NtStatus::Success;
    ByteVector bytes;
  };
  Answer read(Open& open, int64_t offset, size_t length, Buffering buffering = kBuffered,
              LockKey key = 0) {
    AlignedBuffer memory(std::max<size_t>(align_up(std::min<size_t>(length, 8 << 20), 4096), 1));
    const auto got = store_->read(open, {offset, length, memory.bytes(), buffering, key});
    if (!got) return {got.error(), {}};
    return {NtStatus::Success, {memory.data(), memory.data() + *got}};
  }

  Stream::Sizes sizes() {
    const auto sizes = file_->data().sizes();
    EXPECT_TRUE(sizes.has_value());
    return sizes ? *sizes : Stream::Sizes{};
  }
  FileInformation information() {
    auto information = store_->query_information(*file_);
    EXPECT_TRUE(information.has_value());
    return information ? std::move(*information) : FileInformation{};
  }
  /// What the device holds of the file, whatever is cached: nothing for a resident file, or a hole.
  ByteVector raw(uint64_t offset, size_t length) {
    const auto runs = file_->data().runs();
    const uint64_t cluster = shape_.cluster_size;
    ByteVector bytes;
    for (uint64_t at = offset; at < offset + length; ++at) {
      if (!runs || Vcn(at / cluster) >= runs->end()) return {};
      const Run run = runs->find(Vcn(at / cluster));
      if (run.lcn.is_hole()) return {};
      const uint64_t position =
          (run.lcn + (Vcn(at / cluster) - run.vcn)).raw() * cluster + at % cluster;
      AlignedBuffer block(4096);
      EXPECT_TRUE(device_->read(position / 4096 * 4096, block.bytes()).has_value());
      const uint64_t take =
          std::min({4096 - position % 4096, offset + length - at, cluster - at % cluster});
      bytes.insert(bytes.end(), block.data() + position % 4096,
                   block.data() + position % 4096 + take);
      at += take - 1;
    }
    return bytes;
  }
  /// Takes clusters until no more than `left` are available.
  void fill_but(uint64_t left) {
    const auto filler = store_->create(*store_->root(), u"filler", {});
    ASSERT_TRUE(filler);
    ASSERT_TRUE(store_->flush());
    const uint64_t available = store_->volume().clusters().available().raw();
    ASSERT_GT(available, left);
    const uint64_t bytes = (available - left) * shape_.cluster_size;
    ASSERT_TRUE(store_->allocate(**filler, 0, bytes, KeepSize::Yes));
    ASSERT_EQ(store_->volume().clusters().available().raw(), left);
  }

  ObjectStore& store() { return *store_; }
  MemoryDevice& device() { return *device_; }
  const FilePtr& file() { return file_; }

 private:
  const Shape shape_;
  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<ObjectStore> store_;
  FilePtr file_;
};

}  // namespace ntfs::testing
