#pragma once

// For tests of recovery: volumes in memory, their trees, and logs that end where a test wants.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/base/multi_sector.h"
#include "core/check/check.h"
#include "core/fsa/object_store.h"
#include "core/ondisk/utf16.h"
#include "core/store/format.h"
#include "core/store/recovery.h"
#include "lfs/log_reader.h"
#include "tests/support/memory_device.h"

namespace ntfs::testing {

using Tree = std::map<std::string, std::string>;  // path -> kind, links and contents

inline std::unique_ptr<MemoryDevice> make_volume(uint64_t bytes, uint32_t cluster_size,
                                                 bool reflink = false) {
  auto device = std::make_unique<MemoryDevice>(bytes);
  FormatOptions options;
  options.cluster_size = cluster_size;
  options.content = DeviceContent::Zeroed;
  options.reflink = reflink;
  EXPECT_TRUE(format_volume(*device, options));
  return device;
}

inline ondisk::VolumeGeometry geometry_of(BlockDevice& device) {
  AlignedBuffer sector(4096);
  EXPECT_TRUE(device.read(0, sector.bytes()));
  return *ondisk::parse_boot_sector(sector.bytes(), device.size_bytes(), {"boot sector", 0, 0});
}

inline std::unique_ptr<ObjectStore> mount(BlockDevice& device, VolumeOptions::Access access) {
  ObjectStoreOptions options;
  options.volume.access = access;
  options.volume.cache_bytes = 4 << 20;
  options.volume.commit_interval = std::chrono::hours(1);
  std::string why_not;
  auto store = ObjectStore::mount(device, options, why_not);
  EXPECT_TRUE(store) << name_of(store.error()) << " " << why_not;
  return store ? std::move(*store) : nullptr;
}
inline std::unique_ptr<ObjectStore> mount(BlockDevice& device) {
  return mount(device, VolumeOptions::Access::ReadWrite);
}

inline void read_tree(ObjectStore& store, const FilePtr& directory, const std::string& path,
                      Tree& tree) {
  const auto entries = store.query_directory(*directory);
  ASSERT_TRUE(entries);
  for (const DirectoryEntry& entry : *entries) {
    const FilePtr file = store.file(entry.reference);
    const auto information = store.query_information(*file);
    ASSERT_TRUE(information) << path << "/" << ondisk::to_display(entry.name);
    const std::string name = path + "/" + ondisk::to_display(entry.name);
    if (information->kind == FileKind::Directory) {
      tree[name] = "directory";
      read_tree(store, file, name, tree);
      continue;
    }
    AlignedBuffer bytes(align_up(information->file_size + 1, 4096));
    const auto length = store.read(*file, 0, information->file_size, bytes.bytes());
    ASSERT_TRUE(length);
    tree[name] = std::to_string(information->link_count) + " links, " +
                 std::to_string(information->linux_metadata.mode.value_or(0)) + ": " +
                 std::string(as_text(bytes.bytes().first(*length)));
  }
}

inline Tree tree_of(ObjectStore& store) {
  Tree tree;
  read_tree(store, store.root(), "", tree);
  return tree;
}

/// The tree of a volume that is clean, and nothing that the checker finds.
inline Tree checked_tree(MemoryDevice& device) {
  const auto report = check_volume(device, {});
  EXPECT_TRUE(report);
  if (report) {
    for (const Finding& finding : report->errors) ADD_FAILURE() << to_line(finding);
  }
  const auto store = mount(device, VolumeOptions::Access::AsItIs);
  return store ? tree_of(*store) : Tree();
}

/// Recovers by a mount and unmounts; the tree then.
inline Tree recover(MemoryDevice& device) {
  {
    const auto store = mount(device);
    if (store == nullptr) return {};
    EXPECT_TRUE(store->dismount());
  }
  return checked_tree(device);
}

/// A record of a log and where it ends in the file.
struct LogPosition {
  lfs::Lsn lsn;
  uint64_t page = 0;     ///< file offset of the page with its last byte
  uint64_t in_page = 0;  ///< one past that byte
  bool ends_transaction = false;
};

/// The log of a volume, for tests that shorten it.
class CrashedLog {
 public:
  explicit CrashedLog(BlockDevice& device)
      : store_(std::move(*find_log(device, geometry_of(device)))) {}

  lfs::LogStore& store() { return *store_; }
  const Runlist& runs() const { return store_->runs(); }

  /// All records behind `after`.
  std::vector<LogPosition> positions(lfs::Lsn after) {
    auto reader = std::move(*lfs::LogReader::open(*store_));
    std::vector<LogPosition> result;
    auto record = reader.read(reader.restart().client_restart_lsn);
    for (; record; record = reader.next()) {
      if (record->lsn <= after) continue;
      const uint64_t offset = reader.geometry().offset_of(record->lsn);
      LogPosition position{record->lsn, align_down(offset, 4096), offset % 4096,
                           record->is_client() && ends_transaction(record->data)};
      uint64_t rest = lfs::kRecordHeaderSize + record->data.size();
      while (position.in_page + rest > 4096) {
        rest -= 4096 - position.in_page;
        position.page = reader.geometry().next_page(position.page);
        position.in_page = lfs::kPageDataOffset;
      }
      position.in_page += rest;
      result.push_back(position);
    }
    return result;
  }

  lfs::Lsn last_lsn() { return lfs::LogReader::open(*store_)->last_lsn(); }

  /// Makes `last` the end of the log, as if what is behind had never been written.
  void cut_behind(const LogPosition& last) {
    auto reader = std::move(*lfs::LogReader::open(*store_));
    AlignedBuffer page(4096);
    read_page(reader, last.page, page);
    auto& header = struct_at<lfs::RecordPageHeader>(page.bytes());
    header.last_lsn.set(last.lsn.raw());
    header.last_end_lsn.set(last.lsn.raw());
    header.flags.set(lfs::kPageRecordEnd);
    header.next_record_offset.set(static_cast<uint16_t>(last.in_page));
    std::fill(page.bytes().begin() + static_cast<ptrdiff_t>(last.in_page), page.bytes().end(),
              std::byte{0});
    protect(page.bytes());
    AlignedBuffer nothing(4096);
    std::vector<lfs::LogWrite> writes = {{last.page, page.bytes()},
                                         {lfs::kTailSlotOffset, nothing.bytes()},
                                         {lfs::kTailSlotOffset + 4096, nothing.bytes()}};
    uint64_t next = reader.geometry().next_page(last.page);
    for (int i = 0; i < 64; ++i, next = reader.geometry().next_page(next)) {
      writes.push_back({next, nothing.bytes()});
    }
    ASSERT_TRUE(store_->write_durable(writes));
  }

  /// Spoils the head of a record.
  void break_record(const LogPosition& position) {
    change_record(position, [](MutableBytes record) {
      struct_at<lfs::RecordHeader>(record).this_lsn.set(8);
    });
  }
  /// Changes a few bytes of a record behind its LSN, as far as it stands in one page.
  void spoil(const LogPosition& position, std::mt19937& random) {
    change_record(position, [&](MutableBytes record) {
      const size_t reach = std::min<size_t>(record.size(), random() % 2 == 0 ? 0x60 : 0x200);
      for (uint32_t i = random() % 3 + 1; i > 0; --i) {
        const size_t at = 8 + random() % (reach - 8);
        record[at] = static_cast<std::byte>(random() % 3 == 0 ? 0xFF : random());
      }
    });
  }

 private:
  /// In place, and in both tail copies of the page.
  template <typename Change>
  void change_record(const LogPosition& position, Change&& change) {
    auto reader = std::move(*lfs::LogReader::open(*store_));
    const uint64_t offset = reader.geometry().offset_of(position.lsn);
    const uint64_t place = align_down(offset, 4096);
    AlignedBuffer page(4096);
    read_page(reader, place, page);
    change(page.bytes().subspan(offset % 4096));
    protect(page.bytes());
    const AlignedBuffer copy = tail_copy(page, place);
    const std::vector<lfs::LogWrite> writes = {{place, page.bytes()}};
    ASSERT_TRUE(store_->write_durable(writes));
    for (const uint64_t slot : {lfs::kTailSlotOffset, lfs::kTailSlotOffset + 4096}) {
      AlignedBuffer found(4096);
      ASSERT_TRUE(store_->read(slot, found.bytes()));
      if (struct_at<lfs::RecordPageHeader>(ByteView(found.bytes())).last_lsn.get() != place) {
        continue;
      }
      const lfs::LogWrite write{slot, copy.bytes()};
      ASSERT_TRUE(store_->write_durable({&write, 1}));
    }
  }
  static AlignedBuffer tail_copy(const AlignedBuffer& page, uint64_t place) {
    AlignedBuffer copy(4096);
    std::copy(page.bytes().begin(), page.bytes().end(), copy.bytes().begin());
    struct_at<lfs::RecordPageHeader>(copy.bytes()).last_lsn.set(place);
    return copy;
  }

  static bool ends_transaction(ByteView data) {
    return struct_at<ondisk::ClientRecordHeader>(data).redo_operation.get() ==
           static_cast<uint16_t>(ondisk::LogOp::ForgetTransaction);
  }

  /// The newest version of a page: in place, or a tail copy.
  void read_page(const lfs::LogReader& reader, uint64_t offset, AlignedBuffer& page) {
    const std::array<uint64_t, 3> places = {offset, lfs::kTailSlotOffset,
                                            lfs::kTailSlotOffset + 4096};
    uint64_t newest = 0;
    AlignedBuffer candidate(4096);
    for (const uint64_t place : places) {
      ASSERT_TRUE(store_->read(place, candidate.bytes()));
      if (!try_unprotect(candidate.bytes())) continue;
      const auto& header = struct_at<lfs::RecordPageHeader>(ByteView(candidate.bytes()));
      const bool is_copy = place != offset;
      if (is_copy && header.last_lsn.get() != offset) continue;
      const uint64_t last = header.last_end_lsn.get();
      if (last < newest || lfs::Lsn::from_raw(last) > reader.last_lsn()) continue;
      newest = last;
      std::copy(candidate.bytes().begin(), candidate.bytes().end(), page.bytes().begin());
      if (is_copy) struct_at<lfs::RecordPageHeader>(page.bytes()).last_lsn.set(last);
    }
  }

  std::unique_ptr<LogStoreOnVolume> store_;
};

}  // namespace ntfs::testing
