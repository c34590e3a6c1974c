#include "server/process/message_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kMaxDescriptors = 8;

absl::Status SocketError(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("cannot ", what, ": ", std::strerror(errno)));
}

std::string Frame(const google::protobuf::MessageLite& message) {
  std::string bytes(kLengthBytes, '\0');
  message.AppendToString(&bytes);
  const size_t length = bytes.size() - kLengthBytes;
  for (size_t i = 0; i < kLengthBytes; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
  return bytes;
}

// The length of the message that begins there. REQUIRES: so many bytes.
size_t LengthOf(absl::string_view bytes) {
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return length;
}

}  // namespace

absl::StatusOr<std::pair<Fd, Fd>> MakeSocketPair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return SocketError("make a socket pair");
  return std::pair(Fd(ends[0]), Fd(ends[1]));
}

absl::Status WriteMessage(int socket, const google::protobuf::MessageLite& message,
                          absl::Span<const int> descriptors, int timeout_ms) {
  const std::string bytes = Frame(message);
  if (bytes.size() > kMaxMessageBytes || descriptors.size() > kMaxDescriptors) {
    return absl::InvalidArgumentError("the message is too large");
  }
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  for (size_t sent = 0; sent < bytes.size();) {
    iovec part = {const_cast<char*>(bytes.data()) + sent, bytes.size() - sent};
    msghdr header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && !descriptors.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
      cmsghdr* const rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
      std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
    }
    const ssize_t now = sendmsg(socket, &header, MSG_NOSIGNAL);
    if (now >= 0) {
      sent += static_cast<size_t>(now);
    } else if (errno == EAGAIN) {
      pollfd writable = {socket, POLLOUT, 0};
      if (poll(&writable, 1, timeout_ms) == 0)
        return absl::UnavailableError("the other process does not read");
    } else if (errno != EINTR) {
      return SocketError("write to the other process");
    }
  }
  return absl::OkStatus();
}

// A stream of Unix takes what is small as a whole, or not at all.
bool TryWriteMessage(int socket, const google::protobuf::MessageLite& message) {
  const std::string bytes = Frame(message);
  return send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(bytes.size());
}

absl::StatusOr<MessageReader::Got> MessageReader::Read(google::protobuf::MessageLite& message,
                                                       std::vector<Fd>* descriptors) {
  for (;;) {
    size_t wanted = kLengthBytes;
    if (bytes_.size() >= kLengthBytes) {
      const size_t length = LengthOf(bytes_);
      if (length > max_bytes_) return absl::DataLossError("it sent what is no message");
      wanted += length;
      if (bytes_.size() >= wanted) {
        const bool parsed = message.ParseFromArray(bytes_.data() + kLengthBytes, static_cast<int>(length));
        bytes_.erase(0, wanted);
        if (descriptors != nullptr) *descriptors = std::move(descriptors_);
        descriptors_.clear();
        if (!parsed) return absl::DataLossError("it sent what is no message");
        return Got::kMessage;
      }
    }
    // Where descriptors come, not beyond the message: they would be taken for its own.
    const size_t most =
        descriptors != nullptr ? std::min(wanted - bytes_.size(), part_.size()) : part_.size();
    iovec part = {part_.data(), most};
    alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
    msghdr header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (descriptors != nullptr) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
    }
    const ssize_t now = recvmsg(socket_, &header, MSG_CMSG_CLOEXEC);
    const int error = errno;
    if (now > 0) bytes_.append(part_.data(), static_cast<size_t>(now));
    if (now == 0) return Got::kEnd;
    if (now < 0) {
      if (error == EINTR) continue;
      if (error == EAGAIN) return Got::kNothing;
      if (error == ECONNRESET) return Got::kEnd;
      return absl::UnavailableError(absl::StrCat("cannot read: ", std::strerror(error)));
    }
    if (descriptors != nullptr && !TakeDescriptors(header)) {
      return absl::DataLossError("it sent too many descriptors");
    }
  }
}

bool MessageReader::TakeDescriptors(const msghdr& header) {
  for (const cmsghdr* rights = CMSG_FIRSTHDR(&header); rights != nullptr;
       rights = CMSG_NXTHDR(const_cast<msghdr*>(&header), const_cast<cmsghdr*>(rights))) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(rights) + i * sizeof(int), sizeof(int));
      descriptors_.emplace_back(descriptor);
    }
  }
  return descriptors_.size() <= kMaxDescriptors;
}

}  // namespace jobpool
