#include "tests/unit/check/volume_editor.h"

#include <gtest/gtest.h>

#include "core/base/multi_sector.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/mapping_pairs.h"

namespace ntfs::testing {

using ondisk::AttributeType;
using ondisk::AttributeView;
using ondisk::FileRecordView;

namespace {

constexpr uint64_t kMirroredRecords = 4;

uint64_t position_in(const std::vector<Run>& runs, uint64_t offset, uint64_t cluster) {
  for (const Run& run : runs) {
    if (offset / cluster >= run.end().raw()) continue;
    return run.lcn.raw() * cluster + (offset - run.vcn.raw() * cluster);
  }
  ADD_FAILURE() << "no byte " << offset;
  return 0;
}

std::vector<Run> runs_of(const AttributeView& attribute, uint64_t total_clusters) {
  auto runs = ondisk::decode_mapping_pairs(attribute.mapping_pairs(), attribute.lowest_vcn(),
                                           attribute.next_vcn(), total_clusters, {"test"});
  EXPECT_TRUE(runs);
  return runs ? std::move(runs).value() : std::vector<Run>();
}

}  // namespace

VolumeEditor::VolumeEditor(MemoryDevice& device) : device_(device) {
  geometry_ = *ondisk::parse_boot_sector(read(0, 512), device.size_bytes(), {"test"});
  ByteVector bytes =
      read(geometry_.mft_lcn.raw() * geometry_.cluster_size, geometry_.file_record_size);
  EXPECT_TRUE(try_unprotect(bytes));
  mft_runs_ =
      runs_of(*FileRecordView::of_valid(bytes).find(AttributeType::Data), geometry_.total_clusters);
}

uint64_t VolumeEditor::count_records() const {
  const ByteVector bytes = record(0);
  return FileRecordView::of_valid(bytes).find(AttributeType::Data)->file_size() /
         geometry_.file_record_size;
}

ByteVector VolumeEditor::read(uint64_t position, size_t length) const {
  const uint64_t first = align_down(position, 512);
  AlignedBuffer buffer(align_up(position + length, 512) - first);
  EXPECT_TRUE(device_.read(first, buffer.bytes().first(align_up(position + length, 512) - first)));
  const auto from = buffer.bytes().subspan(position - first, length);
  return {from.begin(), from.end()};
}

void VolumeEditor::write(uint64_t position, ByteView bytes) {
  const uint64_t first = align_down(position, 512);
  const size_t length = align_up(position + bytes.size(), 512) - first;
  AlignedBuffer buffer(length);
  EXPECT_TRUE(device_.read(first, buffer.bytes().first(length)));
  std::copy(bytes.begin(), bytes.end(), buffer.bytes().begin() + (position - first));
  EXPECT_TRUE(device_.write(first, buffer.bytes().first(length)));
}

void VolumeEditor::edit(uint64_t position, size_t length, const Edit& change) {
  ByteVector bytes = read(position, length);
  change(bytes);
  write(position, bytes);
}

uint64_t VolumeEditor::record_position(uint64_t number) const {
  return position_in(mft_runs_, number * geometry_.file_record_size, geometry_.cluster_size);
}

ByteVector VolumeEditor::record(uint64_t number) const {
  ByteVector bytes = read(record_position(number), geometry_.file_record_size);
  EXPECT_TRUE(try_unprotect(bytes)) << "record " << number;
  return bytes;
}

void VolumeEditor::put_record(uint64_t number, ByteVector bytes) {
  protect(bytes);
  write(record_position(number), bytes);
  if (number >= kMirroredRecords) return;
  write(geometry_.mftmirr_lcn.raw() * geometry_.cluster_size + number * bytes.size(), bytes);
}

void VolumeEditor::edit_record(uint64_t number, const Edit& change) {
  ByteVector bytes = record(number);
  change(bytes);
  put_record(number, std::move(bytes));
}

void VolumeEditor::edit_attribute(uint64_t number, AttributeType type, std::u16string_view name,
                                  const Edit& change) {
  edit_record(number, [&](MutableBytes bytes) {
    const auto attribute = FileRecordView::of_valid(bytes).find(type, name);
    ASSERT_TRUE(attribute) << "record " << number;
    change(bytes.subspan(attribute->offset(), attribute->length()));
  });
}

void VolumeEditor::edit_value(uint64_t number, AttributeType type, std::u16string_view name,
                              const Edit& change) {
  edit_record(number, [&](MutableBytes bytes) {
    const auto attribute = FileRecordView::of_valid(bytes).find(type, name);
    ASSERT_TRUE(attribute && attribute->is_resident()) << "record " << number;
    change(
        bytes.subspan(attribute->offset() + attribute->value_offset(), attribute->value().size()));
  });
}

uint64_t VolumeEditor::find(std::u16string_view name) const {
  for (uint64_t number = 0; number < count_records(); ++number) {
    const ByteVector bytes = record(number);
    const FileRecordView view = FileRecordView::of_valid(bytes);
    if (!view.in_use() || !view.is_base()) continue;
    for (const AttributeView attribute : view) {
      if (attribute.type() == AttributeType::FileName &&
          ondisk::FileNameView::of_valid(attribute.value()).name() == name) {
        return number;
      }
    }
  }
  ADD_FAILURE() << "no such file";
  return 0;
}

std::vector<Run> VolumeEditor::runs(uint64_t number, AttributeType type,
                                    std::u16string_view name) const {
  const ByteVector bytes = record(number);
  const auto attribute = FileRecordView::of_valid(bytes).find(type, name);
  EXPECT_TRUE(attribute && !attribute->is_resident()) << "record " << number;
  if (!attribute || attribute->is_resident()) return {};
  return runs_of(*attribute, geometry_.total_clusters);
}

uint64_t VolumeEditor::position(uint64_t number, AttributeType type, std::u16string_view name,
                                uint64_t offset) const {
  return position_in(runs(number, type, name), offset, geometry_.cluster_size);
}

void VolumeEditor::edit_block(uint64_t number, std::u16string_view name, uint64_t index,
                              const Edit& change) {
  const uint64_t at =
      position(number, AttributeType::IndexAllocation, name, index * geometry_.index_block_size);
  ByteVector bytes = read(at, geometry_.index_block_size);
  ASSERT_TRUE(try_unprotect(bytes));
  change(bytes);
  protect(bytes);
  write(at, bytes);
}

}  // namespace ntfs::testing
