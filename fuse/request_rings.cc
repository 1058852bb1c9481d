#include "fuse/request_rings.h"

#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "core/base/assert.h"
#include "core/base/trace.h"
#include "core/io/command_ring.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

// What <linux/fuse.h> of Debian 12 does not have yet.

constexpr uint32_t kRegister = 1;        // FUSE_IO_URING_CMD_REGISTER
constexpr uint32_t kCommitAndFetch = 2;  // FUSE_IO_URING_CMD_COMMIT_AND_FETCH

/// fuse_uring_req_header, with fuse_uring_ent_in_out.
struct RingHeader {
  std::array<std::byte, 128> in_out;     ///< fuse_in_header, or fuse_out_header
  std::array<std::byte, 128> operation;  ///< what follows the fuse_in_header, of fixed size
  uint64_t flags;
  uint64_t commit_id;
  uint32_t payload_bytes;
  uint32_t padding;
  uint64_t reserved;
};
static_assert(sizeof(RingHeader) == 288);

/// fuse_uring_cmd_req, in the part of a submission that is the command's own.
struct RingCommand {
  uint64_t flags;
  uint64_t commit_id;
  uint16_t queue;
  std::array<uint8_t, 6> padding;
};
static_assert(sizeof(RingCommand) == 24);

/// Each has memory for the longest request.
constexpr size_t kMostEntries = 32;
constexpr size_t kFewestThreads = 2;  // for each processor
/// So many requests of the other kind make a thread change over: that costs a system call.
constexpr uint32_t kSteadiness = 4;
constexpr size_t kAlignment = AlignedBuffer::kAlignment;

/// Queues are those of all processors that there may ever be.
uint32_t queue_count() {
  return static_cast<uint32_t>(std::max(sysconf(_SC_NPROCESSORS_CONF), 1L));
}

/// The processors that this program may run on.
std::vector<uint32_t> usable_processors() {
  std::vector<uint32_t> result;
  cpu_set_t usable;
  CPU_ZERO(&usable);
  sched_getaffinity(0, sizeof(usable), &usable);
  for (uint32_t i = 0; i < std::min<uint32_t>(queue_count(), CPU_SETSIZE); ++i) {
    if (CPU_ISSET(i, &usable)) result.push_back(i);
  }
  if (result.empty()) result.push_back(0);
  return result;
}

}  // namespace

/// Memory for one request and its answer.
class RequestRings::Entry {
 public:
  /// Who has to do something about it.
  enum class State {
    WithKernel,
    Handled,   ///< by the thread that it came to
    LeftOver,  ///< by somebody else: that thread goes on
    Answered,
  };

  Entry(Server& its_server, uint16_t its_queue, AlignedBuffer memory, size_t payload_bytes)
      : server(its_server),
        queue(its_queue),
        memory_(std::move(memory)),
        payload_bytes_(payload_bytes) {
    parts = {iovec{&header, sizeof(header)}, iovec{payload(), payload_bytes}};
  }

  /// What came, as libfuse wants it: one piece.
  fuse_buf request_bytes() {
    fuse_in_header in;
    std::memcpy(&in, header.in_out.data(), sizeof(in));
    const size_t operation = in.len - sizeof(in) - header.payload_bytes;
    std::byte* start = payload() - operation - sizeof(in);
    ASSERT(operation <= header.operation.size());
    std::memcpy(start, &in, sizeof(in));
    std::memcpy(start + sizeof(in), header.operation.data(), operation);
    fuse_buf buffer{};
    buffer.mem = start;
    buffer.size = in.len;
    return buffer;
  }
  uint64_t request_id() const {
    fuse_in_header in;
    std::memcpy(&in, header.in_out.data(), sizeof(in));
    return in.unique;
  }

  void set_answer(const iovec* from, int count) {
    fuse_out_header out;
    std::memcpy(&out, from[0].iov_base, sizeof(out));
    size_t used = 0;
    for (int i = 1; i < count; ++i) {
      if (from[i].iov_len > payload_bytes_ - used) {
        log_line(LogLevel::Error, "an answer is too long for the kernel's ring");
        out.error = -errno_of(NtStatus::IoDeviceError);
        used = 0;
        break;
      }
      std::memcpy(payload() + used, from[i].iov_base, from[i].iov_len);
      used += from[i].iov_len;
    }
    std::memcpy(header.in_out.data(), &out, sizeof(out));
    header.payload_bytes = static_cast<uint32_t>(used);
  }

  Server& server;
  const uint16_t queue;
  RingHeader header{};
  std::array<iovec, 2> parts;
  std::atomic<State> state{State::WithKernel};
  std::atomic<uint64_t> request{0};  ///< its number, until the answer; else 0

 private:
  /// The headers, put together, end where it starts.
  std::byte* payload() { return memory_.data() + kAlignment; }

  AlignedBuffer memory_;
  const size_t payload_bytes_;
};

/// One thread with its ring.
class RequestRings::Server {
 public:
  Server(RequestRings& rings, uint32_t processor, std::vector<uint16_t> queues)
      : rings_(rings), processor_(processor), queues_(std::move(queues)) {}

  ~Server() {
    join();
    if (wake_event_ >= 0) close(wake_event_);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  /// Out of the wait for requests, or out of the next one.
  void wake() const {
    const uint64_t one = 1;
    if (::write(wake_event_, &one, sizeof(one)) < 0) {
      log_line(LogLevel::Error, "cannot wake a thread that serves the kernel's rings");
    }
  }

  /// Somebody else has answered: the thread gives the entry back to the kernel.
  void take_back(Entry& entry) {
    {
      const MutexLock lock(rings_.mutex_);
      answered_.push_back(&entry);
      has_answered_ = true;
    }
    wake();
  }

  /// What this thread handles.
  static thread_local Entry* current;

  /// With the rings' mutex.
  Entry* find(uint64_t request) {
    for (const auto& entry : entries_) {
      if (entry->request == request) return entry.get();
    }
    return nullptr;
  }

 private:
  void run();
  void bind() const;
  void serve();
  Entry& add_entry(uint16_t queue);
  void submit(Entry& entry, uint32_t operation);
  void commit_answered();
  void complete(Entry& entry, int result);
  void handle(Entry& entry);
  void choose_processor(bool is_short);

  RequestRings& rings_;
  const uint32_t processor_;
  const std::vector<uint16_t> queues_;
  std::thread thread_;
  std::unique_ptr<CommandRing> ring_;
  bool is_bound_ = true;
  uint32_t against_ = 0;  // requests since then that would have it otherwise
  cpu_set_t anywhere_{};
  int wake_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  size_t with_kernel_ = 0;
  // The thread's own; added to with the rings' mutex, as others look through it.
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> answered_;  // with the rings' mutex
  std::atomic<bool> has_answered_{false};
};

thread_local RequestRings::Entry* RequestRings::Server::current = nullptr;

void RequestRings::Server::bind() const {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor_, &one);
  // Where it may not, it stays where it is.
  pthread_setaffinity_np(pthread_self(), sizeof(one), is_bound_ ? &one : &anywhere_);
}

RequestRings::Entry& RequestRings::Server::add_entry(uint16_t queue) {
  const size_t payload = rings_.options_.payload_bytes;
  auto entry =
      std::make_unique<Entry>(*this, queue, rings_.device_.allocate(kAlignment + payload), payload);
  const MutexLock lock(rings_.mutex_);
  entries_.push_back(std::move(entry));
  return *entries_.back();
}

void RequestRings::Server::submit(Entry& entry, uint32_t operation) {
  RingCommand details{};
  details.queue = entry.queue;
  CommandRing::Command command;
  command.file = rings_.options_.queue;
  command.operation = operation;
  command.tag = &entry;
  if (operation == kRegister) {
    command.memory = entry.parts;
  } else {
    details.commit_id = entry.header.commit_id;
  }
  command.details = std::as_bytes(std::span(&details, 1));
  ring_->add(command);
  entry.state = Entry::State::WithKernel;
  ++with_kernel_;
}

void RequestRings::Server::commit_answered() {
  if (!has_answered_) return;  // as a rule, without the lock that all share
  std::vector<Entry*> answered;
  {
    const MutexLock lock(rings_.mutex_);
    answered.swap(answered_);
    has_answered_ = false;
  }
  for (Entry* entry : answered) submit(*entry, kCommitAndFetch);
}

void RequestRings::Server::handle(Entry& entry) {
  fuse_buf request = entry.request_bytes();
  entry.state = Entry::State::Handled;
  entry.request = entry.request_id();
  current = &entry;
  const bool is_short = rings_.options_.handle(request);
  current = nullptr;
  auto state = Entry::State::Handled;
  if (!entry.state.compare_exchange_strong(state, Entry::State::LeftOver)) {
    submit(entry, kCommitAndFetch);
  } else if (with_kernel_ == 0) {
    submit(add_entry(entry.queue), kRegister);
  }
  choose_processor(is_short);
}

/// Bound for what is answered from memory, free for what moves data.
void RequestRings::Server::choose_processor(bool is_short) {
  against_ = is_short == is_bound_ ? 0 : against_ + 1;
  if (against_ < kSteadiness) return;
  against_ = 0;
  is_bound_ = is_short;
  bind();
}

void RequestRings::Server::complete(Entry& entry, int result) {
  --with_kernel_;
  if (result == 0) return handle(entry);
  // Without the mount there are no more requests.
  const SystemError error = system_error_of(-result);
  if (error.kind == SystemError::Kind::NotConnected || rings_.stopping_) return;
  log_line(LogLevel::Error, "FUSE over io_uring: " + error.text);
}

void RequestRings::Server::serve() {
  for (const uint16_t queue : queues_) submit(add_entry(queue), kRegister);
  while (with_kernel_ > 0 && !rings_.stopping_) {
    using Kind = SystemError::Kind;
    const SystemError error = system_error_of(-ring_->wait());
    if (error.kind != Kind::None && error.kind != Kind::Interrupted && error.kind != Kind::Busy) {
      return log_line(LogLevel::Error, "FUSE over io_uring: " + error.text);
    }
    for (auto completion = ring_->next(); completion.tag != nullptr; completion = ring_->next()) {
      complete(*static_cast<Entry*>(completion.tag), completion.result);
    }
    commit_answered();
  }
}

void RequestRings::Server::run() {
  pthread_getaffinity_np(pthread_self(), sizeof(anywhere_), &anywhere_);
  bind();
  ring_ = std::make_unique<CommandRing>(wake_event_);
  {
    const MutexLock lock(rings_.mutex_);
    ++rings_.prepared_;
    if (!ring_->is_open()) rings_.failed_ = true;
    rings_.changed_.notify_all();
  }
  const bool has_served = rings_.wait_for_start() == Stage::Started;
  if (has_served) serve();
  ring_.reset();
  if (has_served) rings_.options_.ended();
}

RequestRings::RequestRings(BlockDevice& device, Options options)
    : device_(device), options_(std::move(options)) {}

RequestRings::~RequestRings() { stop(); }

/// Each processor gets threads; the first one also serves the queues of those that this program
/// may not run on, or that are not there.
Result<> RequestRings::make_servers() {
  const std::vector<uint32_t> processors = usable_processors();
  const size_t others = queue_count() - std::min<size_t>(queue_count(), processors.size());
  const size_t most = (kMostEntries - std::min(kMostEntries, others)) / processors.size();
  if (most < kFewestThreads) return NtStatus::NotSupported;
  const size_t each = std::clamp(options_.threads / processors.size(), kFewestThreads, most);
  for (size_t i = 0; i < each * processors.size(); ++i) {
    const uint32_t processor = processors[i % processors.size()];
    std::vector<uint16_t> queues = {static_cast<uint16_t>(processor)};
    for (uint32_t queue = 0; i == 0 && queue < queue_count(); ++queue) {
      if (std::ranges::find(processors, queue) == processors.end()) {
        queues.push_back(static_cast<uint16_t>(queue));
      }
    }
    servers_.push_back(std::make_unique<Server>(*this, processor, std::move(queues)));
  }
  return {};
}

Result<> RequestRings::prepare() {
  TRY(make_servers());
  for (const auto& server : servers_) server->start();
  const MutexLock lock(mutex_);
  while (prepared_ < servers_.size()) changed_.wait(mutex_);
  if (failed_) return NtStatus::InsufficientResources;
  return {};
}

RequestRings::Stage RequestRings::wait_for_start() {
  const MutexLock lock(mutex_);
  while (stage_ == Stage::Preparing) changed_.wait(mutex_);
  return stage_;
}

void RequestRings::start() {
  const MutexLock lock(mutex_);
  stage_ = Stage::Started;
  changed_.notify_all();
}

RequestRings::Entry* RequestRings::find(uint64_t request) {
  const MutexLock lock(mutex_);
  for (const auto& server : servers_) {
    if (Entry* entry = server->find(request)) return entry;
  }
  return nullptr;
}

bool RequestRings::take_answer(const iovec* parts, int count) {
  fuse_out_header out;
  std::memcpy(&out, parts[0].iov_base, sizeof(out));
  if (out.unique == 0) return false;  // a notification
  Entry* entry = Server::current;
  if (entry == nullptr || entry->request != out.unique) entry = find(out.unique);
  if (entry == nullptr) return false;
  entry->request = 0;
  entry->set_answer(parts, count);
  if (entry->state.exchange(Entry::State::Answered) == Entry::State::LeftOver) {
    entry->server.take_back(*entry);
  }
  return true;
}

void RequestRings::stop() {
  stopping_ = true;
  {
    const MutexLock lock(mutex_);
    stage_ = Stage::Stopping;
    changed_.notify_all();
  }
  for (const auto& server : servers_) server->wake();
  for (const auto& server : servers_) server->join();
}

}  // namespace ntfs::frontend
