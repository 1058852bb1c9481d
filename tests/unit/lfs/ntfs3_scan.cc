#include "tests/unit/lfs/ntfs3_scan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace ntfs::lfs::testing {

namespace {

constexpr uint64_t kPage = 0x1000;
constexpr uint64_t kSector = 0x200;
constexpr uint64_t kFirstPage = 4 * kPage;
constexpr uint64_t kData = 0x40;
constexpr uint64_t kHeader = 0x30;
constexpr uint32_t kRstr = 0x52545352;
constexpr uint32_t kChkd = 0x444B4843;
constexpr uint32_t kRcrd = 0x44524352;

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}
uint16_t u16(const std::byte* at) { return load<uint16_t>(at); }
uint32_t u32(const std::byte* at) { return load<uint32_t>(at); }
uint64_t u64(const std::byte* at) { return load<uint64_t>(at); }

/// Puts the displaced words of a record page back; false where a sector does not carry the number.
bool fix_up(std::byte* page) {
  const size_t array = u16(page + 4);
  const size_t count = u16(page + 6);
  if (array % 2 != 0 || count != 1 + kPage / kSector || array + 2 * count > kSector - 2) {
    return false;
  }
  bool whole = true;
  for (size_t i = 1; i < count; ++i) {
    std::byte* word = page + i * kSector - 2;
    whole = whole && u16(word) == u16(page + array);
    std::memcpy(word, page + array + 2 * i, 2);
  }
  return whole;
}

bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

}  // namespace

bool Ntfs3Scan::refuse(std::string why) {
  why_ = std::move(why);
  return false;
}

// ---- Restart pages ------------------------------------------------------------------------------

/// What the restart page at `offset` says; nothing where a check of it fails.
std::optional<Ntfs3Scan::Restart> Ntfs3Scan::parse_restart(uint64_t offset) const {
  if (offset + kPage > log_.size()) return std::nullopt;
  const std::byte* page = log_.data() + offset;
  const uint32_t system_page = u32(page + 0x10);
  const uint32_t log_page = u32(page + 0x14);
  if (!is_power_of_two(system_page) || !is_power_of_two(log_page)) return std::nullopt;
  if (system_page != kPage || log_page != kPage) return std::nullopt;
  if (offset != 0 && offset != system_page) return std::nullopt;
  if (u16(page + 0x1C) != 1 || u16(page + 0x1A) != 1) return std::nullopt;
  const uint64_t area = u16(page + 0x18);
  if (area % 8 != 0 || area > system_page) return std::nullopt;
  if (area < u16(page + 4) + 2 * (system_page / kSector + 1)) return std::nullopt;

  const std::byte* at = page + area;
  if (area + 0x18 > 510) return std::nullopt;
  const uint16_t clients = u16(at + 8);
  const uint64_t array = u16(at + 0x16);
  const uint64_t length = u16(at + 0x14);
  if (clients > 1 || array % 8 != 0 || area + array > 510) return std::nullopt;
  if (array + 0xA0 * clients > std::min<uint64_t>(system_page, length)) return std::nullopt;
  if (area + length > system_page || area + length > 510) return std::nullopt;
  const uint16_t free_list = u16(at + 0xA);
  const uint16_t in_use = u16(at + 0xC);
  if (free_list != 0xFFFF && free_list >= clients) return std::nullopt;
  if (in_use != 0xFFFF && in_use >= clients) return std::nullopt;

  Restart found;
  found.file_size = u64(at + 0x18);
  const unsigned bits = static_cast<unsigned>(std::bit_width(found.file_size));
  if (u32(at + 0x10) != 67 - bits || found.file_size > log_.size()) return std::nullopt;
  if (u16(at + 0x24) != kHeader || u16(at + 0x26) != kData) return std::nullopt;
  found.data_bits = bits - 3;
  found.current_lsn = u64(at);
  found.data_length = u32(at + 0x20);
  found.single_page_io = (u16(at + 0xE) & 1) != 0;
  found.dismounted = (u16(at + 0xE) & 2) != 0;
  found.from_chkdsk = u32(page) == kChkd;
  found.has_client = !found.from_chkdsk && in_use != 0xFFFF;
  if (found.has_client) {
    if (u16(at + array + 0x10) != 0xFFFF) return std::nullopt;
    found.oldest_lsn = u64(at + array);
    found.client_restart_lsn = u64(at + array + 8);
  }
  return found;
}

std::optional<uint64_t> Ntfs3Scan::find_restart_page(uint64_t first, bool& initialised) const {
  for (uint64_t offset = first; offset + 8 <= log_.size();
       offset = offset == 0 ? 512 : 2 * offset) {
    const uint32_t magic = u32(log_.data() + offset);
    if (magic == 0xFFFFFFFF) continue;
    initialised = true;
    if (magic == kRcrd) return std::nullopt;
    if ((magic == kRstr || magic == kChkd) && parse_restart(offset)) return offset;
  }
  return std::nullopt;
}

bool Ntfs3Scan::choose_restart(bool& initialised) {
  const auto first = find_restart_page(0, initialised);
  if (!first) return false;
  restart_ = *parse_restart(*first);
  if (*first != 0) return true;
  const auto second = find_restart_page(kSector, initialised);
  if (!second) return true;
  const Restart other = *parse_restart(*second);
  if (other.current_lsn > restart_.current_lsn) restart_ = other;
  return true;
}

// ---- Pages --------------------------------------------------------------------------------------

uint64_t Ntfs3Scan::after(uint64_t page) const {
  return page + kPage < restart_.file_size / kPage * kPage ? page + kPage : kFirstPage;
}

/// The page as it stands in its place.
std::optional<Ntfs3Scan::Page> Ntfs3Scan::read_page(uint64_t offset) {
  std::byte* bytes = memory_.data() + offset;
  uint8_t& known = known_[offset / kPage];
  if (known == 0) {
    std::memcpy(bytes, log_.data() + offset, kPage);
    const bool whole = u32(bytes) == kRcrd && (fix_up(bytes) || torn_ == TornPages::Taken);
    known = whole ? 1 : 2;
  }
  if (known == 2) return std::nullopt;
  Page page;
  page.last_lsn = u64(bytes + 8);
  page.record_end = (u32(bytes + 0x10) & 1) != 0;
  page.count = u16(bytes + 0x14);
  page.position = u16(bytes + 0x16);
  page.last_end_lsn = u64(bytes + 0x20);
  page.bytes = bytes;
  return page;
}

/// The page, once the end is known.
std::optional<Ntfs3Scan::Page> Ntfs3Scan::page_at(uint64_t offset) {
  if (!fixed_up_ || offset != fixed_up_page_) return read_page(offset);
  Page page = tails_[*fixed_up_].page;
  page.last_lsn = page.last_end_lsn;
  page.count = page.position = 1;
  return page;
}

void Ntfs3Scan::load_tails() {
  tails_.clear();
  for (const uint64_t slot : {3 * kPage, 2 * kPage}) {
    const auto page = read_page(slot);
    if (page) tails_.push_back({page->last_lsn, *page});
  }
}

// ---- The end of the log -------------------------------------------------------------------------

Ntfs3Scan::Search Ntfs3Scan::begin_search() const {
  Search search;
  const uint64_t start = offset_of(restart_.current_lsn);
  search.expected = sequence_of(restart_.current_lsn);
  const bool has_last = start >= kFirstPage;
  search.page = kFirstPage;
  if (has_last) {
    uint64_t page = start / kPage * kPage;
    uint64_t in_page = start % kPage + kHeader;
    uint64_t left = restart_.data_length;
    while (left > kPage - in_page) {
      left -= kPage - in_page;
      page = after(page);
      in_page = kData;
    }
    in_page += left;
    if (page + in_page <= start) ++search.expected;
    search.at_reused_page = kPage - in_page >= kHeader;
    search.page = start / kPage * kPage;
    if (search.at_reused_page) {
      search.last_ok = restart_.current_lsn;
    } else {
      search.page = after(search.page);
    }
  }
  if (!tails_.empty()) {
    const Tail* best = &tails_.front();
    for (const Tail& tail : tails_) {
      if (tail.page.last_end_lsn >= best->page.last_end_lsn) best = &tail;
    }
    if (sequence_of(best->page.last_end_lsn) == search.expected) {
      search.page = std::min(search.page, best->target);
    }
  }
  if (search.page == kFirstPage && has_last && !search.at_reused_page) ++search.expected;
  return search;
}

std::optional<size_t> Ntfs3Scan::candidate_for(const Search& search) const {
  std::optional<size_t> best;
  for (size_t i = 0; i < tails_.size(); ++i) {
    if (tails_[i].target != search.page) continue;
    if (best && tails_[*best].page.last_end_lsn > tails_[i].page.last_end_lsn) continue;
    best = i;
  }
  if (!best) return best;
  const uint64_t end = tails_[*best].page.last_end_lsn;
  if (end < search.last_ok) return std::nullopt;
  if (end > search.last_ok && sequence_of(end) != search.expected) return std::nullopt;
  return best;
}

bool Ntfs3Scan::stops_at(const std::optional<Page>& page, const Search& search) const {
  if (!page) return true;
  if (page->last_lsn != search.last_ok && sequence_of(page->last_lsn) != search.expected) {
    return true;
  }
  if (search.position == search.count) {
    const bool begins =
        page->position == 1 || (search.at_reused_page && page->position == page->count);
    return !begins;
  }
  return page->position != search.position + 1 || page->count != search.count;
}

void Ntfs3Scan::find_end(Search& search) {
  end_ = restart_.current_lsn;
  const uint64_t pages = restart_.file_size / kPage;
  for (uint64_t i = 0; i < pages; ++i) {
    search.candidate = candidate_for(search);
    const auto page = read_page(search.page);
    if (stops_at(page, search)) break;
    if (search.candidate && tails_[*search.candidate].page.last_end_lsn > page->last_lsn) {
      search.replace = true;
      break;
    }
    if (page->record_end) end_ = page->last_end_lsn;
    search.last_ok = page->last_lsn;
    search.count = page->count;
    search.position = page->position;
    search.at_reused_page = false;
    search.page = after(search.page);
    if (search.page == kFirstPage) ++search.expected;
  }
}

/// Whether pages of the log may follow behind the place where the search stopped.
bool Ntfs3Scan::check_stop(const Search& search) {
  const uint64_t next = after(search.page);
  const uint64_t wanted = search.expected + (next == kFirstPage ? 1 : 0);
  // Later than the end: a page with this lap's number or, in the first page, the rest of a record
  // that began at the end of the lap before.
  const auto is_newer = [&](uint64_t offset) {
    const auto page = read_page(offset);
    if (!page) return false;
    const uint64_t sequence = sequence_of(page->last_lsn);
    const bool continues = sequence == wanted - 1 && offset == kFirstPage &&
                           offset_of(page->last_lsn) / kPage * kPage != kFirstPage;
    return sequence >= wanted || continues;
  };
  if (search.replace || restart_.single_page_io) {
    if (is_newer(next)) return refuse("a newer page behind the page of the tail copy");
    return true;
  }
  if (next == kFirstPage) {
    if (is_newer(next)) return refuse("newer pages behind the end of the file");
    return true;
  }
  if (search.position != search.count) {
    uint64_t page = search.page;
    for (uint16_t i = search.position; i < search.count; ++i) page = after(page);
    if (is_newer(page)) return refuse("newer pages behind half a transfer");
    return true;
  }
  const auto page = read_page(next);
  if (page && page->position == 2 && is_newer(next)) {
    uint64_t behind = next;
    for (uint16_t i = 1; i < page->count; ++i) behind = after(behind);
    if (is_newer(behind)) return refuse("newer pages behind the rest of a transfer");
  }
  return true;
}

Ntfs3Scan::Verdict Ntfs3Scan::run(ByteView log, TornPages torn) {
  log_ = log;
  torn_ = torn;
  memory_.resize(log.size());
  known_.assign(log.size() / kPage, 0);
  fixed_up_.reset();
  current_ = end_ = 0;
  restart_ = {};
  bool initialised = false;
  if (!choose_restart(initialised)) {
    if (!initialised) return Verdict::Nothing;
    refuse("initialised, and no valid restart page");
    return Verdict::Refused;
  }
  if (!restart_.has_client) return Verdict::Nothing;
  load_tails();
  Search search = begin_search();
  find_end(search);
  if (search.candidate) end_ = tails_[*search.candidate].page.last_end_lsn;
  if (!check_stop(search)) return Verdict::Refused;
  if (search.candidate) {
    fixed_up_ = search.candidate;
    fixed_up_page_ = search.page;
  }
  return Verdict::Log;
}

// ---- Records ------------------------------------------------------------------------------------

/// Collects `length` bytes of the record from a place on; follows it to its end.
bool Ntfs3Scan::gather(uint64_t lsn, uint64_t page, uint64_t in_page, uint64_t length) {
  data_.resize(length);
  uint64_t done = 0;
  current_end_sequence_ = sequence_of(lsn);
  while (true) {
    const auto part = page_at(page);
    if (!part) return refuse("a page of the record cannot be read");
    if (part->last_lsn < lsn) return refuse("a page of the record is older than the record");
    const uint64_t count = std::min(length - done, kPage - in_page);
    std::memcpy(data_.data() + done, part->bytes + in_page, count);
    done += count;
    in_page += count;
    if (done == length) {
      if (!part->record_end || part->last_end_lsn < lsn) return refuse("no end of the record");
      break;
    }
    if (part->last_lsn == part->last_end_lsn) return refuse("the record ends before its end");
    page = after(page);
    if (page == kFirstPage) ++current_end_sequence_;
    in_page = kData;
  }
  current_ = lsn;
  current_end_page_ = page;
  current_end_in_page_ = (in_page + 7) / 8 * 8;
  return true;
}

std::optional<Ntfs3Scan::Record> Ntfs3Scan::read(uint64_t lsn) {
  const uint64_t offset = offset_of(lsn);
  if (offset < kFirstPage + kData || offset + kHeader > restart_.file_size) {
    refuse("an LSN that addresses nothing");
    return std::nullopt;
  }
  const uint64_t page = offset / kPage * kPage;
  const auto first = page_at(page);
  if (!first || offset % kPage + kHeader > kPage) {
    refuse("the page of the record cannot be read");
    return std::nullopt;
  }
  std::array<std::byte, kHeader> header;
  std::memcpy(header.data(), first->bytes + offset % kPage, kHeader);
  if (u64(header.data()) != lsn) {
    refuse("another LSN in the place of the record");
    return std::nullopt;
  }
  const uint64_t length = u32(header.data() + 0x18);
  if (kHeader + length >= restart_.file_size - kFirstPage) {
    refuse("a record as long as the log");
    return std::nullopt;
  }
  const bool crosses = offset % kPage + kHeader + length > kPage;
  if (crosses && (u16(header.data() + 0x28) & 1) == 0) {
    refuse("a record that crosses the end of its page and does not say so");
    return std::nullopt;
  }
  if (!gather(lsn, page, offset % kPage + kHeader, length)) return std::nullopt;
  return Record{lsn, u32(header.data() + 0x20), u32(header.data() + 0x24), data_};
}

uint64_t Ntfs3Scan::next_lsn() {
  const auto page = page_at(current_end_page_);
  if (!page) return 0;
  uint64_t offset = current_end_page_ + current_end_in_page_;
  uint64_t sequence = current_end_sequence_;
  if (page->last_lsn == current_) {
    const uint64_t next = after(current_end_page_);
    if (next == kFirstPage) ++sequence;
    offset = next + kData;
  }
  const uint64_t lsn = (sequence << restart_.data_bits) | offset >> 3;
  return lsn < restart_.oldest_lsn || lsn > end_ ? 0 : lsn;
}

}  // namespace ntfs::lfs::testing
