#pragma once

// $ATTRIBUTE_LIST of one file: reading it, and finding what its entries name. An entry stands for
// each attribute record of the file but the list itself; the order is type, name, lowest vcn.
// Source: linux-ntfs documentation; ntfs3 and ntfs-3g, which give up where the order is broken.

#include <compare>
#include <string_view>
#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/store/attributes.h"
#include "core/store/collation.h"

namespace ntfs {

class Volume;

using AttributeListEntries = std::vector<ondisk::AttributeListEntry>;

/// Longest list that any system reads.
constexpr uint64_t kMaxAttributeListBytes = uint64_t{256} << 10;

/// What the order of attributes goes by, in a record and in the list.
struct AttributeKey {
  ondisk::AttributeType type = ondisk::AttributeType::End;
  std::u16string_view name;
  Vcn lowest;
};
std::strong_ordering compare_attributes(const AttributeKey& a, const AttributeKey& b,
                                        const UpCase& upcase);

/// The lowest vcn of the order: 0 for resident attributes.
Vcn lowest_vcn_of(const ondisk::AttributeView& attribute);

/// The bytes of the list that `list` (the attribute in the base record) holds or leads to.
/// FileCorruptError (reported): too long, more sizes than clusters.
Result<ByteVector> read_attribute_list(Volume& volume, FileReference file,
                                       const ondisk::AttributeView& list);
/// The same, parsed.
Result<AttributeListEntries> load_attribute_list(Volume& volume, FileReference file,
                                                 const ondisk::AttributeView& list);

/// An extension record of `file`. FileCorruptError (reported): not in use, another sequence number,
/// of another file, past the end of $MFT.
Result<PageRef> extension_record(Volume& volume, FileReference file, FileReference extension);
/// The attribute record that `entry` names; `base` is the file's base record. FileCorruptError
/// (reported): it is not there, or is another.
Result<Attributes::Found> resolve_entry(Volume& volume, FileReference file, const PageRef& base,
                                        const ondisk::AttributeListEntry& entry);

/// Where the search for a free instance number begins: at the record's counter, before it wraps.
uint16_t first_instance(uint16_t next_attribute_instance);
/// An instance number that no attribute of the record has: the next, while there is one.
uint16_t free_instance(const ondisk::FileRecordView& record);
/// Where an attribute record of that key belongs in a record: behind its equals.
uint32_t insert_offset(const ondisk::FileRecordView& record, const AttributeKey& key,
                       const UpCase& upcase);
/// A copy of an attribute record with another instance number.
ByteVector with_instance(ByteView attribute_record, uint16_t instance);

}  // namespace ntfs
