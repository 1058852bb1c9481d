#include "fuse/channel.h"

#include <linux/fuse.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "fuse/filesystem.h"
#include "fuse/request_rings.h"

namespace ntfs::frontend {

namespace {

/// FUSE_OVER_IO_URING, of the upper half of the flags of INIT.
constexpr uint32_t kRings = 1U << (41 - 32);

/// Whether it is an INIT with which the kernel offers rings.
bool offers_rings(ByteView request) {
  fuse_in_header header;
  fuse_init_in init;
  if (request.size() < sizeof(header) + sizeof(init)) return false;
  std::memcpy(&header, request.data(), sizeof(header));
  std::memcpy(&init, request.data() + sizeof(header), sizeof(init));
  return header.opcode == FUSE_INIT && (init.flags & FUSE_INIT_EXT) != 0 &&
         (init.flags2 & kRings) != 0;
}

ssize_t receive(int device, void* buffer, size_t length, void* user_data) {
  auto& context = *static_cast<RequestContext*>(user_data);
  const ssize_t count = ::read(device, buffer, length);
  if (!context.is_init_answered && count > 0) {
    context.rings_offered =
        offers_rings({static_cast<std::byte*>(buffer), static_cast<size_t>(count)});
  }
  return count;
}

/// The first answer of all is that to INIT: its header, then fuse_init_out.
ssize_t answer_init(int device, iovec* parts, int count, RequestContext& context) {
  context.is_init_answered = true;
  const bool is_whole = count == 2 && parts[1].iov_len == sizeof(fuse_init_out);
  if (is_whole) {
    auto& answer = *static_cast<fuse_init_out*>(parts[1].iov_base);
    answer.flags |= FUSE_HANDLE_KILLPRIV_V2;
    if (context.rings != nullptr) {
      answer.flags |= FUSE_INIT_EXT;
      answer.flags2 |= kRings;
    }
  }
  const ssize_t sent = ::writev(device, parts, count);
  if (is_whole && sent > 0 && context.rings != nullptr) context.rings->start();
  return sent;
}

ssize_t send(int device, iovec* parts, int count, void* user_data) {
  auto& context = *static_cast<RequestContext*>(user_data);
  if (!context.is_init_answered) return answer_init(device, parts, count, context);
  if (context.rings != nullptr && context.rings->take_answer(parts, count)) {
    return static_cast<fuse_out_header*>(parts[0].iov_base)->len;
  }
  return ::writev(device, parts, count);
}

}  // namespace

Result<> open_channel(fuse_session* session) {
  const fuse_custom_io channel{send, receive, nullptr, nullptr};
  if (fuse_session_custom_io(session, &channel, fuse_session_fd(session)) != 0) {
    return NtStatus::InsufficientResources;
  }
  return {};
}

}  // namespace ntfs::frontend
