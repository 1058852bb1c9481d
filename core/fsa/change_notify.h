#pragma once

// Who wants to be told what happens to the names and files in a directory: MS-FSA 2.1.5.11 "Server
// Requests Change Notifications for a Directory", 2.1.4.1 "Algorithm for Reporting a Change
// Notification for a Directory"; MS-FSCC 2.7.1 "FILE_NOTIFY_INFORMATION".
//
// From its first request on, an open of a directory collects events until it is closed; each
// request takes what has come, or waits for the next. Calls nobody: what is to be told is returned,
// for a caller without locks. Not thread safe.

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "core/base/result.h"

namespace ntfs {

class Open;

/// MS-FSCC 2.7.1.
enum class NotifyAction : uint32_t {
  Added = 1,
  Removed = 2,
  Modified = 3,
  RenamedOldName = 4,
  RenamedNewName = 5,
  AddedStream = 6,
  RemovedStream = 7,
  ModifiedStream = 8,
};

/// MS-SMB2 2.2.35, CompletionFilter.
struct NotifyFilter {
  static constexpr uint32_t FileName = 0x001;
  static constexpr uint32_t DirectoryName = 0x002;
  static constexpr uint32_t Attributes = 0x004;
  static constexpr uint32_t Size = 0x008;
  static constexpr uint32_t LastWrite = 0x010;
  static constexpr uint32_t LastAccess = 0x020;
  static constexpr uint32_t Creation = 0x040;
  static constexpr uint32_t Ea = 0x080;
  static constexpr uint32_t Security = 0x100;
  static constexpr uint32_t StreamName = 0x200;
  static constexpr uint32_t StreamSize = 0x400;
  static constexpr uint32_t StreamWrite = 0x800;
  /// What a file that takes the place of another may differ in.
  static constexpr uint32_t Replaced =
      Attributes | Size | LastWrite | LastAccess | Creation | Ea | Security;
};

struct NotifyEvent {
  NotifyAction action = NotifyAction::Added;
  std::u16string name;  ///< from the directory that is watched, with '\\' between
  bool operator==(const NotifyEvent&) const = default;
};

struct NotifyParameters {
  /// Children: what is in the directory itself.
  enum class Depth { Children, Tree };
  uint32_t completion_filter = 0;  ///< NotifyFilter
  Depth depth = Depth::Children;
  size_t output_buffer_size = 0;  ///< bytes of FILE_NOTIFY_INFORMATION
};

/// A request for changes, while it is pending.
class NotifyRequest {
 public:
  virtual ~NotifyRequest() = default;
  /// Called once. No lock is held. Success: with events. NotifyEnumDir: there were more than the
  /// buffer holds. NotifyCleanup: the open was closed. DeletePending: the directory was removed.
  /// Cancelled.
  virtual void complete(NtStatus status, std::vector<NotifyEvent> events) = 0;
};

class DirectoryWatches {
 public:
  using Depth = NotifyParameters::Depth;
  struct Completion {
    NotifyRequest* request = nullptr;
    NtStatus status = NtStatus::Success;
    std::vector<NotifyEvent> events;
  };
  using Completions = std::vector<Completion>;

  /// Filter and depth are those of the open's first request.
  void ask(const Open& open, const NotifyParameters& parameters, NotifyRequest& request,
           Completions& completions);
  /// Events of the directory itself (Children), or of one below it (Tree). `filter`: of which one
  /// bit at least must be asked for.
  void report(std::span<const NotifyEvent> events, uint32_t filter, Depth depth,
              Completions& completions);
  /// Ends what the open waits for; it goes on collecting.
  void cancel(const Open& open, NtStatus status, Completions& completions);
  /// The open is closed.
  void close(const Open& open, Completions& completions);
  /// The directory was removed.
  void remove_all(Completions& completions);

 private:
  struct Watch {
    const Open* open = nullptr;
    NotifyParameters parameters;
    std::deque<NotifyRequest*> requests;
    std::vector<NotifyEvent> events;
    size_t bytes = 0;  // of `events`
    bool has_overflowed = false;
  };
  static void satisfy(Watch& watch, Completions& completions);

  std::vector<Watch> watches_;
};

}  // namespace ntfs
