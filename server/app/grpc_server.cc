#include "server/app/grpc_server.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/str_cat.h"
#include "server/app/grpc_tls.h"

namespace jobpool {
namespace {

// A connection that says nothing, or cannot agree on TLS and HTTP/2, is dropped after this.
constexpr int kHandshakeMs = 20'000;
// Peers that have vanished are noticed after 80 s (keepalive.md of gRPC's documentation).
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
// gRPC punishes pings more often than every 5 minutes by default; balancers and mobile clients ping each 10
// s.
constexpr int kMinPingIntervalMs = 10'000;
// So that clients behind a load balancer spread anew when servers come: after that time (give or take a
// tenth) a connection takes no new calls, and ends when the open ones have.
constexpr int kMaxConnectionAgeMs = 30 * 60'000;
constexpr int kMaxConnectionIdleMs = 30 * 60'000;
constexpr int kMaxConcurrentStreams = 10'000;  // of one connection
// Reflection and channelz, which come with gRPC, keep a thread of gRPC's for each open call; beyond, it
// refuses.
constexpr int kMaxSyncThreads = 32;
// What connections may hold in buffers together, so that slow peers cannot grow it.
constexpr size_t kMaxBufferBytes = size_t{1} << 30;

void SetLimits(grpc::ServerBuilder& builder, const GrpcOptions& options) {
  // Without this a second server on the port starts silently and takes half the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, kMaxConnectionAgeMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kMaxConnectionIdleMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxConcurrentStreams);
  grpc::ResourceQuota quota("jobpoold");
  quota.Resize(kMaxBufferBytes);
  quota.SetMaxThreads(kMaxSyncThreads);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  // That bound holds for what is on the wire: a compressed message could unfold to a thousand times as much.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

// gRPC does not say why; a socket of our own does.
absl::Status CannotListen(const ListenAddress& address) {
  std::string why = "in use, or not ours";
  if (!address.is_unix) {
    const int probe = socket(address.is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_storage name{};
    socklen_t length = 0;
    if (address.is_ipv6) {
      auto* const v6 = reinterpret_cast<sockaddr_in6*>(&name);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(static_cast<uint16_t>(address.port));
      inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr);
      length = sizeof(*v6);
    } else {
      auto* const v4 = reinterpret_cast<sockaddr_in*>(&name);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(static_cast<uint16_t>(address.port));
      inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr);
      length = sizeof(*v4);
    }
    if (probe >= 0 && bind(probe, reinterpret_cast<const sockaddr*>(&name), length) != 0)
      why = std::strerror(errno);
    if (probe >= 0) close(probe);
  }
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address.ToString(address.port), ": ", why));
}

}  // namespace

GrpcServer::~GrpcServer() {
  Stop(absl::ZeroDuration());
  if (socket_lock_ >= 0) close(socket_lock_);
}

absl::Status GrpcServer::Start(const ListenAddress& address, const std::vector<grpc::Service*>& services,
                               const GrpcOptions& options) {
  if (address.is_unix) {
    if (absl::Status locked = LockSocket(address.path); !locked.ok()) return locked;
  }
  grpc::EnableDefaultHealthCheckService(false);  // ours is described by reflection
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  if (options.channelz) grpc::channelz::experimental::InitChannelzService();
  grpc::ServerBuilder builder;
  SetLimits(builder, options);
  credentials_ = options.certificates != nullptr ? TlsCredentials(*options.certificates)
                                                 : grpc::InsecureServerCredentials();
  builder.AddListeningPort(address.ToString(address.port), credentials_, &port_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || (!address.is_unix && port_ == 0)) return CannotListen(address);
  return absl::OkStatus();
}

// A second server on the path would start silently, take the socket, and remove
// it at its end. The lock goes with the process, however that ends.
absl::Status GrpcServer::LockSocket(const std::string& path) {
  const std::string lock = absl::StrCat(path, ".lock");
  socket_lock_ = open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (socket_lock_ < 0) return absl::UnavailableError(absl::StrCat("cannot open ", lock));
  if (flock(socket_lock_, LOCK_EX | LOCK_NB) != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on unix:", path, ": another server holds ", lock));
  }
  return absl::OkStatus();
}

void GrpcServer::Stop(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  server_.reset();
}

}  // namespace jobpool
