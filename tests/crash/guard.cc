#include "tests/crash/guard.h"

#include <algorithm>

#include "core/ondisk/security_descriptor.h"

namespace ntfs::crash {

using ondisk::Ace;
using ondisk::SecurityDescriptor;
using ondisk::Sid;

namespace {

constexpr uint32_t kOurs = 0x6772;

Sid sid_of(uint64_t number, size_t entry) {
  return {5, {21, kOurs, static_cast<uint32_t>(entry), 0, static_cast<uint32_t>(number)}};
}

size_t count_entries(uint64_t number) { return number % 8 == 0 ? 700 : 1 + number % 5; }

bool is_number(const SecurityDescriptor& descriptor, uint64_t number) {
  if (!descriptor.dacl || descriptor.dacl->aces.size() != count_entries(number)) return false;
  const auto& aces = descriptor.dacl->aces;
  for (size_t i = 0; i < aces.size(); ++i) {
    if (aces[i].sid != sid_of(number, i)) return false;
  }
  return true;
}

}  // namespace

ByteVector guard_of(uint64_t number) {
  SecurityDescriptor descriptor;
  descriptor.owner = sid_of(number, 0);
  descriptor.group = sid_of(number, 0);
  descriptor.dacl.emplace();
  for (size_t i = 0; i < count_entries(number); ++i) {
    Ace ace;
    ace.flags = ondisk::AceFlags::ObjectInherit | ondisk::AceFlags::ContainerInherit;
    ace.access_mask = ondisk::AccessMask::FileAll;
    ace.sid = sid_of(number, i);
    descriptor.dacl->aces.push_back(std::move(ace));
  }
  return ondisk::build_security_descriptor(descriptor);
}

Result<uint64_t> guard_on(ObjectStore& store, File& file) {
  const ByteVector bytes = TRY(store.query_security(file, SecurityInformation::All));
  const auto descriptor =
      TRY(ondisk::parse_security_descriptor(bytes, {"security descriptor", 0, 0}));
  if (!descriptor.owner) return NtStatus::FileCorruptError;
  const auto& parts = descriptor.owner->sub_authorities;
  if (parts.size() != 5 || parts[1] != kOurs) return uint64_t{0};
  const uint64_t number = parts.back();
  return is_number(descriptor, number) ? Result<uint64_t>(number) : NtStatus::FileCorruptError;
}

}  // namespace ntfs::crash
