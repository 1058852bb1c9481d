#pragma once

// Paths for records of the change journal. A parent counts only with the sequence number that the
// record names: another file that has its record now is another file. Directories that are gone
// keep the name that the journal tells of them.

#include <string>
#include <unordered_map>

#include "fuse/commands/journal_view.h"

namespace ntfs::frontend {

class JournalPaths {
 public:
  /// `view` must outlive the object.
  explicit JournalPaths(JournalView& view) : view_(view) {}

  struct Path {
    std::string text;  ///< "/dir/file"; "" when it cannot be told
    bool has_deleted_parent = false;
  };
  /// Where the record's file is, or was: its own name, behind its parents as they are called now.
  Path path_of(const usn::Record& record);
  /// Learns from a record what a directory is called, and that it was deleted.
  void learn(const usn::Record& record);
  /// What the volume says from now on is newer than all records before `upto`.
  void set_upto(usn::Usn upto) { upto_ = upto; }

 private:
  struct Directory {
    FileReference parent;
    std::string name;  // "": not known
    usn::Usn as_of;    // all records before that are older
    bool is_deleted = false;
  };
  const Directory& find(FileReference directory);
  void look_up(FileReference directory);

  JournalView& view_;
  usn::Usn upto_;
  std::unordered_map<FileReference, Directory> known_;
};

}  // namespace ntfs::frontend
