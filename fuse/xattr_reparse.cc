// system.ntfs_reparse_data: a file's reparse point, whole, as it is on disk.
// Source: ntfs-3g's documentation of extended attributes, "Reparse point data".

#include <array>

#include "core/ondisk/reparse_point.h"
#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

/// An open of the file for one request.
class ShortOpen {
 public:
  static Result<ShortOpen> make(const XattrTarget& target, uint32_t access) {
    OpenParameters parameters;
    parameters.desired_access = access;
    // Everybody may make symbolic links: symlink(2).
    parameters.symbolic_links = SymbolicLinkAccess::Yes;
    ObjectStore& store = target.filesystem.store();
    return ShortOpen(store, TRY(store.open(target.file, parameters)));
  }
  ~ShortOpen() {
    if (open_ != nullptr) store_.close(std::move(open_));
  }
  ShortOpen(ShortOpen&&) = default;
  Open& operator*() { return *open_; }

 private:
  ShortOpen(ObjectStore& store, std::unique_ptr<Open> open)
      : store_(store), open_(std::move(open)) {}
  ObjectStore& store_;
  std::unique_ptr<Open> open_;
};

Result<ByteVector> get(const XattrTarget& target) {
  ShortOpen open = TRY(ShortOpen::make(target, AccessMask::ReadAttributes));
  auto point = target.filesystem.store().get_reparse_point(*open, ondisk::kMaxReparsePointBytes);
  if (point) return std::move(point->value);
  return point.error() == NtStatus::NotAReparsePoint ? NtStatus::NonexistentEaEntry : point.error();
}

Result<> set(const XattrTarget& target, ByteView value) {
  ShortOpen open = TRY(ShortOpen::make(target, AccessMask::WriteAttributes));
  return target.filesystem.store().set_reparse_point(*open, value);
}

Result<> remove(const XattrTarget& target) {
  ShortOpen open = TRY(ShortOpen::make(target, AccessMask::WriteAttributes));
  const ByteVector value = TRY(get(target));
  const auto point = TRY(
      ondisk::ReparsePointView::parse(value, {"reparse point", target.file->reference().raw(), 0}));
  return target.filesystem.store().delete_reparse_point(*open, ondisk::reparse_point_head(point));
}

constexpr std::array kNames = {
    SystemXattr{.name = "system.ntfs_reparse_data",
                .get = get,
                .set = set,
                .remove = remove,
                .effect = SystemXattr::Effect::TheFile},
};

}  // namespace

std::span<const SystemXattr> reparse_xattrs() { return kNames; }

}  // namespace ntfs::frontend
