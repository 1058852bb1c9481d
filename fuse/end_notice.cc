#include "fuse/end_notice.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/base/trace.h"
#include "fuse/reply.h"

namespace ntfs::frontend {

namespace {

constexpr int kBacklog = 16;
constexpr size_t kMostClients = 64;
constexpr std::string_view kClean = "clean";
constexpr size_t kLongestMessage = 4096;

struct Address {
  sockaddr_un name{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&name); }
};

/// FNV-1a, 64 bits: the same in every build.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  return hash;
}

Address address_of(const MountEntry& mount) {
  Address address;
  address.name.sun_family = AF_UNIX;
  // A leading NUL: the abstract namespace.
  const std::string text =
      fmt::format("ntfs-wal-mount-{}-{:016x}", mount.device, hash_of(mount.source));
  const size_t length = std::min(text.size(), sizeof(address.name.sun_path) - 1);
  std::copy_n(text.begin(), length, address.name.sun_path + 1);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

bool is_trusted(int fd) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

}  // namespace

void EndNotice::listen(const MountEntry& mount) {
  fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const Address address = address_of(mount);
  if (fd_ >= 0 && bind(fd_, address.get(), address.length) == 0 && ::listen(fd_, kBacklog) == 0) {
    return;
  }
  log_line(LogLevel::Warning,
           "umount will not be able to wait for the end: " + last_system_error().text);
}

void EndNotice::admit() {
  std::erase_if(clients_, [](int client) {
    char byte = 0;
    if (recv(client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0) return false;
    close(client);  // an umount that found the mount in use, say
    return true;
  });
  for (size_t i = 0; i < kMostClients; ++i) {
    const int client = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) return;
    // Any user can connect, and must not take the places of those who may unmount.
    if (is_trusted(client) && clients_.size() < kMostClients) {
      clients_.push_back(client);
    } else {
      close(client);
    }
  }
}

void EndNotice::stop_listening() {
  if (fd_ < 0) return;
  admit();
  close(std::exchange(fd_, -1));
}

void EndNotice::tell(const std::string& problem) {
  const std::string_view message = problem.empty() ? kClean : std::string_view(problem);
  for (const int client : clients_) {
    // Who has gone meanwhile does not want to know.
    static_cast<void>(send(client, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    close(client);
  }
  clients_.clear();
}

EndNotice::~EndNotice() {
  for (const int client : clients_) close(client);
  if (fd_ >= 0) close(fd_);
}

std::optional<EndListener> EndListener::connect(const MountEntry& mount) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  EndListener listener(fd);
  // While the mount's process does not take anybody in, connect(2) waits.
  constexpr timeval kMostWait{.tv_sec = 5, .tv_usec = 0};
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kMostWait, sizeof(kMostWait)) != 0) {
    return std::nullopt;
  }
  const Address address = address_of(mount);
  if (::connect(fd, address.get(), address.length) != 0 || !is_trusted(fd)) return std::nullopt;
  return listener;
}

EndListener::EndListener(EndListener&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

EndListener::~EndListener() {
  if (fd_ >= 0) close(fd_);
}

std::string EndListener::wait() {
  std::string message;
  char part[256];
  while (message.size() < kLongestMessage) {
    const ssize_t got = recv(fd_, part, sizeof(part), 0);
    if (got > 0) {
      message.append(part, static_cast<size_t>(got));
    } else if (got == 0 || last_system_error().kind != SystemError::Kind::Interrupted) {
      break;
    }
  }
  if (message == kClean) return {};
  if (message.empty()) {
    return "its process ended without leaving the volume clean; the system log may say why. What "
           "fsync answered for is safe";
  }
  return message;
}

}  // namespace ntfs::frontend
