#include "core/store/hibernation.h"

#include <algorithm>

#include "core/ondisk/file_record.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"
#include "core/store/volume.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

constexpr uint64_t kHeaderBytes = 4096;
constexpr size_t kMagicBytes = 4;

/// Whether a nonresident $DATA begins as a hibernation image does.
Result<bool> holds_session(Volume& volume, Attributes& file) {
  const auto sizes = TRY(file.sizes(AttributeType::Data, u""));
  const Runlist runs = TRY(file.load_runs(AttributeType::Data, u""));
  if (sizes.valid_data_length < kMagicBytes || runs.empty()) return false;
  const Run first = runs.find(Vcn(0));
  if (first.lcn.is_hole()) return false;
  const uint64_t cluster = volume.geometry().cluster_size;
  AlignedBuffer head(std::min(kHeaderBytes, first.count.raw() * cluster));
  TRY(volume.device().read(first.lcn.raw() * cluster, head.bytes()));
  const std::string_view magic = as_text(head.bytes().first(kMagicBytes));
  return magic == "hibr" || magic == "HIBR";
}

Result<Sleep> sleep_in_file(Volume& volume, FileReference reference) {
  Attributes file(volume, reference);
  const PageRef base = TRY(file.base());
  if (ondisk::FileRecordView::of_valid(base->bytes()).is_directory()) return Sleep::None;
  const auto data = TRY(file.find(AttributeType::Data));
  if (data.view().is_resident() || data.view().file_size() < kHeaderBytes) return Sleep::Elsewhere;
  return TRY(holds_session(volume, file))
  ? Sleep::Hibernated : Sleep::None;
}

}  // namespace

Result<Sleep> find_sleep(Volume& volume) {
  const SharedLock lock(volume.journal().metadata_lock());
  IndexTree root(volume, FileReference(ondisk::kRootRecord, 5), u"$I30");
  const auto entry = TRY(root.find_name(kHibernationFile, IndexTree::NameMatch::IgnoreCase));
  if (entry) {
    return sleep_in_file(volume, ondisk::IndexEntryView::of_valid(*entry, 0).reference());
  }
  const lfs::LogStatus& log = volume.log_status();
  const bool left_by_windows_8 = log.state == lfs::LogState::Unclean && log.major_version >= 2;
  return left_by_windows_8 ? Sleep::Possible : Sleep::None;
}

std::string_view explain(Sleep sleep) {
  switch (sleep) {
    case Sleep::None:
      break;
    case Sleep::Hibernated:
      return "Windows is hibernated on it, or was shut down with fast start (hiberfil.sys): it can "
             "be mounted read-only. Resume Windows and shut it down fully (shutdown /s /t 0), or "
             "give the mount option remove_hiberfile, which loses the Windows session";
    case Sleep::Elsewhere:
      return "a hibernated Windows has it mounted (hiberfil.sys is too short to be its own): it "
             "can be mounted read-only. Resume that Windows and shut it down fully (shutdown /s /t "
             "0), or give the mount option remove_hiberfile, which loses what Windows holds of it";
    case Sleep::Possible:
      return "Windows 8 or later had it mounted last and did not unmount it. It may sleep "
             "(hibernated, fast start) with changes in its memory: the volume can be mounted "
             "read-only. Shut Windows down fully (shutdown /s /t 0). If the disk was unplugged or "
             "the machine crashed instead, run `ntfs-wal recover` on it";
  }
  return "";
}

}  // namespace ntfs
