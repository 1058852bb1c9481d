#pragma once

// The update sequence array that protects FILE, INDX, RSTR and RCRD structures against torn writes:
// the last two bytes of each 512-byte stride are displaced into an array and replaced by a counter.
// "Update sequence number" is that counter; it has nothing to do with the change journal.

#include "core/base/bytes.h"
#include "core/base/little_endian.h"

namespace ntfs {

constexpr size_t kSequenceStride = 512;

struct MultiSectorHeader {
  std::array<char, 4> signature;  // "FILE", "INDX", "RSTR", "RCRD"; "BAAD" after a failed fix-up
  le16 update_sequence_array_offset;  // bytes from the start of the structure
  le16 update_sequence_array_count;   // entries: 1 + one for each stride
};
static_assert(sizeof(MultiSectorHeader) == 8 && alignof(MultiSectorHeader) == 1);

/// Checks the array of `structure` (whole, as read) and puts the displaced words back. Without
/// change on failure. FileCorruptError (reported): array out of bounds, wrong count, torn.
Result<> unprotect(MutableBytes structure, const Origin& origin);

/// As unprotect, but quiet: false when the bytes are not a whole, untorn structure.
bool try_unprotect(MutableBytes structure);

/// Advances the update sequence number (never 0 or 0xFFFF) and displaces the words. The header must
/// hold a valid array position (a bug otherwise).
void protect(MutableBytes structure);
/// As protect, with the number that follows `previous` whatever the structure holds; returns it.
uint16_t protect_after(MutableBytes structure, uint16_t previous);
/// The update sequence number that the structure holds. As protect, it needs a valid array.
uint16_t update_sequence_number(ByteView structure);

/// What protect_after() needs for a structure that takes the place of `on_device`, which may be
/// anything: the number that follows stands at the end of none of its strides. Else a crash could
/// leave some strides of each, and nobody would see it.
uint16_t number_to_follow(ByteView on_device);

}  // namespace ntfs
