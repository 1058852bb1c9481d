#include "fuse/commands/open_attributes.h"

#include "core/ondisk/utf16.h"

namespace ntfs::frontend {

namespace {

using ondisk::LogOp;

constexpr Origin kOrigin{"open attribute table", 0, 0};

}  // namespace

void OpenAttributes::learn(const ondisk::ClientRecordView& record) {
  switch (record.redo()) {
    case LogOp::OpenNonresidentAttribute:
      return learn_open(record);
    case LogOp::OpenAttributeTableDump:
      return learn_table(record.redo_data());
    case LogOp::AttributeNamesDump:
      return learn_names(record.redo_data());
    default:
      return;
  }
}

const LoggedAttribute* OpenAttributes::find(uint16_t slot) const {
  const auto found = slots_.find(slot);
  return found == slots_.end() ? nullptr : &found->second;
}

void OpenAttributes::learn_open(const ondisk::ClientRecordView& record) {
  const auto entry = ondisk::OpenAttribute::parse(record.redo_data(), kOrigin);
  if (!entry) return;
  slots_[record.target().target_attribute] = {entry->file, entry->type_code,
                                              ondisk::utf16_from(record.undo_data())};
}

void OpenAttributes::learn_table(ByteView dump) {
  const auto table = ondisk::RestartTable::parse(dump, kOrigin);
  if (!table) return;
  std::map<uint16_t, LoggedAttribute> learned;
  for (size_t i = 0; i < table->entry_count(); ++i) {
    const auto bytes = table->entry(i);
    if (!bytes) continue;
    const auto entry = ondisk::OpenAttribute::parse(*bytes, kOrigin);
    if (!entry) continue;
    const auto slot = static_cast<uint16_t>(table->offset_of(i));
    const LoggedAttribute* known = find(slot);
    const bool is_same = known != nullptr && known->file == entry->file;
    learned[slot] = {entry->file, entry->type_code, is_same ? known->name : std::u16string()};
  }
  slots_ = std::move(learned);
}

void OpenAttributes::learn_names(ByteView dump) {
  const auto names = ondisk::parse_names(dump, kOrigin);
  if (!names) return;
  for (const ondisk::OpenAttributeName& name : *names) {
    const auto found = slots_.find(name.slot);
    if (found != slots_.end()) found->second.name = name.name;
  }
}

}  // namespace ntfs::frontend
