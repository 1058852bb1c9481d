#include "core/store/buffer_pool.h"

#include <algorithm>
#include <bit>

namespace ntfs {

namespace {
/// Blocks that are kept although nobody uses them.
constexpr size_t kMostIdleBlocks = 32;
}  // namespace

BufferPool::BufferPool(BlockDevice& device) : device_(device), zeros_(kZeroBytes) {}

BufferPool::~BufferPool() {
  const MutexLock lock(mutex_);
  ASSERT(idle_.size() == blocks_.size());
}

BufferPool::Piece BufferPool::take(size_t size_bytes) {
  ASSERT(size_bytes <= kLargestPiece);
  const size_t piece_bytes = std::bit_ceil(std::max(size_bytes, kSmallestPiece));
  const auto size_index = static_cast<size_t>(std::countr_zero(piece_bytes / kSmallestPiece));
  std::unique_ptr<Block> fresh;
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (fresh != nullptr || !partial_[size_index].empty() || !idle_.empty()) {
        Block& block = block_with_room(size_index, fresh);
        const size_t number = block.free.back();
        block.free.pop_back();
        if (block.free.empty()) remove_partial(block);
        return {this, &block, block.memory.bytes().subspan(number * piece_bytes, piece_bytes)};
      }
    }
    fresh = std::make_unique<Block>();
    fresh->memory = device_.allocate(kLargestPiece);
  }
}

/// A block that is in partial_, with a free piece. Takes over `fresh` when there is no other.
BufferPool::Block& BufferPool::block_with_room(size_t size_index, std::unique_ptr<Block>& fresh) {
  if (!partial_[size_index].empty()) return *partial_[size_index].back();
  Block* block = nullptr;
  if (!idle_.empty()) {
    block = idle_.back();
    idle_.pop_back();
  } else {
    block = fresh.get();
    block->place_in_blocks = blocks_.size();
    blocks_.push_back(std::move(fresh));
  }
  block->size_index = size_index;
  block->free.clear();
  for (size_t i = block->count_pieces(); i-- > 0;) block->free.push_back(static_cast<uint16_t>(i));
  add_partial(*block);
  return *block;
}

void BufferPool::add_partial(Block& block) {
  block.place_in_partial = partial_[block.size_index].size();
  partial_[block.size_index].push_back(&block);
}

void BufferPool::remove_partial(Block& block) {
  auto& list = partial_[block.size_index];
  list[block.place_in_partial] = list.back();
  list[block.place_in_partial]->place_in_partial = block.place_in_partial;
  list.pop_back();
}

std::unique_ptr<BufferPool::Block> BufferPool::remove_block(Block& block) {
  const size_t place = block.place_in_blocks;
  std::swap(blocks_[place], blocks_.back());
  blocks_[place]->place_in_blocks = place;
  std::unique_ptr<Block> removed = std::move(blocks_.back());
  blocks_.pop_back();
  return removed;
}

void BufferPool::give_back(Piece& piece) {
  std::unique_ptr<Block> surplus;  // freed without the lock
  const MutexLock lock(mutex_);
  Block& block = *piece.block_;
  const auto offset = static_cast<size_t>(piece.memory_.data() - block.memory.data());
  if (block.free.empty()) add_partial(block);
  block.free.push_back(static_cast<uint16_t>(offset / piece.memory_.size()));
  if (block.free.size() < block.count_pieces()) return;
  remove_partial(block);
  if (idle_.size() < kMostIdleBlocks) {
    idle_.push_back(&block);
  } else {
    surplus = remove_block(block);
  }
}

}  // namespace ntfs
