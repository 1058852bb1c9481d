#include "fuse/xattr_streams.h"

#include <array>

#include "core/ondisk/reparse_point.h"
#include "fuse/name_encoding.h"

namespace ntfs::frontend {

namespace {

constexpr std::string_view kUser = "user.";

std::u16string stream_name(std::string_view name) { return name_units(name.substr(kUser.size())); }

/// What is no stream is no attribute.
NtStatus as_attribute_status(NtStatus status) {
  const bool is_missing =
      status == NtStatus::ObjectNameNotFound || status == NtStatus::DeletePending;
  return is_missing ? NtStatus::NonexistentEaEntry : status;
}

Result<> check_policy(const XattrTarget& target, std::u16string_view stream, XattrPolicy policy) {
  if (policy == XattrPolicy::CreateOrReplace) return {};
  const auto found = target.filesystem.store().find_stream(*target.file, stream);
  if (found) {
    return policy == XattrPolicy::Create ? Result<>(NtStatus::ObjectNameCollision) : Result<>();
  }
  const NtStatus status = as_attribute_status(found.error());
  const bool may_be_made = policy == XattrPolicy::Create && status == NtStatus::NonexistentEaEntry;
  return may_be_made ? Result<>() : Result<>(status);
}

/// Names that can be said in a list that NULs divide. What Windows' overlay filter keeps in a
/// stream is the file's own data, which nobody wants to copy a second time.
Result<std::vector<std::string>> listed_names(const XattrTarget& target) {
  ObjectStore& store = target.filesystem.store();
  const auto information = TRY(store.query_information(*target.file));
  const bool is_wof = information.reparse_tag == ondisk::ReparseTag::Wof;
  std::vector<std::string> names;
  for (const auto& stream : TRY(store.query_streams(*target.file))) {
    const bool can_be_said = !stream.name.empty() && stream.name.find(u'\0') == stream.name.npos;
    const bool is_hidden = is_wof && stream.name == ondisk::kWofStreamName;
    if (can_be_said && !is_hidden) names.push_back(name_bytes(stream.name));
  }
  return names;
}

}  // namespace

bool is_stream_xattr(const XattrTarget& target, std::string_view name) {
  return target.filesystem.options().streams == StreamsInterface::Xattr &&
         name.starts_with(kUser) && name.size() > kUser.size();
}

Result<ByteVector> get_stream_xattr(const XattrTarget& target, std::string_view name) {
  auto value = target.filesystem.store().read_stream(*target.file, stream_name(name));
  return value ? std::move(value) : as_attribute_status(value.error());
}

Result<> set_stream_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                          XattrPolicy policy) {
  const std::u16string stream = stream_name(name);
  TRY(check_policy(target, stream, policy));
  return target.filesystem.store().set_stream(*target.file, stream, value);
}

Result<> remove_stream_xattr(const XattrTarget& target, std::string_view name) {
  const auto removed = target.filesystem.store().remove_stream(*target.file, stream_name(name));
  return removed ? removed : as_attribute_status(removed.error());
}

Result<> list_stream_xattrs(const XattrTarget& target, std::string& names) {
  if (target.filesystem.options().streams != StreamsInterface::Xattr) return {};
  for (const std::string& name : TRY(listed_names(target))) {
    names.append(kUser).append(name).push_back('\0');
  }
  return {};
}

namespace {

/// The names, with NULs between them.
Result<ByteVector> get_stream_list(const XattrTarget& target) {
  ByteVector list;
  if (target.filesystem.options().streams != StreamsInterface::Windows) {
    return NtStatus::NonexistentEaEntry;
  }
  for (const std::string& name : TRY(listed_names(target))) {
    if (!list.empty()) list.push_back(std::byte{0});
    const ByteView bytes = text_bytes(name);
    list.insert(list.end(), bytes.begin(), bytes.end());
  }
  return list.empty() ? Result<ByteVector>(NtStatus::NonexistentEaEntry) : std::move(list);
}

constexpr std::array kNames = {SystemXattr{"ntfs.streams.list", get_stream_list, nullptr, nullptr,
                                           SystemXattr::Listed::WhereItHasAValue}};

}  // namespace

std::span<const SystemXattr> stream_list_xattrs() { return kNames; }

}  // namespace ntfs::frontend
