#include "core/fsa/small_values.h"

#include <algorithm>

#include "core/fsa/names.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"
#include "core/store/index_tree.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::Ea;

namespace {

constexpr size_t kPageBytes = 4096;
constexpr std::string_view kUid = "$LXUID";
constexpr std::string_view kGid = "$LXGID";
constexpr std::string_view kMode = "$LXMOD";
constexpr std::string_view kDevice = "$LXDEV";
const FileReference kExtend(ondisk::kExtendRecord, 11);

}  // namespace

Result<> insert_small_value(Transaction& transaction, Volume& volume, FileReference file,
                            AttributeType type, ByteView value, size_t resident_limit) {
  Attributes attributes(volume, file);
  if (value.size() <= resident_limit) return attributes.set_value(transaction, type, u"", value);
  const uint64_t cluster = volume.geometry().cluster_size;
  const ClusterCount count(divide_up(value.size(), cluster));
  Runlist runs;
  for (const ClusterRun& run : TRY(volume.clusters().allocate(transaction, count, Lcn::hole()))) {
    runs.append(run.lcn, run.count);
  }
  ondisk::AttributeSizes sizes;
  sizes.allocated = sizes.total_allocated = count.raw() * cluster;
  sizes.file_size = sizes.valid_data_length = value.size();
  TRY(attributes.make_nonresident(transaction, type, u"", runs, sizes));
  const auto stream = volume.add_metadata_stream(file, type, u"", runs);
  for (uint64_t at = 0; at < value.size(); at += kPageBytes) {
    const PageRef page = volume.pages().create(stream, at / kPageBytes);
    const size_t length = std::min<size_t>(kPageBytes, value.size() - at);
    TRY(transaction.perform_new(value.subspan(at, length), page));
  }
  return {};
}

Result<> remove_small_value(Transaction& transaction, Volume& volume, FileReference file,
                            AttributeType type) {
  Attributes attributes(volume, file);
  const auto found = TRY(attributes.find(type));
  if (!found.view().is_resident()) {
    const Runlist runs = TRY(attributes.load_runs(type, u""));
    for (const Run& run : runs.runs()) {
      if (!run.lcn.is_hole()) {
        TRY(volume.clusters().free_clusters(transaction, {run.lcn, run.count}));
      }
    }
    volume.drop_metadata_stream(transaction, TRY(volume.metadata_stream(file, type, u"")));
  }
  return attributes.remove(transaction, type, u"");
}

// Extended attributes of WSL.

namespace {

template <typename Number>
void take_number(ByteView value, auto& into) {
  if (!into && value.size() >= sizeof(Number)) into = struct_at<Number>(value).get();
}

void put_bytes(std::vector<Ea>& eas, std::string_view name, ByteView value) {
  const auto it =
      std::find_if(eas.begin(), eas.end(), [&](const Ea& ea) { return ea.name == name; });
  if (it != eas.end()) {
    it->value.assign(value.begin(), value.end());
  } else {
    eas.push_back({0, std::string(name), ByteVector(value.begin(), value.end())});
  }
}

void put_number(std::vector<Ea>& eas, std::string_view name, std::optional<uint32_t> value) {
  if (value) put_bytes(eas, name, bytes_of(le32::of(*value)));
}

}  // namespace

LinuxMetadata linux_metadata_of(ByteView eas, const Origin& origin) {
  LinuxMetadata metadata;
  for (size_t position = 0; position < eas.size();) {
    const auto ea = ondisk::EaView::parse(eas, position, origin);
    if (!ea) return {};
    if (ea->name == kUid) take_number<le32>(ea->value, metadata.uid);
    if (ea->name == kGid) take_number<le32>(ea->value, metadata.gid);
    if (ea->name == kMode) take_number<le32>(ea->value, metadata.mode);
    if (ea->name == kDevice) take_number<le64>(ea->value, metadata.device);
    position += ea->length;
  }
  return metadata;
}

void put_linux_metadata(const LinuxMetadata& metadata, std::vector<Ea>& eas) {
  put_number(eas, kUid, metadata.uid);
  put_number(eas, kGid, metadata.gid);
  put_number(eas, kMode, metadata.mode);
  if (metadata.device) put_bytes(eas, kDevice, bytes_of(le64::of(*metadata.device)));
}

// Indexes in $Extend.

Result<FileReference> find_in_extend(Volume& volume, std::u16string_view name) {
  const auto entry = TRY(find_entry(volume, kExtend, name, IndexTree::NameMatch::IgnoreCase));
  if (!entry) return NtStatus::ObjectNameNotFound;
  return entry->reference;
}

Result<> list_reparse_point(Transaction& transaction, Volume& volume, uint32_t tag,
                            FileReference file) {
  const auto reparse = find_in_extend(volume, u"$Reparse");
  if (!reparse) {
    return reparse.error() == NtStatus::ObjectNameNotFound ? Result<>() : reparse.error();
  }
  const auto key = ondisk::reparse_index_key(tag, file);
  IndexTree tree(volume, *reparse, u"$R");
  const ByteVector entry = ondisk::build_view_entry(bytes_of(key), {}, std::nullopt);
  const auto inserted = tree.insert(transaction, entry);
  // What other drivers forgot to take away serves as well.
  return inserted.error() == NtStatus::ObjectNameCollision ? Result<>() : inserted.error();
}

namespace {

Result<> remove_from_index(Transaction& transaction, Volume& volume, std::u16string_view file,
                           std::u16string_view index, ByteView key) {
  const auto reference = find_in_extend(volume, file);
  if (!reference) {
    return reference.error() == NtStatus::ObjectNameNotFound ? Result<>() : reference.error();
  }
  IndexTree tree(volume, *reference, std::u16string(index));
  const auto removed = tree.remove(transaction, key);
  // What other drivers forgot to list need not be taken away.
  if (!removed && removed.error() != NtStatus::ObjectNameNotFound) return removed;
  return {};
}

}  // namespace

Result<> unlist_reparse_point(Transaction& transaction, Volume& volume, uint32_t tag,
                              FileReference file) {
  const auto key = ondisk::reparse_index_key(tag, file);
  return remove_from_index(transaction, volume, u"$Reparse", u"$R", bytes_of(key));
}

Result<> forget_references(Transaction& transaction, Volume& volume, Attributes& file) {
  const FileReference reference = file.file();
  if (file.find(AttributeType::ReparsePoint)) {
    const auto reparse = read_small_value(volume, reference, AttributeType::ReparsePoint);
    if (reparse && reparse->size() >= sizeof(ondisk::ReparseHeader)) {
      const uint32_t tag = struct_at<ondisk::ReparseHeader>(ByteView(*reparse)).tag.get();
      TRY(unlist_reparse_point(transaction, volume, tag, reference));
    }
  }
  const auto object_id = file.find(AttributeType::ObjectId);
  if (object_id && object_id->view().is_resident() && object_id->view().value().size() >= 16) {
    const ByteView value = object_id->view().value();
    const ByteVector key(value.begin(), value.begin() + 16);
    TRY(remove_from_index(transaction, volume, u"$ObjId", u"$O", key));
  }
  return {};
}

}  // namespace ntfs
