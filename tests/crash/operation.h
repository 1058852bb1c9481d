#pragma once

// What workloads are made of: one request to the object store, by the paths of what it is about.

#include <string>
#include <vector>

#include "core/fsa/object_store.h"

namespace ntfs::crash {

struct Operation {
  enum class Kind {
    Create,         ///< path
    MakeDirectory,  ///< path
    MakeSymlink,    ///< path; target
    MakeFifo,       ///< path
    Write,          ///< path, offset, length: buffered
    WriteThrough,   ///< path, offset, length: unbuffered
    WriteSmooth,    ///< path, offset, length: buffered, bytes that compress
    WriteByOpen,    ///< path, offset, length; target: how and where (see WriteByOpenText)
    Append,         ///< path, length
    Truncate,       ///< path, offset: the new size
    Punch,          ///< path, offset, length
    Allocate,       ///< path, offset, length; the file grows
    Reserve,        ///< path, offset, length; the size stays
    Zero,           ///< path, offset, length; the file grows
    ZeroWithin,     ///< path, offset, length; the size stays
    Clone,          ///< path, offset, length; target: a file that gets the same part of it
    Compress,       ///< path; offset: 1 on, 0 off
    SetMode,        ///< path, offset: the mode
    SetLink,        ///< path of a symlink or an empty file; target; none: no link from now on
    SetShortName,   ///< path; target: the short name. Of a file with one name
    SetSecurity,    ///< path, offset: the descriptor's number (guard.h)
    SetStream,      ///< path; target: the stream's name; length: all that it holds then
    RemoveStream,   ///< path; target
    SetEa,          ///< path; target: the name; length: of the value
    RemoveEa,       ///< path; target
    Rename,         ///< path, target: what is there goes
    RenameLeaving,  ///< path, target: a pipe takes the old name
    Exchange,       ///< path, target
    Link,           ///< path, target: the new name
    Unlink,         ///< path
    UnlinkOpen,  ///< path: opened before, closed at the end; written to if that was its last name
    RemoveDirectory,  ///< path
    Fsync,            ///< all before it is promised
    Checkpoint,       ///< what the commit timer does: fsync and a checkpoint
    BareCheckpoint,   ///< a checkpoint alone, as when the log is full: nothing is promised
  };
  Kind kind = Kind::Fsync;
  std::string path;
  std::string target;
  uint64_t offset = 0;  ///< bytes
  uint64_t length = 0;  ///< bytes

  std::string to_text() const;
};

/// Words of WriteByOpen's target: one of the first three, then one of the others. Whatever word the
/// offset goes by, Operation::offset is where it leads.
struct WriteByOpenText {
  static constexpr std::string_view Buffered = "buffered";
  static constexpr std::string_view Unbuffered = "unbuffered";
  static constexpr std::string_view WriteThrough = "write-through";  ///< promised when it returns
  static constexpr std::string_view AtOffset = "offset";
  static constexpr std::string_view AtEnd = "end";
  static constexpr std::string_view AtPosition = "position";
};

/// As the front end makes one; without a mode ntfs-3g takes it for a link.
constexpr uint32_t kFifoMode = 010644;

/// What UnlinkOpen writes, at the start of a file whose last name it took.
constexpr uint64_t kWrittenUnlinked = 6000;

/// Byte at `position` of what the operation `number` of a workload writes: never zero, nor what
/// stands on the device where nobody wrote.
std::byte written_byte(size_t number, uint64_t position);
/// The same for WriteSmooth: 64 bytes in a row are alike.
std::byte smooth_byte(size_t number, uint64_t position);
/// `length` of written_byte() from `position`.
ByteVector written_bytes(size_t number, uint64_t position, uint64_t length);

/// Runs operations on a store. Files that were unlinked while open stay open until the end.
class Performer {
 public:
  explicit Performer(ObjectStore& store) : store_(store) {}

  Result<> perform(const Operation& operation, size_t number);
  /// Closes what is open.
  void finish();

 private:
  struct Place {
    FilePtr directory;
    std::u16string name;
  };
  Result<FilePtr> find(std::string_view path);
  Result<Place> place(std::string_view path);
  Result<> create(const Operation& operation);
  Result<> allocate(File& file, uint64_t offset, uint64_t length, ObjectStore::KeepSize keep);
  Result<> clone(const Operation& operation);
  Result<> set_link(const Operation& operation);
  Result<> change_data(const Operation& operation, size_t number);
  Result<> change_data(const FilePtr& file, const Operation& operation, size_t number);
  Result<> change_attributes(const Operation& operation, size_t number);
  Result<> write_by_open(const Operation& operation, size_t number);
  Result<> change_names(const Operation& operation);
  Result<> unlink_open(const Operation& operation, size_t number);

  ObjectStore& store_;
  std::vector<FilePtr> open_;
};

}  // namespace ntfs::crash
