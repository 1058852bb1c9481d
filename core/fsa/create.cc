// MS-FSA 2.1.5.1.1 "Creation of a New File". Names and records in one transaction.

#include <algorithm>

#include "core/fsa/names.h"
#include "core/fsa/object_store.h"
#include "core/fsa/security.h"
#include "core/fsa/small_values.h"
#include "core/ondisk/reparse_point.h"
#include "core/store/attributes.h"
#include "core/store/file_records.h"
#include "core/store/index_tree.h"
#include "usn/reason.h"

namespace ntfs {

using ondisk::AttributeType;
using ondisk::FileAttributes;

namespace {

/// A new file, worked out before anything changes.
struct NewFile {
  ByteVector reparse;  ///< value, or empty
  uint32_t reparse_tag = 0;
  std::vector<ondisk::Ea> eas;
  ByteVector ea_value;  ///< of $EA
  ondisk::StandardInformation information{};
  NamedEntry entry;
  bool takes_compression = true;  ///< over from its directory
};

uint32_t reparse_tag_of(FileKind kind) {
  switch (kind) {
    case FileKind::Symlink:
      return ondisk::ReparseTag::LxSymlink;
    case FileKind::Fifo:
      return ondisk::ReparseTag::LxFifo;
    case FileKind::CharacterDevice:
      return ondisk::ReparseTag::LxChr;
    case FileKind::BlockDevice:
      return ondisk::ReparseTag::LxBlk;
    case FileKind::Socket:
      return ondisk::ReparseTag::AfUnix;
    case FileKind::File:
    case FileKind::Directory:
      break;
  }
  return 0;
}

/// Builds the image of a file record attribute by attribute, with the function that recovery runs.
class RecordImage {
 public:
  RecordImage(uint32_t record_bytes, const ondisk::FileRecordInit& init) : bytes_(record_bytes) {
    ondisk::format_file_record(bytes_, init);
  }
  uint16_t next_instance() const { return view().next_attribute_instance(); }
  void add(ByteView attribute) {
    const Operation operation = create_attribute(view().end_marker_offset(), attribute);
    apply(operation, PageKind::FileRecord, bytes_, lfs::Lsn());
  }
  void add(AttributeType type, std::u16string_view name, ByteView value,
           ondisk::Indexed indexed = ondisk::Indexed::No) {
    add(ondisk::build_resident(type, name, 0, next_instance(), value, indexed));
  }
  /// That a value takes with its head.
  static size_t bytes_for(size_t value_bytes) {
    return align_up(sizeof(ondisk::ResidentForm) + value_bytes, 8);
  }
  size_t room() const { return bytes_.size() - view().used_bytes(); }
  ByteView used() const { return ByteView(bytes_).first(view().used_bytes()); }

 private:
  ondisk::FileRecordView view() const { return ondisk::FileRecordView::of_valid(bytes_); }
  ByteVector bytes_;
};

Result<NewFile> plan(std::u16string_view name, const CreateParameters& parameters) {
  NewFile file;
  file.reparse_tag = reparse_tag_of(parameters.kind);
  if (parameters.kind == FileKind::Symlink) {
    file.reparse = TRY(ondisk::build_lx_symlink(parameters.symlink_target));
  } else if (file.reparse_tag != 0) {
    file.reparse = ondisk::build_reparse_point(file.reparse_tag, {});
  }
  file.eas = parameters.eas;
  put_linux_metadata(parameters.linux_metadata, file.eas);
  file.ea_value = ondisk::build_eas(file.eas);
  const auto now = le64::of(ondisk::FileTime::now().raw());
  file.information.creation_time = now;
  file.information.last_write_time = now;
  file.information.change_time = now;
  file.information.last_access_time = now;
  uint32_t attributes = parameters.kind == FileKind::Directory ? 0 : FileAttributes::Archive;
  if (file.reparse_tag != 0) attributes |= FileAttributes::ReparsePoint;
  // WSL's mark: the extended attributes are part of what the file is. ntfs-3g takes no file for a
  // fifo, socket or device without it.
  const bool is_link = parameters.kind == FileKind::Symlink;
  if (file.reparse_tag != 0 && !is_link && !file.eas.empty()) {
    attributes |= FileAttributes::RecallOnOpen;
  }
  file.information.file_attributes.set(attributes);
  auto& duplicated = file.entry.duplicated;
  duplicated.creation_time = now;
  duplicated.last_write_time = now;
  duplicated.change_time = now;
  duplicated.last_access_time = now;
  if (parameters.kind == FileKind::Directory) attributes |= FileAttributes::FileNameIndexPresent;
  duplicated.file_attributes.set(attributes);
  duplicated.ea_length_or_reparse_tag.set(file.reparse_tag);
  if (file.reparse_tag == 0 && !file.eas.empty()) {
    const auto ea = TRY(ondisk::ea_information_of(file.eas));
    duplicated.ea_length_or_reparse_tag.set(ea.packed_length.get());
  }
  file.entry.type = ondisk::NameType::Posix;
  file.entry.name = name;
  return file;
}

/// A new record, and which of the values that may be long are in it.
struct Built {
  ByteVector record;
  bool has_reparse = false;
  bool has_eas = false;
};

Built build_record(const Volume& volume, const NewFile& file, FileKind kind,
                   const ondisk::FileRecordInit& init, ByteView name_value) {
  RecordImage image(volume.geometry().file_record_size, init);
  const bool is_compressed =
      (file.information.file_attributes.get() & FileAttributes::Compressed) != 0;
  const uint16_t flags = is_compressed ? ondisk::AttributeFlags::Compressed : 0;
  image.add(AttributeType::StandardInformation, u"", bytes_of(file.information));
  image.add(AttributeType::FileName, u"", name_value, ondisk::Indexed::Yes);
  if (kind == FileKind::Directory) {
    ondisk::IndexRootInit root;
    root.index_block_size = volume.geometry().index_block_size;
    root.index_block_steps = volume.geometry().index_block_steps();
    image.add(
        ondisk::build_resident(AttributeType::IndexRoot, u"$I30", flags, image.next_instance(),
                               ondisk::build_index_root(root, std::nullopt), ondisk::Indexed::No));
  } else {
    image.add(ondisk::build_resident(AttributeType::Data, u"", flags, image.next_instance(), {},
                                     ondisk::Indexed::No));
  }
  Built built;
  size_t ea_bytes = 0;
  if (!file.eas.empty()) {
    ea_bytes = RecordImage::bytes_for(sizeof(ondisk::EaInformation)) +
               RecordImage::bytes_for(file.ea_value.size());
  }
  built.has_reparse = file.reparse.size() <= kResidentReparseBytes &&
                      RecordImage::bytes_for(file.reparse.size()) + ea_bytes <= image.room();
  if (built.has_reparse && !file.reparse.empty()) {
    image.add(AttributeType::ReparsePoint, u"", file.reparse);
  }
  if (!file.eas.empty()) {
    const auto information = ondisk::ea_information_of(file.eas);
    if (information) image.add(AttributeType::EaInformation, u"", bytes_of(*information));
    built.has_eas = RecordImage::bytes_for(file.ea_value.size()) <= image.room();
    if (built.has_eas) image.add(AttributeType::Ea, u"", file.ea_value);
  }
  built.record.assign(image.used().begin(), image.used().end());
  return built;
}

/// The change journal's records of a new file, which tell the usn that its record begins with.
Result<> record_creation(Transaction& transaction, Volume& volume, File& made,
                         const usn::Link& link, const CreateParameters& parameters, NewFile& file) {
  // The file system's own directory is not spoken of.
  if (link.parent.record() == ondisk::kExtendRecord) return {};
  uint32_t attributes = file.information.file_attributes.get();
  if (parameters.kind == FileKind::Directory) attributes |= FileAttributes::Directory;
  FileRecords records(transaction, volume, made, attributes);
  TRY(records.add(usn::Reason::FileCreate, link));
  if (parameters.holder == CreateParameters::Holder::None) TRY(records.close(link));
  TRY(records.append());
  if (records.last()) file.information.usn.set(records.last()->raw());
  return {};
}

/// FILE_ATTRIBUTE_COMPRESSED of the directory, MS-FSA 2.1.5.1.1.
Result<> inherit_compression(Volume& volume, FileReference directory, FileKind kind,
                             NewFile& file) {
  const bool is_data = kind == FileKind::File || kind == FileKind::Directory;
  const bool may_be = volume.geometry().cluster_size <= ondisk::kMostCompressedClusterSize;
  if (!is_data || !may_be || !file.takes_compression) return {};
  Attributes attributes(volume, directory);
  const auto found = TRY(attributes.find(AttributeType::StandardInformation));
  const auto information = TRY(ondisk::parse_standard_information(
      found.view().value(), {"$STANDARD_INFORMATION", directory.raw(), 0}));
  const uint32_t inherited = information.file_attributes.get() & FileAttributes::Compressed;
  auto& own = file.information.file_attributes;
  own.set(own.get() | inherited);
  auto& shown = file.entry.duplicated.file_attributes;
  shown.set(shown.get() | inherited);
  return {};
}

Result<FilePtr> create_in(Transaction& transaction, Volume& volume, FileReference directory,
                          NewFile& file, const CreateParameters& parameters) {
  const FileKind kind = parameters.kind;
  TRY(directory_record(volume, directory));
  file.information.security_id.set(
      TRY(security_of_new_file(transaction, volume, directory, parameters)));
  TRY(inherit_compression(volume, directory, kind, file));
  const PageRef page = TRY(volume.mft().allocate(transaction));
  ondisk::FileRecordInit init;
  init.record_number = page->index();
  init.sequence = Mft::next_sequence(*page);
  init.flags = ondisk::FileRecordFlags::InUse;
  if (kind == FileKind::Directory) init.flags |= ondisk::FileRecordFlags::Directory;
  const FileReference reference(page->index(), init.sequence);
  FilePtr made = volume.file(reference);
  TRY(record_creation(transaction, volume, *made, {directory, std::u16string(file.entry.name)},
                      parameters, file));
  const ByteVector value =
      ondisk::build_file_name(directory, file.entry.duplicated, file.entry.type, file.entry.name);
  IndexTree tree(volume, directory, u"$I30");
  TRY(tree.insert(transaction, ondisk::build_entry(reference, value, std::nullopt)));
  const Built built = build_record(volume, file, kind, init, value);
  TRY(volume.mft().initialize(transaction, page, built.record));
  if (!file.reparse.empty() && !built.has_reparse) {
    TRY(insert_small_value(transaction, volume, reference, AttributeType::ReparsePoint,
                           file.reparse, 0));
  }
  if (!file.eas.empty() && !built.has_eas) {
    TRY(insert_small_value(transaction, volume, reference, AttributeType::Ea, file.ea_value, 0));
  }
  if (file.reparse_tag != 0) {
    TRY(list_reparse_point(transaction, volume, file.reparse_tag, reference));
  }
  return made;
}

}  // namespace

Result<FilePtr> ObjectStore::create(File& directory, std::u16string_view name,
                                    const CreateParameters& parameters) {
  TRY(check_name(name, options_.windows_names ? NameRules::Windows : NameRules::Posix));
  TRY(check_parent(directory));
  return create_in_directory(directory, name, parameters);
}

Result<FilePtr> ObjectStore::create_in_directory(File& directory, std::u16string_view name,
                                                 const CreateParameters& parameters) {
  NewFile file = TRY(plan(name, parameters));
  file.takes_compression = options_.compress_new_files;
  auto made = with_reclaim(*volume_, [&]() -> Result<FilePtr> {
    Transaction transaction(volume_->journal());
    TRY(transaction.begin());
    // Looked at again under the lock: the directory may have been removed meanwhile.
    if (directory.is_unlinked()) return NtStatus::ObjectNameNotFound;
    FilePtr created =
        TRY(create_in(transaction, *volume_, directory.reference(), file, parameters));
    remember(*created);
    if (parameters.holder == CreateParameters::Holder::Caller) created->holders().fetch_add(1);
    transaction.commit();
    return created;
  });
  if (!made) return made.error();
  note_entry_change(directory);
  report_names(directory.reference(), {{NotifyAction::Added, std::u16string(name)}},
               parameters.kind == FileKind::Directory ? NotifyFilter::DirectoryName
                                                      : NotifyFilter::FileName);
  return made;
}

/// A part of what the transaction does.
Result<> ObjectStore::create_now(Transaction& transaction, FileReference directory,
                                 std::u16string_view name, const CreateParameters& parameters) {
  NewFile file = TRY(plan(name, parameters));
  file.takes_compression = options_.compress_new_files;
  remember(*TRY(create_in(transaction, *volume_, directory, file, parameters)));
  return {};
}

}  // namespace ntfs
