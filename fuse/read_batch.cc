#include "fuse/read_batch.h"

#include <utility>

#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

thread_local std::vector<ReadBatch::Read> waiting;

}  // namespace

void ReadBatch::add(const Read& read) { waiting.push_back(read); }

void ReadBatch::answer() {
  const std::vector<Read> taken = std::exchange(waiting, {});
  if (taken.empty()) return;
  AlignedBuffer buffer = buffers_.take();
  std::vector<DataRead> reads(taken.size());
  size_t used = 0;
  for (size_t i = 0; i < taken.size(); ++i) {
    const size_t room = align_up(taken[i].length, AlignedBuffer::kAlignment);
    reads[i].file = taken[i].open->file().get();
    reads[i].open = taken[i].open;
    reads[i].buffering = taken[i].buffering;
    reads[i].key = std::nullopt;
    reads[i].offset = taken[i].offset;
    reads[i].length = taken[i].length;
    reads[i].into = buffer.bytes().subspan(used, room);
    used += room;
  }
  store_.read(reads);
  for (size_t i = 0; i < taken.size(); ++i) {
    Reply reply(taken[i].request);
    if (reads[i].done) {
      reply.bytes(reads[i].into.first(*reads[i].done));
    } else {
      reply.status(reads[i].done.error());
    }
  }
  buffers_.give_back(std::move(buffer));
}

}  // namespace ntfs::frontend
