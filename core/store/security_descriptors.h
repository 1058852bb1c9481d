#pragma once

// $Secure: every security descriptor of the volume once, under an id that files refer to. $SDS
// holds them (core/ondisk/security_descriptor.h says how), $SII finds them by their ids and $SDH by
// their hashes. Descriptors are added and never removed, as on Windows: only chkdsk does.
//
// Logged as Windows does: the file size of $SDS grows, the entry is written twice without undo, the
// valid data length follows, then the entries of the indexes. Of a transaction that is taken back,
// bytes may stay that nothing leads to; the next entry begins in their place.
//
// Locks: all calls hold the metadata lock (exclusively with a Transaction); what is remembered is
// guarded by mutex_.

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "core/base/mutex.h"
#include "core/store/page_cache.h"
#include "core/store/security_inheritance.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class SecurityDescriptors final : public Participant {
 public:
  /// As the volume has it, and read.
  struct Descriptor {
    ByteVector bytes;
    ondisk::SecurityDescriptor parts;
  };
  using DescriptorRef = std::shared_ptr<const Descriptor>;
  /// Longest descriptor that is added, bytes.
  static constexpr size_t kMostBytes = 64 << 10;

  /// `volume` must outlive the object.
  explicit SecurityDescriptors(Volume& volume) : volume_(volume) {}

  /// The descriptor with that id. ObjectNameNotFound: there is none, as on all volumes before NTFS
  /// 3.0; FileCorruptError.
  Result<DescriptorRef> find(uint32_t id) EXCLUDES(mutex_);
  /// The id of a descriptor, which parse_security_descriptor takes, in these very bytes; new if
  /// there was none. InvalidParameter: longer than kMostBytes. DiskFull, FileCorruptError.
  Result<uint32_t> add(Transaction& transaction, ByteView descriptor) EXCLUDES(mutex_);
  /// The id for a new file in a directory with the descriptor `parent`; `owner`: none for that of
  /// the directory (owner_from_parent). `parent` itself where that cannot be read, or has too much
  /// to pass on. Errors: those of add(), and the device's.
  Result<uint32_t> inherit(Transaction& transaction, uint32_t parent, Inheritor inheritor,
                           const std::optional<FileOwner>& owner) EXCLUDES(mutex_);

 private:
  struct Inheritance {
    uint32_t parent = 0;
    Inheritor inheritor = Inheritor::File;
    std::optional<FileOwner> owner;
    friend auto operator<=>(const Inheritance&, const Inheritance&) = default;
  };
  struct Remembered {
    std::unordered_map<uint32_t, DescriptorRef> by_id;
    std::unordered_multimap<uint32_t, uint32_t> ids_by_hash;
    std::map<Inheritance, uint32_t> inherited;
    uint64_t count_bytes = 0;
  };

  void transaction_ended(const Transaction& transaction, bool committed) override EXCLUDES(mutex_);
  DescriptorRef remember(uint32_t id, Descriptor descriptor) EXCLUDES(mutex_);
  Result<Descriptor> load(uint32_t id);
  Result<std::optional<uint32_t>> find_equal(ByteView descriptor, uint32_t hash) EXCLUDES(mutex_);
  Result<uint32_t> next_id();

  Volume& volume_;
  Mutex mutex_{LockRank::FileTable};
  Remembered remembered_ GUARDED_BY(mutex_);
  uint32_t next_id_ = 0;  // 0: not known. In transactions only
};

}  // namespace ntfs
