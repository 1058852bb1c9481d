#pragma once

// The volume that recovery_fuzz puts logs into, and whose logs are its seeds: each time the same
// but for its times and its serial number.

#include <memory>

#include "core/fsa/object_store.h"
#include "core/store/format.h"
#include "tests/support/memory_device.h"

namespace ntfs::fuzz {

constexpr uint64_t kVolumeBytes = 16 << 20;
constexpr uint64_t kLogBytes = 256 << 10;

inline std::u16string numbered(int number) {
  std::u16string name = u"a name of some length ";
  for (const char digit : std::to_string(number)) name.push_back(static_cast<char16_t>(digit));
  return name;
}

inline FilePtr make(ObjectStore& store, const FilePtr& directory, std::u16string_view name,
                    FileKind kind) {
  CreateParameters parameters;
  parameters.kind = kind;
  return *store.create(*directory, name, parameters);
}

inline std::unique_ptr<ObjectStore> mount(BlockDevice& device) {
  ObjectStoreOptions options;
  options.volume.cache_bytes = 4 << 20;
  options.volume.commit_interval = std::chrono::milliseconds(0);
  std::string why_not;
  return std::move(*ObjectStore::mount(device, options, why_not));
}

/// Unmounted, with a directory of index blocks, an empty one and a file.
inline std::unique_ptr<testing::MemoryDevice> make_volume() {
  auto device = std::make_unique<testing::MemoryDevice>(kVolumeBytes);
  FormatOptions options;
  options.log_size = kLogBytes;
  options.content = DeviceContent::Zeroed;
  format_volume(*device, options).value();
  const auto store = mount(*device);
  const FilePtr full = make(*store, store->root(), u"full", FileKind::Directory);
  for (int i = 0; i < 25; ++i) make(*store, full, numbered(i), FileKind::File);
  make(*store, store->root(), u"empty", FileKind::Directory);
  make(*store, store->root(), u"file", FileKind::File);
  store->dismount().value();
  return device;
}

}  // namespace ntfs::fuzz
