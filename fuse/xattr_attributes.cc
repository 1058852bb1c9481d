// Attribute bits and times, in the formats of the other drivers.
//
// system.ntfs_attrib, 4 bytes, and system.dos_attrib, their lowest one: FILE_ATTRIBUTE_* bits.
// Source: ntfs-3g's libntfs-3g/object.html "Extended attributes"; Linux, fs/ntfs3/xattr.c.
// system.ntfs_times: creation, last write, last access and change, each 8 bytes in units of 100 ns
// since 1601; system.ntfs_crtime: the first of them. Setting takes the first 8, 16 or 24 bytes; the
// time of the change is now. Source: ntfs-3g's documentation of extended attributes, "Timestamps".
// Numbers are in the order of the machine; names with _be have them big-endian.

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstring>

#include "fuse/xattr_names.h"

namespace ntfs::frontend {

namespace {

using ondisk::FileAttributes;
using ondisk::FileTime;

template <std::unsigned_integral Number>
void append(ByteVector& bytes, Number number, std::endian order) {
  std::array<std::byte, sizeof(Number)> raw;
  std::memcpy(raw.data(), &number, sizeof(Number));
  if (order != std::endian::native) std::reverse(raw.begin(), raw.end());
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

/// The number at `index` of those in `bytes`, which must hold it.
template <std::unsigned_integral Number>
Number number_at(ByteView bytes, size_t index, std::endian order) {
  std::array<std::byte, sizeof(Number)> raw;
  std::ranges::copy(bytes.subspan(index * sizeof(Number), sizeof(Number)), raw.begin());
  if (order != std::endian::native) std::reverse(raw.begin(), raw.end());
  Number number = 0;
  std::memcpy(&number, raw.data(), sizeof(Number));
  return number;
}

// Attribute bits.

Result<uint32_t> shown_bits(const XattrTarget& target) {
  const auto information = TRY(target.filesystem.store().query_information(*target.file));
  uint32_t bits = information.file_attributes & ~FileAttributes::FileNameIndexPresent;
  if (information.kind == FileKind::Directory) bits |= FileAttributes::Directory;
  return bits == 0 ? FileAttributes::Normal : bits;
}

/// FILE_ATTRIBUTE_COMPRESSED counts for directories, as with ntfs-3g.
Result<> set_bits(const XattrTarget& target, uint32_t bits) {
  ObjectStore& store = target.filesystem.store();
  const FileInformation now = TRY(store.query_information(*target.file));
  const bool flips = ((now.file_attributes ^ bits) & FileAttributes::Compressed) != 0;
  if (now.kind == FileKind::Directory && flips) {
    const bool wanted = (bits & FileAttributes::Compressed) != 0;
    TRY(store.set_compression(*target.file, wanted ? Compression::Lznt1 : Compression::None));
  }
  BasicInformation information;
  information.file_attributes = bits;
  return store.set_basic_information(*target.file, information);
}

template <std::endian kOrder>
Result<ByteVector> get_attrib(const XattrTarget& target) {
  ByteVector value;
  append(value, TRY(shown_bits(target)), kOrder);
  return value;
}

template <std::endian kOrder>
Result<> set_attrib(const XattrTarget& target, ByteView value) {
  if (value.size() != sizeof(uint32_t)) return NtStatus::InvalidParameter;
  return set_bits(target, number_at<uint32_t>(value, 0, kOrder));
}

constexpr uint32_t kDosBits = 0xFF;

Result<ByteVector> get_dos_attrib(const XattrTarget& target) {
  ByteVector value;
  append(value, static_cast<uint8_t>(TRY(shown_bits(target)) & kDosBits), std::endian::native);
  return value;
}

/// Only the bits that it shows.
Result<> set_dos_attrib(const XattrTarget& target, ByteView value) {
  if (value.size() != sizeof(uint8_t)) return NtStatus::InvalidParameter;
  const uint32_t bits = TRY(shown_bits(target));
  const uint32_t others = bits & ~kDosBits;
  return set_bits(target, others | number_at<uint8_t>(value, 0, std::endian::native));
}

// Times.

template <std::endian kOrder>
Result<ByteVector> get_times(const XattrTarget& target) {
  const auto information = TRY(target.filesystem.store().query_information(*target.file));
  ByteVector value;
  for (const FileTime time : {information.creation_time, information.last_write_time,
                              information.last_access_time, information.change_time}) {
    append(value, time.raw(), kOrder);
  }
  return value;
}

template <std::endian kOrder>
Result<> set_times(const XattrTarget& target, ByteView value) {
  const size_t count = value.size() / sizeof(uint64_t);
  if (count == 0) return NtStatus::InvalidParameter;
  const auto time = [&](size_t index) -> std::optional<FileTime> {
    if (index >= count) return std::nullopt;
    return FileTime::from_raw(number_at<uint64_t>(value, index, kOrder));
  };
  BasicInformation information;
  information.times.creation = time(0);
  information.times.last_write = time(1);
  information.times.last_access = time(2);
  Filesystem& filesystem = target.filesystem;
  const auto before = TRY(filesystem.store().query_information(*target.file));
  TRY(filesystem.store().set_basic_information(*target.file, information));
  if (information.times.last_write) {
    const uint64_t node = node_of(target.file->reference());
    filesystem.inodes().last_write_replaced(node, before.last_write_time);
  }
  return {};
}

template <std::endian kOrder>
Result<ByteVector> get_creation_time(const XattrTarget& target) {
  ByteVector times = TRY(get_times<kOrder>(target));
  times.resize(sizeof(uint64_t));
  return times;
}

template <std::endian kOrder>
Result<> set_creation_time(const XattrTarget& target, ByteView value) {
  if (value.size() < sizeof(uint64_t)) return NtStatus::InvalidParameter;
  return set_times<kOrder>(target, value.first(sizeof(uint64_t)));
}

constexpr std::endian kNative = std::endian::native;
constexpr std::endian kBig = std::endian::big;
/// The system attribute can make a link or a special file of one: that is how Interix keeps them.
template <SystemXattr::Get get, SystemXattr::Set set>
constexpr SystemXattr attribute_bits(std::string_view name) {
  return {.name = name, .get = get, .set = set, .effect = SystemXattr::Effect::TheFile};
}

constexpr std::array kNames = {
    attribute_bits<get_attrib<kNative>, set_attrib<kNative>>("system.ntfs_attrib"),
    attribute_bits<get_attrib<kBig>, set_attrib<kBig>>("system.ntfs_attrib_be"),
    attribute_bits<get_dos_attrib, set_dos_attrib>("system.dos_attrib"),
    SystemXattr{"system.ntfs_times", get_times<kNative>, set_times<kNative>},
    SystemXattr{"system.ntfs_times_be", get_times<kBig>, set_times<kBig>},
    SystemXattr{"system.ntfs_crtime", get_creation_time<kNative>, set_creation_time<kNative>},
    SystemXattr{"system.ntfs_crtime_be", get_creation_time<kBig>, set_creation_time<kBig>},
};

}  // namespace

std::span<const SystemXattr> attribute_xattrs() { return kNames; }

}  // namespace ntfs::frontend
