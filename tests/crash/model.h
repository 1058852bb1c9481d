#pragma once

// The tree that a volume must show, operation by operation, and the history that a crash may fall
// back into.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/crash/operation.h"

namespace ntfs::crash {

/// Hashes of values by their names.
using Values = std::map<std::string, uint64_t>;
uint64_t hash_of(ByteView value);

/// What is judged of one name.
struct Entry {
  FileKind kind = FileKind::File;
  uint32_t links = 1;
  uint32_t mode = 0;       ///< $LXMOD; 0: none
  uint64_t guard = 0;      ///< number of its security descriptor (guard.h)
  std::string target;      ///< of a symbolic link
  Values streams;          ///< named ones
  Values eas;              ///< without those of $LXMOD and its like
  std::string first_name;  ///< the first of the file's names: tells which names are one file
  friend bool operator==(const Entry&, const Entry&) = default;
};
using Listing = std::map<std::string, Entry>;  ///< by path
uint64_t hash_of(const Listing& listing);
/// The first differences, for people; "" when there are none.
std::string difference(const Listing& expected, const Listing& found);

using Content = std::shared_ptr<const ByteVector>;

class Model {
 public:
  /// A tree that exists: names with what they lead to, contents by path.
  static Model of(const Listing& listing, const std::map<std::string, Content>& contents);

  /// False when POSIX refuses the operation; nothing has changed then.
  bool apply(const Operation& operation, size_t number);

  Listing listing() const;
  const std::map<std::string, uint32_t>& names() const { return names_; }
  /// Of regular files that have a name or are open, by file.
  const std::map<uint32_t, Content>& contents() const { return contents_; }
  bool is_directory(const std::string& path) const;

 private:
  struct File {
    FileKind kind = FileKind::File;
    uint32_t links = 0;
    uint32_t mode = 0;
    uint64_t guard = 0;
    std::string target;
    Values streams = {};
    Values eas = {};
  };
  const File* find(const std::string& path) const;
  bool may_create(const std::string& path) const;
  bool is_empty(const std::string& directory) const;
  bool create(const Operation& operation);
  bool unlink(const std::string& path);
  bool rename(const Operation& operation);
  bool rename_leaving(const Operation& operation);
  bool exchange(const Operation& operation);
  bool link(const Operation& operation);
  bool unlink_open(const std::string& path, size_t number);
  bool change_data(const Operation& operation, size_t number);
  bool change_attributes(const Operation& operation, size_t number);
  bool clone(const Operation& operation);
  bool set_link(const Operation& operation);
  uint64_t guard_below(const std::string& path) const;
  void move(const std::string& from, const std::string& to);
  void drop(uint32_t file);

  std::map<std::string, uint32_t> names_;
  std::map<uint32_t, File> files_;
  std::map<uint32_t, Content> contents_;
  uint32_t next_file_ = 1;
};

/// What the tree was after each operation. State 0 is that before the first.
class History {
 public:
  struct Names {
    uint64_t hash = 0;  ///< of the listing
    std::shared_ptr<const Listing> listing;
    std::shared_ptr<const std::map<std::string, uint32_t>> files;
  };
  struct ContentState {
    size_t state = 0;  ///< from this one on
    Content content;
  };

  explicit History(const Model& before) { add(before); }
  /// The state after one more operation.
  void add(const Model& model);

  size_t count() const { return names_.size(); }
  const Names& names(size_t state) const { return names_[state]; }
  /// All contents that a file had, in order.
  const std::vector<ContentState>& contents(uint32_t file) const { return contents_.at(file); }

 private:
  std::vector<Names> names_;
  std::map<uint32_t, std::vector<ContentState>> contents_;
};

}  // namespace ntfs::crash
