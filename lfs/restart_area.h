#pragma once

// The two restart pages of a log: which one counts, what state the log is in, and how they are
// written. No locks: the caller serializes.

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lfs/log_format.h"
#include "lfs/log_store.h"

namespace ntfs::lfs {

enum class LogState {
  Clean,    ///< nothing to replay: closed, reset by chkdsk, or dismounted cleanly
  Unclean,  ///< a client is registered and did not dismount
  Empty,    ///< all 0xFF
  Corrupt,  ///< written to, but without a restart page that makes sense
};
/// "clean", "unclean", "empty", "corrupt".
std::string_view name_of(LogState state);

/// Whose log it is.
enum class LogKind {
  Volume,   ///< a volume's $LogFile: one client, "NTFS"; other replayers read it
  Private,  ///< a log file of its own: any number of clients up to kMaximumClients
};

/// A client of a private log, as a restart page lists it.
struct RestartClient {
  std::u16string name;  ///< at most 64 units
  Lsn oldest_lsn;
  Lsn restart_lsn;  ///< none before the first restart record
};

/// Of the one client of a volume's log.
inline constexpr std::u16string_view kClientName = u"NTFS";

/// What one restart page says, checked.
struct RestartPage {
  /// Entries that fit into the page.
  static constexpr size_t kMaximumClients = 24;

  LogKind kind = LogKind::Volume;
  bool from_chkdsk = false;
  uint16_t major_version = 0;
  uint16_t minor_version = 0;
  uint16_t flags = 0;
  bool has_client = false;  ///< the "NTFS" client is in the in-use list
  uint16_t client_index = 0;
  uint16_t client_sequence_number = 0;
  uint16_t update_sequence_number = 0;
  Lsn current_lsn;         ///< CHKD: the highest LSN that chkdsk found, if that is larger
  Lsn oldest_lsn;          ///< none without client
  Lsn client_restart_lsn;  ///< none without client or checkpoint
  uint64_t file_size = 0;
  uint32_t sequence_number_bits = 0;
  uint32_t last_lsn_data_length = 0;
  uint32_t open_log_count = 0;
  std::vector<RestartClient> clients;  ///< of a private log; all in use

  /// `page` as read from byte `position` of a volume's log file of `store_bytes`. FileCorruptError
  /// (reported): not a restart page that ntfs3 and ntfs-3g would take.
  static Result<RestartPage> parse(ByteView page, uint64_t store_bytes, const Origin& origin);
  /// The page as it goes to the device; 4096 bytes. For LFS 1.1 only.
  void serialize(MutableBytes page) const;

  /// LFS 1.1 or 2.0.
  bool is_supported_version() const;
  Result<LogGeometry> geometry() const;
};

/// Both pages of a log.
struct RestartPages {
  LogState state = LogState::Corrupt;
  std::array<std::optional<RestartPage>, 2> pages;
  size_t newest = 0;  ///< index into pages; meaningful unless state is Empty or Corrupt

  const RestartPage& current() const { return *pages[newest]; }

  /// Errors: the store's only.
  static Result<RestartPages> read(LogStore& store, LogKind kind = LogKind::Volume);
};

}  // namespace ntfs::lfs
