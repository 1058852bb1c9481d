#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "core/check/file_check.h"
#include "core/ondisk/utf16.h"

namespace ntfs::check {

using ondisk::AttributeListEntry;
using ondisk::AttributeListEntryHeader;
using ondisk::AttributeType;

namespace {

/// Windows reads no longer ones.
constexpr uint64_t kMaxListBytes = uint64_t{1} << 18;

std::string name_entry(const AttributeListEntry& entry) {
  return fmt::format("{}, vcn {:#x}", name_attribute(entry.type, entry.name),
                     entry.lowest_vcn.raw());
}

/// By what an entry and the attribute it names must agree in.
using Key = std::tuple<uint64_t, uint16_t, AttributeType, std::u16string, uint64_t>;

Key key_of(const AttributeListEntry& entry) {
  return {entry.reference.record(), entry.instance, entry.type, entry.name, entry.lowest_vcn.raw()};
}

Key key_of(const Attribute& attribute) {
  return {attribute.record_number, attribute.instance, attribute.type, attribute.name,
          attribute.resident ? 0 : attribute.lowest_vcn};
}

std::vector<AttributeListEntry> parse_list(ByteView value, FileReference file, Findings& findings) {
  std::vector<AttributeListEntry> entries;
  for (size_t at = 0; at < value.size();) {
    const size_t room = value.size() - at;
    const Place place{"attribute list", file, fmt::format("entry at {:#x}", at)};
    if (room < sizeof(AttributeListEntryHeader)) {
      findings.add(place, fmt::format("{} bytes", sizeof(AttributeListEntryHeader)),
                   fmt::format("{} bytes", room), "the last entry is not whole");
      break;
    }
    const auto& header = struct_at<AttributeListEntryHeader>(value, at);
    const size_t length = header.entry_length.get();
    const size_t name_offset = static_cast<size_t>(header.name_offset);
    const size_t name_bytes = 2 * static_cast<size_t>(header.name_length);
    if (length % 8 != 0 || length > room || length < sizeof(AttributeListEntryHeader) ||
        (name_bytes != 0 &&
         (name_offset < sizeof(AttributeListEntryHeader) || name_offset + name_bytes > length))) {
      findings.add(
          place, fmt::format("up to {} bytes", room),
          fmt::format("length {}, name of {} bytes at {}", length, name_bytes, name_offset),
          "the lengths of an entry are impossible");
      break;
    }
    AttributeListEntry entry;
    entry.type = static_cast<AttributeType>(header.type_code.get());
    if (name_bytes != 0) {
      entry.name = ondisk::utf16_from(value.subspan(at + name_offset, name_bytes));
    }
    entry.lowest_vcn = Vcn(header.lowest_vcn.get());
    entry.reference = FileReference::from_raw(header.file_reference.get());
    entry.instance = header.instance.get();
    entries.push_back(std::move(entry));
    at += length;
  }
  return entries;
}

}  // namespace

std::vector<AttributeListEntry> read_attribute_list(const Record& base, Context& context) {
  for (const Attribute& attribute : base.attributes) {
    if (attribute.type != AttributeType::AttributeList) continue;
    Stream stream;
    const Attribute* const extent = &attribute;
    if (!put_together_quietly({&extent, 1}, context.geometry().total_clusters, stream)) return {};
    if (stream.file_size > kMaxListBytes) {
      context.findings.add({"attribute list", base.reference, "size"}, kMaxListBytes,
                           stream.file_size, "the attribute list is too long");
      return {};
    }
    return parse_list(context.reader.read_all(stream, kMaxListBytes), base.reference,
                      context.findings);
  }
  return {};
}

void check_attribute_list(const std::vector<AttributeListEntry>& entries, const FileRecords& file,
                          Context& context) {
  Findings& findings = context.findings;
  const FileReference reference = file.base->reference;
  const auto place = [&](const std::string& where) {
    return Place{"attribute list", reference, where};
  };
  for (size_t i = 1; i < entries.size(); ++i) {
    const AttributeListEntry& a = entries[i - 1];
    const AttributeListEntry& b = entries[i];
    bool ordered = a.type <= b.type;
    if (a.type == b.type && context.upcase.is_loaded()) {
      const auto names = compare_names(a.name, b.name, context.upcase);
      ordered = names < 0 || (names == 0 && a.lowest_vcn <= b.lowest_vcn);
    }
    if (!ordered) {
      findings.add(place(name_entry(b)), "after " + name_entry(a), "before it",
                   "the entries are not in order");
    }
  }
  std::vector<Key> listed;
  for (const AttributeListEntry& entry : entries) listed.push_back(key_of(entry));
  std::vector<Key> present;
  const auto add_record = [&](const Record& record) {
    for (const Attribute& attribute : record.attributes) {
      if (attribute.type != AttributeType::AttributeList) present.push_back(key_of(attribute));
    }
  };
  add_record(*file.base);
  for (const Record* extension : file.extensions) add_record(*extension);
  std::sort(listed.begin(), listed.end());
  std::sort(present.begin(), present.end());
  const auto report = [&](const Key& key, const char* expected, const char* found,
                          const char* message) {
    findings.add(place(fmt::format("{}, vcn {:#x}, instance {} of record {}",
                                   name_attribute(std::get<2>(key), std::get<3>(key)),
                                   std::get<4>(key), std::get<1>(key), std::get<0>(key))),
                 expected, found, message);
  };
  auto entry = listed.begin();
  auto attribute = present.begin();
  while (entry != listed.end() || attribute != present.end()) {
    if (attribute == present.end() || (entry != listed.end() && *entry < *attribute)) {
      report(*entry++, "an attribute", "none", "an entry names no attribute, or one named before");
    } else if (entry == listed.end() || *attribute < *entry) {
      report(*attribute++, "an entry", "none", "an attribute is not listed");
    } else {
      ++entry;
      ++attribute;
    }
  }
}

}  // namespace ntfs::check
