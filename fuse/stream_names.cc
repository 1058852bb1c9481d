#include "fuse/stream_names.h"

#include <algorithm>

#include "fuse/name_encoding.h"

namespace ntfs::frontend {

namespace {

constexpr char kSeparator = ':';
constexpr std::string_view kDataType = ":$DATA";

/// Case does not count in it.
bool ends_with_data_type(std::string_view bytes) {
  if (bytes.size() < kDataType.size()) return false;
  return std::ranges::equal(bytes.substr(bytes.size() - kDataType.size()), kDataType,
                            [](char one, char other) {
                              const bool is_lower = one >= 'a' && one <= 'z';
                              return (is_lower ? one - 'a' + 'A' : one) == other;
                            });
}

}  // namespace

bool is_stream_path(std::string_view bytes, StreamsInterface interface) {
  return interface == StreamsInterface::Windows && bytes.find(kSeparator) != bytes.npos;
}

Result<StreamPath> stream_path_from_kernel(std::string_view bytes) {
  const size_t colon = bytes.find(kSeparator);
  const std::string_view file = bytes.substr(0, colon);
  std::string_view stream = bytes.substr(colon + 1);
  const bool has_type = ends_with_data_type(stream);
  if (has_type) stream.remove_suffix(kDataType.size());
  if (file.empty() || (stream.empty() && !has_type)) return NtStatus::ObjectNameInvalid;
  StreamPath path;
  path.file = TRY(name_from_kernel(file));
  path.stream = TRY(name_from_kernel(stream));
  return path;
}

Result<std::u16string> file_name_from_kernel(std::string_view bytes, StreamsInterface interface) {
  if (is_stream_path(bytes, interface)) return NtStatus::ObjectNameInvalid;
  return name_from_kernel(bytes);
}

}  // namespace ntfs::frontend
