#pragma once

// One file: its base record, its extension records, and all attributes in them.

#include <vector>

#include "core/check/context.h"
#include "core/check/streams.h"

namespace ntfs::check {

/// A base record with the bytes that its views are into, and those of its extension records.
struct FileRecords {
  const Record* base = nullptr;
  std::vector<const Record*> extensions;
};

void check_file(const FileRecords& file, Context& context);

/// The $ATTRIBUTE_LIST of a base record: what it says, as far as it can be read.
std::vector<ondisk::AttributeListEntry> read_attribute_list(const Record& base, Context& context);

/// Every entry names exactly one attribute, and every attribute is named by exactly one entry.
void check_attribute_list(const std::vector<ondisk::AttributeListEntry>& entries,
                          const FileRecords& file, Context& context);

}  // namespace ntfs::check
