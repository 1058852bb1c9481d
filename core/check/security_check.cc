#include <fmt/format.h>

#include <algorithm>

#include "core/check/system_check.h"
#include "core/ondisk/security_descriptor.h"

namespace ntfs::check {

using ondisk::AttributeType;
using ondisk::kSdsBlockBytes;
using ondisk::SdsEntryHeader;

namespace {

constexpr size_t kDescriptorHeaderBytes = 20;

uint32_t hash_of(ByteView descriptor) {
  uint32_t hash = 0;
  for (size_t at = 0; at + 4 <= descriptor.size(); at += 4) {
    hash = (hash << 3 | hash >> 29) + struct_at<le32>(descriptor, at).get();
  }
  return hash;
}

class SecurityCheck {
 public:
  explicit SecurityCheck(Context& context) : context_(context) {}
  void run();

 private:
  Place place(std::string where) const {
    return {"$Secure", FileReference(ondisk::kSecureRecord, 9), where};
  }
  void read_descriptors(const Stream& sds);
  void check_block(ByteView block, uint64_t position);
  bool check_entry(const SdsEntryHeader& header, ByteView entry, uint64_t position);
  void check_descriptor(ByteView descriptor, uint64_t position);
  void check_index(const std::vector<ViewEntry>& index, const char* name);
  void check_index_entry(const ViewEntry& entry, const char* name);
  void check_ids_of_files();

  Context& context_;
  std::vector<SdsEntryHeader> entries_;  // by offset
};

void SecurityCheck::run() {
  const Stream* sds = context_.find_kept(ondisk::kSecureRecord, AttributeType::Data, u"$SDS");
  if (sds == nullptr) {
    context_.findings.add(place("$SDS"), "present", "absent or bad", "$SDS cannot be read");
    return;
  }
  for (const Run& run : sds->runs) {
    if (!run.lcn.is_hole()) continue;
    context_.findings.add(place("$SDS"), "no hole", "a hole", "$SDS has a hole");
    return;
  }
  read_descriptors(*sds);
  check_index(context_.security_ids, "$SII");
  check_index(context_.security_hashes, "$SDH");
  check_ids_of_files();
}

void SecurityCheck::read_descriptors(const Stream& sds) {
  ByteVector block(kSdsBlockBytes);
  ByteVector copy(kSdsBlockBytes);
  for (uint64_t position = 0; position < sds.file_size; position += 2 * kSdsBlockBytes) {
    const std::string where = fmt::format("$SDS, block at {:#x}", position);
    const uint64_t copy_at = position + kSdsBlockBytes;
    if (copy_at >= sds.file_size) {
      context_.findings.add(place(where), copy_at, sds.file_size,
                            "$SDS ends without a copy of its last block");
      return;
    }
    // The stream ends with the last entry's copy; what the block has beyond does not count.
    const uint64_t length = std::min(kSdsBlockBytes, sds.file_size - copy_at);
    const MutableBytes part = MutableBytes(block).first(length);
    const MutableBytes copy_part = MutableBytes(copy).first(length);
    context_.reader.read(sds, position, part);
    context_.reader.read(sds, copy_at, copy_part);
    check_block(part, position);
    const auto differs = std::mismatch(part.begin(), part.end(), copy_part.begin()).first;
    if (differs == part.end()) continue;
    context_.findings.add(
        place(where), "two equal copies",
        fmt::format("a difference at {:#x}", static_cast<uint64_t>(differs - part.begin())),
        "the copies of the security descriptors differ");
  }
}

void SecurityCheck::check_block(ByteView block, uint64_t position) {
  for (size_t at = 0; at + sizeof(SdsEntryHeader) <= block.size();) {
    const auto& header = struct_at<SdsEntryHeader>(block, at);
    const size_t length = header.length.get();
    if (length == 0) break;  // the rest of the block is not used
    if (length < sizeof(SdsEntryHeader) + kDescriptorHeaderBytes || length > block.size() - at) {
      context_.findings.add(place(fmt::format("$SDS, entry at {:#x}", position + at)),
                            fmt::format("up to {} bytes", block.size() - at), number(length),
                            "the length of a security descriptor is impossible");
      break;
    }
    if (check_entry(header, block.subspan(at, length), position + at)) entries_.push_back(header);
    at = align_up(at + length, ondisk::kSdsAlignment);
  }
}

bool SecurityCheck::check_entry(const SdsEntryHeader& header, ByteView entry, uint64_t position) {
  const std::string where = fmt::format("$SDS, entry at {:#x}", position);
  const ByteView descriptor = entry.subspan(sizeof(SdsEntryHeader));
  bool good = true;
  if (header.offset.get() != position) {
    context_.findings.add(place(where + ", offset"), position, header.offset.get(),
                          "a security descriptor says another offset");
    good = false;
  }
  if (header.hash.get() != hash_of(descriptor)) {
    context_.findings.add(place(where + ", hash"), hash_of(descriptor), header.hash.get(),
                          "a security descriptor has another hash");
  }
  check_descriptor(descriptor, position);
  return good;
}

void SecurityCheck::check_descriptor(ByteView descriptor, uint64_t position) {
  const auto bad = [&](const char* field, uint64_t found) {
    context_.findings.add(place(fmt::format("$SDS, entry at {:#x}, {}", position, field)),
                          "a self-relative descriptor", number(found),
                          "a security descriptor is bad");
  };
  const auto revision = static_cast<uint8_t>(descriptor[0]);
  if (revision != 1) return bad("revision", revision);
  const uint16_t control = struct_at<le16>(descriptor, 2).get();
  if ((control & ondisk::DescriptorControl::SelfRelative) == 0) return bad("control", control);
  for (size_t at = 4; at < kDescriptorHeaderBytes; at += 4) {
    const uint32_t offset = struct_at<le32>(descriptor, at).get();
    if (offset == 0) continue;
    if (offset < kDescriptorHeaderBytes || offset > descriptor.size() - 8) {
      return bad("offset of a part", offset);
    }
  }
}

void SecurityCheck::check_index(const std::vector<ViewEntry>& index, const char* name) {
  for (const ViewEntry& entry : index) check_index_entry(entry, name);
  // Both indexes hold each descriptor, so together with the check of each entry, counts suffice.
  if (index.size() == entries_.size()) return;
  context_.findings.add(place(fmt::format("{}, entries", name)), entries_.size(), index.size(),
                        "an index does not hold each security descriptor once");
}

void SecurityCheck::check_index_entry(const ViewEntry& entry, const char* name) {
  const bool by_hash = std::string_view(name) == "$SDH";
  const size_t key_bytes = by_hash ? sizeof(ondisk::SecurityHashKey) : sizeof(le32);
  if (entry.key.size() != key_bytes || entry.data.size() < sizeof(SdsEntryHeader)) {
    context_.findings.add(place(fmt::format("{}, entry", name)), key_bytes, entry.key.size(),
                          "an entry has an impossible length");
    return;
  }
  const auto& data = struct_at<SdsEntryHeader>(ByteView(entry.data));
  const ByteView key(entry.key);
  const uint32_t id = struct_at<le32>(key, key_bytes - sizeof(le32)).get();
  const bool key_matches =
      id == data.security_id.get() && (!by_hash || struct_at<le32>(key).get() == data.hash.get());
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), data.offset.get(),
      [](const SdsEntryHeader& e, uint64_t offset) { return e.offset.get() < offset; });
  const bool points_right =
      found != entries_.end() &&
      std::equal(bytes_of(*found).begin(), bytes_of(*found).end(), bytes_of(data).begin());
  if (key_matches && points_right) return;
  context_.findings.add(place(fmt::format("{}, id {:#x}", name, id)),
                        "the header of an entry of $SDS", "another one",
                        "an index entry does not lead to its security descriptor");
}

void SecurityCheck::check_ids_of_files() {
  std::vector<uint32_t> ids;
  for (const ViewEntry& entry : context_.security_ids) {
    if (entry.key.size() == sizeof(le32)) ids.push_back(struct_at<le32>(ByteView(entry.key)).get());
  }
  std::sort(ids.begin(), ids.end());
  for (uint64_t record = 0; record < context_.records.count(); ++record) {
    const RecordInfo& info = context_.records.get(record);
    if (!info.is_base_in_use() || info.security_id == 0) continue;
    if (std::binary_search(ids.begin(), ids.end(), info.security_id)) continue;
    context_.findings.add({"file", FileReference(record, info.sequence), "security id"},
                          "an id in $SII", number(info.security_id),
                          "a file refers to a security descriptor that does not exist");
  }
}

}  // namespace

void check_security(Context& context) { SecurityCheck(context).run(); }

}  // namespace ntfs::check
