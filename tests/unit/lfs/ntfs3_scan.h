#pragma once

// A second judge of logs: what the ntfs3 driver makes of an LFS 1.1 log, written down from a
// description of its behaviour. It shares nothing with lfs/: not a structure, not a constant.
// ntfs3 takes torn record pages as if they were whole. No order of writes protects a page that is
// being filled in its place from that; so the judge can also treat torn pages as unreadable.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"

namespace ntfs::lfs::testing {

class Ntfs3Scan {
 public:
  enum class TornPages { Taken, Unreadable };
  enum class Verdict {
    Nothing,  ///< empty, or no client: nothing to replay
    Log,      ///< a log that ends at end_lsn()
    Refused,  ///< ntfs3 would not mount read-write; why() says the reason
  };
  struct Record {
    uint64_t lsn = 0;
    uint32_t type = 0;
    uint32_t transaction_id = 0;
    ByteView data;  ///< valid until the next call
  };

  /// Looks at `log`, which must outlive the calls that follow.
  Verdict run(ByteView log, TornPages torn);

  const std::string& why() const { return why_; }
  uint64_t end_lsn() const { return end_; }
  uint64_t oldest_lsn() const { return restart_.oldest_lsn; }
  uint64_t client_restart_lsn() const { return restart_.client_restart_lsn; }
  bool is_dismounted() const { return restart_.dismounted; }

  /// Nothing, and why() says the reason: ntfs3 would refuse the log.
  std::optional<Record> read(uint64_t lsn);
  /// The LSN behind the record read last; 0 at the end.
  uint64_t next_lsn();

 private:
  struct Restart {
    uint64_t current_lsn = 0;
    uint64_t oldest_lsn = 0;
    uint64_t client_restart_lsn = 0;
    uint64_t file_size = 0;
    uint32_t data_length = 0;
    unsigned data_bits = 0;
    bool has_client = false;
    bool from_chkdsk = false;
    bool single_page_io = false;
    bool dismounted = false;
  };
  struct Page {
    uint64_t last_lsn = 0;
    uint64_t last_end_lsn = 0;
    bool record_end = false;
    uint16_t count = 0;
    uint16_t position = 0;
    const std::byte* bytes = nullptr;
  };
  /// A tail slot that may stand for the page at `target`.
  struct Tail {
    uint64_t target = 0;
    Page page;
  };
  struct Search {
    uint64_t page = 0;
    uint64_t expected = 0;  ///< sequence number
    uint64_t last_ok = 0;
    uint16_t count = 1;
    uint16_t position = 1;
    bool at_reused_page = false;
    bool replace = false;
    std::optional<size_t> candidate;
  };

  std::optional<Restart> parse_restart(uint64_t offset) const;
  std::optional<uint64_t> find_restart_page(uint64_t first, bool& initialised) const;
  bool choose_restart(bool& initialised);
  std::optional<Page> page_at(uint64_t offset);
  std::optional<Page> read_page(uint64_t offset);
  void load_tails();
  Search begin_search() const;
  std::optional<size_t> candidate_for(const Search& search) const;
  bool stops_at(const std::optional<Page>& page, const Search& search) const;
  void find_end(Search& search);
  bool check_stop(const Search& search);
  bool refuse(std::string why);
  bool gather(uint64_t lsn, uint64_t page, uint64_t in_page, uint64_t length);

  uint64_t sequence_of(uint64_t lsn) const { return lsn >> restart_.data_bits; }
  uint64_t offset_of(uint64_t lsn) const {
    return (lsn << 3) & ((uint64_t{8} << restart_.data_bits) - 1);
  }
  uint64_t after(uint64_t page) const;

  ByteView log_;
  TornPages torn_ = TornPages::Taken;
  std::string why_;
  Restart restart_;
  uint64_t end_ = 0;
  std::vector<Tail> tails_;         // slot of page 3 first, then that of page 2
  std::optional<size_t> fixed_up_;  // the tail that has gone to its place
  uint64_t fixed_up_page_ = 0;
  std::vector<std::byte> memory_;  // fixed-up pages
  std::vector<uint8_t> known_;     // of each page: 0 not looked at, 1 readable, 2 not
  // The record read last.
  uint64_t current_ = 0;
  uint64_t current_end_page_ = 0;
  uint64_t current_end_in_page_ = 0;
  uint64_t current_end_sequence_ = 0;
  ByteVector data_;
};

}  // namespace ntfs::lfs::testing
