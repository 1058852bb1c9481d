#include "lfs/restart_area.h"

#include <algorithm>

#include "lfs/page_buffer.h"

namespace ntfs::lfs {

namespace {

constexpr size_t kRestartAreaOffset = 0x30;
constexpr size_t kClientArrayOffset = 0x40;
constexpr size_t kRestartSequenceArrayOffset = 0x1E;
constexpr size_t kFirstSectorEnd = kSequenceStride - 2;

/// What is wrong with a restart page.
struct Finding {
  std::string_view field;
  uint64_t value = 0;
};

bool has_signature(const MultiSectorHeader& header, std::string_view signature) {
  return std::string_view(header.signature.data(), header.signature.size()) == signature;
}

std::optional<Finding> check_header(const RestartPageHeader& header) {
  if (!has_signature(header.header, "RSTR") && !has_signature(header.header, "CHKD")) {
    return Finding{"signature", struct_at<le32>(bytes_of(header)).get()};
  }
  if (header.system_page_size.get() != kPageSize) {
    return Finding{"system page size", header.system_page_size.get()};
  }
  if (header.log_page_size.get() != kPageSize) {
    return Finding{"log page size", header.log_page_size.get()};
  }
  const uint16_t major = header.major_version.get();
  if (major == 0 || major > 0x7FFF || (major == 1 && header.minor_version.get() == 0)) {
    return Finding{"major version", major};
  }
  const size_t area = header.restart_area_offset.get();
  const size_t array_end = header.header.update_sequence_array_offset.get() +
                           size_t{2} * (kPageSize / kSequenceStride + 1);
  if (area % 8 != 0 || area < array_end || area + kRestartAreaMinimum > kFirstSectorEnd) {
    return Finding{"restart area offset", area};
  }
  return std::nullopt;
}

std::optional<Finding> check_area(const RestartArea& area, size_t area_offset, uint64_t store_bytes,
                                  LogKind kind) {
  const size_t clients = area.log_clients.get();
  const size_t most = kind == LogKind::Volume ? 1 : RestartPage::kMaximumClients;
  if (clients > most) return Finding{"log clients", clients};
  const size_t array = area.client_array_offset.get();
  if (array % 8 != 0 || array < kRestartAreaMinimum || area_offset + array > kFirstSectorEnd) {
    return Finding{"client array offset", array};
  }
  const size_t length = area.restart_area_length.get();
  if (array + clients * sizeof(ClientEntry) > length || area_offset + length > kPageSize) {
    return Finding{"restart area length", length};
  }
  for (const uint16_t head : {area.client_free_list.get(), area.client_in_use_list.get()}) {
    if (head != kNoClient && head >= clients) return Finding{"client list", head};
  }
  if (area.file_size.get() > store_bytes) return Finding{"file size", area.file_size.get()};
  const uint32_t bits = area.sequence_number_bits.get();
  if (!LogGeometry::from_disk(area.file_size.get(), bits, kFirstRecordOffset)) {
    return Finding{"sequence number bits", bits};
  }
  if (area.record_header_length.get() != kRecordHeaderSize) {
    return Finding{"record header length", area.record_header_length.get()};
  }
  if (area.page_data_offset.get() != kPageDataOffset) {
    return Finding{"page data offset", area.page_data_offset.get()};
  }
  return std::nullopt;
}

std::optional<Finding> read_client(const ClientEntry& entry, RestartPage& page) {
  bool known = entry.name_length.get() == 2 * kClientName.size();
  for (size_t i = 0; known && i < kClientName.size(); ++i) {
    known = entry.name[i].get() == kClientName[i];
  }
  if (!known) return Finding{"client name length", entry.name_length.get() / 2};
  page.has_client = true;
  page.client_sequence_number = entry.sequence_number.get();
  page.oldest_lsn = Lsn::from_raw(entry.oldest_lsn.get());
  page.client_restart_lsn = Lsn::from_raw(entry.client_restart_lsn.get());
  return std::nullopt;
}

/// The entries of a private log: all in use, in the order of the array.
std::optional<Finding> read_clients(ByteView page, size_t array, size_t count,
                                    RestartPage& result) {
  for (size_t i = 0; i < count; ++i) {
    const auto& entry = struct_at<ClientEntry>(page, array + i * sizeof(ClientEntry));
    const size_t length = entry.name_length.get();
    if (length % 2 != 0 || length > sizeof(entry.name))
      return Finding{"client name length", length};
    RestartClient client;
    for (size_t unit = 0; unit < length / 2; ++unit) {
      client.name.push_back(static_cast<char16_t>(entry.name[unit].get()));
    }
    client.oldest_lsn = Lsn::from_raw(entry.oldest_lsn.get());
    client.restart_lsn = Lsn::from_raw(entry.client_restart_lsn.get());
    result.clients.push_back(std::move(client));
  }
  return std::nullopt;
}

/// Puts displaced words back. A torn page is as good as a whole one when everything that matters
/// stands in its first sector: ntfs3 and ntfs-3g take it, and so must we, to see the same log.
bool repair(MutableBytes page) {
  if (try_unprotect(page)) return true;
  const auto& header = struct_at<RestartPageHeader>(page);
  const size_t array = header.header.update_sequence_array_offset.get();
  const size_t area = header.restart_area_offset.get();
  if (array % 2 != 0 || array + 2 > kFirstSectorEnd) return false;
  if (area + sizeof(RestartArea) > kFirstSectorEnd) return false;
  const size_t length = struct_at<RestartArea>(page, area).restart_area_length.get();
  return area + length <= kFirstSectorEnd &&
         struct_at<le16>(page, array) == struct_at<le16>(page, kFirstSectorEnd);
}

/// Takes `page` apart; nullopt and the values, or what is wrong.
std::optional<Finding> examine(MutableBytes page, uint64_t store_bytes, LogKind kind,
                               RestartPage& result) {
  const auto& header = struct_at<RestartPageHeader>(page);
  if (const auto finding = check_header(header)) return finding;
  const size_t array = header.header.update_sequence_array_offset.get();
  if (!repair(page)) return Finding{"update sequence array", array};
  const size_t area_offset = header.restart_area_offset.get();
  const auto& area = struct_at<RestartArea>(page, area_offset);
  const uint64_t whole_pages = align_down(store_bytes, kPageSize);
  if (const auto finding = check_area(area, area_offset, whole_pages, kind)) return finding;
  result.kind = kind;
  result.from_chkdsk = has_signature(header.header, "CHKD");
  result.major_version = header.major_version.get();
  result.minor_version = header.minor_version.get();
  result.flags = area.flags.get();
  result.update_sequence_number = struct_at<le16>(page, array).get();
  result.current_lsn = Lsn::from_raw(area.current_lsn.get());
  if (result.from_chkdsk) {
    result.current_lsn = std::max(result.current_lsn, Lsn::from_raw(header.chkdsk_lsn.get()));
  }
  result.file_size = area.file_size.get();
  result.sequence_number_bits = area.sequence_number_bits.get();
  result.last_lsn_data_length = area.last_lsn_data_length.get();
  const size_t array_offset = area.client_array_offset.get();
  if (array_offset >= sizeof(RestartArea)) result.open_log_count = area.open_log_count.get();
  if (kind == LogKind::Private) {
    return read_clients(page, area_offset + array_offset, area.log_clients.get(), result);
  }
  const uint16_t in_use = area.client_in_use_list.get();
  if (result.from_chkdsk || in_use == kNoClient) return std::nullopt;
  result.client_index = in_use;
  return read_client(struct_at<ClientEntry>(page, area_offset + array_offset), result);
}

void write_client(const RestartClient& client, ClientEntry& entry) {
  entry.oldest_lsn.set(client.oldest_lsn.raw());
  entry.client_restart_lsn.set(client.restart_lsn.raw());
  entry.previous_client.set(kNoClient);
  entry.next_client.set(kNoClient);
  entry.name_length.set(static_cast<uint32_t>(2 * client.name.size()));
  for (size_t i = 0; i < client.name.size(); ++i) entry.name[i].set(client.name[i]);
}

bool is_all_ones(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0xFF}; });
}

LogState classify(const RestartPage& page) {
  if (page.major_version > 2) return LogState::Unclean;  // a form that nobody here can judge
  if (page.kind == LogKind::Private) {
    return (page.flags & kRestartCleanDismount) != 0 ? LogState::Clean : LogState::Unclean;
  }
  if (page.from_chkdsk || !page.has_client) return LogState::Clean;
  return (page.flags & kRestartCleanDismount) != 0 ? LogState::Clean : LogState::Unclean;
}

}  // namespace

std::string_view name_of(LogState state) {
  switch (state) {
    case LogState::Clean:
      return "clean";
    case LogState::Unclean:
      return "unclean";
    case LogState::Empty:
      return "empty";
    case LogState::Corrupt:
      return "corrupt";
  }
  return "?";
}

Result<RestartPage> RestartPage::parse(ByteView page, uint64_t store_bytes, const Origin& origin) {
  if (page.size() != kPageSize) return corrupt(origin, "length", page.size(), "4096");
  PageBuffer copy(kPageSize);
  std::copy(page.begin(), page.end(), copy.bytes().begin());
  RestartPage result;
  if (const auto finding = examine(copy.bytes(), store_bytes, LogKind::Volume, result)) {
    return corrupt(origin, finding->field, finding->value);
  }
  return result;
}

void RestartPage::serialize(MutableBytes page) const {
  ASSERT(page.size() == kPageSize && major_version == 1 && minor_version == 1);
  // Zeros to the end: left-over bytes could look like a page of another kind to a replayer that
  // probes offsets 0x200, 0x400 and 0x800.
  std::fill(page.begin(), page.end(), std::byte{0});
  auto& header = struct_at<RestartPageHeader>(page);
  header.header.signature = {'R', 'S', 'T', 'R'};
  header.header.update_sequence_array_offset.set(kRestartSequenceArrayOffset);
  header.header.update_sequence_array_count.set(kPageSize / kSequenceStride + 1);
  header.system_page_size.set(kPageSize);
  header.log_page_size.set(kPageSize);
  header.restart_area_offset.set(kRestartAreaOffset);
  header.minor_version.set(minor_version);
  header.major_version.set(major_version);
  header.update_sequence_array.set(update_sequence_number);

  auto& area = struct_at<RestartArea>(page, kRestartAreaOffset);
  area.current_lsn.set(current_lsn.raw());
  const bool volume = kind == LogKind::Volume;
  const size_t count = volume ? 1 : clients.size();
  ASSERT(count <= kMaximumClients);
  area.log_clients.set(static_cast<uint16_t>(count));
  area.client_free_list.set(volume && !has_client ? 0 : kNoClient);
  area.client_in_use_list.set((volume ? has_client : count != 0) ? 0 : kNoClient);
  area.flags.set(flags);
  area.sequence_number_bits.set(sequence_number_bits);
  area.restart_area_length.set(
      static_cast<uint16_t>(kClientArrayOffset + count * sizeof(ClientEntry)));
  area.client_array_offset.set(kClientArrayOffset);
  area.file_size.set(file_size);
  area.last_lsn_data_length.set(last_lsn_data_length);
  area.record_header_length.set(kRecordHeaderSize);
  area.page_data_offset.set(kPageDataOffset);
  area.open_log_count.set(open_log_count);

  for (size_t i = 0; i < count; ++i) {
    auto& entry = struct_at<ClientEntry>(
        page, kRestartAreaOffset + kClientArrayOffset + i * sizeof(ClientEntry));
    if (volume) {
      write_client({std::u16string(kClientName), oldest_lsn, client_restart_lsn}, entry);
      entry.sequence_number.set(client_sequence_number);
    } else {
      write_client(clients[i], entry);
      if (i != 0) entry.previous_client.set(static_cast<uint16_t>(i - 1));
      if (i + 1 != count) entry.next_client.set(static_cast<uint16_t>(i + 1));
    }
  }
  protect(page);
}

bool RestartPage::is_supported_version() const {
  return (major_version == 1 && minor_version == 1) || (major_version == 2 && minor_version == 0);
}

Result<LogGeometry> RestartPage::geometry() const {
  return LogGeometry::from_disk(file_size, sequence_number_bits,
                                major_version >= 2 ? kFirstRecordOffset2 : kFirstRecordOffset);
}

Result<RestartPages> RestartPages::read(LogStore& store, LogKind kind) {
  RestartPages result;
  if (store.size_bytes() < kMinimumLogBytes) return result;
  PageBuffer memory(2 * kPageSize);
  TRY(store.read(0, memory.bytes()));
  if (is_all_ones(memory.bytes())) {
    result.state = LogState::Empty;
    return result;
  }
  for (size_t i = 0; i < result.pages.size(); ++i) {
    RestartPage page;
    const MutableBytes bytes = memory.bytes().subspan(i * kPageSize, kPageSize);
    if (!examine(bytes, store.size_bytes(), kind, page)) result.pages[i] = std::move(page);
  }
  const auto& [a, b] = result.pages;
  if (!a && !b) return result;
  // The larger LSN counts; on a tie page A.
  result.newest = !a || (b && b->current_lsn > a->current_lsn) ? 1 : 0;
  result.state = classify(result.current());
  return result;
}

}  // namespace ntfs::lfs
