#pragma once

// The data of a file that Windows compressed with its overlay filter (WOF, "CompactOS"): the stream
// WofCompressedData has it, in chunks that stand for themselves, and $DATA is a hole of its size.
//
//   table   where each chunk but the first begins, in bytes from the end of the table: 4 bytes an
//           entry, 8 where the file has 4 GiB or more
//   chunks  compressed, or plain where that is no longer
//
// Source: MS-FSCC 2.1.2 "Reparse Point Data Structures" for the tag; WIMGAPI's and wimlib's
// descriptions of resources in Windows' images, which have the same form.
//
// Thread safe.

#include <memory>
#include <vector>

#include "core/base/mutex.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/unit_cache.h"

namespace ntfs {

class Stream;
class Volume;

class WofData {
 public:
  struct Shape {
    FileReference file;  ///< for reports
    ondisk::WofFormat format = ondisk::WofFormat::Xpress4K;
    uint64_t file_size = 0;  ///< bytes when decompressed
  };

  /// `compressed`: WofCompressedData. `volume` must outlive the object.
  WofData(Volume& volume, std::shared_ptr<Stream> compressed, const Shape& shape);

  /// Reads up to `length` bytes from `offset`; returns how many, 0 at or past the end. Errors:
  /// those of reading the stream; FileCorruptError.
  Result<size_t> read(uint64_t offset, size_t length, MutableBytes into) EXCLUDES(mutex_);

 private:
  /// Chunks whose places are known: chunk first + i is bounds[i] to bounds[i + 1] of the stream.
  struct Places {
    uint64_t first = 0;
    std::vector<uint64_t> bounds;
    uint64_t end() const { return first + bounds.size() - 1; }
  };
  using PlacesPtr = std::shared_ptr<const Places>;

  PlacesPtr known_places() EXCLUDES(mutex_);
  Result<PlacesPtr> places_of(uint64_t chunk) EXCLUDES(mutex_);
  Result<PlacesPtr> load_places(uint64_t chunk);
  Result<> check_places(const Places& places) const;
  size_t chunk_length(uint64_t chunk) const;
  uint64_t copy_cached(uint64_t offset, MutableBytes into);
  Result<uint64_t> read_chunks(uint64_t offset, MutableBytes into);
  Result<> decompress(uint64_t chunk, ByteView compressed, MutableBytes into) const;

  Volume& volume_;
  const std::shared_ptr<Stream> compressed_;
  const Shape shape_;
  const size_t chunk_bytes_;
  const uint64_t count_chunks_;
  const size_t entry_bytes_;
  const uint64_t cache_number_;  // of UnitCache
  Mutex mutex_{LockRank::Page};
  PlacesPtr places_ GUARDED_BY(mutex_);  // those that were used last, or null
};

}  // namespace ntfs
