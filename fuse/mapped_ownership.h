#pragma once

// Owners and modes of files on a mount with a user mapping: they come from the files' security
// descriptors, and go there. Thread safe.

#include <unordered_map>

#include "core/base/mutex.h"
#include "core/fsa/object_store.h"
#include "fuse/shown_attributes.h"
#include "fuse/user_mapping.h"

namespace ntfs::frontend {

/// What a new file gets: a descriptor made of owner and mode, or what its directory passes on.
enum class NewDescriptors { OfMode, Inherited };

class MappedOwnership {
 public:
  /// `store` must outlive the object.
  MappedOwnership(ObjectStore& store, UserMapping mapping, NewDescriptors new_descriptors)
      : store_(store), mapping_(std::move(mapping)), new_descriptors_(new_descriptors) {}

  /// Puts owner, group and mode of the file into `information`, in the place of those that WSL
  /// keeps. A file without a descriptor is root's alone.
  Result<> show(File& file, FileInformation& information) EXCLUDES(mutex_);
  /// Gives the file what `wanted` has of owner, group and mode (with its type). PrivilegeNotHeld:
  /// that user or group is not mapped.
  Result<> change(File& file, const LinuxMetadata& wanted);
  /// For a new file with that mode and its type. Who is not mapped is taken for root.
  void describe(const Creator& creator, mode_t mode, CreateParameters& parameters) const;

 private:
  struct Shown {
    uint32_t uid = 0;
    uint32_t gid = 0;
    mode_t mode = 0;
  };
  Result<Shown> shown(File& file, uint32_t security_id) EXCLUDES(mutex_);
  Result<ondisk::SecurityDescriptor> descriptor_of(File& file);

  ObjectStore& store_;
  const UserMapping mapping_;
  const NewDescriptors new_descriptors_;
  Mutex mutex_{LockRank::Frontend};
  std::unordered_map<uint32_t, Shown> shown_ GUARDED_BY(mutex_);  // by security id
};

}  // namespace ntfs::frontend
