// Data by the file: what the kernel's page cache writes and reads of its own accord (paging I/O),
// and changes that come without an open. Locks and oplocks of opens do not stand against them.

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/usn_post.h"

namespace ntfs {

Result<> ObjectStore::check_data() const {
  return volume_->is_writable() ? Result<>() : NtStatus::MediaWriteProtected;
}

void ObjectStore::note_data_change(File& file) const {
  if (options_.data_times == DataTimes::SetByStore) {
    file.note_modified();
  } else {
    file.note_archive();
  }
}

Result<size_t> ObjectStore::read(File& file, uint64_t offset, size_t length, MutableBytes into) {
  return file.data().read(offset, length, into);
}

Result<> ObjectStore::write(Stream& stream, uint64_t offset, ByteView from, Buffering buffering) {
  TRY(check_data());
  UsnPost post(stream.file(), TRY(reasons_of_write(stream, offset, from.size())));
  TRY(with_reclaim(*volume_, [&] { return stream.write(offset, from, buffering); }));
  note_written(stream, offset, from.size());
  post.keep();
  note_data_change(stream.file());
  return {};
}

Result<uint64_t> ObjectStore::append(File& file, ByteView from) {
  TRY(check_data());
  UsnPost post(file, TRY(reasons_of_write(file.data(), std::nullopt, from.size())));
  const uint64_t offset = TRY(with_reclaim(*volume_, [&] { return file.data().append(from); }));
  note_written(file.data(), offset, from.size());
  post.keep();
  note_data_change(file);
  return offset;
}

Result<> ObjectStore::set_end_of_file(Stream& stream, uint64_t size) {
  TRY(check_data());
  UsnPost post(stream.file(), TRY(reasons_of_size(stream, size)));
  TRY(with_reclaim(*volume_, [&] { return stream.set_size(size); }));
  post.keep();
  note_data_change(stream.file());
  return {};
}

Result<> ObjectStore::allocate(File& file, uint64_t offset, uint64_t length, KeepSize keep) {
  TRY(check_data());
  UsnPost post(file, TRY(reasons_of_growth(file.data(), offset + length, keep)));
  TRY(with_reclaim(*volume_, [&] { return file.data().allocate(offset, length, keep); }));
  post.keep();
  note_data_change(file);
  return {};
}

Result<> ObjectStore::punch(File& file, uint64_t offset, uint64_t length) {
  TRY(check_data());
  UsnPost post(file, usn::Reason::DataOverwrite);
  TRY(with_reclaim(*volume_, [&] { return file.data().punch(offset, length); }));
  note_written(file.data(), offset, length);
  post.keep();
  note_data_change(file);
  return {};
}

Result<> ObjectStore::zero(File& file, uint64_t offset, uint64_t length, KeepSize keep) {
  TRY(check_data());
  const uint32_t growth = TRY(reasons_of_growth(file.data(), offset + length, keep));
  UsnPost post(file, usn::Reason::DataOverwrite | growth);
  TRY(with_reclaim(*volume_, [&] { return file.data().zero(offset, length, keep); }));
  note_written(file.data(), offset, length);
  post.keep();
  note_data_change(file);
  return {};
}

Result<uint64_t> ObjectStore::next_range(Stream& stream, uint64_t offset, RangeKind kind) {
  return stream.next_range(offset, kind);
}

}  // namespace ntfs
