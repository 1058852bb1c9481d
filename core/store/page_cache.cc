#include "core/store/page_cache.h"

#include <algorithm>

#include "core/base/multi_sector.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"

namespace ntfs {

using ondisk::AttributeType;

namespace {

/// Records around a missing one that are read with it.
constexpr uint64_t kReadAroundBytes = 64 << 10;

struct StreamCode {
  AttributeType type;
  std::u16string_view name;
  uint8_t code;
};
constexpr std::array<StreamCode, 24> kStreamCodes{{
    {AttributeType::Data, u"", 1},
    {AttributeType::Bitmap, u"", 2},
    {AttributeType::AttributeList, u"", 3},
    {AttributeType::IndexAllocation, u"$I30", 4},
    {AttributeType::Bitmap, u"$I30", 5},
    {AttributeType::Data, u"$SDS", 6},
    {AttributeType::IndexAllocation, u"$SII", 7},
    {AttributeType::Bitmap, u"$SII", 8},
    {AttributeType::IndexAllocation, u"$SDH", 9},
    {AttributeType::Bitmap, u"$SDH", 10},
    {AttributeType::IndexAllocation, u"$O", 11},
    {AttributeType::Bitmap, u"$O", 12},
    {AttributeType::IndexAllocation, u"$Q", 13},
    {AttributeType::Bitmap, u"$Q", 14},
    {AttributeType::IndexAllocation, u"$R", 15},
    {AttributeType::Bitmap, u"$R", 16},
    {AttributeType::ReparsePoint, u"", 17},
    {AttributeType::Ea, u"", 18},
    {AttributeType::SecurityDescriptor, u"", 19},
    {AttributeType::Data, u"$J", 20},
    {AttributeType::Data, u"$Max", 21},
    {AttributeType::LoggedUtilityStream, u"", 22},
    {AttributeType::IndexAllocation, u"$C", 23},
    {AttributeType::Bitmap, u"$C", 24},
}};

}  // namespace

uint64_t metadata_stream_id(uint64_t record_number, AttributeType type, std::u16string_view name) {
  for (const StreamCode& entry : kStreamCodes) {
    if (entry.type == type && entry.name == name) return (record_number << 8) | entry.code;
  }
  return 0;
}

MetadataPage::MetadataPage(MetadataStreamRef stream, uint64_t index, PagePlace place)
    : stream_(std::move(stream)),
      index_(index),
      place_(std::move(place)),
      bytes_(stream_->page_bytes) {}

void MetadataPage::keep_image() {
  if (!pending_) return;
  image_ = std::make_unique<Image>(Image{bytes_, place_});
  pending_ = false;
}

PageCache::PageCache(BlockDevice& device, const ondisk::VolumeGeometry& geometry,
                     uint64_t budget_bytes)
    : device_(device),
      geometry_(geometry),
      budget_bytes_(budget_bytes),
      excess_bytes_(budget_bytes) {}

PagePlace PageCache::place_of(const MetadataStream& stream, uint64_t index) const {
  const uint64_t cluster = geometry_.cluster_size;
  const uint64_t position = index * stream.page_bytes;
  PagePlace place;
  place.first_vcn = Vcn(position / cluster);
  place.offset_in_cluster = static_cast<uint32_t>(position % cluster);
  const Vcn end(divide_up(position + stream.page_bytes, cluster));
  for (Vcn vcn = place.first_vcn; vcn < end && vcn < stream.runs.end();) {
    const Run run = stream.runs.find(vcn);
    const uint64_t count = std::min(run.count.raw(), (end - vcn).raw());
    for (uint64_t i = 0; i < count; ++i) {
      place.lcns.push_back(run.lcn.is_hole() ? run.lcn : run.lcn + ClusterCount(i));
    }
    vcn = vcn + ClusterCount(count);
  }
  return place;
}

PageRef PageCache::find(Key key) const {
  if (exclusive_.load(std::memory_order_relaxed)) return find_in_table(key);
  const MutexLock lock(mutex_);
  return find_in_table(key);
}

PageRef PageCache::find_in_table(Key key) const {
  const auto it = pages_.find(key);
  if (it == pages_.end()) return nullptr;
  it->second->used_.store(true, std::memory_order_relaxed);
  return it->second;
}

PageRef PageCache::insert(PageRef page) {
  const Key key{page->stream_->id, page->index_};
  PageRef present;
  bool is_news = false;
  {
    const MutexLock lock(mutex_);
    const auto [it, inserted] = pages_.try_emplace(key, page);
    if (inserted) size_bytes_ += page->bytes_.size();
    is_news = size_bytes_ > excess_bytes_ && !has_excess_.exchange(true);
    present = it->second;
  }
  if (is_news && notice_) notice_();
  return present;
}

Result<> PageCache::check_page(const MetadataStream& stream, uint64_t index, MutableBytes bytes,
                               Told told) const {
  switch (stream.kind) {
    case PageKind::FileRecord: {
      const Origin origin{told == Told::Yes ? "file record" : "", index, index * stream.page_bytes};
      TRY(unprotect(bytes, origin));
      const auto record = TRY(ondisk::FileRecordView::parse(bytes, origin));
      // Records that were never used say what their maker liked.
      const bool has_number = record.in_use() && record.has_record_number();
      if (has_number && record.record_number() != index) {
        return corrupt(origin, "record number", record.record_number());
      }
      return {};
    }
    case PageKind::IndexBlock: {
      const Origin origin{"INDX buffer", stream.file.raw(), index * stream.page_bytes};
      TRY(unprotect(bytes, origin));
      const Vcn vcn(index * stream.page_bytes / geometry_.index_vcn_bytes());
      const auto kind =
          stream.name == u"$I30" ? ondisk::IndexKind::FileNames : ondisk::IndexKind::View;
      TRY(ondisk::parse_index_block(bytes, vcn, kind, origin));
      return {};
    }
    case PageKind::Raw:
      return {};
  }
  return NtStatus::FileCorruptError;
}

namespace {

/// Adds reads of the clusters of a page into `memory`, neighbours in one request.
Result<> add_reads(const PagePlace& place, uint64_t cluster_size, uint64_t page_bytes,
                   MutableBytes memory, std::vector<IoRequest>& requests) {
  uint64_t done = 0;
  uint64_t offset = place.offset_in_cluster;
  for (size_t i = 0; i < place.lcns.size() && done < page_bytes; ++i) {
    if (place.lcns[i].is_hole()) return NtStatus::FileCorruptError;
    const uint64_t length = std::min(cluster_size - offset, page_bytes - done);
    const uint64_t at = place.lcns[i].raw() * cluster_size + offset;
    const MutableBytes part = memory.subspan(done, length);
    if (!requests.empty() && requests.back().offset + requests.back().memory.size() == at &&
        requests.back().memory.data() + requests.back().memory.size() == part.data()) {
      requests.back().memory = {requests.back().memory.data(),
                                requests.back().memory.size() + length};
    } else {
      requests.push_back(IoRequest::read(at, part));
    }
    done += length;
    offset = 0;
  }
  return {};
}

bool covers(const PagePlace& place, uint64_t cluster_size, uint64_t page_bytes) {
  return place.lcns.size() * cluster_size >= place.offset_in_cluster + page_bytes;
}

}  // namespace

Result<PageRef> PageCache::read_page(const MetadataStreamRef& stream, uint64_t index) {
  const uint64_t cluster = geometry_.cluster_size;
  auto page = std::make_shared<MetadataPage>(stream, index, place_of(*stream, index));
  const bool is_raw = stream->kind == PageKind::Raw;
  // The last page of a raw stream may reach past its clusters.
  if (page->place_.lcns.empty() ||
      (!is_raw && !covers(page->place_, cluster, stream->page_bytes))) {
    return NtStatus::EndOfFile;
  }
  AlignedBuffer buffer(std::max<size_t>(stream->page_bytes, 4096));
  std::vector<IoRequest> requests;
  TRY(add_reads(page->place_, cluster, stream->page_bytes, buffer.bytes(), requests));
  TRY(device_.transfer(requests));
  std::copy_n(buffer.data(), stream->page_bytes, page->bytes_.data());
  if (!is_raw) page->number_to_follow_ = number_to_follow(page->bytes_);
  TRY(check_page(*stream, index, page->bytes_));
  return insert(std::move(page));
}

Result<> PageCache::read_around(const MetadataStreamRef& stream, uint64_t index) {
  const uint64_t cluster = geometry_.cluster_size;
  const uint64_t per_window = std::max<uint64_t>(kReadAroundBytes / stream->page_bytes, 1);
  const uint64_t first = index / per_window * per_window;
  AlignedBuffer buffer(kReadAroundBytes);
  std::vector<std::shared_ptr<MetadataPage>> wanted;
  std::vector<IoRequest> requests;
  for (uint64_t i = first; i < first + per_window; ++i) {
    if (find({stream->id, i}) != nullptr) continue;
    auto page = std::make_shared<MetadataPage>(stream, i, place_of(*stream, i));
    if (!covers(page->place_, cluster, stream->page_bytes)) break;
    const MutableBytes part =
        buffer.bytes().subspan((i - first) * stream->page_bytes, stream->page_bytes);
    TRY(add_reads(page->place_, cluster, stream->page_bytes, part, requests));
    wanted.push_back(std::move(page));
  }
  TRY(device_.transfer(requests));
  for (auto& page : wanted) {
    const size_t at = (page->index_ - first) * stream->page_bytes;
    MutableBytes bytes = buffer.bytes().subspan(at, stream->page_bytes);
    // Neighbours that were never used may hold anything: only the record asked for must be right.
    const bool is_asked = page->index_ == index;
    if (!is_asked && (bytes[0] != std::byte{'F'} || bytes[3] != std::byte{'E'})) continue;
    page->number_to_follow_ = number_to_follow(bytes);
    const auto good = check_page(*stream, page->index_, bytes, is_asked ? Told::Yes : Told::No);
    if (!good) {
      if (is_asked) return good.error();
      continue;
    }
    std::copy(bytes.begin(), bytes.end(), page->bytes_.begin());
    insert(std::move(page));
  }
  return {};
}

Result<PageRef> PageCache::get(const MetadataStreamRef& stream, uint64_t index) {
  const Key key{stream->id, index};
  if (PageRef page = find(key)) return page;
  if (stream->kind != PageKind::FileRecord) return read_page(stream, index);
  if (index * stream->page_bytes >= stream->runs.end().raw() * geometry_.cluster_size) {
    return NtStatus::EndOfFile;
  }
  TRY(read_around(stream, index));
  if (PageRef page = find(key)) return page;
  return NtStatus::EndOfFile;
}

PageRef PageCache::create(const MetadataStreamRef& stream, uint64_t index) {
  auto page = std::make_shared<MetadataPage>(stream, index, place_of(*stream, index));
  const Key key{stream->id, index};
  const MutexLock lock(mutex_);
  auto& place = pages_[key];
  if (place == nullptr) {
    size_bytes_ += page->bytes_.size();
  } else {
    page->replaced_ = place;
    page->replaced_was_dirty_ = place->dirty_;
    place->dirty_ = false;
  }
  page->is_new_ = true;
  place = page;
  return page;
}

PageRef PageCache::create_record(const MetadataStreamRef& stream, uint64_t index) {
  ASSERT(stream->kind == PageKind::FileRecord);
  auto page = std::make_shared<MetadataPage>(stream, index, place_of(*stream, index));
  ondisk::FileRecordInit init;
  init.record_number = index;
  ondisk::format_file_record(page->bytes_, init);
  ByteVector on_device = page->bytes_;
  page->number_to_follow_ = protect_after(on_device, update_sequence_number(on_device));
  return insert(std::move(page));
}

Result<> PageCache::read_places(std::span<MetadataPage* const> pages, MutableBytes memory) const {
  std::vector<IoRequest> requests;
  size_t at = 0;
  for (const MetadataPage* page : pages) {
    const size_t bytes = page->bytes_.size();
    TRY(add_reads(page->place_, geometry_.cluster_size, bytes, memory.subspan(at, bytes),
                  requests));
    at += bytes;
  }
  return device_.transfer(requests);
}

void PageCache::take_back(const PageRef& page) {
  page->dirty_ = false;
  page->is_new_ = false;
  const PageRef replaced = std::move(page->replaced_);
  const MutexLock lock(mutex_);
  const auto it = pages_.find({page->stream_->id, page->index_});
  if (it == pages_.end() || it->second != page) return;
  if (replaced == nullptr) {
    size_bytes_ -= page->bytes_.size();
    pages_.erase(it);
    return;
  }
  replaced->dirty_ = page->replaced_was_dirty_;
  replaced->imaged_interval_ = 0;  // the log speaks of what took its place
  it.value() = replaced;
}

void PageCache::forget(const MetadataStream& stream, uint64_t index) {
  forget(stream, index,
         divide_up(stream.runs.end().raw() * geometry_.cluster_size, stream.page_bytes));
}

void PageCache::forget(const MetadataStream& stream, uint64_t first, uint64_t end) {
  const MutexLock lock(mutex_);
  for (uint64_t i = first; i < end; ++i) {
    const auto it = pages_.find({stream.id, i});
    if (it == pages_.end()) continue;
    if (it->second->is_new_ && it->second->stream_.get() != &stream) continue;
    it->second->dirty_ = false;
    size_bytes_ -= it->second->bytes_.size();
    pages_.erase(it);
  }
}

void PageCache::forget_page(const MetadataPage& page) {
  const MutexLock lock(mutex_);
  const auto it = pages_.find({page.stream_->id, page.index_});
  if (it == pages_.end() || it->second.get() != &page) return;
  it->second->dirty_ = false;
  size_bytes_ -= page.bytes_.size();
  pages_.erase(it);
}

PagePlace PageCache::update_place(MetadataPage& page) const {
  page.keep_image();
  return std::exchange(page.place_, place_of(*page.stream_, page.index_));
}

Result<PageRef> PageCache::page_cut_short(const MetadataStreamRef& stream) {
  const uint64_t end = stream->runs.end().raw() * geometry_.cluster_size;
  if (end % stream->page_bytes == 0) return PageRef();
  return get(stream, end / stream->page_bytes);
}

void PageCache::trim() {
  const MutexLock lock(mutex_);
  has_excess_.store(false, std::memory_order_relaxed);
  if (size_bytes_ <= budget_bytes_) return;
  // Second chance: a page in use since the last pass stays for one more.
  for (auto it = pages_.begin(); it != pages_.end();) {
    if (size_bytes_ <= budget_bytes_ / 4 * 3) break;
    MetadataPage& page = *it->second;
    const bool is_held = page.dirty_ || it->second.use_count() > 1;
    if (is_held || page.used_.exchange(false, std::memory_order_relaxed)) {
      ++it;
      continue;
    }
    size_bytes_ -= page.bytes_.size();
    it = pages_.erase(it);
  }
  // Where most are held, looking again is for later.
  excess_bytes_ = std::max(budget_bytes_, size_bytes_ + budget_bytes_ / 4);
}

uint64_t PageCache::size_bytes() const {
  const MutexLock lock(mutex_);
  return size_bytes_;
}

}  // namespace ntfs
