#include "core/store/recovery_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/ondisk/attribute_values.h"
#include "core/ondisk/file_record.h"
#include "core/ondisk/index_block.h"
#include "core/ondisk/utf16.h"
#include "core/store/format.h"

namespace ntfs {

using ondisk::LogOp;

namespace {

/// A name in a directory, as an index entry has it.
struct Name {
  uint64_t file = 0;    // raw reference
  uint64_t parent = 0;  // raw reference
  std::u16string text;
  uint64_t place = 0;  // of the index block; the same for all roots
  bool is_same(const Name& other) const {
    return file == other.file && parent == other.parent && text == other.text;
  }
};

/// What one transaction does to names, as far as it was read.
struct Changes {
  std::vector<Name> added;
  std::vector<Name> removed;
  std::vector<Name> copied;        // with a whole index block: a new one, or an image of an old one
  std::set<uint64_t> freed_first;  // record numbers that a file record image was announced for
  std::set<uint64_t> made;         // record numbers of new files
};

/// The name in the index entry that `bytes` begin with; nothing for views, DOS names and ends.
std::optional<Name> name_in(ByteView bytes) {
  const auto header = view_as<ondisk::IndexEntryHeader>(bytes);
  if (!header) return std::nullopt;
  const auto key = slice(bytes, sizeof(ondisk::IndexEntryHeader), (*header)->key_length.get());
  if (!key) return std::nullopt;
  const auto name = view_as<ondisk::FileNameHeader>(*key);
  if (!name) return std::nullopt;
  const size_t units = static_cast<size_t>((*name)->name_length);
  const auto type = static_cast<ondisk::NameType>((*name)->name_type);
  if (units == 0 || type == ondisk::NameType::Dos ||
      key->size() < sizeof(ondisk::FileNameHeader) + 2 * units) {
    return std::nullopt;
  }
  const auto view = ondisk::FileNameView::of_valid(*key);
  return Name{(*header)->file_reference_or_data.get(), view.parent().raw(), view.name(), 0};
}

/// The names in entries that follow each other.
std::vector<Name> names_in(ByteView entries) {
  std::vector<Name> names;
  while (entries.size() >= sizeof(ondisk::IndexEntryHeader)) {
    const size_t length = struct_at<ondisk::IndexEntryHeader>(entries).entry_length.get();
    if (length < sizeof(ondisk::IndexEntryHeader) || length > entries.size()) break;
    if (auto name = name_in(entries)) names.push_back(std::move(*name));
    entries = entries.subspan(length);
  }
  return names;
}

class LastOperations {
 public:
  LastOperations(const ondisk::VolumeGeometry& geometry, size_t most)
      : geometry_(geometry), most_(most) {}

  void take(const lfs::RecordView& record) {
    const auto client = ondisk::ClientRecordView::parse(record.data, record.flags,
                                                        {"log record", 0, record.lsn.raw()});
    if (!client) return;
    Changes& changes = transactions_[record.transaction_id];
    switch (client->redo()) {
      case LogOp::Noop:
        if (client->undo() == LogOp::DeallocateFileRecordSegment) {
          changes.freed_first.insert(record_of(*client));
        }
        break;
      case LogOp::InitializeFileRecordSegment:
        if (changes.freed_first.contains(record_of(*client))) {
          changes.made.insert(record_of(*client));
        }
        break;
      case LogOp::AddIndexEntryRoot:
      case LogOp::AddIndexEntryAllocation:
      case LogOp::DeleteIndexEntryRoot:
      case LogOp::DeleteIndexEntryAllocation:
      case LogOp::WriteEndOfIndexBuffer:
        append(changes.added, names_in(client->redo_data()), *client);
        append(changes.removed, names_in(client->undo_data()), *client);
        break;
      case LogOp::UpdateNonresidentValue:
        append(changes.copied, names_in(entries_of(client->redo_data())), *client);
        break;
      case LogOp::ForgetTransaction:
        conclude(changes);
        transactions_.erase(record.transaction_id);
        break;
      default:
        break;
    }
  }

  std::vector<std::string> result() && {
    if (lines_.size() > most_) {
      lines_.erase(lines_.begin(), lines_.end() - static_cast<ptrdiff_t>(most_));
    }
    return std::move(lines_);
  }

 private:
  uint64_t record_of(const ondisk::ClientRecordView& client) const {
    return (client.target().target_vcn.raw() * geometry_.cluster_size +
            client.target().cluster_block_offset * uint64_t{512}) /
           geometry_.file_record_size;
  }
  static void append(std::vector<Name>& names, std::vector<Name> more,
                     const ondisk::ClientRecordView& client) {
    for (Name& name : more) {
      name.place = (uint64_t{client.target().target_attribute} << 48) ^
                   (client.target().target_vcn.raw() << 8) ^ client.target().cluster_block_offset;
      names.push_back(std::move(name));
    }
  }
  /// The entries in an index block; empty when it is none.
  static ByteView entries_of(ByteView block) {
    const auto header = view_as<ondisk::IndexBlockHeader>(block);
    if (!header || as_text(block.first(4)) != "INDX") return {};
    const size_t start = ondisk::kIndexHeaderInBlock + (*header)->index.entries_offset.get();
    return start < block.size() ? block.subspan(start) : ByteView();
  }

  /// Names that went and came, in the same place or in another block, did not change.
  static void cancel(Changes& changes) {
    for (const Name& name : changes.copied) {
      const bool is_new = changes.made.contains(FileReference::from_raw(name.file).record());
      const bool is_known = std::any_of(changes.added.begin(), changes.added.end(),
                                        [&](const Name& added) { return added.is_same(name); });
      if (is_new && !is_known) changes.added.push_back(name);
    }
    std::erase_if(changes.removed, [&](const Name& name) {
      const bool is_moved = std::any_of(
          changes.copied.begin(), changes.copied.end(),
          [&](const Name& copy) { return copy.is_same(name) && copy.place != name.place; });
      const auto same = std::find_if(changes.added.begin(), changes.added.end(),
                                     [&](const Name& added) { return added.is_same(name); });
      if (is_moved && same == changes.added.end()) return true;
      if (same == changes.added.end()) return false;
      changes.added.erase(same);
      return true;
    });
  }

  /// Whether it stands in $Extend\$Deleted: to users the file is gone.
  static bool is_deleted(const Name& name) {
    return FileReference::from_raw(name.parent).record() == kDeletedRecord;
  }

  void conclude(Changes& changes) {
    cancel(changes);
    for (const Name& name : changes.added) {
      if (is_deleted(name)) continue;
      const std::string text = ondisk::to_display(name.text);
      const auto old = std::find_if(changes.removed.begin(), changes.removed.end(),
                                    [&](const Name& other) { return other.file == name.file; });
      if (old == changes.removed.end()) {
        const bool is_new = changes.made.contains(FileReference::from_raw(name.file).record());
        lines_.push_back(fmt::format("{} \"{}\"", is_new ? "create" : "link", text));
        continue;
      }
      lines_.push_back(old->text == name.text ? fmt::format("move \"{}\"", text)
                                              : fmt::format("rename \"{}\" to \"{}\"",
                                                            ondisk::to_display(old->text), text));
      changes.removed.erase(old);
    }
    for (const Name& name : changes.removed) {
      if (is_deleted(name)) continue;
      lines_.push_back(fmt::format("remove \"{}\"", ondisk::to_display(name.text)));
    }
    if (lines_.size() > 8 * most_) {
      lines_.erase(lines_.begin(), lines_.end() - static_cast<ptrdiff_t>(most_));
    }
  }

  const ondisk::VolumeGeometry& geometry_;
  const size_t most_;
  std::map<uint32_t, Changes> transactions_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> describe_last_operations(lfs::LogReader& reader,
                                                  const LogAnalysis& analysis,
                                                  const ondisk::VolumeGeometry& geometry,
                                                  size_t most) {
  const auto& begins = analysis.latest_committed;
  const auto first = std::min_element(begins.begin(), begins.end());
  if (first == begins.end()) return {};
  LastOperations operations(geometry, most);
  for (auto record = reader.read(*first); record; record = reader.next()) {
    if (record->is_client()) operations.take(*record);
  }
  return std::move(operations).result();
}

}  // namespace ntfs
