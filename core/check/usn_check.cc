// The change journal: sizes, pages, records. What stands behind the end of $J counts for nothing.

#include <fmt/format.h>

#include <algorithm>

#include "core/base/trace.h"
#include "core/check/system_check.h"
#include "usn/journal.h"
#include "usn/record.h"

namespace ntfs::check {

namespace {

constexpr const char* kStructure = "$UsnJrnl";

/// The first byte of $J that is allocated.
uint64_t first_allocated(const Stream& records, uint64_t cluster_size) {
  for (const Run& run : records.runs) {
    if (!run.lcn.is_hole()) return std::min(run.vcn.raw() * cluster_size, records.file_size);
  }
  return records.file_size;
}

void check_maximum(Context& context, uint64_t next) {
  const auto information = usn::parse_max(context.usn.maximum, {"$UsnJrnl:$Max"});
  if (!information) {
    context.findings.add({kStructure, context.usn.file, "$Max"}, last_corruption());
  } else if (information->lowest_valid.raw() > next) {
    context.findings.add({kStructure, context.usn.file, "$Max, lowest valid usn"}, next,
                         information->lowest_valid.raw(), "it is past the end of $J");
  }
}

/// Each page from the first one that is allocated.
void check_records(Context& context, uint64_t first, uint64_t next) {
  ByteVector page(usn::kPageBytes);
  for (uint64_t at = align_down(first, usn::kPageBytes); at < next; at += usn::kPageBytes) {
    const MutableBytes bytes = MutableBytes(page).first(std::min(usn::kPageBytes, next - at));
    if (!context.reader.read(context.usn.records, at, bytes)) continue;
    usn::PageCursor cursor(bytes, usn::Usn::from_raw(at), context.usn.file);
    for (;;) {
      const auto record = cursor.next();
      if (!record) {
        context.findings.add({kStructure, context.usn.file, fmt::format("$J, page at {:#x}", at)},
                             last_corruption());
      }
      if (!record || !*record) break;
    }
  }
}

}  // namespace

void check_usn(Context& context) {
  if (!context.usn.is_found) return;
  const Stream& records = context.usn.records;
  const uint64_t next = records.file_size;
  check_maximum(context, next);
  if (records.valid_data_length != next || next % 8 != 0) {
    context.findings.add({kStructure, context.usn.file, "$J, valid data length"}, next,
                         records.valid_data_length, "the sizes of $J do not fit each other");
    return;
  }
  if (context.usn.highest > next) {
    context.findings.add({kStructure, context.usn.highest_owner, "usn"}, next, context.usn.highest,
                         "a file's last record is past the end of $J");
  }
  if (records.resident) return;
  check_records(context, first_allocated(records, context.geometry().cluster_size), next);
}

}  // namespace ntfs::check
