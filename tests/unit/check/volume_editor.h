#pragma once

// Changes single bytes of a volume in memory, below all rules: to damage it on purpose.

#include <functional>
#include <string>
#include <vector>

#include "core/ondisk/attribute_record.h"
#include "core/ondisk/boot_sector.h"
#include "core/ondisk/file_record.h"
#include "tests/support/memory_device.h"

namespace ntfs::testing {

class VolumeEditor {
 public:
  using Edit = std::function<void(MutableBytes)>;

  /// `device` holds a good volume, and must outlive this.
  explicit VolumeEditor(MemoryDevice& device);

  const ondisk::VolumeGeometry& geometry() const { return geometry_; }
  uint64_t count_records() const;
  ByteVector read(uint64_t position, size_t length) const;
  void write(uint64_t position, ByteView bytes);
  void edit(uint64_t position, size_t length, const Edit& change);

  /// The unprotected bytes of a file record.
  ByteVector record(uint64_t number) const;
  /// Changes them; the record is protected again, and copied to $MFTMirr as far as it belongs
  /// there.
  void edit_record(uint64_t number, const Edit& change);
  /// Changes the bytes of one attribute record.
  void edit_attribute(uint64_t number, ondisk::AttributeType type, std::u16string_view name,
                      const Edit& change);
  /// Changes the value of a resident attribute.
  void edit_value(uint64_t number, ondisk::AttributeType type, std::u16string_view name,
                  const Edit& change);
  /// The first base record that has this name; fails the test when there is none.
  uint64_t find(std::u16string_view name) const;
  uint64_t record_position(uint64_t number) const;

  /// Where a byte of a nonresident attribute stands on the device.
  uint64_t position(uint64_t number, ondisk::AttributeType type, std::u16string_view name,
                    uint64_t offset) const;
  /// Changes the unprotected bytes of block `index` of $INDEX_ALLOCATION.
  void edit_block(uint64_t number, std::u16string_view name, uint64_t index, const Edit& change);

 private:
  std::vector<Run> runs(uint64_t number, ondisk::AttributeType type,
                        std::u16string_view name) const;
  void put_record(uint64_t number, ByteVector bytes);

  MemoryDevice& device_;
  ondisk::VolumeGeometry geometry_;
  std::vector<Run> mft_runs_;
};

}  // namespace ntfs::testing
