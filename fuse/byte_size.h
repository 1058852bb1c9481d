#pragma once

// Sizes as users write them: 64, 512K, 8M, 1G, 2T (powers of 1024; "GiB" and "GB" mean the same).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ntfs::frontend {

/// Bytes; nothing when `text` is no size or does not fit.
std::optional<uint64_t> parse_byte_size(std::string_view text);
/// For people: "931.5 GiB", "4 KiB", "512 B".
std::string format_byte_size(uint64_t bytes);

}  // namespace ntfs::frontend
