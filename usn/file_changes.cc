#include "usn/file_changes.h"

#include <algorithm>
#include <utility>

#include "usn/reason.h"

namespace ntfs::usn {

FileChanges::Ticket FileChanges::post(uint32_t reasons, uint64_t timestamp) {
  const uint32_t added = reasons & ~reasons_;
  if (added == 0) return 0;
  reasons_ |= added;
  noted_.push_back({added, timestamp, ++last_ticket_, {}});
  return last_ticket_;
}

void FileChanges::retract(Ticket ticket) {
  const auto note =
      std::find_if(noted_.begin(), noted_.end(), [&](const Note& n) { return n.ticket == ticket; });
  if (note == noted_.end()) return;
  noted_.erase(note);
  recount();
}

void FileChanges::close(uint64_t timestamp) {
  if (reasons_ == 0) return;
  reasons_ = 0;
  noted_.push_back({Reason::Close, timestamp, ++last_ticket_, written_ranges_.take()});
}

void FileChanges::recount() {
  reasons_ = written_;
  for (const Note& note : noted_) {
    reasons_ = note.reasons == Reason::Close ? 0 : reasons_ | note.reasons;
  }
}

FileChanges::Running& FileChanges::running() {
  if (!running_) running_ = Running{written_, {}, {}};
  return *running_;
}

std::vector<Due> FileChanges::take_noted() {
  Running& now = running();
  std::vector<Due> due;
  for (const Note& note : noted_) {
    const auto record = note.reasons == Reason::Close ? end() : add(note.reasons);
    if (record) due.push_back({*record, note.timestamp, note.extents});
  }
  if (now.taken.empty()) {
    now.taken.swap(noted_);
  } else {
    now.taken.insert(now.taken.end(), noted_.begin(), noted_.end());
    noted_.clear();
  }
  return due;
}

std::optional<uint32_t> FileChanges::add(uint32_t reasons) {
  Running& now = running();
  if ((reasons & ~now.reasons) == 0) return std::nullopt;
  now.reasons |= reasons;
  return now.reasons;
}

uint32_t FileChanges::change_link() {
  Running& now = running();
  now.reasons |= Reason::HardLinkChange;
  return now.reasons;
}

uint32_t FileChanges::rename_from() {
  Running& now = running();
  now.reasons |= Reason::RenameOldName;
  return now.reasons;
}

uint32_t FileChanges::rename_to() {
  Running& now = running();
  now.reasons &= ~Reason::RenameOldName;
  now.reasons |= Reason::RenameNewName;
  return now.reasons;
}

std::optional<uint32_t> FileChanges::end() {
  Running& now = running();
  if (now.reasons == 0) return std::nullopt;
  return std::exchange(now.reasons, 0) | Reason::Close;
}

void FileChanges::keep_link(Link link) { running().link = std::move(link); }

const Link* FileChanges::kept_link() const {
  if (running_ && running_->link) return &*running_->link;
  return link_ ? &*link_ : nullptr;
}

void FileChanges::ended(bool committed) {
  if (!running_) return;
  if (committed) {
    written_ = running_->reasons;
    if (running_->link) link_ = std::move(running_->link);
  } else {
    noted_.insert(noted_.begin(), running_->taken.begin(), running_->taken.end());
  }
  running_.reset();
  recount();
}

void FileChanges::reset() { *this = FileChanges(); }

}  // namespace ntfs::usn
