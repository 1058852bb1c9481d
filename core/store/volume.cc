#include "core/store/volume.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/mapping_pairs.h"
#include "core/store/file_records.h"
#include "core/store/hibernation.h"
#include "core/store/index_tree.h"
#include "core/store/security_descriptors.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileRecordView;

namespace {

constexpr FileReference kMftFile(ondisk::kMftRecord, 1);
/// Streams kept in memory although nobody uses them.
constexpr uint64_t kUpCaseBytes = 128 << 10;
/// Sequence numbers between the highest LSN found on a volume whose log was emptied and ours: index
/// blocks may carry higher LSNs than the file records that were looked at.
constexpr uint64_t kSequenceJump = 1024;
/// Files whose notes for the change journal become records in one transaction.
constexpr size_t kMostFiles = 128;
/// Files that wait for nothing but their close record; so few that the processor's cache still has
/// their records.
constexpr size_t kMostClosed = 32;
/// Files whose data may go into the log, when a commit is waited for.
constexpr size_t kMostUrgent = 64;

/// From where on the journal may have records of files that a crash left open. A log without client
/// was closed by no dismount of ours: somebody made it, or a crash cut us short between a recovery
/// and the log that follows it, which would say from where on.
usn::Usn left_open_from(const UsnStream& usn, const Recovery* recovery, const lfs::LogStatus& log) {
  if (recovery != nullptr) return usn::Usn::from_raw(recovery->usn_restart(usn.file()));
  return log.oldest_lsn.is_none() ? usn.first() : usn.next();
}

bool forbids(VolumeOptions::SleepGuard guard, Sleep sleep) {
  switch (guard) {
    case VolumeOptions::SleepGuard::Possible:
      return sleep != Sleep::None;
    case VolumeOptions::SleepGuard::Known:
      return sleep == Sleep::Hibernated || sleep == Sleep::Elsewhere;
    case VolumeOptions::SleepGuard::RemoveFile:
      break;
  }
  return false;
}

bool has_notes(File& file) {
  const auto count = file.changes([](const usn::FileChanges& c) { return c.count_noted(); });
  return count != 0 && file.remains() == nullptr;
}

}  // namespace

Volume::Volume(BlockDevice& device, const VolumeOptions& options,
               const ondisk::VolumeGeometry& geometry, std::unique_ptr<Recovery> recovery)
    : recovery_(std::move(recovery)),
      view_(recovery_ != nullptr && options.access != VolumeOptions::Access::ReadWrite
                ? std::make_unique<OverlayDevice>(device, recovery_->patches())
                : nullptr),
      device_(view_ != nullptr ? *view_ : device),
      options_(options),
      geometry_(geometry),
      buffers_(device_) {}

Volume::~Volume() {
  stop_committer_ = true;
  if (journal_ != nullptr) journal_->wake();
  if (committer_.joinable()) committer_.join();
}

Result<ondisk::VolumeGeometry> Volume::read_geometry(BlockDevice& device) {
  AlignedBuffer sector(4096);
  if (device.size_bytes() < sector.size()) return NtStatus::UnrecognizedVolume;
  TRY(device.read(0, sector.bytes()));
  return ondisk::parse_boot_sector(sector.bytes(), device.size_bytes(), {"boot sector", 0, 0});
}

Result<std::unique_ptr<Volume>> Volume::open(BlockDevice& device, const VolumeOptions& options,
                                             std::string& why_not) {
  const auto geometry = TRY(read_geometry(device));
  using Access = VolumeOptions::Access;
  std::unique_ptr<Recovery> recovery;
  if (options.access != Access::AsItIs) {
    auto replayed = Recovery::replay(device, geometry, why_not);
    if (!replayed && (options.access != Access::NoRecover || why_not.empty())) {
      return replayed.error();
    }
    if (replayed) recovery = std::move(*replayed);
    if (!why_not.empty()) log_line(LogLevel::Warning, "shown as it is: " + why_not);
    why_not.clear();
  }
  if (recovery != nullptr && options.access == Access::ReadWrite) {
    TRY(write_recovered(device, options, geometry, *recovery, why_not));
  }
  std::unique_ptr<Volume> volume(new Volume(device, options, geometry, std::move(recovery)));
  TRY(volume->load(why_not));
  return volume;
}

/// Brings to the device what the log says, unless the volume must not be written: Windows may be
/// hibernated on it, as it will be. Nothing is written before that is known.
Result<> Volume::write_recovered(BlockDevice& device, VolumeOptions options,
                                 const ondisk::VolumeGeometry& geometry, Recovery& recovery,
                                 std::string& why_not) {
  OverlayDevice view(device, recovery.patches());
  options.access = VolumeOptions::Access::AsItIs;
  Volume recovered(view, options, geometry, nullptr);
  TRY(recovered.load(why_not));
  TRY(recovered.check_writable(why_not));
  return recovery.write(device);
}

// Mounting.

Result<> Volume::load(std::string& why_not) {
  pages_ = std::make_unique<PageCache>(device_, geometry_, options_.cache_bytes / 2);
  journal_ = std::make_unique<Journal>(device_, *pages_, geometry_);
  pages_->on_excess([this] { journal_->wake(); });
  data_ = std::make_unique<LoggedData>(device_, *journal_);
  TRY(load_mft());
  TRY(load_volume_record(why_not));
  TRY(load_upcase());
  TRY(load_log_runs());
  const auto bitmap =
      TRY(metadata_stream(FileReference(ondisk::kBitmapRecord, 6), AttributeType::Data, u""));
  clusters_ = std::make_unique<ClusterAllocator>(*pages_, *journal_, device_, bitmap, geometry_,
                                                 options_.discard);
  TRY(clusters_->load());
  security_ = std::make_unique<SecurityDescriptors>(*this);
  usn_ = std::make_unique<UsnStream>(*this);
  TRY(usn_->load());
  if (options_.access == VolumeOptions::Access::ReadOnly) {
    TRY(check_log(why_not));
    start_committer();
    return {};
  }
  if (options_.access != VolumeOptions::Access::ReadWrite) return {};
  TRY(check_log(why_not));
  TRY(check_writable(why_not));
  if (geometry_.has_refcounts) TRY(load_refcounts());
  const Journal::Mirror mirror = TRY(mirror_of_mft());
  journal_->start(TRY(start_log()), *log_store_, mirror);
  const Lcn mft_end =
      mft_->records()->runs.runs().back().lcn + mft_->records()->runs.runs().back().count;
  clusters_->set_mft_zone({mft_end, ClusterCount(std::min(geometry_.total_clusters - mft_end.raw(),
                                                          geometry_.total_clusters / 8))});
  TRY(start_usn());
  start_committer();
  return {};
}

void Volume::start_committer() {
  if (options_.commit_interval.count() == 0) return;
  committer_ = std::thread([this] { run_committer(); });
}

/// Changes become records from here on. Records that another driver may have left out: whoever
/// empties the log has changed the volume.
Result<> Volume::start_usn() {
  const bool is_deleted = (information_.flags.get() & ondisk::VolumeFlags::DeleteUsnUnderway) != 0;
  if (is_deleted) usn_->forget();
  if (!usn_->exists()) return {};
  const bool is_on = options_.usn_records == VolumeOptions::UsnRecords::Yes;
  if (!is_on || log_status_.state == lfs::LogState::Empty) {
    Transaction transaction(*journal_);
    TRY(transaction.begin());
    TRY(usn_->stamp(transaction));
    transaction.commit();
  }
  if (!is_on) return {};
  usn_->start();
  return usn_->close_left_open(left_open_from(*usn_, recovery_.get(), log_status_));
}

Result<> Volume::load_mft() {
  auto stream = std::make_shared<MetadataStream>();
  stream->file = kMftFile;
  stream->type = AttributeType::Data;
  stream->kind = PageKind::FileRecord;
  stream->page_bytes = geometry_.file_record_size;
  stream->id = metadata_stream_id(ondisk::kMftRecord, AttributeType::Data, u"");
  // Record 0 tells the rest; its own first clusters are where the boot sector says.
  const uint64_t clusters = divide_up(geometry_.file_record_size, geometry_.cluster_size);
  stream->runs.append(geometry_.mft_lcn, ClusterCount(clusters));
  mft_ = std::make_unique<Mft>(*this, stream);
  const PageRef base = TRY(pages_->get(stream, 0));
  const auto record = FileRecordView::of_valid(base->bytes());
  const auto data = record.find(AttributeType::Data);
  if (!data || data->is_resident() || !record.in_use()) {
    return corrupt({"$MFT", kMftFile.raw(), 0}, "$DATA attribute", 0, "a nonresident one");
  }
  // The first extent is in the base record; the extension records of the next ones lie in it.
  const Origin origin{"$MFT runlist", kMftFile.raw(), data->offset()};
  stream->runs = Runlist(TRY(ondisk::decode_mapping_pairs(
      data->mapping_pairs(), Vcn(0), data->next_vcn(), geometry_.total_clusters, origin)));
  if (stream->runs.empty() || stream->runs.find(Vcn(0)).lcn != geometry_.mft_lcn) {
    return corrupt(origin, "first lcn", 0, "the one in the boot sector");
  }
  return mft_->load();
}

// How many records have a copy: as many as $MFTMirr holds, but of system files only. Windows does
// so on volumes with large clusters, where the mirror has room for more.
Result<Journal::Mirror> Volume::mirror_of_mft() {
  const FileReference file(ondisk::kMftMirrRecord, 1);
  Attributes attributes(*this, file);
  const auto sizes = TRY(attributes.sizes(AttributeType::Data, u""));
  const Runlist runs = TRY(attributes.load_runs(AttributeType::Data, u""));
  const uint64_t cluster = geometry_.cluster_size;
  if (runs.empty() || runs.find(Vcn(0)).lcn != geometry_.mftmirr_lcn) {
    return corrupt({"$MFTMirr", file.raw(), 0}, "first lcn", 0, "the one in the boot sector");
  }
  const uint64_t length =
      std::min(sizes.valid_data_length, runs.find(Vcn(0)).count.raw() * cluster);
  return Journal::Mirror{geometry_.mftmirr_lcn.raw() * cluster,
                         std::min(length / geometry_.file_record_size, ondisk::kFirstUserRecord)};
}

Result<ByteVector> Volume::read_whole(FileReference file, AttributeType type, uint64_t limit) {
  Attributes attributes(*this, file);
  const auto found = TRY(attributes.find(type));
  const auto view = found.view();
  if (view.is_resident()) return ByteVector(view.value().begin(), view.value().end());
  const uint64_t size = view.file_size();
  if (size > limit) return corrupt({"system file", file.raw(), 0}, "size", size);
  const Runlist runs = TRY(attributes.load_runs(type, u""));
  const uint64_t cluster = geometry_.cluster_size;
  AlignedBuffer buffer(align_up(size, std::max<uint64_t>(cluster, 4096)));
  for (const Run& run : runs.runs()) {
    const uint64_t at = run.vcn.raw() * cluster;
    if (at >= size || run.lcn.is_hole()) continue;
    const uint64_t length = std::min(run.count.raw() * cluster, buffer.size() - at);
    TRY(device_.read(run.lcn.raw() * cluster, buffer.bytes().subspan(at, length)));
  }
  const ByteView valid = buffer.bytes().first(size);
  return ByteVector(valid.begin(), valid.end());
}

Result<> Volume::load_volume_record(std::string& why_not) {
  const FileReference file(ondisk::kVolumeRecord, 3);
  Attributes attributes(*this, file);
  const auto found = attributes.find(AttributeType::VolumeInformation);
  if (!found) {
    why_not = "$Volume has no $VOLUME_INFORMATION";
    return found.error() == NtStatus::ObjectNameNotFound ? NtStatus::FileCorruptError
                                                         : found.error();
  }
  const auto view = found->view();
  if (!view.is_resident()) return corrupt({"$Volume", file.raw(), 0}, "form", 1, "resident");
  information_ = TRY(ondisk::parse_volume_information(view.value(), {"$Volume", file.raw(), 0}));
  const auto name = attributes.find(AttributeType::VolumeName);
  if (name && name->view().is_resident()) {
    const ByteView value = name->view().value();
    for (size_t i = 0; i + 1 < value.size(); i += 2) {
      label_.push_back(static_cast<char16_t>(struct_at<le16>(value, i).get()));
    }
  }
  return {};
}

Result<> Volume::load_upcase() {
  const auto table =
      TRY(read_whole(FileReference(ondisk::kUpCaseRecord, 10), AttributeType::Data, kUpCaseBytes));
  upcase_ = std::make_unique<UpCase>(TRY(UpCase::parse(table)));
  return {};
}

Result<> Volume::load_log_runs() {
  const FileReference file(ondisk::kLogFileRecord, 2);
  Attributes attributes(*this, file);
  const auto sizes = TRY(attributes.sizes(AttributeType::Data, u""));
  Runlist runs = TRY(attributes.load_runs(AttributeType::Data, u""));
  for (const Run& run : runs.runs()) {
    if (run.lcn.is_hole()) return corrupt({"$LogFile", file.raw(), 0}, "run", run.vcn.raw());
  }
  if (runs.end().raw() * geometry_.cluster_size < sizes.file_size) {
    return corrupt({"$LogFile", file.raw(), 0}, "file size", sizes.file_size);
  }
  log_store_ = std::make_unique<LogStoreOnVolume>(device_, std::move(runs), sizes.file_size,
                                                  geometry_.cluster_size);
  log_status_ = TRY(lfs::LogFile::inspect(*log_store_));
  return {};
}

Result<> Volume::load_refcounts() {
  IndexTree extend(*this, FileReference(ondisk::kExtendRecord, 11), u"$I30");
  const auto entry = TRY(extend.find_name(ondisk::kRefcountsName, IndexTree::NameMatch::Exact));
  if (!entry) return corrupt({"$Extend", 11, 0}, "$Refcounts", 0, "present");
  const auto view = ondisk::IndexEntryView::of_valid(*entry, 0);
  refcounts_ = std::make_unique<ClusterRefcounts>(*this, view.reference());
  return refcounts_->load();
}

Result<> Volume::release_clusters(Transaction& transaction, ClusterRun run) {
  if (refcounts_ == nullptr) return clusters_->free_clusters(transaction, run);
  for (const ClusterRun& freed : TRY(refcounts_->remove_reference(transaction, run))) {
    TRY(clusters_->free_clusters(transaction, freed));
  }
  return {};
}

Result<> Volume::check_log(std::string& why_not) const {
  if (log_status_.state == lfs::LogState::Corrupt) {
    why_not =
        "its $LogFile is damaged. Run chkdsk under Windows, or look at the volume with "
        "-o ro,norecover";
    return NtStatus::LogCorrupt;
  }
  return {};
}

Result<> Volume::check_writable(std::string& why_not) {
  const Sleep sleep = TRY(find_sleep(*this));
  if (forbids(options_.sleep_guard, sleep)) {
    why_not = explain(sleep);
    return NtStatus::SharingViolation;
  }
  if ((information_.flags.get() & ondisk::VolumeFlags::Dirty) != 0) {
    why_not =
        "it is marked dirty: a driver found damage. It can be mounted read-only. Run chkdsk "
        "under Windows to repair it";
    return NtStatus::DiskCorruptError;
  }
  if (static_cast<int>(information_.major_version) < 3) {
    why_not = "it has an NTFS version before 3.0: it can be mounted read-only";
    return NtStatus::NotSupported;
  }
  return {};
}

Result<lfs::Lsn> Volume::highest_record_lsn() {
  // Past the cache: a large $MFT must not push everything else out of it.
  constexpr uint64_t kChunk = 1 << 20;
  AlignedBuffer buffer(kChunk);
  const uint64_t cluster = geometry_.cluster_size;
  const uint64_t record_size = geometry_.file_record_size;
  uint64_t highest = 0;
  for (const Run& run : mft_->records()->runs.runs()) {
    if (run.lcn.is_hole()) continue;
    const uint64_t end = run.count.raw() * cluster;
    for (uint64_t at = 0; at < end; at += kChunk) {
      const uint64_t length = std::min(kChunk, end - at);
      TRY(device_.read(run.lcn.raw() * cluster + at, buffer.bytes().first(length)));
      const uint64_t step = std::min<uint64_t>(record_size, cluster);
      for (uint64_t i = 0; i + sizeof(ondisk::FileRecordHeader) <= length; i += step) {
        const auto& header = struct_at<ondisk::FileRecordHeader>(ByteView(buffer.bytes()), i);
        if (as_text(bytes_of(header.multi_sector.signature)) != "FILE") continue;
        highest = std::max(highest, header.lsn.get());
      }
    }
  }
  return lfs::Lsn::from_raw(highest);
}

Result<std::unique_ptr<lfs::LogFile>> Volume::start_log() {
  lfs::LogStart start;
  if (recovery_ != nullptr) start.floor = recovery_->stamp();
  if (log_status_.state == lfs::LogState::Empty) {
    // Whoever emptied the log left no trace of the LSNs that the pages carry.
    const lfs::Lsn highest = TRY(highest_record_lsn());
    const auto geometry = TRY(lfs::LogGeometry::for_new_log(log_store_->size_bytes()));
    const uint64_t jump =
        highest.is_none() ? 0 : kSequenceJump << (64 - geometry.sequence_number_bits());
    start.floor = lfs::Lsn::from_raw(highest.raw() + jump);
  }
  ondisk::ClientRestart restart;
  restart.bytes_per_cluster = geometry_.cluster_size;
  if (usn_->exists()) {
    restart.usn_file = usn_->file();
    restart.usn_restart_offset = left_open_from(*usn_, recovery_.get(), log_status_).raw();
  }
  const auto record = restart.encode();
  const ByteVector filler = ondisk::filler_record();
  start.restart_record = record;
  start.filler_transaction_id = ondisk::kFillerTransaction;
  start.filler = filler;
  return lfs::LogFile::start(*log_store_, start);
}

// Metadata streams.

Result<MetadataStreamRef> Volume::load_stream(FileReference file, AttributeType type,
                                              std::u16string_view name, uint64_t id) {
  Attributes attributes(*this, file);
  const auto found = TRY(attributes.find(type, name));
  if (found.view().is_resident()) return NtStatus::ObjectNameNotFound;
  auto stream = std::make_shared<MetadataStream>();
  stream->file = file;
  stream->type = type;
  stream->name = name;
  stream->id = id;
  if (type == AttributeType::IndexAllocation) {
    stream->kind = PageKind::IndexBlock;
    const auto root = TRY(attributes.find(AttributeType::IndexRoot, name));
    stream->page_bytes = ondisk::IndexRootView::of_valid(root.view().value()).index_block_size();
  }
  // Of those of type $DATA, the change journal begins with a hole.
  stream->runs = TRY(type == AttributeType::Data ? attributes.load_runs(type, name)
                                                 : attributes.load_whole_runs(type, name));
  return stream;
}

Result<MetadataStreamRef> Volume::metadata_stream(FileReference file, AttributeType type,
                                                  std::u16string_view name) {
  const uint64_t id = metadata_stream_id(file.record(), type, name);
  if (id == 0) return NtStatus::NotSupported;
  const uint64_t aborts = journal_->abort_count();
  {
    const MutexLock lock(streams_mutex_);
    if (streams_aborts_ != aborts) {
      // Runs may be those of a transaction that was taken back.
      std::erase_if(streams_, [](const auto& entry) { return entry.second.use_count() == 1; });
      streams_aborts_ = aborts;
    }
    const auto it = streams_.find(id);
    if (it != streams_.end() && it->second->file == file && it->second->aborts == aborts) {
      return it->second;
    }
  }
  MetadataStreamRef stream = TRY(load_stream(file, type, name, id));
  stream->aborts = aborts;
  const MutexLock lock(streams_mutex_);
  const auto it = streams_.find(id);
  if (it != streams_.end() && it->second->file == file) {
    // Pages hold on to their stream: it stays the one object, with fresh runs.
    if (it->second->aborts != aborts) {
      it->second->runs = stream->runs;
      it->second->aborts = aborts;
    }
    return it->second;
  }
  if (streams_.size() > streams_limit_) {
    const uint64_t interval = journal_->interval();
    std::erase_if(streams_, [&](const auto& entry) {
      const uint64_t opened = entry.second->opened_interval;
      return entry.second.use_count() == 1 && (opened == 0 || opened + 1 < interval);
    });
    streams_limit_ = std::max(kLeastStreams, streams_.size() * 2);
  }
  streams_[id] = stream;
  return stream;
}

MetadataStreamRef Volume::add_metadata_stream(FileReference file, AttributeType type,
                                              std::u16string_view name, Runlist runs) {
  auto stream = std::make_shared<MetadataStream>();
  stream->file = file;
  stream->type = type;
  stream->name = name;
  stream->id = metadata_stream_id(file.record(), type, name);
  ASSERT(stream->id != 0);
  if (type == AttributeType::IndexAllocation) {
    stream->kind = PageKind::IndexBlock;
    stream->page_bytes = geometry_.index_block_size;
  }
  stream->runs = std::move(runs);
  stream->aborts = journal_->abort_count();
  const MutexLock lock(streams_mutex_);
  streams_[stream->id] = stream;
  ++streams_changes_;
  return stream;
}

void Volume::drop_metadata_stream(Transaction& transaction, const MetadataStreamRef& stream) {
  transaction.forget_at_commit(stream);
  const MutexLock lock(streams_mutex_);
  const auto it = streams_.find(stream->id);
  if (it != streams_.end() && it->second == stream) streams_.erase(it);
  ++streams_changes_;
}

// Files in memory.

FilePtr Volume::file(FileReference reference) {
  const MutexLock lock(files_mutex_);
  auto& place = files_[reference.raw()];
  if (FilePtr file = place.lock()) return file;
  auto file = std::make_shared<File>(*this, reference);
  place = file;
  if (files_.size() > files_limit_) {
    std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
    files_limit_ = std::max<size_t>(files_.size() * 2, 1024);
  }
  return file;
}

void Volume::add_dirty(File& file) {
  FilePtr shared = file.weak_from_this().lock();
  if (shared == nullptr) return;
  const MutexLock lock(files_mutex_);
  dirty_files_[file.reference().raw()] = std::move(shared);
}

void Volume::add_closed(File& file) {
  std::vector<FilePtr> files;
  {
    FilePtr shared = file.weak_from_this().lock();
    const MutexLock lock(files_mutex_);
    if (shared != nullptr) closed_files_.push_back(std::move(shared));
    if (closed_files_.size() < kMostClosed) return;
    files.swap(closed_files_);
  }
  const auto written = write_noted(files);
  if (written) return;
  // The next commit tries again, and tells.
  for (const FilePtr& closed : files) add_dirty(*closed);
}

void Volume::write_notes(File& file) {
  const FilePtr shared = file.weak_from_this().lock();
  if (shared == nullptr) return;
  (void)write_noted({&shared, 1});  // the next commit tries again, and tells
  add_dirty(file);
}

/// Files with notes for the change journal and nothing else stay with `Notes::Left`: what failed
/// for want of space can still be taken back.
Result<> Volume::write_back_dirty(Notes notes, Stream::Durable durable) {
  std::unordered_map<uint64_t, FilePtr> files;
  {
    const MutexLock lock(files_mutex_);
    files.swap(dirty_files_);
    for (FilePtr& file : closed_files_) files.emplace(file->reference().raw(), std::move(file));
    closed_files_.clear();
  }
  // In the order of their records, so that neighbours get neighbouring clusters.
  std::vector<FilePtr> order;
  order.reserve(files.size());
  for (auto& [reference, file] : files) order.push_back(std::move(file));
  std::sort(order.begin(), order.end(),
            [](const FilePtr& a, const FilePtr& b) { return a->reference() < b->reference(); });
  if (order.size() > kMostUrgent) durable = Stream::Durable::Later;
  Result<> first_failure;
  for (const FilePtr& file : order) {
    auto done = file->write_back(durable);
    if (done) continue;
    if (first_failure) first_failure = done;
    add_dirty(*file);
  }
  const auto noted = notes == Notes::Written ? write_noted(order) : keep_noted(order);
  return first_failure ? noted : first_failure;
}

Result<> Volume::keep_noted(std::span<const FilePtr> files) {
  for (const FilePtr& file : files) {
    if (has_notes(*file)) add_dirty(*file);
  }
  return {};
}

/// Notes for the change journal that went with no other transaction, of many files in one.
Result<> Volume::write_noted(std::span<const FilePtr> files) {
  if (!usn_->is_active()) return {};
  std::vector<File*> noted;
  for (const FilePtr& file : files) {
    if (has_notes(*file)) noted.push_back(file.get());
  }
  for (size_t done = 0; done < noted.size();) {
    Transaction transaction(*journal_);
    TRY(transaction.begin());
    const size_t end = std::min(done + kMostFiles, noted.size());
    std::vector<FileRecords> records;
    records.reserve(end - done);
    for (; done < end; ++done) {
      records.emplace_back(transaction, *this, *noted[done]);
      const auto added = records.back().add_noted();
      if (!added && added.error() != NtStatus::ObjectNameNotFound) return added;
    }
    TRY(FileRecords::append_all(transaction, *this, records));
    for (FileRecords& file : records) TRY(file.store_last());
    transaction.commit();
  }
  return {};
}

/// For the change journal, nobody has a file open from here on.
void Volume::close_all() {
  std::vector<FilePtr> files;
  {
    const MutexLock lock(files_mutex_);
    for (const auto& [reference, weak] : files_) {
      if (FilePtr file = weak.lock()) files.push_back(std::move(file));
    }
  }
  for (const FilePtr& file : files) file->post_close();
}

bool Volume::is_over_budget() const {
  return buffered_.load(std::memory_order_relaxed) > options_.cache_bytes / 2;
}

// Commit.

Result<> Volume::commit_now(Stream::Durable durable) {
  const auto written = write_back_dirty(Notes::Written, durable);
  const auto trimmed = usn_->trim();
  // Whatever failed before: what is in the log becomes durable.
  TRY(journal_->flush());
  if (!written || trimmed || trimmed.error() == NtStatus::MediaWriteProtected) return written;
  return trimmed;
}

Result<> Volume::commit() { return commit(Stream::Durable::AtOnce); }

Result<> Volume::commit(Stream::Durable durable) {
  // A commit that begins after the call serves it; callers that wait meanwhile share the next one.
  const uint64_t mine = commits_wanted_.fetch_add(1) + 1;
  const MutexLock lock(commit_mutex_);
  if (commits_done_ >= mine) return last_commit_;
  const uint64_t upto = commits_wanted_.load();
  last_commit_ = commit_now(durable);
  commits_done_ = upto;
  return last_commit_;
}

Result<> Volume::checkpoint() {
  TRY(journal_->checkpoint());
  clusters_->discard_freed();
  return {};
}

bool Volume::reclaim() {
  const bool has_lingering = refcounts_ != nullptr && refcounts_->has_lingering();
  if (!clusters_->has_freed() && !has_lingering) return false;
  return checkpoint().has_value();
}

bool Volume::relieve() {
  bool has_buffered = false;
  {
    const MutexLock lock(files_mutex_);
    has_buffered = !dirty_files_.empty();  // closed files wait for records only
  }
  if (has_buffered) {
    // A commit that comes meanwhile must not take the files that are on their way for written.
    const MutexLock lock(commit_mutex_);
    if (!write_back_dirty(Notes::Left, Stream::Durable::Later)) return false;
  }
  return reclaim() || has_buffered;
}

void Volume::run_committer() {
  using Clock = std::chrono::steady_clock;
  auto last = Clock::now();
  while (!stop_committer_) {
    journal_->wait_for_work(options_.commit_interval);
    if (stop_committer_) return;
    if (pages_->has_excess()) {
      const ExclusiveLock lock(journal_->metadata_lock());
      pages_->trim();
    }
    if (!journal_->is_writable()) continue;
    const bool due = Clock::now() - last >= options_.commit_interval;
    if (due || is_over_budget()) {
      last = Clock::now();
      const auto committed = commit(Stream::Durable::Later);
      if (!committed) {
        log_line(LogLevel::Error,
                 fmt::format("writing back changes failed: {}", name_of(committed.error())));
      }
    } else {
      (void)journal_->flush().has_value();  // a failure has been logged and stops the volume
    }
    if (journal_->wants_checkpoint() || (due && journal_->has_changes())) {
      (void)journal_->checkpoint().has_value();
    }
    clusters_->discard_freed();
    data_->forget_settled();
  }
}

Result<> Volume::close() {
  stop_committer_ = true;
  journal_->wake();
  if (committer_.joinable()) committer_.join();
  if (journal_->log() == nullptr) return {};
  close_all();
  TRY(commit(Stream::Durable::Later));
  TRY(journal_->close());
  clusters_->discard_freed();
  return {};
}

}  // namespace ntfs
