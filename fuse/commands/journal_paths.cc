#include "fuse/commands/journal_paths.h"

#include <vector>

#include "core/ondisk/attribute_values.h"
#include "fuse/name_encoding.h"
#include "usn/reason.h"

namespace ntfs::frontend {

namespace {

const FileReference kRoot(5, 5);
/// More directories inside each other than that: a loop.
constexpr size_t kMaxDepth = 512;
constexpr size_t kMaxKnown = size_t{1} << 20;

bool is_directory(const usn::Record& record) {
  return (record.file_attributes & ondisk::FileAttributes::Directory) != 0;
}

}  // namespace

JournalPaths::Path JournalPaths::path_of(const usn::Record& record) {
  if (record.file.reference() == kRoot) return {"/", false};
  if (record.name.empty()) return {};
  if (known_.size() > kMaxKnown) known_.clear();
  std::vector<const std::string*> parts;
  Path path;
  FileReference at = record.parent.reference();
  while (at != kRoot) {
    const Directory& directory = find(at);
    if (directory.is_deleted) path.has_deleted_parent = true;
    if (directory.name.empty() || parts.size() == kMaxDepth) return {"", path.has_deleted_parent};
    parts.push_back(&directory.name);
    at = directory.parent;
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    path.text.append(1, '/').append(**part);
  }
  path.text.append(1, '/').append(name_bytes(record.name));
  return path;
}

void JournalPaths::learn(const usn::Record& record) {
  if (!is_directory(record) || record.name.empty()) return;
  if ((record.reason & usn::Reason::RenameOldName) != 0) return;
  Directory& directory = known_[record.file.reference()];
  // What is gone and has no name yet may learn it from an old record, too.
  if (directory.as_of > record.usn && !directory.name.empty()) return;
  if ((record.reason & usn::Reason::FileDelete) != 0) directory.is_deleted = true;
  directory.parent = record.parent.reference();
  directory.name = name_bytes(record.name);
  directory.as_of = std::max(directory.as_of, record.usn);
}

const JournalPaths::Directory& JournalPaths::find(FileReference directory) {
  const auto known = known_.find(directory);
  if (known != known_.end()) return known->second;
  look_up(directory);
  return known_[directory];
}

/// Asks the volume for it, and for those whose records follow.
void JournalPaths::look_up(FileReference directory) {
  UsnEnumerateParameters parameters;
  parameters.start_record = directory.record();
  const auto answer = view_.enumerate(parameters);
  if (answer) {
    for (const usn::Record& record : answer->records) {
      if (!is_directory(record)) continue;
      known_.try_emplace(record.file.reference(), Directory{record.parent.reference(),
                                                            name_bytes(record.name), upto_, false});
    }
  }
  known_.try_emplace(directory, Directory{FileReference(), "", upto_, true});
}

}  // namespace ntfs::frontend
