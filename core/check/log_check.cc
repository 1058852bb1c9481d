#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/base/multi_sector.h"
#include "core/check/system_check.h"

// The restart pages of $LogFile, read without the log service: is the log good, and clean?

namespace ntfs::check {

namespace {

constexpr size_t kPageBytes = 4096;
constexpr uint64_t kMinLogBytes = 50 * kPageBytes;
constexpr uint16_t kNoClient = 0xFFFF;
constexpr uint16_t kVolumeIsClean = 0x0002;

struct RestartPage {
  MultiSectorHeader multi_sector;  // "RSTR", or "CHKD" after chkdsk
  le64 chkdsk_lsn;
  le32 system_page_size;
  le32 log_page_size;
  le16 restart_area_offset;
  le16 minor_version;
  le16 major_version;
};
static_assert(sizeof(RestartPage) == 0x1E);

struct RestartArea {
  le64 current_lsn;
  le16 log_clients;
  le16 client_free_list;
  le16 client_in_use_list;
  le16 flags;
  le32 seq_number_bits;
  le16 restart_area_length;
  le16 client_array_offset;
  le64 file_size;
};
static_assert(sizeof(RestartArea) == 0x20);

enum class PageState { Empty, Bad, Closed, Clean, Unclean };

struct PageFacts {
  PageState state = PageState::Bad;
  uint64_t current_lsn = 0;
  std::string fault;
};

PageFacts bad(std::string fault) { return {PageState::Bad, 0, std::move(fault)}; }

PageFacts read_restart_area(ByteView page, size_t offset, bool chkdsk, uint64_t file_size) {
  const auto& area = struct_at<RestartArea>(page, offset);
  if (area.file_size.get() > file_size) {
    return bad(fmt::format("log of {:#x} bytes", area.file_size.get()));
  }
  const auto bits = static_cast<uint32_t>(67 - std::bit_width(area.file_size.get()));
  if (area.seq_number_bits.get() != bits) {
    return bad(fmt::format("{} sequence bits instead of {}", area.seq_number_bits.get(), bits));
  }
  if (area.log_clients.get() > 1 || area.client_array_offset.get() % 8 != 0 ||
      area.restart_area_length.get() > page.size() - offset ||
      area.client_array_offset.get() > area.restart_area_length.get()) {
    return bad("an impossible client array");
  }
  PageFacts facts;
  facts.current_lsn = area.current_lsn.get();
  const bool no_client = area.client_in_use_list.get() == kNoClient;
  const bool clean = (area.flags.get() & kVolumeIsClean) != 0;
  facts.state = no_client || chkdsk ? PageState::Closed
                : clean             ? PageState::Clean
                                    : PageState::Unclean;
  return facts;
}

PageFacts read_restart_page(MutableBytes page, uint64_t file_size) {
  const std::string_view signature = as_text(page.first(4));
  if (signature == "\xFF\xFF\xFF\xFF") return {PageState::Empty, 0, {}};
  const bool chkdsk = signature == "CHKD";
  if (signature != "RSTR" && !chkdsk) return bad("no restart page");
  if (!try_unprotect(page)) return bad("a torn restart page");
  const auto& header = struct_at<RestartPage>(ByteView(page));
  if (header.system_page_size.get() != kPageBytes || header.log_page_size.get() != kPageBytes) {
    return bad(fmt::format("pages of {} and {} bytes", header.system_page_size.get(),
                           header.log_page_size.get()));
  }
  const unsigned version = header.major_version.get() * 0x100u + header.minor_version.get();
  if (version != 0x101 && version != 0x200) {
    return bad(
        fmt::format("version {}.{}", header.major_version.get(), header.minor_version.get()));
  }
  const size_t offset = header.restart_area_offset.get();
  if (offset % 8 != 0 || offset < sizeof(RestartPage) || offset > 510 - sizeof(RestartArea)) {
    return bad(fmt::format("a restart area at {}", offset));
  }
  return read_restart_area(page, offset, chkdsk, file_size);
}

}  // namespace

// Which page counts:  both bad: corrupt. One bad: the other. Both good: the larger lsn, then the
// first. All 0xFF: an empty log, as mkntfs leaves it, which is clean.
void check_log(Context& context) {
  const Place place{"$LogFile", FileReference(ondisk::kLogFileRecord, 2), "restart pages"};
  const Stream* log = context.find_kept(ondisk::kLogFileRecord, ondisk::AttributeType::Data, {});
  if (log == nullptr || log->file_size < kMinLogBytes) {
    context.findings.add(place, fmt::format("at least {} bytes", kMinLogBytes),
                         number(log == nullptr ? 0 : log->file_size), "there is no usable log");
    return;
  }
  ByteVector pages(2 * kPageBytes);
  if (!context.reader.read(*log, 0, pages)) return;
  const auto first = read_restart_page(MutableBytes(pages).first(kPageBytes), log->file_size);
  const auto second = read_restart_page(MutableBytes(pages).last(kPageBytes), log->file_size);
  if (first.state == PageState::Empty && second.state == PageState::Empty) return;
  const bool second_counts = first.state == PageState::Bad || first.state == PageState::Empty ||
                             (second.state != PageState::Bad && second.state != PageState::Empty &&
                              second.current_lsn > first.current_lsn);
  const PageFacts& newest = second_counts ? second : first;
  if (newest.state == PageState::Bad || newest.state == PageState::Empty) {
    context.findings.add(place, "a good restart page",
                         first.fault.empty() ? second.fault : first.fault, "the log is corrupt");
  } else if (newest.state == PageState::Unclean && !context.options.live &&
             !context.options.replayed) {
    context.findings.add(place, "clean", "not clean", "the log has to be replayed");
  } else if (context.options.strict_lsns && newest.state == PageState::Clean &&
             context.highest_lsn > newest.current_lsn) {
    // A replay would take such a page for newer than all that will be logged next.
    context.findings.add({"$LogFile", context.highest_lsn_owner, "current lsn"}, newest.current_lsn,
                         context.highest_lsn,
                         "a file record or index block carries an lsn beyond the end of the log");
  }
}

}  // namespace ntfs::check
