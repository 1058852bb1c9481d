#pragma once

// Attribute records: what a file record holds after its header. One form keeps the value in the
// record (resident), the other says with mapping pairs where it is (nonresident).
// A view does not own its bytes and is valid as long as they are unchanged.

#include <array>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"

namespace ntfs::ondisk {

enum class AttributeType : uint32_t {
  StandardInformation = 0x10,
  AttributeList = 0x20,
  FileName = 0x30,
  ObjectId = 0x40,
  SecurityDescriptor = 0x50,
  VolumeName = 0x60,
  VolumeInformation = 0x70,
  Data = 0x80,
  IndexRoot = 0x90,
  IndexAllocation = 0xA0,
  Bitmap = 0xB0,
  ReparsePoint = 0xC0,
  EaInformation = 0xD0,
  Ea = 0xE0,
  PropertySet = 0xF0,
  LoggedUtilityStream = 0x100,
  End = 0xFFFFFFFF,
};

/// The documented name, e.g. "$STANDARD_INFORMATION"; "$?" for a type that is not listed.
std::string_view name_of(AttributeType type);
/// Whether an attribute of this type may stand in a file record (End may not).
bool is_known(AttributeType type);

/// Bits of AttributeHeader::flags.
struct AttributeFlags {
  static constexpr uint16_t Compressed = 0x0001;
  static constexpr uint16_t CompressionMask = 0x00FF;  // the method; 1 is LZNT1
  static constexpr uint16_t Encrypted = 0x4000;
  static constexpr uint16_t Sparse = 0x8000;
};

/// How an attribute keeps what is written to it.
enum class Compression { None, Lznt1 };

/// Of what Windows compresses with LZNT1: log2 of the clusters in a unit, and their largest size.
constexpr uint8_t kCompressionUnitShift = 4;
constexpr uint32_t kMostCompressedClusterSize = 4096;

/// Head shared by resident and nonresident attribute records.
struct AttributeHeader {
  le32 type_code;         // AttributeType
  le32 record_length;     // bytes, multiple of 8, counts this header
  std::byte form_code;    // 0 resident, 1 nonresident
  std::byte name_length;  // UTF-16 code units
  le16 name_offset;       // bytes from the start of the record
  le16 flags;             // AttributeFlags
  le16 instance;          // unique within the file record
};
static_assert(sizeof(AttributeHeader) == 0x10 && alignof(AttributeHeader) == 1);
static_assert(offsetof(AttributeHeader, instance) == 0x0E);

struct ResidentForm {
  AttributeHeader header;
  le32 value_length;         // bytes
  le16 value_offset;         // bytes from the start of the record
  std::byte resident_flags;  // 1: the value is a key in an index ($FILE_NAME)
  std::byte reserved;
};
static_assert(sizeof(ResidentForm) == 0x18 && alignof(ResidentForm) == 1);
static_assert(offsetof(ResidentForm, resident_flags) == 0x16);

struct NonresidentForm {
  AttributeHeader header;
  le64 lowest_vcn;
  le64 highest_vcn;            // inclusive; lowest_vcn - 1 for no clusters
  le16 mapping_pairs_offset;   // bytes from the start of the record
  std::byte compression_unit;  // log2 of the clusters in a unit; 0: neither compressed nor sparse
  std::array<std::byte, 5> reserved;
  // Sizes of the whole value in bytes; they count only where lowest_vcn is 0.
  le64 allocated_size;
  le64 file_size;
  le64 valid_data_length;
};
static_assert(sizeof(NonresidentForm) == 0x40 && alignof(NonresidentForm) == 1);
static_assert(offsetof(NonresidentForm, allocated_size) == 0x28);

/// The nonresident form of a compressed or sparse attribute where lowest_vcn is 0.
struct NonresidentSparseForm {
  NonresidentForm base;
  le64 total_allocated;  // bytes in clusters that are really allocated
};
static_assert(sizeof(NonresidentSparseForm) == 0x48 && alignof(NonresidentSparseForm) == 1);

constexpr size_t kResidentHeaderBytes = sizeof(ResidentForm);

/// Invariant: valid_data_length <= file_size <= allocated_size; total_allocated <= allocated_size.
struct AttributeSizes {
  uint64_t allocated = 0;          ///< bytes, multiple of the cluster size; counts holes
  uint64_t file_size = 0;          ///< bytes
  uint64_t valid_data_length = 0;  ///< bytes; from here to file_size reads as zeros
  uint64_t total_allocated = 0;    ///< bytes really allocated; equals `allocated` without holes
  friend bool operator==(const AttributeSizes&, const AttributeSizes&) = default;
};

enum class Indexed { No, Yes };

class AttributeView {
 public:
  /// Checks the attribute record at `offset` of `record` (a file record, or an attribute alone at
  /// 0): header, lengths, name, value or sizes and mapping pairs inside. Does not decode mapping
  /// pairs. FileCorruptError (reported).
  static Result<AttributeView> parse(ByteView record, size_t offset, const Origin& origin);
  /// For bytes that were checked or made here.
  static AttributeView of_valid(ByteView record, size_t offset);

  /// Bytes from the start of the file record.
  uint32_t offset() const { return offset_; }
  AttributeType type() const { return static_cast<AttributeType>(header().type_code.get()); }
  uint32_t length() const { return static_cast<uint32_t>(bytes_.size()); }
  uint32_t end_offset() const { return offset_ + length(); }
  bool is_resident() const { return header().form_code == std::byte{0}; }
  uint16_t flags() const { return header().flags.get(); }
  bool is_compressed() const { return (flags() & AttributeFlags::CompressionMask) != 0; }
  bool is_sparse() const { return (flags() & AttributeFlags::Sparse) != 0; }
  bool is_encrypted() const { return (flags() & AttributeFlags::Encrypted) != 0; }
  uint16_t instance() const { return header().instance.get(); }
  /// The whole attribute record.
  ByteView bytes() const { return bytes_; }

  bool has_name() const { return header().name_length != std::byte{0}; }
  ByteView name_bytes() const;  ///< UTF-16LE
  std::u16string name() const;
  bool name_equals(std::u16string_view name) const;

  // Resident attributes only (a bug otherwise).
  ByteView value() const;
  uint16_t value_offset() const { return resident().value_offset.get(); }
  bool is_indexed() const { return (resident().resident_flags & std::byte{1}) != std::byte{0}; }

  // Nonresident attributes only (a bug otherwise).
  Vcn lowest_vcn() const { return Vcn(nonresident().lowest_vcn.get()); }
  /// One past the highest vcn; equals lowest_vcn() for no clusters.
  Vcn next_vcn() const { return Vcn(nonresident().highest_vcn.get() + 1); }
  uint64_t allocated_size() const { return nonresident().allocated_size.get(); }
  uint64_t file_size() const { return nonresident().file_size.get(); }
  uint64_t valid_data_length() const { return nonresident().valid_data_length.get(); }
  /// allocated_size() where the record has no such field.
  uint64_t total_allocated() const;
  bool has_total_allocated() const;
  AttributeSizes sizes() const;
  uint8_t compression_unit() const { return static_cast<uint8_t>(nonresident().compression_unit); }
  uint16_t mapping_pairs_offset() const { return nonresident().mapping_pairs_offset.get(); }
  /// From the first pair to the end of the record, slack included.
  ByteView mapping_pairs() const;

  /// Length of the value in bytes, whatever the form (nonresident: only where lowest_vcn is 0).
  uint64_t value_length() const { return is_resident() ? value().size() : file_size(); }

 private:
  AttributeView(ByteView bytes, uint32_t offset) : bytes_(bytes), offset_(offset) {}
  const AttributeHeader& header() const { return struct_at<AttributeHeader>(bytes_); }
  const ResidentForm& resident() const;
  const NonresidentForm& nonresident() const;

  ByteView bytes_;
  uint32_t offset_ = 0;
};

/// Bytes of a resident attribute record with a name of `name_units` and a value of `value_bytes`.
size_t resident_length(size_t name_units, size_t value_bytes);
/// Where the value of a resident attribute record begins: behind the name, 8-aligned.
size_t resident_value_offset(size_t name_units);
ByteVector build_resident(AttributeType type, std::u16string_view name, uint16_t flags,
                          uint16_t instance, ByteView value, Indexed indexed);

/// What a nonresident attribute record says beside its name and mapping pairs.
struct NonresidentInit {
  AttributeType type = AttributeType::Data;
  uint16_t flags = 0;  ///< AttributeFlags
  uint16_t instance = 0;
  Vcn lowest;
  Vcn next;              ///< one past the highest vcn
  AttributeSizes sizes;  ///< written where lowest is 0, zeros elsewhere
  uint8_t compression_unit = 0;
};
/// Where the mapping pairs begin in such a record: behind header and name, 8-aligned.
size_t nonresident_mapping_pairs_offset(size_t name_units, uint16_t flags, Vcn lowest);
/// `mapping_pairs` are encoded, with terminator.
ByteVector build_nonresident(const NonresidentInit& init, std::u16string_view name,
                             ByteView mapping_pairs);

std::string describe(const AttributeView& attribute);

}  // namespace ntfs::ondisk
