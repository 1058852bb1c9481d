#include "core/fsa/usn_post.h"

#include "core/store/file_records.h"

namespace ntfs {

using usn::Reason;

UsnPost::~UsnPost() {
  if (!is_kept_) file_.retract(ticket_);
  if (file_.holders().load() == 0) file_.post_close();
}

Result<uint32_t> reasons_of_write(Volume& volume, File& file, std::optional<uint64_t> offset,
                                  uint64_t length) {
  if (!FileRecords::are_kept_of(volume, file.reference()) || length == 0) return 0u;
  if (!offset) return Reason::DataExtend;
  constexpr uint32_t kBoth = Reason::DataOverwrite | Reason::DataExtend;
  const uint32_t known = file.changes([](const usn::FileChanges& c) { return c.reasons(); });
  if ((known & kBoth) == kBoth) return 0u;
  const Stream::Sizes sizes = TRY(file.data().sizes());
  uint32_t reasons = 0;
  if (*offset < sizes.file_size) reasons |= Reason::DataOverwrite;
  if (*offset + length > sizes.file_size) reasons |= Reason::DataExtend;
  return reasons;
}

Result<uint32_t> reasons_of_growth(Volume& volume, File& file, uint64_t end,
                                   Stream::KeepSize keep) {
  if (keep == Stream::KeepSize::Yes) return 0u;
  const uint32_t reasons = TRY(reasons_of_size(volume, file, end));
  return reasons & Reason::DataExtend;
}

Result<uint32_t> reasons_of_size(Volume& volume, File& file, uint64_t size) {
  if (!FileRecords::are_kept_of(volume, file.reference())) return 0u;
  const Stream::Sizes sizes = TRY(file.data().sizes());
  if (size == sizes.file_size) return 0u;
  return size > sizes.file_size ? Reason::DataExtend : Reason::DataTruncation;
}

}  // namespace ntfs
