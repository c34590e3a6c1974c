#include "server/app/library_logs.h"

#include <atomic>
#include <string>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

constexpr int kErrorsPerSecond = 10;

std::atomic<bool> show_grpc_errors{false};

void WriteGrpc(gpr_log_func_args* args) {
  const bool show =
      args->severity == GPR_LOG_SEVERITY_ERROR && show_grpc_errors.load(std::memory_order_relaxed);
  if (!show) {
    Log().debug("grpc: {}", args->message);
    return;
  }
  // A client can cause them as fast as it connects.
  static LogLimiter limiter(kErrorsPerSecond, Clock::Real());
  if (int64_t suppressed = 0; limiter.Allow(&suppressed)) {
    Log().warn("grpc: {}{}", args->message,
               suppressed > 0 ? absl::StrCat(" (", suppressed, " such lines suppressed)") : "");
  }
}

void WriteProtobuf(google::protobuf::LogLevel severity, const char*, int, const std::string& message) {
  const bool fatal = severity == google::protobuf::LOGLEVEL_FATAL;
  Log().log(fatal ? spdlog::level::err : spdlog::level::debug, "protobuf: {}", message);
}

}  // namespace

void ShowGrpcErrors() { show_grpc_errors.store(true, std::memory_order_relaxed); }

void SendLibraryLogsToOurs() {
  gpr_set_log_function(WriteGrpc);
  google::protobuf::SetLogHandler(WriteProtobuf);
}

}  // namespace jobpool
