#pragma once

// One index as a whole: every node from the root down, key order, blocks and their bitmap.

#include <string>

#include "core/check/context.h"
#include "core/check/streams.h"
#include "core/ondisk/index_block.h"

namespace ntfs::check {

/// Takes the entries of an index, in key order.
class EntrySink {
 public:
  virtual ~EntrySink() = default;
  /// `bytes`: the entry, whose lengths are good.
  virtual void take(const ondisk::IndexEntryHeader& header, ByteView key, ByteView data) = 0;
};

struct IndexAttributes {
  FileReference file;
  std::u16string name;
  const FileAttribute* root = nullptr;        ///< never null
  const FileAttribute* allocation = nullptr;  ///< null: there is none
  const FileAttribute* bitmap = nullptr;
};

void check_index(const IndexAttributes& index, EntrySink& sink, Context& context);

}  // namespace ntfs::check
