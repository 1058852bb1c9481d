#include "core/check/streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace ntfs::check {

using ondisk::AttributeType;

namespace {

/// `count` bytes, little-endian, sign-extended.
int64_t signed_number(ByteView bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  }
  if (!bytes.empty() && bytes.size() < 8 && (bytes.back() & std::byte{0x80}) != std::byte{0}) {
    value |= ~uint64_t{0} << (8 * bytes.size());
  }
  return static_cast<int64_t>(value);
}

}  // namespace

bool decode_runs(const Attribute& attribute, uint64_t total_clusters, std::vector<Run>& runs,
                 std::string& fault) {
  const ByteView pairs = attribute.mapping_pairs;
  uint64_t vcn = attribute.lowest_vcn;
  int64_t lcn = 0;
  size_t at = 0;
  while (at < pairs.size() && pairs[at] != std::byte{0}) {
    const size_t length_bytes = static_cast<size_t>(pairs[at] & std::byte{0x0F});
    const size_t distance_bytes = static_cast<size_t>(pairs[at] >> 4);
    if (length_bytes == 0 || length_bytes > 8 || distance_bytes > 8 ||
        pairs.size() - at - 1 < length_bytes + distance_bytes) {
      fault = fmt::format("mapping pair at byte {} is not whole", at);
      return false;
    }
    const int64_t count = signed_number(pairs.subspan(at + 1, length_bytes));
    if (count <= 0 || static_cast<uint64_t>(count) > attribute.next_vcn - vcn) {
      fault = fmt::format("mapping pair at byte {}: {} clusters at vcn {:#x}", at, count, vcn);
      return false;
    }
    Run run{Vcn(vcn), Lcn::hole(), ClusterCount(static_cast<uint64_t>(count))};
    if (distance_bytes != 0) {
      const int64_t distance = signed_number(pairs.subspan(at + 1 + length_bytes, distance_bytes));
      if (__builtin_add_overflow(lcn, distance, &lcn) || lcn < 0 ||
          static_cast<uint64_t>(lcn) > total_clusters ||
          static_cast<uint64_t>(count) > total_clusters - static_cast<uint64_t>(lcn)) {
        fault = fmt::format("mapping pair at byte {}: {} clusters at lcn {:#x}, not on the volume",
                            at, count, lcn);
        return false;
      }
      run.lcn = Lcn(static_cast<uint64_t>(lcn));
    }
    runs.push_back(run);
    vcn += run.count.raw();
    at += 1 + length_bytes + distance_bytes;
  }
  if (at >= pairs.size()) {
    fault = "no terminator";
    return false;
  }
  if (vcn != attribute.next_vcn) {
    fault = fmt::format("runs that end before vcn {:#x}", vcn);
    return false;
  }
  return true;
}

bool append_quietly(const Attribute& extent, uint64_t total_clusters, Stream& stream) {
  const uint64_t vcn = stream.runs.empty() ? 0 : stream.runs.back().end().raw();
  const size_t before = stream.runs.size();
  std::string fault;
  const bool good =
      !extent.resident && extent.lowest_vcn == vcn && extent.next_vcn <= total_clusters &&
      decode_runs(extent, total_clusters, stream.runs, fault) &&
      std::none_of(stream.runs.begin() + static_cast<ptrdiff_t>(before), stream.runs.end(),
                   [](const Run& run) { return run.lcn.is_hole(); });
  if (!good) stream.runs.resize(before);
  return good;
}

bool put_together_quietly(std::span<const Attribute* const> extents, uint64_t total_clusters,
                          Stream& stream) {
  if (extents.empty()) return false;
  const Attribute& first = *extents.front();
  stream.resident = first.resident;
  if (first.resident) {
    stream.value.assign(first.value.begin(), first.value.end());
    stream.file_size = stream.valid_data_length = stream.value.size();
    return true;
  }
  stream.file_size = first.sizes.file_size;
  stream.valid_data_length = first.sizes.valid_data_length;
  return std::all_of(extents.begin(), extents.end(), [&](const Attribute* extent) {
    return append_quietly(*extent, total_clusters, stream);
  });
}

namespace {

constexpr uint64_t kMaxStreamBytes = uint64_t{1} << 63;

/// The extents of one attribute of one file.
class Assembler {
 public:
  Assembler(FileReference file, Context& context) : file_(file), context_(context) {}
  FileAttribute run(std::span<const Attribute* const> extents);

 private:
  Place place(const Attribute& attribute, std::string_view where) const {
    return {"attribute", file_, fmt::format("{}, {}", name_attribute(attribute), where)};
  }
  bool check_extents(std::span<const Attribute* const> extents, Stream& stream);
  bool claim_runs(const Attribute& first, const Stream& stream);
  bool check_sizes(const Attribute& first, const Stream& stream);
  void check_resident_rules(const Attribute& attribute);
  bool may_have_holes(const Attribute& first) const;
  void check_units(const Attribute& first, const Stream& stream);

  FileReference file_;
  Context& context_;
};

FileAttribute Assembler::run(std::span<const Attribute* const> extents) {
  FileAttribute result;
  result.first = extents.front();
  const Attribute& first = *extents.front();
  if (first.resident) {
    if (extents.size() > 1) {
      context_.findings.add(place(first, "records"), 1, extents.size(),
                            "a file has an attribute twice");
    }
    result.readable = put_together_quietly(extents.first(1), 0, result.stream);
    return result;
  }
  check_resident_rules(first);
  result.stream.resident = false;
  const bool whole = check_extents(extents, result.stream);
  const bool alone = claim_runs(first, result.stream);
  if (!whole) return result;
  result.readable = check_sizes(first, result.stream) && alone;
  result.stream.file_size = first.sizes.file_size;
  result.stream.valid_data_length = first.sizes.valid_data_length;
  return result;
}

/// Decodes what can be decoded; false when something is missing.
bool Assembler::check_extents(std::span<const Attribute* const> extents, Stream& stream) {
  bool good = true;
  uint64_t vcn = 0;
  for (const Attribute* extent : extents) {
    if (extent->resident) {
      context_.findings.add(place(*extent, "form"), "nonresident", "resident",
                            "an extent of a nonresident attribute is resident");
      return false;
    }
    if (extent->next_vcn > kMaxStreamBytes / context_.geometry().cluster_size) {
      context_.findings.add(place(*extent, "highest vcn"),
                            kMaxStreamBytes / context_.geometry().cluster_size, extent->next_vcn,
                            "an attribute is longer than can be");
      return false;
    }
    if (extent->lowest_vcn != vcn) {
      context_.findings.add(place(*extent, "lowest vcn"), vcn, extent->lowest_vcn,
                            extent->lowest_vcn < vcn ? "extents of an attribute overlap"
                                                     : "an extent of an attribute is missing");
      good = false;
    }
    // The first extent alone says whether an attribute is sparse: ntfs3 and ntfs-3g mark no other
    // when it becomes so.
    if (((extent->flags ^ extents.front()->flags) & ~ondisk::AttributeFlags::Sparse) != 0) {
      context_.findings.add(place(*extent, fmt::format("flags at vcn {:#x}", extent->lowest_vcn)),
                            extents.front()->flags, extent->flags,
                            "extents of an attribute have different flags");
    }
    std::string fault;
    if (!decode_runs(*extent, context_.geometry().total_clusters, stream.runs, fault)) {
      context_.findings.add(
          place(*extent, fmt::format("mapping pairs in record {}", extent->record_number)),
          fmt::format("runs from vcn {:#x} to {:#x}", extent->lowest_vcn, extent->next_vcn), fault,
          "the mapping pairs are bad");
      return false;
    }
    vcn = extent->next_vcn;
  }
  return good;
}

bool Assembler::claim_runs(const Attribute& first, const Stream& stream) {
  using Sharing = ClusterClaims::Sharing;
  const bool may_share = context_.geometry().has_refcounts && first.type == AttributeType::Data &&
                         first.name.empty() && file_.record() >= ondisk::kFirstUserRecord;
  const Sharing sharing = may_share ? Sharing::Counted : Sharing::None;
  bool alone = true;
  bool hole = false;
  uint64_t fragments = 0;
  for (const Run& run : stream.runs) {
    if (run.lcn.is_hole()) {
      hole = true;
      continue;
    }
    ++fragments;
    alone = context_.claims.claim({run.lcn, run.count}, file_, sharing) && alone;
  }
  context_.report.fragments += fragments;
  if (fragments > 1) ++context_.report.fragmented_attributes;
  if (hole && !may_have_holes(first)) {
    context_.findings.add(place(first, "mapping pairs"), "no hole", "a hole",
                          "an attribute that is neither sparse nor compressed has a hole");
  }
  return alone;
}

/// A compression unit's clusters stand before its hole.
void Assembler::check_units(const Attribute& first, const Stream& stream) {
  const uint64_t unit = uint64_t{1} << first.compression_unit;
  for (size_t i = 0; i + 1 < stream.runs.size(); ++i) {
    const Run& hole = stream.runs[i];
    const uint64_t end = hole.end().raw();
    if (!hole.lcn.is_hole() || stream.runs[i + 1].lcn.is_hole() || end % unit == 0) continue;
    context_.findings.add(place(first, fmt::format("vcn {:#x}", end)), "a hole", "clusters",
                          "a compression unit has clusters behind a hole");
  }
}

/// $BadClus:$Bad is one hole over the whole volume, and is not marked sparse.
bool Assembler::may_have_holes(const Attribute& first) const {
  return first.is_sparse() || first.is_compressed() ||
         (file_.record() == ondisk::kBadClusRecord && first.name == u"$Bad");
}

bool Assembler::check_sizes(const Attribute& first, const Stream& stream) {
  const uint64_t cluster = context_.geometry().cluster_size;
  const uint64_t vcns = stream.runs.empty() ? 0 : stream.runs.back().end().raw();
  const ondisk::AttributeSizes& sizes = first.sizes;
  bool good = true;
  const auto demand = [&](bool holds, const char* field, uint64_t expected, uint64_t found,
                          const char* message) {
    if (holds) return;
    good = false;
    context_.findings.add(place(first, field), expected, found, message);
  };
  demand(sizes.allocated / cluster == vcns && sizes.allocated % cluster == 0, "allocated size",
         vcns * cluster, sizes.allocated, "the allocated size is not that of the runs");
  demand(sizes.file_size <= sizes.allocated, "file size", sizes.allocated, sizes.file_size,
         "the file size is larger than the allocated size");
  demand(sizes.valid_data_length <= sizes.file_size, "valid data length", sizes.file_size,
         sizes.valid_data_length, "the valid data length is larger than the file size");
  if (first.has_total_allocated) {
    uint64_t allocated = 0;
    for (const Run& run : stream.runs) allocated += run.lcn.is_hole() ? 0 : run.count.raw();
    demand(sizes.total_allocated == allocated * cluster, "total allocated", allocated * cluster,
           sizes.total_allocated, "the total allocated size is not that of the runs");
  }
  if (first.is_compressed() && (first.compression_unit == 0 || first.compression_unit > 16)) {
    demand(false, "compression unit", 4, first.compression_unit,
           "a compressed attribute has no compression unit");
  } else if (first.is_compressed()) {
    check_units(first, stream);
  }
  return good;
}

/// Of the attributes that are never nonresident.
void Assembler::check_resident_rules(const Attribute& attribute) {
  switch (attribute.type) {
    case AttributeType::StandardInformation:
    case AttributeType::FileName:
    case AttributeType::VolumeName:
    case AttributeType::VolumeInformation:
    case AttributeType::IndexRoot:
    case AttributeType::EaInformation:
    case AttributeType::ObjectId:
      context_.findings.add(place(attribute, "form"), "resident", "nonresident",
                            "an attribute of this type is always resident");
      break;
    default:
      break;
  }
}

}  // namespace

std::vector<FileAttribute> put_together(std::vector<const Attribute*> attributes,
                                        FileReference file, Context& context) {
  std::stable_sort(attributes.begin(), attributes.end(),
                   [](const Attribute* a, const Attribute* b) {
                     return std::tie(a->type, a->name, a->lowest_vcn) <
                            std::tie(b->type, b->name, b->lowest_vcn);
                   });
  std::vector<FileAttribute> result;
  Assembler assembler(file, context);
  const std::span<const Attribute* const> all(attributes);
  for (size_t first = 0; first < all.size();) {
    size_t end = first + 1;
    const bool many_allowed = all[first]->type == AttributeType::FileName;
    while (!many_allowed && end < all.size() && all[end]->type == all[first]->type &&
           all[end]->name == all[first]->name) {
      ++end;
    }
    result.push_back(assembler.run(all.subspan(first, end - first)));
    first = end;
  }
  return result;
}

}  // namespace ntfs::check
