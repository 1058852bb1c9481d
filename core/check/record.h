#pragma once

// One file record, taken apart with a finding for everything that is wrong with it alone. Unlike
// FileRecordView::parse it names each fault, and keeps what is good.

#include <string>
#include <vector>

#include "core/check/findings.h"
#include "core/ondisk/attribute_record.h"
#include "core/ondisk/file_record.h"

namespace ntfs::check {

/// An attribute record whose lengths and offsets are good. The views are into the file record.
struct Attribute {
  ondisk::AttributeType type = ondisk::AttributeType::End;
  uint32_t offset = 0;  ///< bytes from the start of the file record
  uint16_t flags = 0;   ///< AttributeFlags
  uint16_t instance = 0;
  bool resident = true;
  bool indexed = false;  ///< resident only
  std::u16string name;
  uint64_t record_number = 0;  ///< of the file record that holds it

  ByteView value;  ///< resident

  uint64_t lowest_vcn = 0;  ///< nonresident, from here on
  uint64_t next_vcn = 0;
  ondisk::AttributeSizes sizes;
  bool has_total_allocated = false;
  uint8_t compression_unit = 0;
  ByteView mapping_pairs;

  bool is_compressed() const { return (flags & ondisk::AttributeFlags::CompressionMask) != 0; }
  bool is_sparse() const { return (flags & ondisk::AttributeFlags::Sparse) != 0; }
};

/// A file record in use.
struct Record {
  FileReference reference;  ///< its own
  FileReference base;       ///< 0 in a base record
  uint16_t flags = 0;       ///< FileRecordFlags
  uint16_t link_count = 0;
  std::vector<Attribute> attributes;
};

enum class RecordState : uint8_t { Zero, Bad, Free, InUse };

/// Takes `bytes` (as read from record `record_number` of $MFT) apart. They are unprotected in place
/// and must live as long as the views in `record`. Bad: a finding was made, and nothing can be
/// used. Zero: nothing but zeros. A record in use with bad attributes comes back with the good
/// ones.
RecordState read_record(MutableBytes bytes, uint64_t record_number, Record& record,
                        Findings& findings);

/// "$DATA", "$INDEX_ROOT \"$I30\"".
std::string name_attribute(ondisk::AttributeType type, std::u16string_view name);
std::string name_attribute(const Attribute& attribute);

/// UTF-8 with control characters and lone surrogates escaped.
std::string display(std::u16string_view text);

}  // namespace ntfs::check
