#pragma once

// Whether Windows sleeps on a volume: hibernated, or shut down with fast start, which is the same
// for the system alone. When it wakes it goes on with what its memory holds of the volume: whoever
// wrote there meanwhile has destroyed it.
//
// | hiberfil.sys in the root          | the log            | what it means                        |
// |-----------------------------------|--------------------|--------------------------------------|
// | begins with "hibr" or "HIBR"      | any                | Hibernated                           |
// | shorter than 4096 bytes           | any                | Elsewhere                            |
// | else ("wake", "RSTR", zeros, ...) | any                | None: that Windows is awake or gone  |
// | there is none                     | LFS 2.0, not clean | Possible                             |
// | there is none                     | else               | None                                 |
//
// Windows 8 and later write a log of version 2.0 while a volume is mounted, and 1.1 when they
// unmount it; sleeping is not unmounting. An unplugged disk looks the same.
// Source: ntfs-3g(8) "Windows hibernation and fast restarting".

#include <string_view>

#include "core/base/result.h"

namespace ntfs {

class Volume;

/// In the root, in any letters.
constexpr std::u16string_view kHibernationFile = u"hiberfil.sys";

enum class Sleep {
  None,
  Hibernated,  ///< a Windows that starts from this volume sleeps
  Elsewhere,   ///< one that starts from another volume, and has this one mounted, sleeps
  Possible,    ///< such a one sleeps, or was cut off
};

/// Takes the metadata lock. FileCorruptError (reported), the device's errors.
Result<Sleep> find_sleep(Volume& volume);
/// Why the volume must not be written to, and what to do; "" for None.
std::string_view explain(Sleep sleep);

}  // namespace ntfs
