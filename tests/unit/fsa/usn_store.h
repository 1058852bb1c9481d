#pragma once

// A store in memory with an active change journal, and what its journal says.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/check/check.h"
#include "core/fsa/object_store.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"
#include "usn/reason.h"
#include "usn/record.h"

namespace ntfs::testing {

/// A record as a table shows it.
struct Said {
  std::string name;
  uint32_t reason = 0;
  FileReference parent;
  friend bool operator==(const Said&, const Said&) = default;
};

inline void PrintTo(const Said& said, std::ostream* out) {
  *out << "{\"" << said.name << "\", 0x" << std::hex << said.reason << std::dec << ", in "
       << said.parent.record() << "}";
}

class UsnStore {
 public:
  struct Shape {
    uint64_t bytes = uint64_t{32} << 20;
    uint32_t cluster_size = 4096;
    std::optional<uint64_t> usn_size = uint64_t{1} << 20;
    DataTimes data_times = DataTimes::SetByStore;
  };

  explicit UsnStore(const Shape& shape) : shape_(shape) {
    device_ = std::make_unique<MemoryDevice>(shape.bytes);
    FormatOptions format;
    format.cluster_size = shape.cluster_size;
    format.usn_size = shape.usn_size;
    format.content = DeviceContent::Zeroed;
    EXPECT_TRUE(format_volume(*device_, format).has_value());
    mount();
  }
  UsnStore() : UsnStore(Shape{}) {}

  using UsnRecords = VolumeOptions::UsnRecords;
  void mount(UsnRecords usn_records = UsnRecords::Yes) {
    ObjectStoreOptions options;
    options.volume.commit_interval = std::chrono::milliseconds(0);
    options.volume.usn_records = usn_records;
    options.data_times = shape_.data_times;
    std::string why_not;
    auto store = ObjectStore::mount(*device_, options, why_not);
    ASSERT_TRUE(store) << name_of(store.error()) << " " << why_not;
    store_ = std::move(*store);
    read_ = usn().next();
  }
  void remount(UsnRecords usn_records = UsnRecords::Yes) {
    ASSERT_TRUE(store_->dismount());
    store_.reset();
    mount(usn_records);
  }
  /// The same, with a change of the device in between.
  template <typename Change>
  void remount_after(Change&& change) {
    ASSERT_TRUE(store_->dismount());
    change(store_->volume());
    store_.reset();
    mount();
  }
  /// As after a power cut: what was not written is gone. Opens must have been forgotten.
  void crash() {
    auto survivor = device_->clone();
    store_.reset();
    device_ = std::move(survivor);
    const usn::Usn before = read_;
    mount();
    read_ = std::min(before, usn().next());
  }

  ObjectStore& store() { return *store_; }
  UsnStream& usn() { return store_->volume().usn(); }
  MemoryDevice& device() { return *device_; }
  FilePtr root() { return store_->root(); }

  FilePtr make(std::u16string_view name, FileKind kind = FileKind::File) {
    CreateParameters parameters;
    parameters.kind = kind;
    auto made = store_->create(*root(), name, parameters);
    EXPECT_TRUE(made.has_value());
    return made ? *made : nullptr;
  }
  std::unique_ptr<Open> open(const FilePtr& file) {
    OpenParameters parameters;
    parameters.desired_access = AccessMask::ReadData | AccessMask::WriteData;
    auto made = store_->open(file, parameters);
    EXPECT_TRUE(made.has_value());
    return made ? std::move(*made) : nullptr;
  }
  NtStatus write(Open& open, int64_t offset, size_t length) {
    const ByteVector bytes(length, std::byte{'x'});
    const auto done = store_->write(open, {.byte_offset = offset, .input = bytes});
    return done ? NtStatus::Success : done.error();
  }

  /// All records from `from` on. Checks J1, J4 to J6 on the way.
  std::vector<usn::Record> records(usn::Usn from) {
    const SharedLock lock(store_->volume().journal().metadata_lock());
    std::vector<usn::Record> all;
    while (from < usn().next()) {
      const auto bytes = usn().read_page(from);
      EXPECT_TRUE(bytes.has_value());
      if (!bytes) break;
      usn::PageCursor cursor(*bytes, from, usn().file());
      for (;;) {
        auto record = cursor.next();
        EXPECT_TRUE(record.has_value());
        if (!record || !*record) break;
        all.push_back(std::move(**record));
      }
      from = usn::Usn::from_raw(from.raw() + bytes->size());
    }
    return all;
  }
  /// What was said since the last call, when everything that was noted is written.
  std::vector<Said> news() {
    EXPECT_TRUE(store_->flush().has_value());
    std::vector<Said> said;
    for (const usn::Record& record : records(read_)) {
      std::string name;
      for (const char16_t unit : record.name) name.push_back(static_cast<char>(unit));
      said.push_back({name, record.reason, record.parent.reference()});
    }
    read_ = usn().next();
    return said;
  }

  /// $STANDARD_INFORMATION.Usn.
  uint64_t usn_of(FileReference file) {
    const SharedLock lock(store_->volume().journal().metadata_lock());
    Attributes attributes(store_->volume(), file);
    const auto found = attributes.find(ondisk::AttributeType::StandardInformation);
    if (!found) return 0;
    const auto information = ondisk::parse_standard_information(found->view().value(), {"", 0, 0});
    return information ? information->usn.get() : 0;
  }

  /// The checker's first finding, or "".
  std::string check() {
    if (!store_->volume().journal().checkpoint()) return "the checkpoint failed";
    CheckOptions options;
    options.live = true;
    const auto report = check_volume(*device_, options);
    if (!report) return "the checker could not run";
    return report->errors.empty() ? "" : to_line(report->errors.front());
  }

 private:
  const Shape shape_;
  std::unique_ptr<MemoryDevice> device_;
  std::unique_ptr<ObjectStore> store_;
  usn::Usn read_;
};

}  // namespace ntfs::testing
