#pragma once

// The known word that a misspelt one probably means.

#include <span>
#include <string_view>

namespace ntfs::frontend {

/// How many insertions, removals, replacements and swaps of neighbours lead from `a` to `b`.
size_t edit_distance(std::string_view a, std::string_view b);

/// The word nearest to `name`; "" when all are too different to be meant.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> words);

}  // namespace ntfs::frontend
