#pragma once

// What all LZ77 formats end in: bytes that were there before.

#include <cstring>

#include "core/base/bytes.h"

namespace ntfs {

/// Copies `length` bytes to out[at] from `offset` bytes before it; the two may overlap. False: the
/// source begins before `out`, or the target does not fit.
inline bool copy_from_history(MutableBytes out, size_t at, size_t offset, size_t length) {
  if (offset == 0 || offset > at || length > out.size() - at) return false;
  std::byte* target = out.data() + at;
  const std::byte* source = target - offset;
  constexpr size_t kStep = 8;
  if (offset >= kStep && out.size() - at >= length + kStep) {
    // What is written past the match is written again by what follows.
    for (size_t done = 0; done < length; done += kStep) {
      std::memcpy(target + done, source + done, kStep);
    }
    return true;
  }
  for (size_t i = 0; i < length; ++i) target[i] = source[i];
  return true;
}

}  // namespace ntfs
