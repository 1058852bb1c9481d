#include "fuse/xattr_streams.h"

#include <array>

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

/// As it can be said in a list that NULs divide.
bool can_be_listed(std::u16string_view name) {
  return !name.empty() && name.find(u'\0') == std::u16string_view::npos;
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
  for (const auto& stream : TRY(target.filesystem.store().query_streams(*target.file))) {
    if (!can_be_listed(stream.name)) continue;
    names.append(kUser).append(name_bytes(stream.name)).push_back('\0');
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
  for (const auto& stream : TRY(target.filesystem.store().query_streams(*target.file))) {
    if (!can_be_listed(stream.name)) continue;
    if (!list.empty()) list.push_back(std::byte{0});
    const std::string name = name_bytes(stream.name);
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
