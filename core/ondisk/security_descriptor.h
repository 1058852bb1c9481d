#pragma once

// Self-relative security descriptors with their SIDs and ACLs, and the structures of $Secure that
// hold them: $SDS entries and the keys of $SII and $SDH.
// Source: MS-DTYP 2.4.2 "SID", 2.4.4 "ACE", 2.4.5 "ACL", 2.4.6 "SECURITY_DESCRIPTOR"; for $Secure
// the linux-ntfs documentation, compared with volumes that Windows made.

#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"

namespace ntfs::ondisk {

struct Sid {
  uint64_t authority = 0;                 ///< 48 bits; 5 is SECURITY_NT_AUTHORITY
  std::vector<uint32_t> sub_authorities;  ///< 0..15
  friend auto operator<=>(const Sid&, const Sid&) = default;
};
constexpr size_t kMaxSubAuthorities = 15;

/// The SID that `bytes` begin with. FileCorruptError (reported): not whole, or no SID.
Result<Sid> parse_sid(ByteView bytes, const Origin& origin);
size_t sid_length(const Sid& sid);
ByteVector build_sid(const Sid& sid);
/// "S-1-5-32-544".
std::string to_text(const Sid& sid);
/// The way back; nothing when `text` is something else, or says more than a SID can hold.
std::optional<Sid> sid_of_text(std::string_view text);

/// Bits of Ace::flags.
struct AceFlags {
  static constexpr uint8_t ObjectInherit = 0x01;
  static constexpr uint8_t ContainerInherit = 0x02;
  static constexpr uint8_t NoPropagateInherit = 0x04;
  static constexpr uint8_t InheritOnly = 0x08;
  static constexpr uint8_t Inherited = 0x10;
};

/// Bits of Ace::access_mask, and of what an open asks for. MS-SMB2 2.2.13.1.1
/// "File_Pipe_Printer_Access".
struct AccessMask {
  static constexpr uint32_t ReadData = 0x00000001;    // of a directory: list
  static constexpr uint32_t WriteData = 0x00000002;   // of a directory: add files
  static constexpr uint32_t AppendData = 0x00000004;  // of a directory: add directories
  static constexpr uint32_t ReadEa = 0x00000008;
  static constexpr uint32_t WriteEa = 0x00000010;
  static constexpr uint32_t Execute = 0x00000020;  // of a directory: traverse
  static constexpr uint32_t DeleteChild = 0x00000040;
  static constexpr uint32_t ReadAttributes = 0x00000080;
  static constexpr uint32_t WriteAttributes = 0x00000100;
  static constexpr uint32_t Delete = 0x00010000;
  static constexpr uint32_t ReadControl = 0x00020000;
  static constexpr uint32_t WriteDac = 0x00040000;
  static constexpr uint32_t WriteOwner = 0x00080000;
  static constexpr uint32_t Synchronize = 0x00100000;
  static constexpr uint32_t AccessSystemSecurity = 0x01000000;
  static constexpr uint32_t FileAll = 0x001F01FF;
  static constexpr uint32_t FileModify = 0x001301BF;
  static constexpr uint32_t FileReadExecute = 0x001200A9;
  static constexpr uint32_t FileRead = 0x00120089;
  static constexpr uint32_t FileWrite = 0x00120116;
  static constexpr uint32_t FileExecute = 0x001200A0;
  static constexpr uint32_t FileReadWrite = 0x0012019F;
  static constexpr uint32_t GenericAll = 0x10000000;
  static constexpr uint32_t GenericExecute = 0x20000000;
  static constexpr uint32_t GenericWrite = 0x40000000;
  static constexpr uint32_t GenericRead = 0x80000000;
  static constexpr uint32_t GenericReadExecute = 0xA0000000;
  static constexpr uint32_t GenericModify = 0xE0010000;  // read, write, execute, delete
};

/// `mask` with the rights that its generic ones stand for in their place. Source: MS-FSA 2.1.5.1.1
/// "Creation of a New File", GenericMapping.
uint32_t without_generic_rights(uint32_t mask);

struct Ace {
  static constexpr uint8_t kAllow = 0;
  static constexpr uint8_t kDeny = 1;
  static constexpr uint8_t kAudit = 2;
  static constexpr uint8_t kMandatoryLabel = 0x11;

  uint8_t type = kAllow;
  uint8_t flags = 0;         ///< AceFlags
  uint32_t access_mask = 0;  ///< of the types above
  Sid sid;                   ///< of the types above
  ByteVector body;           ///< of other types: all behind the header, as found
  /// Whether access_mask and sid count, or body.
  bool is_simple() const;
  friend bool operator==(const Ace&, const Ace&) = default;
};

struct Acl {
  uint8_t revision = 2;
  std::vector<Ace> aces;
  friend bool operator==(const Acl&, const Acl&) = default;
};
constexpr size_t kMostAclBytes = 0xFFFF;
/// Bytes that it has on disk; those that are built have at most kMostAclBytes.
size_t acl_length(const Acl& acl);

/// Bits of SecurityDescriptor::control.
struct DescriptorControl {
  static constexpr uint16_t OwnerDefaulted = 0x0001;
  static constexpr uint16_t GroupDefaulted = 0x0002;
  static constexpr uint16_t DaclPresent = 0x0004;
  static constexpr uint16_t DaclDefaulted = 0x0008;
  static constexpr uint16_t SaclPresent = 0x0010;
  static constexpr uint16_t SaclDefaulted = 0x0020;
  static constexpr uint16_t DaclAutoInherited = 0x0400;
  static constexpr uint16_t SaclAutoInherited = 0x0800;
  static constexpr uint16_t DaclProtected = 0x1000;
  static constexpr uint16_t SaclProtected = 0x2000;
  static constexpr uint16_t SelfRelative = 0x8000;
};

struct SecurityDescriptor {
  /// DescriptorControl. The bits for presence and SelfRelative are set by the builder.
  uint16_t control = 0;
  std::optional<Sid> owner;
  std::optional<Sid> group;
  std::optional<Acl> sacl;
  /// Without one, everybody may do everything.
  std::optional<Acl> dacl;
  friend bool operator==(const SecurityDescriptor&, const SecurityDescriptor&) = default;
};

/// FileCorruptError (reported): revision, a part that is out of bounds or not whole.
Result<SecurityDescriptor> parse_security_descriptor(ByteView bytes, const Origin& origin);
/// In the order that Windows uses: header, SACL, DACL, owner, group.
ByteVector build_security_descriptor(const SecurityDescriptor& descriptor);
std::string describe(const SecurityDescriptor& descriptor);

/// The hash of a descriptor in $SDS and $SDH: over its words of 4 bytes (a shorter rest does not
/// count), rotated left by 3 before each addition.
uint32_t security_hash(ByteView descriptor);

/// What stands before a descriptor in $SDS; also the data of both indexes.
struct SdsEntryHeader {
  le32 hash;
  le32 security_id;
  le64 offset;  // of this header in $SDS; in the copy too the one of the original
  le32 length;  // bytes, with this header
};
static_assert(sizeof(SdsEntryHeader) == 0x14 && alignof(SdsEntryHeader) == 1);
static_assert(offsetof(SdsEntryHeader, length) == 0x10);

/// Key of $SDH. The key of $SII is the id alone.
struct SecurityHashKey {
  le32 hash;
  le32 security_id;
};
static_assert(sizeof(SecurityHashKey) == 8 && alignof(SecurityHashKey) == 1);

/// Entries begin at multiples of this; none crosses a multiple of kSdsBlockBytes.
constexpr uint64_t kSdsAlignment = 16;
/// $SDS is blocks of this size in pairs: each second one is a copy of the one before it.
constexpr uint64_t kSdsBlockBytes = 0x40000;
constexpr uint32_t kFirstSecurityId = 0x100;

/// Header and descriptor, without what aligns the next one.
ByteVector build_sds_entry(uint32_t security_id, uint64_t offset, ByteView descriptor);

struct SdsEntryView {
  SdsEntryHeader header;
  ByteView descriptor;  ///< of the bytes that were parsed
};
/// The entry that `bytes`, those of $SDS from `offset` on, begin with. FileCorruptError (reported):
/// not whole, another offset, another hash.
Result<SdsEntryView> parse_sds_entry(ByteView bytes, uint64_t offset, const Origin& origin);

/// Whole index entries of a leaf for the descriptor that `header` is about.
ByteVector build_sii_entry(const SdsEntryHeader& header);
ByteVector build_sdh_entry(const SdsEntryHeader& header);

}  // namespace ntfs::ondisk
