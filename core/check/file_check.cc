#include "core/check/file_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/check/index_check.h"
#include "core/ondisk/attribute_values.h"
#include "core/ondisk/cluster_references.h"
#include "core/ondisk/reparse_point.h"
#include "core/ondisk/utf16.h"

namespace ntfs::check {

using ondisk::AttributeType;
using ondisk::FileAttributes;
using ondisk::FileNameHeader;
using ondisk::FileRecordFlags;
using ondisk::NameType;
using ondisk::StandardInformation;

namespace {

/// Entries of a directory.
class DirectorySink final : public EntrySink {
 public:
  DirectorySink(FileReference directory, Context& context)
      : directory_(directory), context_(context) {}
  void take(const ondisk::IndexEntryHeader& header, ByteView key, ByteView) override {
    const auto file = FileReference::from_raw(header.file_reference_or_data.get());
    ++context_.report.index_entries;
    const auto parent =
        FileReference::from_raw(struct_at<FileNameHeader>(key).parent_reference.get());
    if (parent != directory_) {
      context_.findings.add({"index entry", directory_, "parent, entry of " + name_reference(file)},
                            name_reference(directory_), name_reference(parent),
                            "an index entry says another parent than the directory it is in");
    }
    context_.index_names.add(file, key);
  }

 private:
  FileReference directory_;
  Context& context_;
};

/// Entries of a view; null when nobody needs them.
class ViewSink final : public EntrySink {
 public:
  explicit ViewSink(std::vector<ViewEntry>* entries) : entries_(entries) {}
  void take(const ondisk::IndexEntryHeader&, ByteView key, ByteView data) override {
    if (entries_ == nullptr) return;
    entries_->push_back({{key.begin(), key.end()}, {data.begin(), data.end()}});
  }

 private:
  std::vector<ViewEntry>* entries_;
};

class FileCheck {
 public:
  FileCheck(const FileRecords& records, Context& context)
      : records_(records), context_(context), file_(records.base->reference) {}
  void run();

 private:
  Place place(std::string where) const { return {"file", file_, where}; }
  bool is_directory() const { return (records_.base->flags & FileRecordFlags::Directory) != 0; }
  const FileAttribute* find(AttributeType type, std::u16string_view name) const;
  void check_base_attributes();
  void check_order(const Record& record);
  void check_data();
  void check_standard_information();
  void check_names();
  bool check_name(const FileAttribute& attribute);
  void check_link_count(uint64_t names, uint64_t dos, uint64_t win32, uint64_t links);
  void check_indexes();
  std::vector<ViewEntry>* view_entries(std::u16string_view name);
  void check_reparse_point();
  void check_eas();
  void check_object_id();
  void remember_facts();
  bool is_usn_journal() const;
  void keep_journal();
  void keep_streams();

  const FileRecords& records_;
  Context& context_;
  FileReference file_;
  std::vector<FileAttribute> attributes_;
  StandardInformation information_{};
  std::u16string extend_name_;  // of a file in $Extend
  uint32_t ea_or_reparse_ = 0;
};

const FileAttribute* FileCheck::find(AttributeType type, std::u16string_view name) const {
  // put_together() gives them in this order.
  const auto found = std::lower_bound(
      attributes_.begin(), attributes_.end(), std::pair(type, name),
      [](const FileAttribute& attribute, const std::pair<AttributeType, std::u16string_view>& key) {
        return std::pair(attribute.type(), std::u16string_view(attribute.name())) < key;
      });
  const bool is_it = found != attributes_.end() && found->type() == type && found->name() == name;
  return is_it ? &*found : nullptr;
}

void FileCheck::run() {
  std::vector<const Attribute*> all;
  const auto add_record = [&](const Record& record) {
    for (const Attribute& attribute : record.attributes) all.push_back(&attribute);
  };
  add_record(*records_.base);
  for (const Record* extension : records_.extensions) add_record(*extension);
  attributes_ = put_together(std::move(all), file_, context_);
  ++(is_directory() ? context_.report.directories : context_.report.files);
  check_base_attributes();
  check_order(*records_.base);
  for (const Record* extension : records_.extensions) check_order(*extension);
  check_data();
  check_standard_information();
  check_names();
  check_indexes();
  check_reparse_point();
  check_eas();
  check_object_id();
  if (context_.options.strict_duplicates) remember_facts();
  keep_streams();
}

/// Attributes that only a base record holds.
void FileCheck::check_base_attributes() {
  for (const Record* extension : records_.extensions) {
    for (const Attribute& attribute : extension->attributes) {
      if (attribute.type != AttributeType::StandardInformation &&
          attribute.type != AttributeType::AttributeList) {
        continue;
      }
      context_.findings.add(
          place(fmt::format("{} in record {}", name_attribute(attribute), attribute.record_number)),
          "the base record", "an extension record", "an attribute must be in the base record");
    }
  }
}

/// Attributes of one type stand in the order of their names, extents in that of their vcns.
void FileCheck::check_order(const Record& record) {
  if (!context_.upcase.is_loaded()) return;
  for (size_t i = 1; i < record.attributes.size(); ++i) {
    const Attribute& before = record.attributes[i - 1];
    const Attribute& attribute = record.attributes[i];
    if (before.type != attribute.type) continue;
    const auto names = compare_names(before.name, attribute.name, context_.upcase);
    if (names < 0 || (names == 0 && before.lowest_vcn <= attribute.lowest_vcn)) continue;
    context_.findings.add(place(fmt::format("record {}, attribute at {:#x}",
                                            attribute.record_number, attribute.offset)),
                          "after " + name_attribute(before), name_attribute(attribute),
                          "attributes of one type are not in the order of their names");
  }
}

void FileCheck::check_data() {
  const bool has_view = (records_.base->flags & FileRecordFlags::ViewIndex) != 0;
  if (is_directory() || has_view || file_.record() < ondisk::kFirstUserRecord) return;
  if (find(AttributeType::Data, {}) != nullptr || is_usn_journal()) return;
  context_.findings.add(place("$DATA"), "present", "absent", "a file has no unnamed $DATA");
}

void FileCheck::check_standard_information() {
  const FileAttribute* attribute = find(AttributeType::StandardInformation, {});
  // Records 12 to 15 are reserved for metadata files to come; some formatters leave them bare.
  const bool reserved = file_.record() >= ondisk::kFirstReservedRecord && file_.record() < 16;
  if (attribute == nullptr) {
    if (!reserved) {
      context_.findings.add(place("$STANDARD_INFORMATION"), "present", "absent",
                            "a file has no $STANDARD_INFORMATION");
    }
    return;
  }
  if (!attribute->readable) return;
  const ByteVector& value = attribute->stream.value;
  if (value.size() != sizeof(StandardInformation) &&
      value.size() != ondisk::kStandardInformationV1Bytes) {
    context_.findings.add(place("$STANDARD_INFORMATION, length"), sizeof(StandardInformation),
                          value.size(), "$STANDARD_INFORMATION has an impossible length");
  }
  const size_t length = std::min(value.size(), sizeof(StandardInformation));
  std::copy_n(value.begin(), length, mutable_bytes_of(information_).begin());
  context_.records.at(file_.record()).security_id = information_.security_id.get();
  if (information_.usn.get() > context_.usn.highest) {
    context_.usn.highest = information_.usn.get();
    context_.usn.highest_owner = file_;
  }
  const bool has_descriptor = find(AttributeType::SecurityDescriptor, {}) != nullptr;
  // Windows leaves some of its own files without one, $Extend\$RmMetadata\$Repair for example.
  const bool of_system = file_.record() < ondisk::kFirstUserRecord ||
                         (information_.file_attributes.get() & FileAttributes::System) != 0;
  if (information_.security_id.get() == 0 && !has_descriptor && !of_system) {
    context_.findings.add(place("security id"), "an id, or a $SECURITY_DESCRIPTOR", "neither",
                          "a file has no security descriptor");
  }
}

void FileCheck::check_names() {
  uint64_t names = 0;
  uint64_t dos = 0;
  uint64_t win32 = 0;
  for (const FileAttribute& attribute : attributes_) {
    if (attribute.type() != AttributeType::FileName) continue;
    ++names;
    if (!check_name(attribute)) continue;
    const ByteView value = attribute.stream.value;
    const auto& header = struct_at<FileNameHeader>(value);
    const auto parent = FileReference::from_raw(header.parent_reference.get());
    const auto type = static_cast<NameType>(header.name_type);
    if (type == NameType::Dos) ++dos;
    if (type == NameType::Win32) ++win32;
    context_.file_names.add(file_, value);
    ++context_.report.names;
    if (type == NameType::Dos) continue;
    context_.records.at(file_.record()).parent = parent;
    if (parent.record() == ondisk::kExtendRecord) {
      extend_name_ = ondisk::utf16_from(context_.file_names.last_name_bytes());
    }
  }
  check_link_count(names, dos, win32, names - dos);
}

bool FileCheck::check_name(const FileAttribute& attribute) {
  if (!attribute.readable || !attribute.first->resident) return false;
  const ByteView value = attribute.stream.value;
  const Place where = place(fmt::format("$FILE_NAME in record {}, instance {}",
                                        attribute.first->record_number, attribute.first->instance));
  if (value.size() < sizeof(FileNameHeader)) {
    context_.findings.add(where, sizeof(FileNameHeader), value.size(), "a $FILE_NAME is too short");
    return false;
  }
  const auto& header = struct_at<FileNameHeader>(value);
  const size_t units = static_cast<size_t>(header.name_length);
  if (units == 0 || value.size() != sizeof(FileNameHeader) + 2 * units) {
    context_.findings.add(where, sizeof(FileNameHeader) + 2 * units, value.size(),
                          "a $FILE_NAME is not as long as its name");
    return false;
  }
  if (static_cast<uint8_t>(header.name_type) > 3) {
    context_.findings.add(where, "0 to 3", number(static_cast<uint8_t>(header.name_type)),
                          "a $FILE_NAME has an unknown name type");
    return false;
  }
  for (size_t i = 0; i < units; ++i) {
    const uint16_t unit = struct_at<le16>(value, sizeof(FileNameHeader) + 2 * i).get();
    if (unit != 0 && unit != u'/') continue;
    context_.findings.add(where, "no NUL and no slash", number(unit), "a name is impossible");
    break;
  }
  if (!attribute.first->indexed) {
    context_.findings.add(where, "the flag of an indexed attribute", "none",
                          "a $FILE_NAME is not marked as indexed");
  }
  return true;
}

void FileCheck::check_link_count(uint64_t names, uint64_t dos, uint64_t win32, uint64_t links) {
  if (records_.base->link_count != names) {
    context_.findings.add(place("link count"), names, records_.base->link_count,
                          "the link count is not the number of $FILE_NAME attributes");
  }
  if (dos > 1 || dos > win32) {
    context_.findings.add(place("names"), "one Win32 name for the DOS name",
                          fmt::format("{} Win32 and {} DOS names", win32, dos),
                          "a DOS name stands beside exactly one Win32 name");
  }
  if (is_directory() && links > 1) {
    context_.findings.add(place("names"), 1, links, "a directory has more than one name");
  }
  const bool may_be_nameless = file_.record() < ondisk::kFirstUserRecord || context_.options.live;
  if (names == 0 && !may_be_nameless) {
    context_.findings.add(place("names"), "at least one", "none", "a file in use has no name");
  }
}

std::vector<ViewEntry>* FileCheck::view_entries(std::u16string_view name) {
  if (file_.record() == ondisk::kSecureRecord) {
    if (name == u"$SII") return &context_.security_ids;
    if (name == u"$SDH") return &context_.security_hashes;
  }
  if (extend_name_ == u"$Reparse" && name == u"$R") {
    context_.has_reparse_index = true;
    return &context_.reparse_index;
  }
  if (extend_name_ == u"$ObjId" && name == u"$O") {
    context_.has_object_id_index = true;
    return &context_.object_id_index;
  }
  if (extend_name_ == ondisk::kRefcountsName && name == ondisk::kRefcountsIndex) {
    context_.has_refcounts_index = true;
    return &context_.refcounts_index;
  }
  return nullptr;
}

void FileCheck::check_indexes() {
  bool has_names = false;
  bool has_view = false;
  for (const FileAttribute& attribute : attributes_) {
    if (attribute.type() == AttributeType::IndexAllocation &&
        find(AttributeType::IndexRoot, attribute.name()) == nullptr) {
      context_.findings.add(place(name_attribute(*attribute.first)), "an $INDEX_ROOT", "none",
                            "an $INDEX_ALLOCATION has no $INDEX_ROOT");
    }
    if (attribute.type() != AttributeType::IndexRoot) continue;
    IndexAttributes index;
    index.file = file_;
    index.name = attribute.name();
    index.root = &attribute;
    index.allocation = find(AttributeType::IndexAllocation, attribute.name());
    index.bitmap = find(AttributeType::Bitmap, attribute.name());
    if (attribute.name() == u"$I30") {
      has_names = true;
      DirectorySink sink(file_, context_);
      check_index(index, sink, context_);
    } else {
      has_view = true;
      ViewSink sink(view_entries(attribute.name()));
      check_index(index, sink, context_);
    }
  }
  if (has_names != is_directory()) {
    context_.findings.add(place("flags"), has_names ? "a directory" : "no directory",
                          has_names ? "no directory" : "a directory",
                          "the directory flag and the presence of $INDEX_ROOT \"$I30\" differ");
  }
  const bool view_flag = (records_.base->flags & FileRecordFlags::ViewIndex) != 0;
  if (has_view != view_flag) {
    context_.findings.add(place("flags"), has_view ? "a view index" : "no view index",
                          has_view ? "no view index" : "a view index",
                          "the view index flag and the presence of a view index differ");
  }
}

void FileCheck::check_reparse_point() {
  const FileAttribute* attribute = find(AttributeType::ReparsePoint, {});
  const bool flag = (information_.file_attributes.get() & FileAttributes::ReparsePoint) != 0;
  if (flag != (attribute != nullptr)) {
    context_.findings.add(place("$REPARSE_POINT"), flag ? "present" : "absent",
                          flag ? "absent" : "present",
                          "the file attribute and the presence of a reparse point differ");
  }
  if (attribute == nullptr || !attribute->readable) return;
  const ByteVector value =
      context_.reader.read_all(attribute->stream, ondisk::kMaxReparsePointBytes + 1);
  if (value.size() < sizeof(ondisk::ReparseHeader) ||
      value.size() > ondisk::kMaxReparsePointBytes) {
    context_.findings.add(place("$REPARSE_POINT, length"), "8 to 16384", number(value.size()),
                          "a reparse point has an impossible length");
    return;
  }
  const auto& header = struct_at<ondisk::ReparseHeader>(ByteView(value));
  const uint32_t tag = header.tag.get();
  const size_t guid = (tag & ondisk::ReparseTag::MicrosoftBit) != 0 ? 0 : ondisk::kReparseGuidBytes;
  const size_t expected = sizeof(ondisk::ReparseHeader) + guid + header.data_length.get();
  if (expected != value.size()) {
    context_.findings.add(place("$REPARSE_POINT, data length"), value.size(), expected,
                          "a reparse point is not as long as it says");
  }
  ea_or_reparse_ = tag;
  context_.reparse_points.push_back({tag, file_});
}

void FileCheck::check_eas() {
  const FileAttribute* information = find(AttributeType::EaInformation, {});
  const FileAttribute* eas = find(AttributeType::Ea, {});
  if ((information == nullptr) != (eas == nullptr)) {
    context_.findings.add(place(information == nullptr ? "$EA_INFORMATION" : "$EA"), "present",
                          "absent", "a file has only one of $EA_INFORMATION and $EA");
    return;
  }
  if (eas == nullptr || !eas->readable || !information->readable) return;
  const ByteView head = information->stream.value;
  if (!information->first->resident || head.size() != sizeof(ondisk::EaInformation)) {
    context_.findings.add(place("$EA_INFORMATION, length"), sizeof(ondisk::EaInformation),
                          head.size(), "$EA_INFORMATION has an impossible length");
    return;
  }
  constexpr uint64_t kMaxEaBytes = 0x20000;
  const ByteVector value = context_.reader.read_all(eas->stream, kMaxEaBytes);
  uint64_t packed = 0;
  uint64_t needed = 0;
  size_t at = 0;
  while (value.size() - at >= sizeof(ondisk::EaEntryHeader)) {
    const auto& entry = struct_at<ondisk::EaEntryHeader>(ByteView(value), at);
    const size_t used = sizeof(ondisk::EaEntryHeader) + static_cast<size_t>(entry.name_length) + 1 +
                        entry.value_length.get();
    const size_t length =
        entry.entry_length.get() == 0 ? value.size() - at : entry.entry_length.get();
    if (length < used || length > value.size() - at) {
      context_.findings.add(place(fmt::format("$EA, entry at {:#x}", at)),
                            fmt::format("{} to {} bytes", used, value.size() - at), number(length),
                            "the length of an extended attribute is impossible");
      return;
    }
    packed += used - sizeof(le32);  // all but the length of the entry
    if ((entry.flags & std::byte{ondisk::kNeedEa}) != std::byte{0}) ++needed;
    at += length;
  }
  const auto& told = struct_at<ondisk::EaInformation>(head);
  const auto demand = [&](const char* field, uint64_t expected, uint64_t found) {
    if (expected == found) return;
    context_.findings.add(place(fmt::format("$EA_INFORMATION, {}", field)), expected, found,
                          "$EA_INFORMATION does not describe $EA");
  };
  demand("size", eas->stream.file_size, told.unpacked_length.get());
  demand("packed length", packed, told.packed_length.get());
  demand("NEED_EA count", needed, told.need_ea_count.get());
  if (ea_or_reparse_ == 0) ea_or_reparse_ = told.packed_length.get();
}

void FileCheck::check_object_id() {
  const FileAttribute* attribute = find(AttributeType::ObjectId, {});
  if (attribute == nullptr || !attribute->readable) return;
  const ByteView value = attribute->stream.value;
  ObjectIdClaim claim;
  if (value.size() < claim.id.size()) {
    context_.findings.add(place("$OBJECT_ID, length"), claim.id.size(), value.size(),
                          "an object id is too short");
    return;
  }
  std::copy_n(value.begin(), claim.id.size(), claim.id.begin());
  claim.file = file_;
  context_.object_ids.push_back(claim);
}

void FileCheck::remember_facts() {
  FileFacts facts;
  ondisk::DuplicatedInformation& duplicated = facts.duplicated;
  duplicated.creation_time = information_.creation_time;
  duplicated.last_write_time = information_.last_write_time;
  duplicated.change_time = information_.change_time;
  duplicated.last_access_time = information_.last_access_time;
  uint32_t flags = information_.file_attributes.get();
  if (is_directory()) flags |= FileAttributes::FileNameIndexPresent;
  if ((records_.base->flags & FileRecordFlags::ViewIndex) != 0) {
    flags |= FileAttributes::ViewIndexPresent;
  }
  duplicated.file_attributes.set(flags);
  duplicated.ea_length_or_reparse_tag.set(ea_or_reparse_);
  const FileAttribute* data = find(AttributeType::Data, {});
  if (data != nullptr) {
    duplicated.file_size.set(data->stream.file_size);
    const bool resident = data->first->resident;
    duplicated.allocated_size.set(resident ? align_up(data->stream.file_size, 8)
                                           : data->first->sizes.total_allocated);
    facts.other_allocated_size =
        resident ? data->stream.file_size : data->first->sizes.total_allocated;
  }
  context_.facts.emplace(file_.record(), facts);
}

/// Of the system files, for the checks that follow the pass over $MFT.
/// $Extend\$UsnJrnl.
bool FileCheck::is_usn_journal() const {
  const FileAttribute* name = find(AttributeType::FileName, {});
  if (name == nullptr || !name->readable || find(AttributeType::Data, u"$J") == nullptr) {
    return false;
  }
  const auto view = ondisk::FileNameView::parse(name->stream.value, {"$FILE_NAME", file_.raw(), 0});
  return view && view->parent().record() == ondisk::kExtendRecord && view->name_equals(u"$UsnJrnl");
}

void FileCheck::keep_journal() {
  const FileAttribute* maximum = find(AttributeType::Data, u"$Max");
  const FileAttribute* records = find(AttributeType::Data, u"$J");
  UsnFacts& usn = context_.usn;
  usn.file = file_;
  usn.is_found = true;
  if (maximum != nullptr && maximum->readable) {
    usn.maximum.assign(maximum->stream.value.begin(), maximum->stream.value.end());
  }
  if (records->readable) usn.records = records->stream;
}

void FileCheck::keep_streams() {
  if (is_usn_journal()) keep_journal();
  if (file_.record() >= ondisk::kFirstReservedRecord) return;
  for (FileAttribute& attribute : attributes_) {
    if (!attribute.readable) continue;
    context_.kept.push_back(
        {file_.record(), attribute.type(), attribute.name(), std::move(attribute.stream)});
  }
}

}  // namespace

void check_file(const FileRecords& file, Context& context) { FileCheck(file, context).run(); }

}  // namespace ntfs::check
