#pragma once

// Reparse points: the value of $REPARSE_POINT, and the tags that Linux needs. Symbolic links and
// special files are kept as WSL, ntfs3 and ntfs-3g keep them.
// Source: MS-FSCC 2.1.2 "Reparse Point Data Structures"; for LX_SYMLINK, what WSL and ntfs-3g
// write.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/little_endian.h"
#include "core/base/units.h"

namespace ntfs::ondisk {

/// IO_REPARSE_TAG_*.
struct ReparseTag {
  static constexpr uint32_t MountPoint = 0xA0000003;
  static constexpr uint32_t Hsm = 0xC0000004;
  static constexpr uint32_t Dedup = 0x80000013;
  static constexpr uint32_t Symlink = 0xA000000C;
  static constexpr uint32_t Wof = 0x80000017;
  static constexpr uint32_t LxSymlink = 0xA000001D;
  static constexpr uint32_t AfUnix = 0x80000023;
  static constexpr uint32_t LxFifo = 0x80000024;
  static constexpr uint32_t LxChr = 0x80000025;
  static constexpr uint32_t LxBlk = 0x80000026;
  static constexpr uint32_t Cloud = 0x9000001A;  ///< and more, that differ in CloudMask

  static constexpr uint32_t CloudMask = 0x0000F000;

  // Bits of every tag.
  static constexpr uint32_t MicrosoftBit = 0x80000000;
  static constexpr uint32_t NameSurrogateBit = 0x20000000;
  static constexpr uint32_t DirectoryBit = 0x10000000;  ///< a directory with it may have entries

  /// Tags up to this one stand for nothing.
  static constexpr uint32_t LastReserved = 1;
};

/// The documented name without IO_REPARSE_TAG_, e.g. "LX_SYMLINK"; "?" for one that is not listed.
std::string_view name_of_reparse_tag(uint32_t tag);

struct ReparseHeader {
  le32 tag;
  le16 data_length;  // bytes behind this header, and behind the GUID if the tag is not Microsoft's
  le16 reserved;
};
static_assert(sizeof(ReparseHeader) == 8 && alignof(ReparseHeader) == 1);

constexpr size_t kReparseGuidBytes = 16;
/// Of a whole value; MAXIMUM_REPARSE_DATA_BUFFER_SIZE.
constexpr size_t kMaxReparsePointBytes = 16384;
/// Of the target of a symbolic link that still fits.
constexpr size_t kMaxLxSymlinkTargetBytes = kMaxReparsePointBytes - sizeof(ReparseHeader) - 4;

class ReparsePointView {
 public:
  /// FileCorruptError (reported): not whole, or longer than can be.
  static Result<ReparsePointView> parse(ByteView value, const Origin& origin);
  /// The same for what somebody wants to have written. IoReparseDataInvalid (not reported): also
  /// when it is longer than it says.
  static Result<ReparsePointView> parse_request(ByteView value);

  uint32_t tag() const { return tag_; }
  /// Of kReparseGuidBytes for tags that are not Microsoft's, or empty.
  ByteView guid() const { return guid_; }
  bool is_microsoft() const { return (tag_ & ReparseTag::MicrosoftBit) != 0; }
  /// Whether it stands for another file, as links do.
  bool is_name_surrogate() const { return (tag_ & ReparseTag::NameSurrogateBit) != 0; }
  /// What the tag's owner put there.
  ByteView data() const { return data_; }

 private:
  ReparsePointView(uint32_t tag, ByteView guid, ByteView data)
      : tag_(tag), guid_(guid), data_(data) {}
  uint32_t tag_;
  ByteView guid_;
  ByteView data_;
};

/// The value for a tag of Microsoft's (a bug otherwise). Empty `data` for FIFO, CHR, BLK, AF_UNIX.
ByteVector build_reparse_point(uint32_t tag, ByteView data);

/// The value of `point` without its data, which says what shall be deleted.
ByteVector reparse_point_head(const ReparsePointView& point);

/// The value for a symbolic link to `target`, bytes as Linux has them. NameTooLong;
/// ObjectNameInvalid when it is empty or has a NUL.
Result<ByteVector> build_lx_symlink(std::string_view target);
/// The target of an LX_SYMLINK (a bug with another tag). IoReparseDataInvalid: another version, an
/// empty target, or one with a NUL.
Result<std::string> lx_symlink_target(const ReparsePointView& point);

/// Where a Windows symbolic link or mount point leads.
struct WindowsLink {
  std::u16string substitute_name;  ///< as the object manager needs it, e.g. u"\\??\\C:\\dir"
  std::u16string print_name;       ///< for people; may be empty
  bool is_relative = false;        ///< the substitute name is relative to the link's directory
  friend bool operator==(const WindowsLink&, const WindowsLink&) = default;
};
/// Of SYMLINK and MOUNT_POINT (a bug with another tag). IoReparseDataInvalid: names out of bounds.
Result<WindowsLink> windows_link(const ReparsePointView& point);

/// The stream that has the data of a file that Windows' overlay filter compressed.
constexpr std::u16string_view kWofStreamName = u"WofCompressedData";
/// What it compressed it with.
enum class WofFormat : uint32_t { Xpress4K = 0, Lzx = 1, Xpress8K = 2, Xpress16K = 3 };
/// Of WOF (a bug with another tag). IoReparseTagNotHandled: the data is not in the file (but in a
/// Windows image), or compressed otherwise. IoReparseDataInvalid.
Result<WofFormat> wof_format(const ReparsePointView& point);
/// The value that says so.
ByteVector build_wof(WofFormat format);

/// Key of the index $R of $Reparse; its entries have no data.
struct ReparseIndexKey {
  le32 tag;
  le64 file_reference;
};
static_assert(sizeof(ReparseIndexKey) == 12 && alignof(ReparseIndexKey) == 1);
ReparseIndexKey reparse_index_key(uint32_t tag, FileReference file);

std::string describe(const ReparsePointView& point);

}  // namespace ntfs::ondisk
