#pragma once

// Names as both sides tell them: the $FILE_NAME attributes of the files, and the entries of the
// directories. Each name of one side must be met by exactly one of the other.

#include <string>
#include <vector>

#include "core/base/units.h"
#include "core/check/findings.h"
#include "core/ondisk/attribute_values.h"

namespace ntfs::check {

struct NameClaim {
  FileReference file;
  FileReference parent;
  uint64_t position = 0;  ///< of the name in the memory of NameClaims
  uint32_t hash = 0;      ///< of the name
  uint8_t length_units = 0;
  uint8_t name_type = 0;  ///< ondisk::NameType
};

class NameClaims {
 public:
  /// From now on duplicated_in() can tell.
  void keep_duplicates() { keeps_duplicates_ = true; }
  /// `value`: a checked $FILE_NAME.
  void add(FileReference file, ByteView value);
  /// Orders the claims so that equal ones of two sides meet.
  void sort();
  const std::vector<NameClaim>& claims() const { return claims_; }
  size_t size() const { return claims_.size(); }
  ByteView name_bytes(const NameClaim& claim) const;
  /// Of the claim that was added last, before sort().
  ByteView last_name_bytes() const { return name_bytes(claims_.back()); }
  /// For people.
  std::string name_of(const NameClaim& claim) const;
  const ondisk::DuplicatedInformation& duplicated_in(const NameClaim& claim) const;

 private:
  std::vector<NameClaim> claims_;
  ByteVector names_;
  bool keeps_duplicates_ = false;
};

struct Context;

/// What the index entries of a file have to repeat of it.
struct FileFacts {
  ondisk::DuplicatedInformation duplicated;
  uint64_t other_allocated_size = 0;  ///< is as good as duplicated.allocated_size
};

/// Compares both sides, after the pass over $MFT. Sorts them.
void check_names(Context& context);
/// Every directory, and through its name every file, can be reached from the root.
void check_reachability(Context& context);

}  // namespace ntfs::check
