#pragma once

// What all checks of one run share, and what one leaves for the next.

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/check/check.h"
#include "core/check/cluster_claims.h"
#include "core/check/findings.h"
#include "core/check/key_order.h"
#include "core/check/name_claims.h"
#include "core/check/record.h"
#include "core/check/volume_reader.h"

namespace ntfs::check {

/// What is known of a file record after the pass over $MFT.
struct RecordInfo {
  enum class Reach : uint8_t { Unknown, Underway, Yes, No };

  RecordState state = RecordState::Zero;
  Reach reach = Reach::Unknown;  ///< directory: from the root
  bool listed = false;           ///< extension record: its base record's attribute list names it
  uint16_t sequence = 0;
  uint16_t flags = 0;
  uint32_t security_id = 0;
  FileReference base;    ///< of an extension record
  FileReference parent;  ///< directory: of its name

  bool is_base_in_use() const { return state == RecordState::InUse && base.raw() == 0; }
  bool is_directory() const {
    return is_base_in_use() && (flags & ondisk::FileRecordFlags::Directory) != 0;
  }
};

/// A RecordInfo for each record; stretches of records that were never used cost nothing.
class RecordTable {
 public:
  explicit RecordTable(uint64_t count) : count_(count), chunks_(divide_up(count, kChunk)) {}
  uint64_t count() const { return count_; }
  /// For any number; the default where nothing was set.
  const RecordInfo& get(uint64_t record) const;
  /// `record` < count().
  RecordInfo& at(uint64_t record);
  /// Whether `reference` is that of a base record in use.
  bool is_valid(FileReference reference) const;

 private:
  static constexpr uint64_t kChunk = 4096;
  const uint64_t count_;
  std::vector<std::unique_ptr<std::array<RecordInfo, kChunk>>> chunks_;
};

/// An attribute's value that a later check reads.
struct KeptStream {
  uint64_t record_number = 0;
  ondisk::AttributeType type = ondisk::AttributeType::Data;
  std::u16string name;
  Stream stream;
};

/// An entry of a view index.
struct ViewEntry {
  ByteVector key;
  ByteVector data;
};

struct ReparseClaim {
  uint32_t tag = 0;
  FileReference file;
  friend auto operator<=>(const ReparseClaim&, const ReparseClaim&) = default;
};

struct ObjectIdClaim {
  std::array<std::byte, 16> id{};
  FileReference file;
  friend auto operator<=>(const ObjectIdClaim&, const ObjectIdClaim&) = default;
};

/// $Extend\$UsnJrnl, and what the files say of it.
struct UsnFacts {
  FileReference file;
  bool is_found = false;
  ByteVector maximum;    ///< value of $Max
  Stream records;        ///< $J
  uint64_t highest = 0;  ///< usn in any $STANDARD_INFORMATION
  FileReference highest_owner;
};

struct Context {
  Context(VolumeReader& volume_reader, const CheckOptions& check_options, Findings& all_findings,
          uint64_t total_clusters, uint64_t count_records)
      : reader(volume_reader),
        options(check_options),
        findings(all_findings),
        claims(total_clusters, all_findings),
        records(count_records) {}

  const ondisk::VolumeGeometry& geometry() const { return reader.geometry(); }
  /// Null when the file has no such attribute, or a bad one.
  const Stream* find_kept(uint64_t record, ondisk::AttributeType type,
                          std::u16string_view name) const;

  /// Keeps the highest LSN that a page of metadata carries.
  void see_lsn(uint64_t lsn, FileReference file) {
    if (lsn <= highest_lsn) return;
    highest_lsn = lsn;
    highest_lsn_owner = file;
  }

  VolumeReader& reader;
  const CheckOptions& options;
  Findings& findings;
  CheckReport report;
  ClusterClaims claims;
  RecordTable records;
  UpCase upcase;
  NameClaims file_names;                          ///< from the $FILE_NAME attributes
  NameClaims index_names;                         ///< from the entries of $I30 indexes
  std::unordered_map<uint64_t, FileFacts> facts;  ///< by record; with strict_duplicates only
  std::vector<KeptStream> kept;
  std::vector<ViewEntry> security_ids;     ///< $Secure:$SII
  std::vector<ViewEntry> security_hashes;  ///< $Secure:$SDH
  std::vector<ViewEntry> reparse_index;    ///< $Reparse:$R
  std::vector<ViewEntry> object_id_index;  ///< $ObjId:$O
  std::vector<ViewEntry> refcounts_index;  ///< $Refcounts:$C
  bool has_reparse_index = false;
  bool has_object_id_index = false;
  bool has_refcounts_index = false;
  uint64_t highest_lsn = 0;
  FileReference highest_lsn_owner;
  UsnFacts usn;
  std::vector<ReparseClaim> reparse_points;
  std::vector<ObjectIdClaim> object_ids;
};

}  // namespace ntfs::check
