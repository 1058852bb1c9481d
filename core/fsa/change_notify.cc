#include "core/fsa/change_notify.h"

#include <algorithm>

#include "core/base/bytes.h"

namespace ntfs {

namespace {

/// An entry of FILE_NOTIFY_INFORMATION: three numbers of 32 bits and the name.
size_t size_of(const NotifyEvent& event) {
  constexpr size_t kHeadBytes = 12;
  return align_up(kHeadBytes + event.name.size() * sizeof(char16_t), 4);
}

}  // namespace

void DirectoryWatches::ask(const Open& open, const NotifyParameters& parameters,
                           NotifyRequest& request, Completions& completions) {
  auto found = std::find_if(watches_.begin(), watches_.end(),
                            [&](const Watch& watch) { return watch.open == &open; });
  if (found == watches_.end()) {
    Watch& watch = watches_.emplace_back();
    watch.open = &open;
    watch.parameters = parameters;
    found = watches_.end() - 1;
  }
  found->requests.push_back(&request);
  satisfy(*found, completions);
}

void DirectoryWatches::report(std::span<const NotifyEvent> events, uint32_t filter, Depth depth,
                              Completions& completions) {
  for (Watch& watch : watches_) {
    if ((watch.parameters.completion_filter & filter) == 0) continue;
    if (depth == Depth::Tree && watch.parameters.depth != Depth::Tree) continue;
    for (const NotifyEvent& event : events) {
      if (watch.has_overflowed) break;
      watch.bytes += size_of(event);
      watch.events.push_back(event);
      watch.has_overflowed = watch.bytes > watch.parameters.output_buffer_size;
    }
    satisfy(watch, completions);
  }
}

void DirectoryWatches::satisfy(Watch& watch, Completions& completions) {
  if (watch.requests.empty() || watch.events.empty()) return;
  Completion& completion = completions.emplace_back();
  completion.request = watch.requests.front();
  watch.requests.pop_front();
  if (watch.has_overflowed) {
    completion.status = NtStatus::NotifyEnumDir;
    watch.events.clear();
  } else {
    completion.events = std::exchange(watch.events, {});
  }
  watch.bytes = 0;
  watch.has_overflowed = false;
}

void DirectoryWatches::cancel(const Open& open, NtStatus status, Completions& completions) {
  for (Watch& watch : watches_) {
    if (watch.open != &open) continue;
    for (NotifyRequest* request : watch.requests) completions.push_back({request, status, {}});
    watch.requests.clear();
  }
}

void DirectoryWatches::close(const Open& open, Completions& completions) {
  cancel(open, NtStatus::NotifyCleanup, completions);
  std::erase_if(watches_, [&](const Watch& watch) { return watch.open == &open; });
}

void DirectoryWatches::remove_all(Completions& completions) {
  for (const Watch& watch : watches_) {
    for (NotifyRequest* request : watch.requests) {
      completions.push_back({request, NtStatus::DeletePending, {}});
    }
  }
  watches_.clear();
}

}  // namespace ntfs
