#pragma once

// MS-FSA 2.1.4.11 "Algorithm for Reporting a Change to the Change Journal": what one operation
// posts of a file. Posted before the change, so that the transaction that makes the change last
// holds the record, too; taken back when the operation fails. Where nobody has the file open, the
// operation counts as an open, the change, and a close.

#include <optional>

#include "core/store/file.h"
#include "usn/reason.h"

namespace ntfs {

class UsnPost {
 public:
  /// `file` must outlive the object.
  UsnPost(File& file, uint32_t reasons) : file_(file), ticket_(file.post(reasons)) {}
  ~UsnPost();
  UsnPost(const UsnPost&) = delete;
  UsnPost& operator=(const UsnPost&) = delete;

  /// The operation has succeeded.
  void keep() { is_kept_ = true; }

 private:
  File& file_;
  const usn::FileChanges::Ticket ticket_;
  bool is_kept_ = false;
};

/// [offset, offset + length) of the stream was written, for the record of ranges; `length` may go
/// beyond the end of the file.
void note_written(Stream& stream, uint64_t offset, uint64_t length);

/// Reasons for new data in [offset, offset + length); `offset`: nothing for the end of the file.
/// Nothing where changes are not recorded. Errors: those of loading the stream.
Result<uint32_t> reasons_of_write(Stream& stream, std::optional<uint64_t> offset, uint64_t length);
/// Reasons for a stream that gets at least `end` bytes, if it may.
Result<uint32_t> reasons_of_growth(Stream& stream, uint64_t end, Stream::KeepSize keep);
/// Reasons for a size that is set.
Result<uint32_t> reasons_of_size(Stream& stream, uint64_t size);
/// What `reasons`, of unnamed data, are for this stream.
uint32_t reasons_of_data(const Stream& stream, uint32_t reasons);

}  // namespace ntfs
