#include "core/store/small_value.h"

#include <algorithm>

#include "core/store/attributes.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

constexpr uint64_t kMostSmallBytes = 64 << 10;
constexpr size_t kPageBytes = 4096;

}  // namespace

Result<ByteVector> read_small_value(Volume& volume, FileReference file, AttributeType type) {
  return read_small_value(volume, file, type, u"");
}

Result<ByteVector> read_small_value(Volume& volume, FileReference file, AttributeType type,
                                    std::u16string_view name) {
  Attributes attributes(volume, file);
  const auto found = TRY(attributes.find(type, name));
  const auto view = found.view();
  if (view.is_resident()) return ByteVector(view.value().begin(), view.value().end());
  const uint64_t size = view.file_size();
  if (size > kMostSmallBytes) return corrupt({"attribute value", file.raw(), 0}, "size", size);
  const MetadataStreamRef stream = TRY(volume.metadata_stream(file, type, name));
  ByteVector value(size);
  for (uint64_t at = 0; at < size; at += kPageBytes) {
    const PageRef page = TRY(volume.pages().get(stream, at / kPageBytes));
    const uint64_t length = std::min<uint64_t>(kPageBytes, size - at);
    std::copy_n(page->bytes().begin(), length, value.begin() + static_cast<ptrdiff_t>(at));
  }
  return value;
}

}  // namespace ntfs
