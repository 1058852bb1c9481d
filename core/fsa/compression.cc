// MS-FSA 2.1.5.10.33 "FSCTL_SET_COMPRESSION" and 2.1.5.10.8 "FSCTL_GET_COMPRESSION"; what new files
// take over from their directory.

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/usn_post.h"
#include "core/store/attributes.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;

namespace {

/// A directory's mark, which new files in it take over.
Result<> mark_directory(Volume& volume, File& directory, Compression wanted) {
  Transaction transaction(volume.journal());
  TRY(transaction.begin());
  Attributes attributes(volume, directory.reference());
  TRY(attributes.set_compression(transaction, AttributeType::IndexRoot, u"$I30", wanted));
  TRY(directory.log_information(transaction, {}));
  transaction.commit();
  return {};
}

}  // namespace

Result<Compression> ObjectStore::query_compression(File& file) {
  const FileInformation now = TRY(query_information(file));
  return (now.file_attributes & FileAttributes::Compressed) != 0 ? Compression::Lznt1
                                                                 : Compression::None;
}

Result<> ObjectStore::set_compression(File& file, Compression wanted) {
  TRY(check_data());
  const FileInformation now = TRY(query_information(file));
  if (volume_->geometry().cluster_size > ondisk::kMostCompressedClusterSize ||
      (now.file_attributes & FileAttributes::Encrypted) != 0) {
    return NtStatus::InvalidDeviceRequest;
  }
  const bool is_compressed = (now.file_attributes & FileAttributes::Compressed) != 0;
  const bool is_directory = now.kind == FileKind::Directory;
  if (now.kind != FileKind::File && !is_directory) return NtStatus::InvalidDeviceRequest;
  if (is_compressed == (wanted == Compression::Lznt1)) return {};
  UsnPost post(file, usn::Reason::CompressionChange);
  TRY(with_reclaim(*volume_, [&] {
    return is_directory ? mark_directory(*volume_, file, wanted)
                        : file.data().set_compression(wanted);
  }));
  post.keep();
  FileTimes times;
  times.change = ondisk::FileTime::now();
  file.note_times(times);
  return {};
}

}  // namespace ntfs
