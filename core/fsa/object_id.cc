#include "core/fsa/object_id.h"

#include <sys/random.h>

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/small_values.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::Guid;
using ondisk::ObjectIdBuffer;
using ondisk::ObjectIdIndexData;
using ondisk::ObjectIdOrigin;

namespace {

/// The id in $OBJECT_ID; nothing where there is none.
Result<std::optional<Guid>> id_of(Attributes& file) {
  const auto found = file.find(AttributeType::ObjectId);
  if (!found && found.error() == NtStatus::ObjectNameNotFound) return std::optional<Guid>();
  if (!found) return found.error();
  const auto view = found->view();
  if (!view.is_resident() || view.value().size() < sizeof(Guid)) {
    return corrupt({"$OBJECT_ID", file.file().raw(), 0}, "length", 0, "a GUID");
  }
  return std::optional<Guid>(struct_at<Guid>(view.value()));
}

/// $Extend\$ObjId. NotSupported.
Result<IndexTree> index_of(Volume& volume) {
  const auto file = find_in_extend(volume, u"$ObjId");
  if (!file && file.error() == NtStatus::ObjectNameNotFound) return NtStatus::NotSupported;
  if (!file) return file.error();
  return IndexTree(volume, *file, u"$O");
}

/// What the index says of an id; nothing where it does not have it.
Result<std::optional<ObjectIdIndexData>> find_data(IndexTree& index, const Guid& id) {
  const auto bytes = TRY(index.find(bytes_of(id)));
  if (!bytes) return std::optional<ObjectIdIndexData>();
  const auto entry = ondisk::IndexEntryView::of_valid(*bytes, 0);
  ObjectIdIndexData data{};
  const ByteView value = entry.data();
  std::copy_n(value.begin(), std::min(value.size(), sizeof(data)), mutable_bytes_of(data).begin());
  return std::optional(data);
}

Result<> forget_id(Transaction& transaction, IndexTree& index, const Guid& id) {
  const auto removed = index.remove(transaction, bytes_of(id));
  // What other drivers forgot to list need not be taken away.
  return removed || removed.error() == NtStatus::ObjectNameNotFound ? Result<>() : removed;
}

Result<> list_id(Transaction& transaction, IndexTree& index, FileReference file,
                 const ObjectIdBuffer& id) {
  const ObjectIdIndexData data{le64::of(file.raw()), id.origin};
  return index.insert(transaction,
                      ondisk::build_view_entry(bytes_of(id.object_id), bytes_of(data), {}));
}

/// RFC 4122, version 4.
Result<Guid> random_id() {
  Guid id;
  if (getrandom(id.data(), id.size(), 0) != static_cast<ssize_t>(id.size())) {
    return NtStatus::InsufficientResources;
  }
  id[7] = (id[7] & std::byte{0x0F}) | std::byte{0x40};
  id[8] = (id[8] & std::byte{0x3F}) | std::byte{0x80};
  return id;
}

bool is_empty(const Guid& id) { return id == Guid{}; }

}  // namespace

Result<ObjectIdBuffer> ObjectIdControls::get(File& file) {
  const SharedLock lock(volume_.journal().metadata_lock());
  Attributes attributes(volume_, file.reference());
  TRY(attributes.base());
  const auto id = TRY(id_of(attributes));
  if (!id) return NtStatus::ObjectIdNotFound;
  ObjectIdBuffer buffer{*id, {}};
  auto index = index_of(volume_);
  if (!index) return buffer;
  const auto data = TRY(find_data(*index, *id));
  if (data && data->file_reference.get() == file.reference().raw()) buffer.origin = data->origin;
  return buffer;
}

template <typename Change>
Result<> ObjectIdControls::change_file(File& file, Change&& change) {
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  const uint64_t record = file.reference().record();
  if (record < kFirstOrdinaryRecord && record != ondisk::kRootRecord) return NtStatus::AccessDenied;
  if (file.is_unlinked()) return NtStatus::ObjectNameNotFound;
  const auto changed = with_reclaim(volume_, [&]() -> Result<> {
    Transaction transaction(volume_.journal());
    TRY(transaction.begin());
    Attributes attributes(volume_, file.reference());
    TRY(attributes.base());
    FileRecords records(transaction, volume_, file);
    TRY(records.add_noted());
    TRY(change(transaction, attributes));
    TRY(records.add(usn::Reason::ObjectIdChange));
    TRY(records.append());
    TRY(records.store_last());
    transaction.commit();
    return {};
  });
  TRY(Result<>(changed));
  FileTimes times;
  times.change = ondisk::FileTime::now();
  file.note_times(times);
  // Where nobody has the file open, this was an open, the change, and a close.
  if (file.holders().load() == 0) file.post_close();
  return {};
}

Result<> ObjectIdControls::set_now(File& file, const ObjectIdBuffer& id, Existing existing) {
  return change_file(file, [&](Transaction& transaction, Attributes& attributes) -> Result<> {
    const auto old = TRY(id_of(attributes));
    if (old && existing == Existing::Refused) return NtStatus::ObjectNameCollision;
    auto index = TRY(index_of(volume_));
    const auto other = TRY(find_data(index, id.object_id));
    if (other && other->file_reference.get() != file.reference().raw()) {
      return NtStatus::DuplicateName;
    }
    if (old) TRY(forget_id(transaction, index, *old));
    TRY(list_id(transaction, index, file.reference(), id));
    return attributes.set_value(transaction, AttributeType::ObjectId, u"", bytes_of(id.object_id));
  });
}

Result<> ObjectIdControls::set(Open& open, const ObjectIdBuffer& id) {
  return set_now(*open.file(), id, Existing::Refused);
}

Result<> ObjectIdControls::replace(File& file, const ObjectIdBuffer& id) {
  return set_now(file, id, Existing::Replaced);
}

Result<> ObjectIdControls::remove(File& file) {
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  const auto now = get(file);
  if (!now && now.error() == NtStatus::ObjectIdNotFound) return {};
  return change_file(file, [&](Transaction& transaction, Attributes& attributes) -> Result<> {
    const auto old = TRY(id_of(attributes));
    if (!old) return {};
    auto index = index_of(volume_);
    if (index) TRY(forget_id(transaction, *index, *old));
    return attributes.remove(transaction, AttributeType::ObjectId, u"");
  });
}

Result<> ObjectIdControls::set_extended(Open& open, const ObjectIdOrigin& origin) {
  if (!volume_.is_writable()) return NtStatus::MediaWriteProtected;
  constexpr uint32_t kNeeded = AccessMask::WriteData | AccessMask::WriteAttributes;
  if ((open.granted_access() & kNeeded) == 0) return NtStatus::AccessDenied;
  const ObjectIdBuffer now = TRY(get(open));
  return replace(*open.file(), {now.object_id, origin});
}

Result<ObjectIdBuffer> ObjectIdControls::create_or_get(Open& open) {
  const auto now = get(open);
  if (!now && now.error() != NtStatus::ObjectIdNotFound) return now.error();
  const bool is_complete =
      now && !(is_empty(now->origin.birth_volume_id) && is_empty(now->origin.birth_object_id));
  if (is_complete) return *now;
  ObjectIdBuffer wanted{};
  if (now) {
    wanted = *now;
  } else {
    wanted.object_id = TRY(random_id());
  }
  const auto volume = get(*store_.file(FileReference(ondisk::kVolumeRecord, 3)));
  if (volume) wanted.origin.birth_volume_id = volume->object_id;
  wanted.origin.birth_object_id = wanted.object_id;
  const auto made = set_now(*open.file(), wanted, now ? Existing::Replaced : Existing::Refused);
  // Somebody else was faster.
  if (!made && made.error() == NtStatus::ObjectNameCollision) return get(open);
  if (!made) return made.error();
  return wanted;
}

}  // namespace ntfs
