#include "core/store/wof_data.h"

#include <algorithm>

#include "core/compression/lzx.h"
#include "core/compression/xpress_huffman.h"
#include "core/store/stream.h"
#include "core/store/volume.h"

namespace ntfs {

namespace {

/// Chunks whose places are loaded at once.
constexpr uint64_t kPlacesAtOnce = 4096;
/// Compressed bytes that are read at once.
constexpr size_t kScratchBytes = size_t{1} << 20;

size_t chunk_bytes_of(ondisk::WofFormat format) {
  switch (format) {
    case ondisk::WofFormat::Xpress4K:
      return size_t{4} << 10;
    case ondisk::WofFormat::Lzx:
      return kLzxChunkBytes;
    case ondisk::WofFormat::Xpress8K:
      return size_t{8} << 10;
    case ondisk::WofFormat::Xpress16K:
      break;
  }
  return size_t{16} << 10;
}

Origin origin_of(FileReference file, uint64_t position) {
  return {"WofCompressedData", file.raw(), position};
}

}  // namespace

WofData::WofData(Volume& volume, std::shared_ptr<Stream> compressed, const Shape& shape)
    : volume_(volume),
      compressed_(std::move(compressed)),
      shape_(shape),
      chunk_bytes_(chunk_bytes_of(shape.format)),
      count_chunks_(divide_up(shape.file_size, chunk_bytes_)),
      entry_bytes_(shape.file_size >> 32 == 0 ? sizeof(le32) : sizeof(le64)),
      cache_number_(volume.units().add_stream()) {}

size_t WofData::chunk_length(uint64_t chunk) const {
  return std::min<uint64_t>(chunk_bytes_, shape_.file_size - chunk * chunk_bytes_);
}

// Where the chunks are.

WofData::PlacesPtr WofData::known_places() {
  const MutexLock lock(mutex_);
  return places_;
}

Result<WofData::PlacesPtr> WofData::places_of(uint64_t chunk) {
  PlacesPtr places = known_places();
  if (places != nullptr && chunk >= places->first && chunk < places->end()) return places;
  places = TRY(load_places(chunk));
  const MutexLock lock(mutex_);
  places_ = places;
  return places;
}

Result<WofData::PlacesPtr> WofData::load_places(uint64_t chunk) {
  const auto sizes = compressed_->sizes();
  if (!sizes && sizes.error() == NtStatus::ObjectNameNotFound) {
    return corrupt(origin_of(shape_.file, 0), "length", 0, "the stream");
  }
  if (!sizes) return sizes.error();
  const uint64_t stream_bytes = sizes->file_size;
  const uint64_t table_bytes = (count_chunks_ - 1) * entry_bytes_;
  if (table_bytes > stream_bytes) {
    return corrupt(origin_of(shape_.file, 0), "length", stream_bytes, "room for the table");
  }
  auto places = std::make_shared<Places>();
  places->first = align_down(chunk, kPlacesAtOnce);
  const uint64_t end = std::min(count_chunks_, places->first + kPlacesAtOnce);
  // The entry before that of a chunk says where it begins; the last one has none.
  const uint64_t first_entry = places->first == 0 ? 0 : places->first - 1;
  const uint64_t end_entry = std::min(end, count_chunks_ - 1);
  const size_t length = (end_entry - first_entry) * entry_bytes_;
  const BufferPool::Piece piece = volume_.buffers().take(std::max<size_t>(length, 1));
  const size_t got = TRY(compressed_->read(first_entry * entry_bytes_, length, piece.bytes()));
  if (got != length) return corrupt(origin_of(shape_.file, 0), "table length", got);
  if (places->first == 0) places->bounds.push_back(table_bytes);
  for (size_t at = 0; at < length; at += entry_bytes_) {
    const uint64_t offset = entry_bytes_ == sizeof(le32)
                                ? struct_at<le32>(ByteView(piece.bytes()), at).get()
                                : struct_at<le64>(ByteView(piece.bytes()), at).get();
    places->bounds.push_back(TRY(checked_add(table_bytes, offset)));
  }
  if (end == count_chunks_) places->bounds.push_back(stream_bytes);
  TRY(check_places(*places));
  return PlacesPtr(std::move(places));
}

/// A chunk has a byte at least, and no more than it has when it is decompressed.
Result<> WofData::check_places(const Places& places) const {
  for (size_t i = 0; i + 1 < places.bounds.size(); ++i) {
    const uint64_t from = places.bounds[i];
    const uint64_t to = places.bounds[i + 1];
    if (from < to && to - from <= chunk_length(places.first + i)) continue;
    return corrupt(origin_of(shape_.file, from), "end of a chunk", to);
  }
  return {};
}

// Reading.

Result<size_t> WofData::read(uint64_t offset, size_t length, MutableBytes into) {
  if (offset >= shape_.file_size) return size_t{0};
  length = std::min<uint64_t>(length, shape_.file_size - offset);
  for (size_t done = 0; done < length;) {
    const MutableBytes rest = into.first(length).subspan(done);
    uint64_t step = copy_cached(offset + done, rest);
    if (step == 0) step = TRY(read_chunks(offset + done, rest));
    done += step;
  }
  return length;
}

/// The bytes of the chunk at `offset` that the cache gave.
uint64_t WofData::copy_cached(uint64_t offset, MutableBytes into) {
  const uint64_t chunk = offset / chunk_bytes_;
  const uint64_t skip = offset % chunk_bytes_;
  const uint64_t length = std::min<uint64_t>(into.size(), chunk_length(chunk) - skip);
  const bool is_there = volume_.units().copy({cache_number_, 0, chunk}, skip, into.first(length));
  return is_there ? length : 0;
}

/// Reads as many chunks as fit into the scratch memory, beginning with that at `offset`. The bytes
/// that came of it.
Result<uint64_t> WofData::read_chunks(uint64_t offset, MutableBytes into) {
  const uint64_t first = offset / chunk_bytes_;
  const PlacesPtr places = TRY(places_of(first));
  const uint64_t* const bounds = places->bounds.data() + (first - places->first);
  const uint64_t most = std::min(places->end(), divide_up(offset + into.size(), chunk_bytes_));
  const uint64_t start = align_down(bounds[0], volume_.data().logical_block_size());
  uint64_t count = 1;
  while (first + count < most && bounds[count + 1] - start <= kScratchBytes) ++count;
  const BufferPool::Piece scratch = volume_.buffers().take(kScratchBytes);
  const size_t wanted = bounds[count] - start;
  const size_t got = TRY(compressed_->read(start, wanted, scratch.bytes()));
  if (got != wanted) return corrupt(origin_of(shape_.file, start), "length", got);
  uint64_t done = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t chunk = first + i;
    const ByteView packed =
        ByteView(scratch.bytes()).subspan(bounds[i] - start, bounds[i + 1] - bounds[i]);
    const uint64_t skip = i == 0 ? offset % chunk_bytes_ : 0;
    const size_t whole = chunk_length(chunk);
    const uint64_t length = std::min<uint64_t>(whole - skip, into.size() - done);
    if (length == whole) {
      TRY(decompress(chunk, packed, into.subspan(done, length)));
    } else {
      BufferPool::Piece piece = volume_.buffers().take(whole);
      TRY(decompress(chunk, packed, piece.bytes().first(whole)));
      const ByteView wanted_part = ByteView(piece.bytes()).subspan(skip, length);
      std::copy(wanted_part.begin(), wanted_part.end(), into.data() + done);
      volume_.units().insert({cache_number_, 0, chunk}, std::move(piece));
    }
    done += length;
  }
  return done;
}

Result<> WofData::decompress(uint64_t chunk, ByteView compressed, MutableBytes into) const {
  if (compressed.size() == into.size()) {
    std::copy(compressed.begin(), compressed.end(), into.begin());
    return {};
  }
  const auto done = shape_.format == ondisk::WofFormat::Lzx
                        ? decompress_lzx(compressed, into)
                        : decompress_xpress_huffman(compressed, into);
  if (done) return done;
  return corrupt(origin_of(shape_.file, chunk * chunk_bytes_), "chunk", compressed.size());
}

}  // namespace ntfs
