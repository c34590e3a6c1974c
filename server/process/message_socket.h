#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

#include <google/protobuf/message_lite.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/process/fd.h"

namespace jobpool {

/// Larger messages are refused by who reads: they are not ours.
inline constexpr size_t kMaxMessageBytes = size_t{32} << 20;

/// Two ends of a stream socket that no program inherits.
absl::StatusOr<std::pair<Fd, Fd>> MakeSocketPair();

/// Writes a message behind its length, with copies of `descriptors`, at most 8, beside its
/// first byte. Waits for room, whether the socket blocks or not, but if it does not for
/// `timeout_ms` at most; negative: for as long as it takes. UNAVAILABLE: the other end is closed, or
/// takes nothing.
absl::Status WriteMessage(int socket, const google::protobuf::MessageLite& message,
                          absl::Span<const int> descriptors = {}, int timeout_ms = -1);

/// As WriteMessage for a small message; where there is no room for it, it is not sent, and
/// false is returned.
bool TryWriteMessage(int socket, const google::protobuf::MessageLite& message);

/// Takes messages from a stream socket. Not thread-safe.
class MessageReader {
 public:
  /// `socket` stays the caller's. Longer messages than `max_bytes` are refused.
  explicit MessageReader(int socket, size_t max_bytes = kMaxMessageBytes)
      : socket_(socket), max_bytes_(max_bytes) {}

  /// Whether nothing is in here that was read and not taken yet.
  bool empty() const { return bytes_.empty(); }

  enum class Got { kMessage, kNothing, kEnd };

  /// Reads what is there and takes one message of it. kNothing: the socket does not block, and
  /// there is no whole one yet; kEnd: the other end is closed. DATA_LOSS: what came is no message.
  /// There may be more in here than poll() sees: to be called until there is nothing. With
  /// `descriptors` they come too, at most 8 with a message; without, those that are sent are closed.
  /// Once a call was without, all are.
  absl::StatusOr<Got> Read(google::protobuf::MessageLite& message, std::vector<Fd>* descriptors = nullptr);

 private:
  bool TakeDescriptors(const msghdr& header);

  const int socket_;
  const size_t max_bytes_;
  std::array<char, size_t{16} << 10> part_;
  std::string bytes_;
  std::vector<Fd> descriptors_;
};

}  // namespace jobpool
