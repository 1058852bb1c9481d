#include "core/check/name_claims.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/check/context.h"
#include "core/ondisk/utf16.h"

namespace ntfs::check {

using ondisk::DuplicatedInformation;
using ondisk::FileNameHeader;

namespace {

uint32_t hash_of(ByteView bytes) {
  uint32_t hash = 2166136261u;
  for (const std::byte b : bytes) hash = (hash ^ static_cast<uint32_t>(b)) * 16777619u;
  return hash;
}

}  // namespace

void NameClaims::add(FileReference file, ByteView value) {
  const auto& header = struct_at<FileNameHeader>(value);
  const size_t length = 2 * static_cast<size_t>(header.name_length);
  const ByteView name = value.subspan(sizeof(FileNameHeader), length);
  NameClaim claim;
  claim.file = file;
  claim.parent = FileReference::from_raw(header.parent_reference.get());
  claim.position = names_.size();
  claim.hash = hash_of(name);
  claim.length_units = static_cast<uint8_t>(header.name_length);
  claim.name_type = static_cast<uint8_t>(header.name_type);
  claims_.push_back(claim);
  names_.insert(names_.end(), name.begin(), name.end());
  if (!keeps_duplicates_) return;
  const ByteView duplicated = bytes_of(header.duplicated);
  names_.insert(names_.end(), duplicated.begin(), duplicated.end());
}

ByteView NameClaims::name_bytes(const NameClaim& claim) const {
  return ByteView(names_).subspan(claim.position, 2 * size_t{claim.length_units});
}

std::string NameClaims::name_of(const NameClaim& claim) const {
  return display(ondisk::utf16_from(name_bytes(claim)));
}

const DuplicatedInformation& NameClaims::duplicated_in(const NameClaim& claim) const {
  ASSERT(keeps_duplicates_);
  return struct_at<DuplicatedInformation>(ByteView(names_),
                                          claim.position + 2 * size_t{claim.length_units});
}

namespace {

/// Both sides agree on these; sequences are compared once names have met.
std::strong_ordering compare(const NameClaims& a_side, const NameClaim& a, const NameClaims& b_side,
                             const NameClaim& b) {
  if (auto order = a.file.record() <=> b.file.record(); order != 0) return order;
  if (auto order = a.parent.record() <=> b.parent.record(); order != 0) return order;
  if (auto order = a.hash <=> b.hash; order != 0) return order;
  if (auto order = a.length_units <=> b.length_units; order != 0) return order;
  if (auto order = a.name_type <=> b.name_type; order != 0) return order;
  if (a.length_units == 0) return std::strong_ordering::equal;
  return std::memcmp(a_side.name_bytes(a).data(), b_side.name_bytes(b).data(),
                     2 * size_t{a.length_units}) <=> 0;
}

class NameComparison {
 public:
  explicit NameComparison(Context& context) : context_(context) {}
  void run();

 private:
  void report_entry_without_name(const NameClaim& entry);
  void report_name_without_entry(const NameClaim& name);
  void compare_pair(const NameClaim& name, const NameClaim& entry);
  void compare_duplicates(const NameClaim& entry);
  std::string describe_target(FileReference reference) const;

  Context& context_;
};

void NameComparison::run() {
  NameClaims& names = context_.file_names;
  NameClaims& entries = context_.index_names;
  names.sort();
  entries.sort();
  auto name = names.claims().begin();
  auto entry = entries.claims().begin();
  while (name != names.claims().end() || entry != entries.claims().end()) {
    std::strong_ordering order = std::strong_ordering::equal;
    if (name == names.claims().end()) {
      order = std::strong_ordering::greater;
    } else if (entry == entries.claims().end()) {
      order = std::strong_ordering::less;
    } else {
      order = compare(names, *name, entries, *entry);
    }
    if (order < 0) {
      report_name_without_entry(*name++);
    } else if (order > 0) {
      report_entry_without_name(*entry++);
    } else {
      compare_pair(*name++, *entry++);
    }
  }
}

std::string NameComparison::describe_target(FileReference reference) const {
  const RecordInfo& info = context_.records.get(reference.record());
  if (info.state == RecordState::Bad) return "a damaged file record";
  if (info.state != RecordState::InUse) return "a file record that is not in use";
  if (info.base.raw() != 0) return "an extension record";
  if (info.sequence != reference.sequence()) {
    return fmt::format("a file record with sequence {}", info.sequence);
  }
  return "";
}

void NameComparison::report_entry_without_name(const NameClaim& entry) {
  std::string found = describe_target(entry.file);
  if (found.empty()) found = "a file without that name in that directory";
  context_.findings.add({"index entry", entry.parent,
                         fmt::format("\"{}\", of {}", context_.index_names.name_of(entry),
                                     name_reference(entry.file))},
                        "a file with that name", found,
                        "an index entry has no matching $FILE_NAME attribute");
}

void NameComparison::report_name_without_entry(const NameClaim& name) {
  std::string found = describe_target(name.parent);
  if (found.empty() && !context_.records.get(name.parent.record()).is_directory()) {
    found = "a parent that is no directory";
  }
  if (found.empty()) found = "a directory without that entry";
  context_.findings.add({"file name", name.file,
                         fmt::format("\"{}\", parent {}", context_.file_names.name_of(name),
                                     name_reference(name.parent))},
                        "an index entry in the parent", found,
                        "a $FILE_NAME attribute has no matching index entry");
}

void NameComparison::compare_pair(const NameClaim& name, const NameClaim& entry) {
  const std::string text = fmt::format("\"{}\"", context_.index_names.name_of(entry));
  if (entry.file != name.file) {
    context_.findings.add({"index entry", entry.parent, text}, name_reference(name.file),
                          name_reference(entry.file),
                          "an index entry refers to its file with another sequence number");
  }
  if (entry.parent != name.parent) {
    context_.findings.add({"file name", name.file, text}, name_reference(entry.parent),
                          name_reference(name.parent),
                          "a $FILE_NAME refers to its parent with another sequence number");
  }
  if (context_.options.strict_duplicates) compare_duplicates(entry);
}

void NameComparison::compare_duplicates(const NameClaim& entry) {
  // Formatters leave those of the system files as they were at the start.
  if (entry.file.record() < ondisk::kFirstUserRecord) return;
  const auto facts = context_.facts.find(entry.file.record());
  if (facts == context_.facts.end()) return;
  const DuplicatedInformation& want = facts->second.duplicated;
  const DuplicatedInformation& have = context_.index_names.duplicated_in(entry);
  const auto compare_field = [&](const char* field, uint64_t expected, uint64_t found) {
    if (expected == found) return;
    const Place place{
        "duplicated information", entry.file,
        fmt::format("{} in index entry \"{}\" of {}", field, context_.index_names.name_of(entry),
                    name_reference(entry.parent))};
    context_.findings.add(place, expected, found, "an index entry does not repeat its file");
  };
  compare_field("creation time", want.creation_time.get(), have.creation_time.get());
  compare_field("last write time", want.last_write_time.get(), have.last_write_time.get());
  compare_field("change time", want.change_time.get(), have.change_time.get());
  compare_field("last access time", want.last_access_time.get(), have.last_access_time.get());
  compare_field("file size", want.file_size.get(), have.file_size.get());
  if (have.allocated_size.get() != facts->second.other_allocated_size) {
    compare_field("allocated size", want.allocated_size.get(), have.allocated_size.get());
  }
  compare_field("file attributes", want.file_attributes.get(), have.file_attributes.get());
  compare_field("EA length or reparse tag", want.ea_length_or_reparse_tag.get(),
                have.ea_length_or_reparse_tag.get());
}

}  // namespace

void NameClaims::sort() {
  std::sort(claims_.begin(), claims_.end(), [this](const NameClaim& a, const NameClaim& b) {
    return compare(*this, a, *this, b) < 0;
  });
}

void check_names(Context& context) { NameComparison(context).run(); }

void check_reachability(Context& context) {
  using Reach = RecordInfo::Reach;
  RecordTable& records = context.records;
  std::vector<uint64_t> path;
  for (uint64_t record = 0; record < records.count(); ++record) {
    if (!records.get(record).is_directory()) continue;
    path.clear();
    uint64_t at = record;
    while (records.get(at).is_directory() && records.get(at).reach == Reach::Unknown &&
           at != ondisk::kRootRecord) {
      records.at(at).reach = Reach::Underway;
      path.push_back(at);
      at = records.get(at).parent.record();
    }
    const bool cycle = records.get(at).reach == Reach::Underway;
    const bool reached = at == ondisk::kRootRecord || records.get(at).reach == Reach::Yes;
    for (const uint64_t on_path : path) {
      records.at(on_path).reach = reached ? Reach::Yes : Reach::No;
    }
    if (cycle) {
      context.findings.add({"directory", FileReference(at, records.get(at).sequence), "parents"},
                           "the root", "itself",
                           "a directory is its own ancestor: it cannot be reached from the root");
    }
  }
}

}  // namespace ntfs::check
