#include "fuse/commands/signatures.h"

#include <algorithm>
#include <array>

namespace ntfs::frontend {

namespace {

struct Signature {
  uint64_t offset;  ///< bytes from the start of the device
  std::string_view bytes;
  std::string_view what;
};

using std::string_view_literals::operator""sv;

// Sources: the formats' documentation; libblkid recognizes them by the same places.
constexpr std::array kSignatures = {
    Signature{3, "NTFS    "sv, "an NTFS volume"},
    Signature{3, "NTFS+REF"sv, "an NTFS volume whose files share clusters"},
    Signature{3, "EXFAT   "sv, "an exFAT file system"},
    Signature{3, "ReFS"sv, "a ReFS file system"},
    Signature{3, "-FVE-FS-"sv, "a BitLocker volume"},
    Signature{54, "FAT1"sv, "a FAT file system"},
    Signature{82, "FAT32"sv, "a FAT file system"},
    Signature{1080, "\x53\xEF"sv, "an ext file system"},
    Signature{0, "XFSB"sv, "an XFS file system"},
    Signature{65600, "_BHRfS_M"sv, "a btrfs file system"},
    Signature{1024, "\x10\x20\xF5\xF2"sv, "an F2FS file system"},
    Signature{1024, "H+"sv, "an HFS+ file system"},
    Signature{32, "NXSB"sv, "an APFS container"},
    Signature{0, "LUKS\xBA\xBE"sv, "a LUKS container"},
    Signature{4086, "SWAPSPACE2"sv, "swap space"},
    Signature{32769, "CD001"sv, "an ISO 9660 file system"},
    Signature{0, "hsqs"sv, "a squashfs file system"},
    Signature{512, "LABELONE"sv, "an LVM physical volume"},
    Signature{4096, "\xFC\x4E\x2B\xA9"sv, "a member of a RAID"},
    Signature{512, "EFI PART"sv, "a partition table (GPT)"},
    Signature{4096, "EFI PART"sv, "a partition table (GPT)"},
};

constexpr size_t kHeadBytes = size_t{128} << 10;

/// A master boot record whose partitions are plausible; boot sectors end with the same marker.
bool is_partition_table(ByteView head) {
  constexpr size_t kFirstEntry = 446;
  constexpr size_t kEntryBytes = 16;
  if (head.size() < 512 || head[510] != std::byte{0x55} || head[511] != std::byte{0xAA}) {
    return false;
  }
  bool any = false;
  for (size_t i = 0; i < 4; ++i) {
    const ByteView entry = head.subspan(kFirstEntry + i * kEntryBytes, kEntryBytes);
    if (entry[0] != std::byte{0} && entry[0] != std::byte{0x80}) return false;
    any = any || entry[4] != std::byte{0};
  }
  return any;
}

}  // namespace

Result<std::string_view> recognize_content(BlockDevice& device) {
  const uint64_t size =
      align_down(std::min<uint64_t>(kHeadBytes, device.size_bytes()), device.logical_block_size());
  if (size == 0) return std::string_view();
  AlignedBuffer buffer = device.allocate(size);
  const MutableBytes head = buffer.bytes().first(size);
  TRY(device.read(0, head));
  for (const Signature& signature : kSignatures) {
    const auto there = slice(ByteView(head), signature.offset, signature.bytes.size());
    if (there && as_text(*there) == signature.bytes) return signature.what;
  }
  if (is_partition_table(head)) return std::string_view("a partition table (MBR)");
  return std::string_view();
}

}  // namespace ntfs::frontend
