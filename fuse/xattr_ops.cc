#include "fuse/xattr_ops.h"

#include <sys/xattr.h>

#include <array>
#include <functional>
#include <string>

#include "fuse/name_encoding.h"
#include "fuse/reply.h"
#include "fuse/xattr_named_eas.h"
#include "fuse/xattr_streams.h"

namespace ntfs::frontend {

namespace {

constexpr std::array kFamilies = {
    attribute_xattrs, ea_xattrs,       encryption_xattrs, object_id_xattrs,   posix_acl_xattrs,
    reparse_xattrs,   security_xattrs, short_name_xattrs, stream_list_xattrs,
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

using Change = std::function<Result<>(const XattrTarget&)>;

/// Makes a change after which the file may be of another kind (a link, say), or have other data.
/// The kernel takes a file of another kind for broken, unless it looks the names up again.
Result<> remake(const XattrTarget& target, const Change& change) {
  ObjectStore& store = target.filesystem.store();
  KernelCache& kernel = target.filesystem.kernel_cache();
  const FileReference file = target.file->reference();
  const FileInformation before = TRY(store.query_information(*target.file));
  TRY(change(target));
  kernel.drop(node_of(file));
  const FileInformation now = TRY(store.query_information(*target.file));
  if (now.kind == before.kind) return {};
  std::vector<KernelCache::Name> names;
  for (const NameInDirectory& each : TRY(store.names_of(file))) {
    names.push_back({node_of(each.directory), name_bytes(each.name)});
  }
  kernel.drop_names(std::move(names));
  return {};
}

void answer_change(fuse_req_t request, fuse_ino_t node, std::string_view name, Change change) {
  const auto target = target_of(request, node);
  if (!target) return Reply(request).status(target.error());
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->effect == SystemXattr::Effect::ItsValue) {
    return Reply(request).result(change(*target));
  }
  target->filesystem.kernel_cache().break_then(
      node, [request, target = *target, change = std::move(change)] {
        Reply(request).result(remake(target, change));
      });
}

void on_setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
                 size_t length, int flags) {
  XattrPolicy policy = XattrPolicy::CreateOrReplace;
  if ((flags & XATTR_CREATE) != 0) policy = XattrPolicy::Create;
  if ((flags & XATTR_REPLACE) != 0) policy = XattrPolicy::Replace;
  answer_change(request, node, name,
                [name = std::string(name), value = std::string(value, length),
                 policy](const XattrTarget& target) {
                  return set_xattr(target, name, text_bytes(value), policy);
                });
}

void on_removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
  answer_change(request, node, name, [name = std::string(name)](const XattrTarget& target) {
    return remove_xattr(target, name);
  });
}

}  // namespace

Result<ByteVector> get_xattr(const XattrTarget& target, std::string_view name) {
  if (is_stream_xattr(target, name)) return get_stream_xattr(target, name);
  if (is_ea_xattr(name)) return get_ea_xattr(target, name);
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->get == nullptr) return NtStatus::NotSupported;
  return entry->get(target);
}

Result<> set_xattr(const XattrTarget& target, std::string_view name, ByteView value,
                   XattrPolicy policy) {
  if (is_stream_xattr(target, name)) return set_stream_xattr(target, name, value, policy);
  if (is_ea_xattr(name)) return set_ea_xattr(target, name, value, policy);
  const SystemXattr* entry = find_system_xattr(name);
  if (entry == nullptr || entry->set == nullptr) return NtStatus::NotSupported;
  TRY(check_may_change(target));
  TRY(check_policy(target, *entry, policy));
  return entry->set(target, value);
}

Result<> remove_xattr(const XattrTarget& target, std::string_view name) {
  if (is_stream_xattr(target, name)) return remove_stream_xattr(target, name);
  if (is_ea_xattr(name)) return remove_ea_xattr(target, name);
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
  TRY(list_ea_xattrs(target, names));
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
