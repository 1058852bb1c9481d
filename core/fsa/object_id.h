#pragma once

// Object ids of files: MS-FSA 2.1.5.10.1 "FSCTL_CREATE_OR_GET_OBJECT_ID", .2
// "FSCTL_DELETE_OBJECT_ID", .13 "FSCTL_GET_OBJECT_ID", .35 "FSCTL_SET_OBJECT_ID", .36
// "FSCTL_SET_OBJECT_ID_EXTENDED". Attribute and index change in one transaction.
//
// Errors beside those told: MediaWriteProtected, AccessDenied (system files), NotSupported (the
// volume has no $Extend\$ObjId), DiskFull, ObjectNameNotFound (the file is gone).

#include "core/fsa/object_store.h"
#include "core/ondisk/object_id.h"

namespace ntfs {

class ObjectIdControls {
 public:
  /// `store` must outlive the object.
  explicit ObjectIdControls(ObjectStore& store) : store_(store), volume_(store.volume()) {}

  // By an open.
  /// Makes a random one where the file has none.
  Result<ondisk::ObjectIdBuffer> create_or_get(Open& open);
  /// ObjectIdNotFound.
  Result<ondisk::ObjectIdBuffer> get(Open& open) { return get(*open.file()); }
  /// ObjectNameCollision: the file has one. DuplicateName: another file has that one.
  Result<> set(Open& open, const ondisk::ObjectIdBuffer& id);
  /// Changes what is known of the id. AccessDenied: neither data nor attributes may be written.
  /// ObjectIdNotFound.
  Result<> set_extended(Open& open, const ondisk::ObjectIdOrigin& origin);
  /// Success where there is none.
  Result<> remove(Open& open) { return remove(*open.file()); }

  // By a file.
  Result<ondisk::ObjectIdBuffer> get(File& file);
  /// In the place of the one that it has. DuplicateName.
  Result<> replace(File& file, const ondisk::ObjectIdBuffer& id);
  Result<> remove(File& file);

 private:
  enum class Existing { Refused, Replaced };
  Result<> set_now(File& file, const ondisk::ObjectIdBuffer& id, Existing existing);
  /// `change(transaction, attributes)`, with its record in the change journal.
  template <typename Change>
  Result<> change_file(File& file, Change&& change);

  ObjectStore& store_;
  Volume& volume_;
};

}  // namespace ntfs
