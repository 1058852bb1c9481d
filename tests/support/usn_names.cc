#include "tests/support/usn_names.h"

#include <fmt/format.h>

#include "core/store/attributes.h"
#include "core/store/usn_stream.h"
#include "usn/reason.h"

namespace ntfs::testing {

using usn::Reason;

std::string JournalNames::replay(const usn::Record& record) {
  const FileReference file = record.file.reference();
  const std::pair link(record.parent.reference(), record.name);
  State& state = states_[file];
  state.last = record.usn;
  const bool closes = (record.reason & Reason::Close) != 0;
  const uint32_t reasons = record.reason & ~Reason::Close;
  const uint32_t added = reasons & ~state.reasons;
  const uint32_t dropped = state.reasons & ~reasons;
  if ((dropped & ~Reason::RenameOldName) != 0) return "drops a reason: " + describe(record);
  const bool is_rename = dropped != 0;
  const bool repeats = (reasons & Reason::HardLinkChange) != 0;
  if (!closes && added == 0 && !is_rename && !repeats) return "adds nothing: " + describe(record);
  state.reasons = closes ? 0 : reasons;
  auto& links = names_[file];
  if ((added & Reason::FileCreate) != 0) {
    if (!links.empty()) return "makes a file that is there: " + describe(record);
    links.insert(link);
  }
  if ((added & Reason::RenameOldName) != 0 && links.erase(link) == 0) {
    return "renames what is not there: " + describe(record);
  }
  if (is_rename) links.insert(link);
  const bool changes_link =
      repeats && !closes && (added & ~Reason::HardLinkChange) == 0 && !is_rename;
  if (changes_link && links.erase(link) == 0) links.insert(link);
  if ((added & Reason::FileDelete) != 0) {
    if (links.erase(link) == 0 || !links.empty())
      return "removes more than a name: " + describe(record);
  }
  if (links.empty()) names_.erase(file);
  return {};
}

size_t JournalNames::count_open() const {
  size_t count = 0;
  for (const auto& [file, state] : states_) count += state.reasons != 0 ? 1 : 0;
  return count;
}

usn::Usn JournalNames::last_of(FileReference file) const {
  const auto found = states_.find(file);
  return found == states_.end() ? usn::Usn() : found->second.last;
}

Result<Names> names_of(ObjectStore& store) {
  Names names;
  std::vector<FilePtr> directories = {store.root()};
  while (!directories.empty()) {
    const FilePtr directory = std::move(directories.back());
    directories.pop_back();
    for (const DirectoryEntry& entry : TRY(store.query_directory(*directory))) {
      names[entry.reference].insert({directory->reference(), entry.name});
      const FilePtr file = store.file(entry.reference);
      if (TRY(store.query_information(*file)).kind == FileKind::Directory) {
        directories.push_back(file);
      }
    }
  }
  return names;
}

namespace {

/// Everything in the journal, replayed.
std::string replay_all(ObjectStore& store, JournalNames& journal) {
  UsnStream& usn = store.volume().usn();
  const SharedLock lock(store.volume().journal().metadata_lock());
  for (usn::Usn at; at < usn.next();) {
    const auto bytes = usn.read_page(at);
    if (!bytes) return "a page of the journal cannot be read";
    usn::PageCursor cursor(*bytes, at, usn.file());
    for (;;) {
      const auto record = cursor.next();
      if (!record) return "a page of the journal is damaged";
      if (!*record) break;
      std::string wrong = journal.replay(**record);
      if (!wrong.empty()) return "the journal " + wrong;
    }
    at = usn::Usn::from_raw(at.raw() + bytes->size());
  }
  return {};
}

uint64_t usn_of(ObjectStore& store, FileReference file) {
  const SharedLock lock(store.volume().journal().metadata_lock());
  Attributes attributes(store.volume(), file);
  const auto found = attributes.find(ondisk::AttributeType::StandardInformation);
  if (!found) return 0;
  return struct_at<ondisk::StandardInformation>(found->view().value()).usn.get();
}

}  // namespace

std::string judge_journal(ObjectStore& store) {
  UsnStream& usn = store.volume().usn();
  if (!usn.exists() || usn.first() != usn::Usn() || usn.information().lowest_valid != usn::Usn()) {
    return {};
  }
  JournalNames journal;
  std::string wrong = replay_all(store, journal);
  if (!wrong.empty()) return wrong;
  if (journal.count_open() != 0) return "the journal leaves files open";
  const auto there = names_of(store);
  if (!there) return "the tree cannot be read";
  for (const auto& [file, links] : journal.names()) {
    const auto found = there->find(file);
    if (found != there->end() && found->second == links) continue;
    if (file.record() == 5) continue;
    return fmt::format("the journal gives file {}-{} {} names, the tree {} or others",
                       file.record(), file.sequence(), links.size(),
                       found == there->end() ? 0 : found->second.size());
  }
  for (const auto& [file, links] : *there) {
    if (!journal.names().contains(file)) {
      return fmt::format("the journal knows nothing of file {}-{}", file.record(), file.sequence());
    }
    if (usn_of(store, file) != journal.last_of(file).raw()) {
      return fmt::format("file {}-{} says its last record is at {}, the journal {}", file.record(),
                         file.sequence(), usn_of(store, file), journal.last_of(file).raw());
    }
  }
  return {};
}

}  // namespace ntfs::testing
