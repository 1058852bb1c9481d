#pragma once

// SHA-256 for the test programs, which must also run statically linked in a bare initramfs.
// Source: FIPS 180-4, section 6.2 "SHA-256".

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ntfs::support {

class Sha256 {
 public:
  void update(std::span<const unsigned char> bytes);
  /// Ends the message; the object must not be used afterwards.
  std::string hex_digest();

 private:
  void compress(const unsigned char* block);

  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> pending_{};
  size_t pending_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

}  // namespace ntfs::support
