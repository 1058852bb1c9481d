#include "core/check/context.h"

namespace ntfs::check {

const RecordInfo& RecordTable::get(uint64_t record) const {
  static const RecordInfo nothing;
  if (record >= count_ || chunks_[record / kChunk] == nullptr) return nothing;
  return (*chunks_[record / kChunk])[record % kChunk];
}

RecordInfo& RecordTable::at(uint64_t record) {
  ASSERT(record < count_);
  auto& chunk = chunks_[record / kChunk];
  if (chunk == nullptr) chunk = std::make_unique<std::array<RecordInfo, kChunk>>();
  return (*chunk)[record % kChunk];
}

bool RecordTable::is_valid(FileReference reference) const {
  const RecordInfo& info = get(reference.record());
  return info.is_base_in_use() && info.sequence == reference.sequence();
}

const Stream* Context::find_kept(uint64_t record, ondisk::AttributeType type,
                                 std::u16string_view name) const {
  for (const KeptStream& stream : kept) {
    if (stream.record_number == record && stream.type == type && stream.name == name) {
      return &stream.stream;
    }
  }
  return nullptr;
}

}  // namespace ntfs::check
