#include "core/ondisk/security_descriptor.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>

#include "core/ondisk/index_block.h"

namespace ntfs::ondisk {

namespace {

constexpr uint8_t kRevision = 1;

struct SidHeader {
  std::byte revision;  // 1
  std::byte sub_authority_count;
  std::array<uint8_t, 6> authority;  // big-endian
};
static_assert(sizeof(SidHeader) == 8 && alignof(SidHeader) == 1);

struct AceHeader {
  std::byte type;
  std::byte flags;
  le16 length;  // bytes, with this header, multiple of 4
};
static_assert(sizeof(AceHeader) == 4 && alignof(AceHeader) == 1);

struct AclHeader {
  std::byte revision;
  std::byte reserved;
  le16 length;  // bytes, with this header
  le16 ace_count;
  le16 reserved2;
};
static_assert(sizeof(AclHeader) == 8 && alignof(AclHeader) == 1);

struct DescriptorHeader {
  std::byte revision;  // 1
  std::byte reserved;
  le16 control;       // DescriptorControl
  le32 owner_offset;  // all offsets from the start of this header; 0 none
  le32 group_offset;
  le32 sacl_offset;
  le32 dacl_offset;
};
static_assert(sizeof(DescriptorHeader) == 0x14 && alignof(DescriptorHeader) == 1);
static_assert(offsetof(DescriptorHeader, dacl_offset) == 0x10);

void append(ByteVector& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

Result<Ace> parse_ace(ByteView bytes, const Origin& origin) {
  const auto* header = view_as<AceHeader>(bytes).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "ace", bytes.size(), "at least 4 bytes");
  Ace ace;
  ace.type = static_cast<uint8_t>(header->type);
  ace.flags = static_cast<uint8_t>(header->flags);
  const ByteView body = bytes.subspan(sizeof(AceHeader));
  if (!ace.is_simple()) {
    ace.body.assign(body.begin(), body.end());
    return ace;
  }
  const auto* mask = view_as<le32>(body).value_or(nullptr);
  if (mask == nullptr) return corrupt(origin, "ace length", bytes.size());
  ace.access_mask = mask->get();
  ace.sid = TRY(parse_sid(body.subspan(sizeof(le32)), origin));
  return ace;
}

Result<Acl> parse_acl(ByteView bytes, const Origin& origin) {
  const auto* header = view_as<AclHeader>(bytes).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "acl", bytes.size(), "at least 8 bytes");
  const uint16_t length = header->length.get();
  if (length < sizeof(AclHeader) || length > bytes.size()) {
    return corrupt(origin, "acl length", length);
  }
  Acl acl;
  acl.revision = static_cast<uint8_t>(header->revision);
  ByteView rest = bytes.subspan(sizeof(AclHeader), length - sizeof(AclHeader));
  for (uint32_t i = 0; i < header->ace_count.get(); ++i) {
    const auto* ace = view_as<AceHeader>(rest).value_or(nullptr);
    if (ace == nullptr) return corrupt(origin, "ace count", header->ace_count.get());
    const uint16_t ace_length = ace->length.get();
    if (ace_length < sizeof(AceHeader) || ace_length > rest.size()) {
      return corrupt(origin, "ace length", ace_length);
    }
    acl.aces.push_back(TRY(parse_ace(rest.first(ace_length), origin)));
    rest = rest.subspan(ace_length);
  }
  return acl;
}

ByteVector build_ace(const Ace& ace) {
  ByteVector body = ace.body;
  if (ace.is_simple()) {
    body.clear();
    append(body, bytes_of(le32::of(ace.access_mask)));
    append(body, build_sid(ace.sid));
  }
  AceHeader header{};
  header.type = std::byte{ace.type};
  header.flags = std::byte{ace.flags};
  ASSERT(body.size() <= 0xFFFF - sizeof(AceHeader));
  header.length.set(static_cast<uint16_t>(sizeof(AceHeader) + body.size()));
  ByteVector bytes;
  append(bytes, bytes_of(header));
  append(bytes, body);
  return bytes;
}

ByteVector build_acl(const Acl& acl) {
  ByteVector bytes(sizeof(AclHeader));
  for (const Ace& ace : acl.aces) append(bytes, build_ace(ace));
  ASSERT(bytes.size() <= kMostAclBytes);
  auto& header = struct_at<AclHeader>(MutableBytes(bytes));
  header.revision = std::byte{acl.revision};
  header.length.set(static_cast<uint16_t>(bytes.size()));
  header.ace_count.set(static_cast<uint16_t>(acl.aces.size()));
  return bytes;
}

/// The part that stands `offset` bytes into the descriptor, read by `parse`; none for an offset of
/// 0.
template <typename Part>
Result<std::optional<Part>> part_at(ByteView bytes, uint32_t offset,
                                    Result<Part> (*parse)(ByteView, const Origin&),
                                    const Origin& origin) {
  if (offset == 0) return std::optional<Part>();
  if (offset < sizeof(DescriptorHeader) || offset > bytes.size()) {
    return corrupt(origin, "offset of a part", offset);
  }
  return std::optional<Part>(TRY(parse(bytes.subspan(offset), origin)));
}

uint32_t append_part(ByteVector& to, ByteView part) {
  const auto offset = static_cast<uint32_t>(to.size());
  append(to, part);
  return offset;
}

std::string describe_acl(std::string_view name, const std::optional<Acl>& acl) {
  if (!acl) return fmt::format("; no {}", name);
  std::string text = fmt::format("; {}:", name);
  for (const Ace& ace : acl->aces) {
    text += fmt::format(" (type {} flags {:#04x}", ace.type, ace.flags);
    text += ace.is_simple() ? fmt::format(" access {:#010x} {})", ace.access_mask, to_text(ace.sid))
                            : fmt::format(" {} bytes)", ace.body.size());
  }
  return text;
}

}  // namespace

Result<Sid> parse_sid(ByteView bytes, const Origin& origin) {
  const auto* header = view_as<SidHeader>(bytes).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "sid", bytes.size(), "at least 8 bytes");
  if (header->revision != std::byte{kRevision}) {
    return corrupt(origin, "sid revision", static_cast<uint8_t>(header->revision), "1");
  }
  const auto count = static_cast<uint8_t>(header->sub_authority_count);
  if (count > kMaxSubAuthorities || sizeof(SidHeader) + 4 * size_t{count} > bytes.size()) {
    return corrupt(origin, "sub authorities", count);
  }
  Sid sid;
  for (const uint8_t byte : header->authority) sid.authority = (sid.authority << 8) | byte;
  for (size_t i = 0; i < count; ++i) {
    sid.sub_authorities.push_back(struct_at<le32>(bytes, sizeof(SidHeader) + 4 * i).get());
  }
  return sid;
}

size_t sid_length(const Sid& sid) { return sizeof(SidHeader) + 4 * sid.sub_authorities.size(); }

ByteVector build_sid(const Sid& sid) {
  ASSERT(sid.sub_authorities.size() <= kMaxSubAuthorities && (sid.authority >> 48) == 0);
  SidHeader header{};
  header.revision = std::byte{kRevision};
  header.sub_authority_count = static_cast<std::byte>(sid.sub_authorities.size());
  for (size_t i = 0; i < header.authority.size(); ++i) {
    header.authority[i] = static_cast<uint8_t>(sid.authority >> (40 - 8 * i));
  }
  ByteVector bytes;
  append(bytes, bytes_of(header));
  for (const uint32_t value : sid.sub_authorities) append(bytes, bytes_of(le32::of(value)));
  return bytes;
}

std::string to_text(const Sid& sid) {
  std::string text = fmt::format("S-1-{}", sid.authority);
  for (const uint32_t value : sid.sub_authorities) text += fmt::format("-{}", value);
  return text;
}

size_t acl_length(const Acl& acl) {
  size_t bytes = sizeof(AclHeader);
  for (const Ace& ace : acl.aces) {
    const size_t body = ace.is_simple() ? sizeof(le32) + sid_length(ace.sid) : ace.body.size();
    bytes += sizeof(AceHeader) + body;
  }
  return bytes;
}

std::optional<Sid> sid_of_text(std::string_view text) {
  constexpr std::string_view kPrefix = "S-1-";
  constexpr uint64_t kMostAuthority = (uint64_t{1} << 48) - 1;
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  std::vector<uint64_t> numbers;
  for (;;) {
    uint64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const uint64_t most = numbers.empty() ? kMostAuthority : UINT32_MAX;
    if (error != std::errc() || value > most || numbers.size() > kMaxSubAuthorities) {
      return std::nullopt;
    }
    numbers.push_back(value);
    text.remove_prefix(static_cast<size_t>(stop - text.data()));
    if (text.empty()) break;
    if (text.front() != '-') return std::nullopt;
    text.remove_prefix(1);
  }
  Sid sid;
  sid.authority = numbers.front();
  for (size_t i = 1; i < numbers.size(); ++i) {
    sid.sub_authorities.push_back(static_cast<uint32_t>(numbers[i]));
  }
  return sid;
}

uint32_t without_generic_rights(uint32_t mask) {
  constexpr struct {
    uint32_t generic;
    uint32_t specific;
  } kMapping[] = {
      {AccessMask::GenericRead, AccessMask::FileRead},
      {AccessMask::GenericWrite, AccessMask::FileWrite},
      {AccessMask::GenericExecute, AccessMask::FileExecute},
      {AccessMask::GenericAll, AccessMask::FileAll},
  };
  for (const auto& [generic, specific] : kMapping) {
    if ((mask & generic) != 0) mask = (mask & ~generic) | specific;
  }
  return mask;
}

bool Ace::is_simple() const {
  return type == kAllow || type == kDeny || type == kAudit || type == kMandatoryLabel;
}

Result<SecurityDescriptor> parse_security_descriptor(ByteView bytes, const Origin& origin) {
  const auto* header = view_as<DescriptorHeader>(bytes).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "descriptor", bytes.size(), "at least 20 bytes");
  if (header->revision != std::byte{kRevision}) {
    return corrupt(origin, "revision", static_cast<uint8_t>(header->revision), "1");
  }
  SecurityDescriptor descriptor;
  descriptor.control = header->control.get();
  descriptor.owner = TRY(part_at<Sid>(bytes, header->owner_offset.get(), parse_sid, origin));
  descriptor.group = TRY(part_at<Sid>(bytes, header->group_offset.get(), parse_sid, origin));
  descriptor.sacl = TRY(part_at<Acl>(bytes, header->sacl_offset.get(), parse_acl, origin));
  descriptor.dacl = TRY(part_at<Acl>(bytes, header->dacl_offset.get(), parse_acl, origin));
  return descriptor;
}

ByteVector build_security_descriptor(const SecurityDescriptor& descriptor) {
  uint16_t control = descriptor.control | DescriptorControl::SelfRelative;
  DescriptorHeader header{};
  header.revision = std::byte{kRevision};
  ByteVector bytes(sizeof(DescriptorHeader));
  if (descriptor.sacl) {
    control |= DescriptorControl::SaclPresent;
    header.sacl_offset.set(append_part(bytes, build_acl(*descriptor.sacl)));
  }
  if (descriptor.dacl) {
    control |= DescriptorControl::DaclPresent;
    header.dacl_offset.set(append_part(bytes, build_acl(*descriptor.dacl)));
  }
  if (descriptor.owner) {
    header.owner_offset.set(append_part(bytes, build_sid(*descriptor.owner)));
  }
  if (descriptor.group) {
    header.group_offset.set(append_part(bytes, build_sid(*descriptor.group)));
  }
  header.control.set(control);
  struct_at<DescriptorHeader>(MutableBytes(bytes)) = header;
  return bytes;
}

std::string describe(const SecurityDescriptor& descriptor) {
  std::string text = fmt::format("control {:#06x}", descriptor.control);
  if (descriptor.owner) text += " owner " + to_text(*descriptor.owner);
  if (descriptor.group) text += " group " + to_text(*descriptor.group);
  text += describe_acl("dacl", descriptor.dacl);
  if (descriptor.sacl) text += describe_acl("sacl", descriptor.sacl);
  return text;
}

uint32_t security_hash(ByteView descriptor) {
  uint32_t hash = 0;
  for (size_t offset = 0; offset + 4 <= descriptor.size(); offset += 4) {
    hash = std::rotl(hash, 3) + struct_at<le32>(descriptor, offset).get();
  }
  return hash;
}

ByteVector build_sds_entry(uint32_t security_id, uint64_t offset, ByteView descriptor) {
  SdsEntryHeader header;
  header.hash.set(security_hash(descriptor));
  header.security_id.set(security_id);
  header.offset.set(offset);
  header.length.set(static_cast<uint32_t>(sizeof(header) + descriptor.size()));
  ByteVector bytes;
  append(bytes, bytes_of(header));
  append(bytes, descriptor);
  return bytes;
}

Result<SdsEntryView> parse_sds_entry(ByteView bytes, uint64_t offset, const Origin& origin) {
  const auto* header = view_as<SdsEntryHeader>(bytes).value_or(nullptr);
  if (header == nullptr) return corrupt(origin, "$SDS entry", bytes.size(), "at least 20 bytes");
  if (header->offset.get() != offset) {
    return corrupt(origin, "offset", header->offset.get(), "its own place");
  }
  const uint32_t length = header->length.get();
  if (length < sizeof(SdsEntryHeader) || length > bytes.size() || length > kSdsBlockBytes) {
    return corrupt(origin, "length", length);
  }
  const ByteView descriptor =
      bytes.subspan(sizeof(SdsEntryHeader), length - sizeof(SdsEntryHeader));
  if (security_hash(descriptor) != header->hash.get()) {
    return corrupt(origin, "hash", header->hash.get(), "that of the descriptor");
  }
  return SdsEntryView{*header, descriptor};
}

ByteVector build_sii_entry(const SdsEntryHeader& header) {
  return build_view_entry(bytes_of(header.security_id), bytes_of(header), std::nullopt);
}

ByteVector build_sdh_entry(const SdsEntryHeader& header) {
  const SecurityHashKey key{header.hash, header.security_id};
  ByteVector entry = build_view_entry(bytes_of(key), bytes_of(header), std::nullopt);
  // Behind the data, up to a multiple of 8, Windows writes "II" in UTF-16.
  struct_at<le32>(MutableBytes(entry), entry.size() - sizeof(le32)).set(0x00490049);
  return entry;
}

}  // namespace ntfs::ondisk
