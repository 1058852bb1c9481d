// Whether this build has sanitizers: rounds that find nothing new for them are then fewer, since
// each takes ten times as long. The release build does them all.

#pragma once

namespace ntfs::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kIsSanitized = true;  // g++
#elif defined(__has_feature)
inline constexpr bool kIsSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);  // clang++
#else
inline constexpr bool kIsSanitized = false;
#endif

}  // namespace ntfs::testing
