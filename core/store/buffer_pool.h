#pragma once

// Memory for buffered data, recycled: pieces of 4 KiB to 2 MiB, powers of two, out of blocks of the
// device's transfer memory. Making such memory anew costs more than copying into it (page faults).
// A block serves pieces of one size until all of them have come back. Thread safe.

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/io/block_device.h"

namespace ntfs {

class BufferPool {
  struct Block;

 public:
  static constexpr size_t kSmallestPiece = 4096;
  static constexpr size_t kLargestPiece = size_t{2} << 20;
  static constexpr size_t kZeroBytes = size_t{256} << 10;

  /// 4096-aligned memory; goes back to the pool, which must outlive it. Holds anything at first.
  class Piece {
   public:
    Piece() = default;
    Piece(Piece&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          block_(other.block_),
          memory_(std::exchange(other.memory_, {})) {}
    Piece& operator=(Piece&& other) noexcept {
      if (this != &other) {
        give_back();
        pool_ = std::exchange(other.pool_, nullptr);
        block_ = other.block_;
        memory_ = std::exchange(other.memory_, {});
      }
      return *this;
    }
    ~Piece() { give_back(); }

    MutableBytes bytes() const { return memory_; }
    size_t size() const { return memory_.size(); }

   private:
    friend class BufferPool;
    Piece(BufferPool* pool, Block* block, MutableBytes memory)
        : pool_(pool), block_(block), memory_(memory) {}
    void give_back() {
      if (pool_ != nullptr) pool_->give_back(*this);
      pool_ = nullptr;
    }

    BufferPool* pool_ = nullptr;
    Block* block_ = nullptr;
    MutableBytes memory_;
  };

  /// `device` must outlive the pool.
  explicit BufferPool(BlockDevice& device);
  /// All pieces must have come back.
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// At least `size_bytes`, which is at most kLargestPiece.
  Piece take(size_t size_bytes) EXCLUDES(mutex_);
  /// kZeroBytes of zeros, to be written to the device.
  ByteView zeros() const { return zeros_.bytes(); }

 private:
  static constexpr size_t kCountSizes = 10;
  static_assert(kSmallestPiece << (kCountSizes - 1) == kLargestPiece);

  struct Block {
    AlignedBuffer memory;
    size_t size_index = 0;        // of its pieces
    std::vector<uint16_t> free;   // numbers of the pieces that are not in use
    size_t place_in_partial = 0;  // valid while some are in use and some are not
    size_t place_in_blocks = 0;
    size_t count_pieces() const { return kLargestPiece / (kSmallestPiece << size_index); }
  };

  void give_back(Piece& piece) EXCLUDES(mutex_);
  Block& block_with_room(size_t size_index, std::unique_ptr<Block>& fresh) REQUIRES(mutex_);
  void add_partial(Block& block) REQUIRES(mutex_);
  void remove_partial(Block& block) REQUIRES(mutex_);
  std::unique_ptr<Block> remove_block(Block& block) REQUIRES(mutex_);

  BlockDevice& device_;
  const AlignedBuffer zeros_;
  // Taken under locks of files and streams; never while the device's memory is asked for.
  Mutex mutex_{LockRank::Device};
  std::vector<std::unique_ptr<Block>> blocks_ GUARDED_BY(mutex_);
  std::array<std::vector<Block*>, kCountSizes> partial_ GUARDED_BY(mutex_);
  std::vector<Block*> idle_ GUARDED_BY(mutex_);  // no piece in use
};

}  // namespace ntfs
