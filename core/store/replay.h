#pragma once

// The second half of a recovery, behind the analysis: redo and undo on pages in memory.

#include <string>

#include "core/store/log_store.h"
#include "core/store/operations.h"
#include "core/store/recovered_pages.h"
#include "core/store/recovery.h"
#include "core/store/recovery_analysis.h"

namespace ntfs {

class Replay {
 public:
  /// All references must outlive the object. `log_runs`: where $LogFile lies; no page may.
  Replay(lfs::LogReader& reader, const LogAnalysis& analysis, RecoveredPages& pages,
         const ondisk::VolumeGeometry& geometry, const Runlist& log_runs, RecoveryReport& report,
         std::string& why_not)
      : reader_(reader),
        analysis_(analysis),
        pages_(pages),
        geometry_(geometry),
        log_runs_(log_runs),
        report_(report),
        why_not_(why_not) {}

  /// Repeats history: every record whose change the pages do not show. Errors as analyze_log.
  Result<> redo();
  /// Takes back what transactions did that had not ended: of all of them, the last change first.
  Result<> undo();

 private:
  enum class Direction { Redo, Undo };
  /// One change that a record asks for.
  struct Change {
    Direction direction = Direction::Redo;
    lfs::Lsn lsn;
    const ondisk::ClientRecordView* record = nullptr;
    ondisk::LogOp op = ondisk::LogOp::Noop;
    ByteView payload;
    uint16_t length = 0;        ///< of the payload as the record says
    uint16_t other_length = 0;  ///< of the payload for the other direction
  };
  enum class Outcome { Done, NotDue };

  Result<> redo_record(const lfs::RecordView& record);
  Result<lfs::Lsn> undo_record(lfs::Lsn lsn, uint32_t transaction);
  bool may_be_dirty(const ondisk::ClientRecordView& record, lfs::Lsn lsn) const;
  Result<Outcome> carry_out(const Change& change);
  Result<Outcome> change_structure(const Change& change, PageKind kind, uint32_t page_bytes);
  Result<Outcome> change_raw(const Change& change);
  Result<> change_raw_pages(const Change& change, const Operation& operation,
                            const std::vector<RecoveredPages::Page*>& pages);

  bool is_due(const Change& change, const RecoveredPages::Page& page,
              const Operation& operation) const;
  Result<> make_usable(const Change& change, RecoveredPages::Page& page,
                       const Operation& operation);
  Result<Operation> operation_of(const Change& change, PageKind kind,
                                 const RecoveredPages::Page& page);
  static bool is_omitted(const Change& change);
  ByteView payload_of(const Change& change);

  Result<bool> locate(const Change& change, uint64_t offset, uint64_t length,
                      std::vector<DevicePiece>& pieces);
  Result<Lcn> cluster_of(const Change& change, uint64_t index);
  Result<RecoveredPages::Page*> page_at(const Change& change, const PageLocation& location);

  NtStatus refuse(const Change& change, std::string_view what,
                  NtStatus status = NtStatus::LogCorrupt);

  lfs::LogReader& reader_;
  const LogAnalysis& analysis_;
  RecoveredPages& pages_;
  const ondisk::VolumeGeometry& geometry_;
  const Runlist& log_runs_;
  RecoveryReport& report_;
  std::string& why_not_;
  OpenAttributeTable opened_;  // as of the record at hand
  ByteVector scratch_;         // a payload made here
};

}  // namespace ntfs
