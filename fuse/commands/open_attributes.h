#pragma once

// The open attribute table of a log, rebuilt while its records go by: what the slot in a record's
// target_attribute stands for. Source: fact sheet of the log, "Open attribute table".

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "core/ondisk/log_operations.h"

namespace ntfs::frontend {

struct LoggedAttribute {
  FileReference file;
  uint32_t type_code = 0;
  std::u16string name;
};

class OpenAttributes {
 public:
  /// Learns from a record, if it says something about the table.
  void learn(const ondisk::ClientRecordView& record);
  /// What `slot` stands for now; nothing when no record before said so.
  const LoggedAttribute* find(uint16_t slot) const;

 private:
  void learn_table(ByteView dump);
  void learn_names(ByteView dump);
  void learn_open(const ondisk::ClientRecordView& record);

  std::map<uint16_t, LoggedAttribute> slots_;
};

}  // namespace ntfs::frontend
