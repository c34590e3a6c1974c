#include "server/app/grpc_server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

constexpr int kMaxReceiveBytes = 16 << 20;

absl::Status CannotListen(const ListenAddress& address) {
  return absl::UnavailableError(
      absl::StrCat("cannot listen on ", address.ToString(address.port), ": in use, or not ours"));
}

}  // namespace

GrpcServer::~GrpcServer() {
  Stop(absl::ZeroDuration());
  if (socket_lock_ >= 0) close(socket_lock_);
}

absl::Status GrpcServer::Start(const ListenAddress& address, const std::vector<grpc::Service*>& services) {
  if (address.is_unix) {
    if (absl::Status locked = LockSocket(address.path); !locked.ok()) return locked;
  }
  grpc::EnableDefaultHealthCheckService(false);  // ours is described by reflection
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  // Without this a second server on the port starts silently and takes half the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // gRPC punishes pings more often than every 5 minutes by default; balancers and mobile clients ping each 10
  // s.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  // That bound holds for what is on the wire: a compressed message could unfold to a thousand times as much.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.AddListeningPort(address.ToString(address.port), grpc::InsecureServerCredentials(), &port_);
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
