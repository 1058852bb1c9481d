#include "core/base/multi_sector.h"

namespace ntfs {

namespace {

enum class Fault { None, Length, Array, Count, Torn };

struct Finding {
  Fault fault = Fault::None;
  uint64_t value = 0;
};

size_t word_position(size_t stride) { return (stride + 1) * kSequenceStride - 2; }

uint16_t word_at(ByteView bytes, size_t position) { return struct_at<le16>(bytes, position).get(); }

void set_word(MutableBytes bytes, size_t position, uint16_t value) {
  struct_at<le16>(bytes, position).set(value);
}

uint16_t next_number(uint16_t previous) {
  return previous >= 0x7FFE ? 1 : static_cast<uint16_t>(previous + 1);
}

Finding examine(ByteView structure) {
  if (structure.size() < kSequenceStride || structure.size() % kSequenceStride != 0) {
    return {Fault::Length, structure.size()};
  }
  const auto& header = struct_at<MultiSectorHeader>(structure);
  const size_t offset = header.update_sequence_array_offset.get();
  const size_t count = header.update_sequence_array_count.get();
  const size_t strides = structure.size() / kSequenceStride;
  if (count != strides + 1) return {Fault::Count, count};
  if (offset % 2 != 0 || offset < sizeof(MultiSectorHeader) ||
      offset + 2 * count > kSequenceStride - 2) {
    return {Fault::Array, offset};
  }
  const uint16_t number = word_at(structure, offset);
  for (size_t i = 0; i < strides; ++i) {
    const uint16_t word = word_at(structure, word_position(i));
    if (word != number) return {Fault::Torn, i};
  }
  return {};
}

void restore(MutableBytes structure) {
  const size_t offset = struct_at<MultiSectorHeader>(structure).update_sequence_array_offset.get();
  for (size_t i = 0; i < structure.size() / kSequenceStride; ++i) {
    set_word(structure, word_position(i), word_at(structure, offset + 2 * (i + 1)));
  }
}

}  // namespace

Result<> unprotect(MutableBytes structure, const Origin& origin) {
  const Finding finding = examine(structure);
  switch (finding.fault) {
    case Fault::None:
      restore(structure);
      return {};
    case Fault::Length:
      return corrupt(origin, "length", finding.value, "a multiple of 512");
    case Fault::Array:
      return corrupt(origin, "update sequence array offset", finding.value, "an array in sector 0");
    case Fault::Count:
      return corrupt(origin, "update sequence array count", finding.value, "1 + length / 512");
    case Fault::Torn:
      return corrupt(origin, "torn write in sector", finding.value, "the update sequence number");
  }
  return NtStatus::FileCorruptError;
}

bool try_unprotect(MutableBytes structure) {
  if (examine(structure).fault != Fault::None) return false;
  restore(structure);
  return true;
}

uint16_t number_to_follow(ByteView on_device) {
  const size_t strides = on_device.size() / kSequenceStride;
  const auto stands_there = [&](uint16_t number) {
    for (size_t i = 0; i < strides; ++i) {
      if (word_at(on_device, word_position(i)) == number) return true;
    }
    return false;
  };
  uint16_t number = word_at(on_device, word_position(0));  // a whole structure's
  while (stands_there(next_number(number))) number = next_number(number);
  return number;
}

uint16_t update_sequence_number(ByteView structure) {
  const auto& header = struct_at<MultiSectorHeader>(structure);
  return word_at(structure, header.update_sequence_array_offset.get());
}

uint16_t protect_after(MutableBytes structure, uint16_t previous) {
  const auto& header = struct_at<MultiSectorHeader>(structure);
  const size_t offset = header.update_sequence_array_offset.get();
  const size_t strides = structure.size() / kSequenceStride;
  ASSERT(header.update_sequence_array_count.get() == strides + 1);
  ASSERT(offset >= sizeof(MultiSectorHeader) && offset + 2 * (strides + 1) <= kSequenceStride - 2);
  const uint16_t number = next_number(previous);
  set_word(structure, offset, number);
  for (size_t i = 0; i < strides; ++i) {
    set_word(structure, offset + 2 * (i + 1), word_at(structure, word_position(i)));
    set_word(structure, word_position(i), number);
  }
  return number;
}

void protect(MutableBytes structure) {
  protect_after(structure, update_sequence_number(structure));
}

}  // namespace ntfs
