#include "core/store/attribute_definitions.h"

#include <string>

#include "core/base/little_endian.h"
#include "core/ondisk/attribute_record.h"
#include "core/ondisk/utf16.h"

namespace ntfs {

namespace {

using ondisk::AttributeType;

struct AttributeDefinition {
  std::array<std::byte, 128> name;  // UTF-16LE, zeros behind it
  le32 type_code;                   // AttributeType
  le32 display_rule;                // 0
  le32 collation;                   // 0: names and views say theirs in $INDEX_ROOT
  le32 flags;                       // DefinitionFlags
  le64 minimum_bytes;               // of the value
  le64 maximum_bytes;               // kUnlimited
};
static_assert(sizeof(AttributeDefinition) == 0xA0 && alignof(AttributeDefinition) == 1);
static_assert(offsetof(AttributeDefinition, maximum_bytes) == 0x98);

struct DefinitionFlags {
  static constexpr uint32_t Indexable = 0x02;
  static constexpr uint32_t Resident = 0x40;  // must be
  static constexpr uint32_t Log = 0x80;       // changes of a nonresident value are logged
};

constexpr uint64_t kUnlimited = ~uint64_t{0};

struct Definition {
  AttributeType type;
  uint32_t flags;
  uint64_t minimum_bytes;
  uint64_t maximum_bytes;
};

constexpr Definition kDefinitions[] = {
    {AttributeType::StandardInformation, DefinitionFlags::Resident, 0x30, 0x48},
    {AttributeType::AttributeList, DefinitionFlags::Log, 0, kUnlimited},
    {AttributeType::FileName, DefinitionFlags::Resident | DefinitionFlags::Indexable, 0x44, 0x242},
    {AttributeType::ObjectId, DefinitionFlags::Resident, 0, 0x100},
    {AttributeType::SecurityDescriptor, DefinitionFlags::Log, 0, kUnlimited},
    {AttributeType::VolumeName, DefinitionFlags::Resident, 0x02, 0x100},
    {AttributeType::VolumeInformation, DefinitionFlags::Resident, 0x0C, 0x0C},
    {AttributeType::Data, 0, 0, kUnlimited},
    {AttributeType::IndexRoot, DefinitionFlags::Resident, 0, kUnlimited},
    {AttributeType::IndexAllocation, DefinitionFlags::Log, 0, kUnlimited},
    {AttributeType::Bitmap, DefinitionFlags::Log, 0, kUnlimited},
    {AttributeType::ReparsePoint, DefinitionFlags::Log, 0, 0x4000},
    {AttributeType::EaInformation, DefinitionFlags::Resident, 0x08, 0x08},
    {AttributeType::Ea, 0, 0, 0x10000},
    {AttributeType::LoggedUtilityStream, DefinitionFlags::Log, 0, 0x10000},
};
static_assert((std::size(kDefinitions) + 1) * sizeof(AttributeDefinition) ==
              kAttributeDefinitionsBytes);

}  // namespace

ByteVector attribute_definitions() {
  ByteVector bytes(kAttributeDefinitionsBytes);
  size_t position = 0;
  for (const Definition& definition : kDefinitions) {
    auto& raw = struct_at<AttributeDefinition>(MutableBytes(bytes), position);
    const std::string_view name = ondisk::name_of(definition.type);
    ondisk::put_utf16(raw.name, std::u16string(name.begin(), name.end()));
    raw.type_code.set(static_cast<uint32_t>(definition.type));
    raw.flags.set(definition.flags);
    raw.minimum_bytes.set(definition.minimum_bytes);
    raw.maximum_bytes.set(definition.maximum_bytes);
    position += sizeof(AttributeDefinition);
  }
  return bytes;
}

}  // namespace ntfs
