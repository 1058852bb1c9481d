#include "fuse/posix_acl.h"

#include <algorithm>

#include "core/base/little_endian.h"

namespace ntfs::frontend {

namespace {

constexpr uint32_t kVersion = 2;
constexpr uint16_t kAllPermissions = 7;

struct RawHeader {
  le32 version;
};
struct RawEntry {
  le16 tag;
  le16 permissions;
  le32 id;
};
static_assert(sizeof(RawHeader) == 4 && sizeof(RawEntry) == 8 && alignof(RawEntry) == 1);

bool has_id(PosixAcl::Tag tag) { return tag == PosixAcl::Tag::User || tag == PosixAcl::Tag::Group; }

bool is_tag(uint16_t tag) {
  constexpr uint16_t kTags = 0x3F;
  return (tag & (tag - 1)) == 0 && (tag & kTags) != 0;
}

/// acl(5) "Valid ACLs": one entry for owner, group and others each, a mask where users or groups
/// are named; in the order of the tags.
bool is_valid(const std::vector<PosixAcl::Entry>& entries) {
  using Tag = PosixAcl::Tag;
  const auto count = [&](Tag tag) {
    return std::ranges::count(entries, tag, &PosixAcl::Entry::tag);
  };
  const bool names_somebody = count(Tag::User) + count(Tag::Group) > 0;
  return std::ranges::is_sorted(entries, {}, &PosixAcl::Entry::tag) &&
         count(Tag::UserObject) == 1 && count(Tag::GroupObject) == 1 && count(Tag::Other) == 1 &&
         count(Tag::Mask) <= 1 && (!names_somebody || count(Tag::Mask) == 1);
}

}  // namespace

std::optional<PosixAcl> PosixAcl::parse(ByteView value) {
  const auto* header = view_as<RawHeader>(value).value_or(nullptr);
  if (header == nullptr || header->version.get() != kVersion) return std::nullopt;
  value = value.subspan(sizeof(RawHeader));
  if (value.size() % sizeof(RawEntry) != 0) return std::nullopt;
  PosixAcl acl;
  for (size_t at = 0; at < value.size(); at += sizeof(RawEntry)) {
    const auto& raw = struct_at<RawEntry>(value, at);
    const uint16_t permissions = raw.permissions.get();
    if (!is_tag(raw.tag.get()) || permissions > kAllPermissions) return std::nullopt;
    const Tag tag{raw.tag.get()};
    acl.entries_.push_back({tag, permissions, has_id(tag) ? raw.id.get() : kNoId});
  }
  if (!is_valid(acl.entries_)) return std::nullopt;
  return acl;
}

ByteVector PosixAcl::build() const {
  ByteVector value(sizeof(RawHeader) + entries_.size() * sizeof(RawEntry));
  struct_at<RawHeader>(MutableBytes(value)).version.set(kVersion);
  size_t at = sizeof(RawHeader);
  for (const Entry& entry : entries_) {
    auto& raw = struct_at<RawEntry>(MutableBytes(value), at);
    raw.tag.set(static_cast<uint16_t>(entry.tag));
    raw.permissions.set(entry.permissions);
    raw.id.set(entry.id);
    at += sizeof(RawEntry);
  }
  return value;
}

PosixAcl::Entry* PosixAcl::find(Tag tag) {
  const auto found = std::ranges::find(entries_, tag, &Entry::tag);
  return found == entries_.end() ? nullptr : &*found;
}
const PosixAcl::Entry* PosixAcl::find(Tag tag) const {
  const auto found = std::ranges::find(entries_, tag, &Entry::tag);
  return found == entries_.end() ? nullptr : &*found;
}

mode_t PosixAcl::mode() const {
  const Entry* mask = find(Tag::Mask);
  const Entry* group = mask != nullptr ? mask : find(Tag::GroupObject);
  return mode_t{find(Tag::UserObject)->permissions} << 6 | mode_t{group->permissions} << 3 |
         find(Tag::Other)->permissions;
}

bool PosixAcl::is_mode() const { return entries_.size() == 3; }

void PosixAcl::set_mode(mode_t mode) {
  Entry* mask = find(Tag::Mask);
  Entry* group = mask != nullptr ? mask : find(Tag::GroupObject);
  find(Tag::UserObject)->permissions = mode >> 6 & kAllPermissions;
  group->permissions = mode >> 3 & kAllPermissions;
  find(Tag::Other)->permissions = mode & kAllPermissions;
}

mode_t PosixAcl::restrict_to(mode_t mode) {
  constexpr mode_t kPermissions = 0777;
  const mode_t both = this->mode() & mode;
  set_mode(both);
  return (mode & ~kPermissions) | both;
}

}  // namespace ntfs::frontend
