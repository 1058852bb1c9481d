#include "fuse/xattr_ops.h"

#include <sys/xattr.h>

#include <array>

#include "fuse/reply.h"
#include "fuse/xattr_streams.h"

namespace ntfs::frontend {

namespace {

constexpr std::array kFamilies = {
    attribute_xattrs, ea_xattrs,       encryption_xattrs,
    posix_acl_xattrs, security_xattrs, stream_list_xattrs,
};

/// Null when there is no such name.
const SystemXattr* find_system_xattr(std::string_view name) {
  for (const auto family : kFamilies) {
    for (const SystemXattr& entry : family()) {
      if (entry.name == name) return &entry;
    }
  }
  return nullptr;
}

/// What the kernel leaves to us for names of system.*: root and the owner change them.
Result<> check_may_change(const XattrTarget& target) {
  if (!target.filesystem.options().check_permissions || target.caller.uid == 0) return {};
  const struct stat attributes = TRY(target.filesystem.attributes(*target.file));
  if (attributes.st_uid != target.caller.uid) return NtStatus::PrivilegeNotHeld;
  return {};
}

/// The kernel sends no two changes of one file's extended attributes at the same time.
Result<> check_policy(const XattrTarget& target, const SystemXattr& entry, XattrPolicy policy) {
  if (policy == XattrPolicy::CreateOrReplace || entry.get == nullptr) return {};
  const auto value = entry.get(target);
  if (!value && value.error() != NtStatus::NonexistentEaEntry) return value.error();
  if (policy == XattrPolicy::Create) {
    return value ? Result<>(NtStatus::ObjectNameCollision) : Result<>();
  }
  return value ? Result<>() : Result<>(NtStatus::NonexistentEaEntry);
}

Result<XattrTarget> target_of(fuse_req_t request, fuse_ino_t node) {
  Filesystem& filesystem = filesystem_of(request);
  const fuse_ctx* context = fuse_req_ctx(request);
  FilePtr file = TRY(filesystem.file(node));
  return XattrTarget{filesystem, std::move(file), {context->uid, context->gid}, request};
}

/// A value or list, or its size for a caller that has no room yet.
void answer(Reply& reply, ByteView value, size_t room) {
  if (room == 0) return reply.size(value.size());
  if (value.size() > room) return reply.status(NtStatus::BufferTooSmall);
  reply.bytes(value);
}

void on_getxattr(fuse_req_t request, fuse_ino_t node, const char* name, size_t room) {
  Reply reply(request);
  const auto target = target_of(request, node);
  if (!target) return reply.status(target.error());
  const auto value = get_xattr(*target, name);
  if (!value) return reply.status(value.error());
  answer(reply, *value, room);
}

void on_listxattr(fuse_req_t request, fuse_ino_t node, size_t room) {
  Reply reply(request);
  const auto target = target_of(request, node);
  if (!target) return reply.status(target.error());
  const auto names = list_xattrs(*target);
  if (!names) return reply.status(names.error());
  answer(reply, text_bytes(*names), room);
}

void on_setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
                 size_t length, int flags) {
  Reply reply(request);
  const auto target = target_of(request, node);
  if (!target) return reply.status(target.error());
  XattrPolicy policy = XattrPolicy::CreateOrReplace;
  if ((flags & XATTR_CREATE) != 0) policy = XattrPolicy::Create;
  if ((flags & XATTR_REPLACE) != 0) policy = XattrPolicy::Replace;
  reply.result(set_xattr(*target, name, text_bytes({value, length}), policy));
}

void on_removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  Reply reply(request);
  const auto target = target_of(request, node);
  if (!target) return reply.status(target.error());
  reply.result(remove_xattr(*target, name));
}

}  // namespace

Result<ByteVector> get_xattr(const XattrTarget& target, std::string_view name) {
  if (is_stream_xattr(target, name)) return get_stream_xattr(target, name);
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->get == nullptr) return NtStatus::NotSupported;
  return entry->get(target);
}

Result<> set_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                   XattrPolicy policy) {
  if (is_stream_xattr(target, name)) return set_stream_xattr(target, name, value, policy);
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->set == nullptr) return NtStatus::NotSupported;
  TRY(check_may_change(target));
  TRY(check_policy(target, *entry, policy));
  return entry->set(target, value);
}

Result<> remove_xattr(const XattrTarget& target, std::string_view name) {
  if (is_stream_xattr(target, name)) return remove_stream_xattr(target, name);
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->remove == nullptr) return NtStatus::NotSupported;
  TRY(check_may_change(target));
  if (entry->remove_of_none == SystemXattr::RemoveOfNone::IsAnError) {
    TRY(check_policy(target, *entry, XattrPolicy::Replace));
  }
  return entry->remove(target);
}

Result<std::string> list_xattrs(const XattrTarget& target) {
  std::string names;
  TRY(list_stream_xattrs(target, names));
  for (const auto family : kFamilies) {
    for (const SystemXattr& entry : family()) {
      if (entry.listed == SystemXattr::Listed::No || !entry.get(target)) continue;
      names.append(entry.name).push_back('\0');
    }
  }
  return names;
}

void add_xattr_operations(fuse_lowlevel_ops& operations) {
  operations.getxattr = on_getxattr;
  operations.listxattr = on_listxattr;
  operations.setxattr = on_setxattr;
  operations.removexattr = on_removexattr;
}

}  // namespace ntfs::frontend
