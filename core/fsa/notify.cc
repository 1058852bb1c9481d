// MS-FSA 2.1.5.11 "Server Requests Change Notifications for a Directory", 2.1.4.1 "Algorithm for
// Reporting a Change Notification for a Directory"; and the oplocks of the directories that show a
// file, which changes of its sizes and times break ("PARENT_OBJECT" in 2.1.4.12). For stores whose
// opens lock; the others have nobody to tell.

#include "core/fsa/object_store.h"
#include "core/fsa/stream_state.h"
#include "core/store/attributes.h"

namespace ntfs {

namespace {

/// Directories from one to the root; a chain that is longer is a loop.
constexpr int kMostDepth = 4096;

StreamState* state_of(File& file) { return static_cast<StreamState*>(file.data().extension()); }

}  // namespace

Result<> ObjectStore::notify(Open& directory, const NotifyParameters& parameters,
                             NotifyRequest& request) {
  if (directory.state_ == nullptr) return NtStatus::NotSupported;
  // "If Open.File.FileType is DataFile" ... "If Open.ChangeNotifyDirectoryMarkedDeleted".
  if (!directory.is_directory()) return NtStatus::InvalidParameter;
  if (parameters.depth == NotifyParameters::Depth::Tree &&
      !directory.watches_tree_.exchange(true)) {
    ++count_tree_watches_;
  }
  return directory.state_->watch(directory, parameters, request);
}

Result<std::vector<NameInDirectory>> ObjectStore::names_of(FileReference file) {
  std::vector<NameInDirectory> names;
  const SharedLock lock(volume_->journal().metadata_lock());
  Attributes attributes(*volume_, file);
  for (const auto& found : TRY(attributes.all_of(ondisk::AttributeType::FileName))) {
    const auto name = ondisk::FileNameView::of_valid(found.view().value());
    if (name.name_type() == ondisk::NameType::Dos) continue;
    names.push_back({name.parent(), name.name()});
  }
  return names;
}

void ObjectStore::report_names(FileReference directory, std::vector<NotifyEvent> events,
                               uint32_t filter) {
  if (options_.opens_lock == OpensLock::No) return;
  auto depth = NotifyParameters::Depth::Children;
  for (int level = 0; level < kMostDepth; ++level) {
    const FilePtr file = volume_->file(directory);
    if (StreamState* state = state_of(*file)) state->report(events, filter, depth);
    if (count_tree_watches_ == 0 || directory.record() == ondisk::kRootRecord) return;
    const auto names = names_of(directory);
    if (!names || names->empty()) return;  // removed meanwhile
    for (NotifyEvent& event : events) event.name = names->front().name + u'\\' + event.name;
    directory = names->front().directory;
    depth = NotifyParameters::Depth::Tree;
  }
}

/// A file's information or data changed: whoever looks at a directory that shows it.
void ObjectStore::report_file(File& file, uint32_t filter) {
  report_stream(file, {}, NotifyAction::Modified, filter);
}

/// The same of a named stream, which is called as in a path.
void ObjectStore::report_stream(File& file, std::u16string_view stream, NotifyAction action,
                                uint32_t filter) {
  if (options_.opens_lock == OpensLock::No || filter == 0) return;
  const auto names = names_of(file.reference());
  if (!names) return;  // removed
  for (const NameInDirectory& each : *names) {
    std::u16string name = each.name;
    if (!stream.empty()) name.append(u":").append(stream);
    report_names(each.directory, {{action, std::move(name)}}, filter);
  }
}

void ObjectStore::report_rename(File& from_directory, std::u16string_view from, File& to_directory,
                                std::u16string_view to, const RenameNews& news) {
  if (options_.opens_lock == OpensLock::No) return;
  const auto source = lookup(from_directory, from);
  const auto target = lookup(to_directory, to);
  if (!target) return;  // renamed again meanwhile
  const FileReference moved = (*target)->reference();
  // Two names of one file: nothing happened.
  const bool is_left =
      news.mode != RenameMode::Exchange && source && (*source)->reference() == moved;
  if (is_left) return;
  const auto kind = query_information(**target);
  const bool is_directory = kind && kind->kind == FileKind::Directory;
  const uint32_t filter = is_directory ? NotifyFilter::DirectoryName : NotifyFilter::FileName;
  const FileReference old_place = from_directory.reference();
  const FileReference new_place = to_directory.reference();
  const NotifyEvent removed{NotifyAction::Removed, std::u16string(from)};
  if (news.mode == RenameMode::Exchange) {
    report_names(old_place, {{NotifyAction::Modified, std::u16string(from)}},
                 NotifyFilter::Replaced);
    report_names(new_place, {{NotifyAction::Modified, std::u16string(to)}}, NotifyFilter::Replaced);
  } else if (news.is_replaced) {
    report_names(old_place, {removed}, filter);
    report_names(new_place, {{NotifyAction::Modified, std::u16string(to)}}, NotifyFilter::Replaced);
  } else if (old_place == new_place) {
    report_names(old_place,
                 {{NotifyAction::RenamedOldName, std::u16string(from)},
                  {NotifyAction::RenamedNewName, std::u16string(to)}},
                 filter);
  } else {
    report_names(old_place, {removed}, filter);
    report_names(new_place, {{NotifyAction::Added, std::u16string(to)}}, filter);
  }
}

void ObjectStore::end_watches(File& directory) {
  if (StreamState* state = state_of(directory)) state->end_watches();
}

void ObjectStore::break_parents_oplocks(File& file, const Open* open) {
  if (options_.opens_lock == OpensLock::No) return;
  const auto names = names_of(file.reference());
  if (!names) return;  // removed
  for (const NameInDirectory& each : *names) {
    const FilePtr directory = volume_->file(each.directory);
    StreamState* state = state_of(*directory);
    if (state == nullptr) continue;
    // Nobody is waited for: a directory's oplock is one for readers.
    (void)state->break_oplock(open, OplockOperation::ParentChange).has_value();
  }
}

}  // namespace ntfs
