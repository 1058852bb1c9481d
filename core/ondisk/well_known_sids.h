#pragma once

// SIDs that mean the same on every volume. Source: MS-DTYP 2.4.2.4 "Well-Known SID Structures".

#include "core/ondisk/security_descriptor.h"

namespace ntfs::ondisk {

inline Sid null_sid() { return {0, {0}}; }
inline Sid everyone() { return {1, {0}}; }
inline Sid creator_owner() { return {3, {0}}; }
inline Sid creator_group() { return {3, {1}}; }
inline Sid authenticated_users() { return {5, {11}}; }
inline Sid local_system() { return {5, {18}}; }
inline Sid administrators() { return {5, {32, 544}}; }
inline Sid users() { return {5, {32, 545}}; }

/// An account of a machine or domain, or a group of such: S-1-5-21-...
inline bool is_account(const Sid& sid) {
  return sid.authority == 5 && sid.sub_authorities.size() == 5 && sid.sub_authorities[0] == 21;
}
/// What runs without anybody: SYSTEM, LOCAL SERVICE, NETWORK SERVICE, S-1-5-80-...
inline bool is_service(const Sid& sid) {
  if (sid.authority != 5 || sid.sub_authorities.empty()) return false;
  const uint32_t first = sid.sub_authorities[0];
  return (sid.sub_authorities.size() == 1 && first >= 18 && first <= 20) || first == 80;
}

}  // namespace ntfs::ondisk
