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

void check_maximum(Context& context, uint64_t next) {
  const auto information = usn::parse_max(context.usn.maximum, {"$UsnJrnl:$Max"});
  if (!information) {
    context.findings.add({kStructure, context.usn.file, "$Max"}, last_corruption());
  } else if (information->lowest_valid.raw() > next) {
    context.findings.add({kStructure, context.usn.file, "$Max, lowest valid usn"}, next,
                         information->lowest_valid.raw(), "it is past the end of $J");
  }
}

void check_page(Context& context, uint64_t at, MutableBytes bytes) {
  if (!context.reader.read(context.usn.records, at, bytes)) return;
  usn::PageCursor cursor(bytes, usn::Usn::from_raw(at), context.usn.file);
  for (;;) {
    const auto record = cursor.next();
    if (!record) {
      context.findings.add({kStructure, context.usn.file, fmt::format("$J, page at {:#x}", at)},
                           last_corruption());
    }
    if (!record || !*record) return;
  }
}

/// Each page that has clusters: what was trimmed is a hole, of any size.
void check_records(Context& context, uint64_t next) {
  const uint64_t cluster = context.geometry().cluster_size;
  ByteVector page(usn::kPageBytes);
  uint64_t at = 0;
  for (const Run& run : context.usn.records.runs) {
    if (run.lcn.is_hole()) continue;
    at = std::max(at, align_down(run.vcn.raw() * cluster, usn::kPageBytes));
    for (; at < std::min(run.end().raw() * cluster, next); at += usn::kPageBytes) {
      check_page(context, at, MutableBytes(page).first(std::min(usn::kPageBytes, next - at)));
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
  check_records(context, next);
}

}  // namespace ntfs::check
