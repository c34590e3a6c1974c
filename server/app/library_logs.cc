#include "server/app/library_logs.h"

#include <atomic>
#include <string>

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include "server/telemetry/log.h"

namespace jobpool {
namespace {

std::atomic<bool> show_grpc_errors{false};

void WriteGrpc(gpr_log_func_args* args) {
  const bool show =
      args->severity == GPR_LOG_SEVERITY_ERROR && show_grpc_errors.load(std::memory_order_relaxed);
  const auto level = show ? spdlog::level::warn : spdlog::level::debug;
  Log().log(level, "grpc: {}", args->message);
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
