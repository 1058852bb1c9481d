#include "fuse/commands/path_names.h"

#include <vector>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/utf16.h"
#include "core/store/attributes.h"

namespace ntfs::frontend {

namespace {

constexpr uint64_t kRootRecord = 5;
/// More directories inside each other than that: a loop, or nothing that a line can show.
constexpr size_t kMaxDepth = 512;
constexpr size_t kMaxKnown = size_t{1} << 20;

}  // namespace

Result<PathNames::Name> PathNames::name_of(uint64_t record) {
  const SharedLock lock(volume_.journal().metadata_lock());
  const PageRef page = TRY(volume_.mft().record(record));
  const auto view = ondisk::FileRecordView::of_valid(page->bytes());
  if (!view.in_use() || !view.is_base()) return NtStatus::ObjectNameNotFound;
  Attributes attributes(volume_, FileReference(record, view.sequence()));
  Name name;
  for (const auto& found : TRY(attributes.all())) {
    const auto attribute = found.view();
    if (attribute.type() != ondisk::AttributeType::FileName) continue;
    const auto file_name = ondisk::FileNameView::of_valid(attribute.value());
    if (!name.text.empty() && file_name.name_type() == ondisk::NameType::Dos) continue;
    name.parent = file_name.parent().record();
    name.text = ondisk::to_display(file_name.name());
    if (file_name.name_type() != ondisk::NameType::Dos) break;
  }
  if (name.text.empty()) return NtStatus::ObjectNameNotFound;
  return name;
}

const std::string& PathNames::path_of(uint64_t record) {
  if (known_.size() > kMaxKnown) known_.clear();
  const auto cached = known_.find(record);
  if (cached != known_.end()) return cached->second;
  std::vector<std::string> parts;
  std::string path;
  uint64_t at = record;
  while (at != kRootRecord && parts.size() < kMaxDepth) {
    const auto name = name_of(at);
    if (!name) break;
    parts.push_back(name->text);
    at = name->parent;
  }
  if (at == kRootRecord) {
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
      path.append(1, '/').append(*part);
    if (path.empty()) path = '/';
  }
  return known_[record] = path;
}

}  // namespace ntfs::frontend
