#include "core/fsa/usn_post.h"

#include "core/store/file_records.h"

namespace ntfs {

using usn::Reason;

UsnPost::~UsnPost() {
  if (!is_kept_) file_.retract(ticket_);
  if (file_.holders().load() == 0) file_.post_close();
}

void note_written(Stream& stream, uint64_t offset, uint64_t length) {
  if (!stream.is_named()) stream.file().note_written(offset, length);
}

uint32_t reasons_of_data(const Stream& stream, uint32_t reasons) {
  constexpr unsigned kNamedShift = 4;
  static_assert(Reason::NamedDataOverwrite == Reason::DataOverwrite << kNamedShift &&
                Reason::NamedDataExtend == Reason::DataExtend << kNamedShift &&
                Reason::NamedDataTruncation == Reason::DataTruncation << kNamedShift);
  return stream.is_named() ? reasons << kNamedShift : reasons;
}

Result<uint32_t> reasons_of_write(Stream& stream, std::optional<uint64_t> offset, uint64_t length) {
  File& file = stream.file();
  if (!FileRecords::are_kept_of(stream.volume(), file.reference()) || length == 0) return 0u;
  const uint32_t overwrite = reasons_of_data(stream, Reason::DataOverwrite);
  const uint32_t extend = reasons_of_data(stream, Reason::DataExtend);
  if (!offset) return extend;
  const uint32_t known = file.changes([](const usn::FileChanges& c) { return c.reasons(); });
  if ((known & overwrite) != 0 && (known & extend) != 0) return 0u;
  const Stream::Sizes sizes = TRY(stream.sizes());
  uint32_t reasons = 0;
  if (*offset < sizes.file_size) reasons |= overwrite;
  if (*offset + length > sizes.file_size) reasons |= extend;
  return reasons;
}

Result<uint32_t> reasons_of_growth(Stream& stream, uint64_t end, Stream::KeepSize keep) {
  if (keep == Stream::KeepSize::Yes) return 0u;
  const uint32_t reasons = TRY(reasons_of_size(stream, end));
  return reasons & reasons_of_data(stream, Reason::DataExtend);
}

Result<uint32_t> reasons_of_size(Stream& stream, uint64_t size) {
  if (!FileRecords::are_kept_of(stream.volume(), stream.file().reference())) return 0u;
  const Stream::Sizes sizes = TRY(stream.sizes());
  if (size == sizes.file_size) return 0u;
  return reasons_of_data(stream,
                         size > sizes.file_size ? Reason::DataExtend : Reason::DataTruncation);
}

}  // namespace ntfs
