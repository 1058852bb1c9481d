// Streams whose data the owner of a reparse point keeps: compressed beside it (wof_data.h), or
// where only that owner finds it.

#include <fmt/format.h>

#include "core/base/trace.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"
#include "core/store/file.h"
#include "core/store/small_value.h"
#include "core/store/stream.h"
#include "core/store/volume.h"
#include "core/store/wof_data.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;
using ondisk::ReparseTag;

namespace {

/// Where the data is that a reader expects in $DATA.
enum class DataIs {
  Here,
  HereAndWatched,  ///< its owner would not learn of changes
  Compressed,      ///< by Windows' overlay filter
  Elsewhere,
};

bool is_special_file(uint32_t tag) {
  return tag == ReparseTag::LxFifo || tag == ReparseTag::LxChr || tag == ReparseTag::LxBlk ||
         tag == ReparseTag::AfUnix;
}

DataIs where_is_data(const ondisk::ReparsePointView& point, uint32_t file_attributes) {
  // Nobody reads the data of links and special files.
  if (point.is_name_surrogate() || is_special_file(point.tag())) return DataIs::Here;
  if (point.tag() == ReparseTag::Wof) {
    return ondisk::wof_format(point) ? DataIs::Compressed : DataIs::Elsewhere;
  }
  constexpr uint32_t kRecall = FileAttributes::Offline | FileAttributes::RecallOnDataAccess;
  const bool is_cloud = (point.tag() & ~ReparseTag::CloudMask) == ReparseTag::Cloud;
  return is_cloud && (file_attributes & kRecall) == 0 ? DataIs::HereAndWatched : DataIs::Elsewhere;
}

}  // namespace

/// Part of loading: the unnamed stream, whose sizes and runs are known.
Result<> Stream::look_at_reparse_point(Attributes& attributes) {
  const auto found = attributes.find(AttributeType::ReparsePoint);
  if (!found) {
    return found.error() == NtStatus::ObjectNameNotFound ? Result<>() : found.error();
  }
  const FileReference file = file_.reference();
  const auto standard = TRY(attributes.find(AttributeType::StandardInformation));
  const auto information = TRY(ondisk::parse_standard_information(
      standard.view().value(), {"$STANDARD_INFORMATION", file.raw(), 0}));
  const ByteVector value = TRY(read_small_value(volume_, file, AttributeType::ReparsePoint));
  const auto point = TRY(ondisk::ReparsePointView::parse(value, {"reparse point", file.raw(), 0}));
  switch (where_is_data(point, information.file_attributes.get())) {
    case DataIs::Here:
      break;
    case DataIs::HereAndWatched:
      cannot_write_ = NtStatus::IoReparseTagNotHandled;
      break;
    case DataIs::Compressed:
      cannot_write_ = NtStatus::NotSupported;
      read_from_wof(TRY(ondisk::wof_format(point)));
      break;
    case DataIs::Elsewhere:
      cannot_read_ = NtStatus::IoReparseTagNotHandled;
      cannot_write_ = NtStatus::IoReparseTagNotHandled;
      log_line(LogLevel::Warning,
               fmt::format("file {}-{}: its data is where the owner of its reparse point keeps it "
                           "(tag {:#010x}, {}): it cannot be read",
                           file.record(), file.sequence(), point.tag(),
                           ondisk::name_of_reparse_tag(point.tag())));
      break;
  }
  return {};
}

void Stream::read_from_wof(ondisk::WofFormat format) {
  const WofData::Shape shape{file_.reference(), format, disk_file_size_};
  wof_ = std::make_shared<WofData>(volume_, file_.named_stream(ondisk::kWofStreamName), shape);
  has_wof_ = true;
}

void Stream::note_reparse_change() {
  const MutexLock change(change_mutex_);
  const ExclusiveLock lock(mutex_);
  // Whoever writes at the same time goes on as before.
  if (is_dirty() || !loaded_) return;
  cannot_read_ = NtStatus::Success;
  cannot_write_ = NtStatus::Success;
  has_wof_ = false;
  wof_ = nullptr;
  loaded_.store(false, std::memory_order_release);
  // What fails here fails again for whoever needs it.
  static_cast<void>(load_locked());
}

std::shared_ptr<WofData> Stream::wof() const {
  if (!has_wof_) return nullptr;
  const SharedLock lock(mutex_);
  return wof_;
}

/// Whether the unnamed stream is decompressed from this one, which nobody changes then: Windows'
/// filter does not even open it.
bool Stream::is_read_as_data() {
  if (name_ != ondisk::kWofStreamName) return false;
  // An error is for those who ask for that data.
  static_cast<void>(file_.data().ensure_loaded());
  return file_.data().has_wof_;
}

}  // namespace ntfs
