#pragma once

// $Secure:$SDS, which holds the security descriptors: blocks of 256 KiB in pairs, the second of a
// pair a copy of the first. Entries begin at multiples of 16 and cross no end of a block; each goes
// behind the last one, into both blocks. The stream ends with the last entry's copy.
//
// Bytes that a transaction leaves behind when it is taken back lie where the next entry goes. A
// header of zeros follows each entry in the first block, so that who walks over the entries ends
// there.

#include "core/ondisk/security_descriptor.h"
#include "core/store/page_cache.h"
#include "core/store/transaction.h"

namespace ntfs {

class Volume;

class SecurityStream {
 public:
  /// `volume` must outlive the object.
  explicit SecurityStream(Volume& volume) : volume_(volume) {}

  /// The descriptor of the entry with that header, of the copy where the first one is bad.
  /// FileCorruptError.
  Result<ByteVector> read(const ondisk::SdsEntryHeader& header);
  /// Appends an entry, and returns its header. The indexes are the caller's matter. DiskFull,
  /// FileCorruptError.
  Result<ondisk::SdsEntryHeader> append(Transaction& transaction, uint32_t id, ByteView descriptor);

 private:
  Result<ByteVector> read_bytes(const MetadataStreamRef& stream, uint64_t offset, uint64_t length);
  Result<> make_room(Transaction& transaction, const MetadataStreamRef& stream, uint64_t end);
  Result<> begin_block(Transaction& transaction, const MetadataStreamRef& stream, uint64_t end);
  Result<> zero_on_device(const MetadataStream& stream, uint64_t from, uint64_t to);
  Result<> write(Transaction& transaction, const MetadataStreamRef& stream, uint64_t offset,
                 ByteView bytes);
  Result<> write_zeros(Transaction& transaction, const MetadataStreamRef& stream, uint64_t from,
                       uint64_t to);

  Volume& volume_;
  uint64_t old_end_ = 0;  ///< of the stream, while an entry is appended
};

}  // namespace ntfs
