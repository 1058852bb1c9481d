#pragma once

// The attribute records of one file put together: one stream for each type and name.

#include <span>
#include <string>
#include <vector>

#include "core/check/context.h"
#include "core/check/record.h"

namespace ntfs::check {

/// An attribute of a file, whole.
struct FileAttribute {
  const Attribute* first = nullptr;  ///< the record with lowest vcn 0, or the resident one
  Stream stream;
  /// Runs and sizes are good, and no cluster of it was claimed before: its value can be read.
  bool readable = false;

  ondisk::AttributeType type() const { return first->type; }
  const std::u16string& name() const { return first->name; }
};

/// Appends the runs of one attribute record. False, with what is wrong in `fault`, when the pairs
/// are bad or do not cover lowest_vcn to next_vcn.
bool decode_runs(const Attribute& attribute, uint64_t total_clusters, std::vector<Run>& runs,
                 std::string& fault);

/// Puts together `attributes` (all of one file, any order), checks extents, runs and sizes, and
/// claims their clusters. $FILE_NAME, of which there may be several, gives one entry each. The
/// result is in the order of types and, by code unit, names.
std::vector<FileAttribute> put_together(std::vector<const Attribute*> attributes,
                                        FileReference file, Context& context);

/// The same for one attribute, without claims and findings: to read $MFT and attribute lists before
/// all else is known. The extents in the order of their vcns; false when something is bad, which
/// includes holes and more clusters than the volume has.
bool put_together_quietly(std::span<const Attribute* const> extents, uint64_t total_clusters,
                          Stream& stream);
/// Appends one more extent to a nonresident stream, under the same rules.
bool append_quietly(const Attribute& extent, uint64_t total_clusters, Stream& stream);

}  // namespace ntfs::check
