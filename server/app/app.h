#pragma once

#include <memory>
#include <optional>
#include <string>

#include <prometheus/registry.h>

#include "absl/status/status.h"
#include "server/app/config.h"
#include "server/app/files.h"
#include "server/app/grpc_server.h"
#include "server/app/live_metrics.h"
#include "server/app/reload_metrics.h"
#include "server/app/service_manager.h"
#include "server/app/stores.h"
#include "server/base/mutex.h"
#include "server/echo/echo_server.h"
#include "server/handlers/command_list.h"
#include "server/handlers/registry.h"
#include "server/http/http_server.h"
#include "server/pipeline/pipeline.h"
#include "server/process/fork_server.h"
#include "server/service/echo_service.h"
#include "server/service/health_service.h"
#include "server/service/job_service.h"
#include "server/service/pool_service.h"
#include "server/service/thread_service.h"
#include "server/telemetry/process_metrics.h"
#include "server/telemetry/rpc_metrics.h"
#include "server/tls/certificate_files.h"
#include "server/workers/process_pool.h"
#include "server/workers/service_pool.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// A whole server: owns everything, in the order of its dependencies. Made,
/// started, shut down and destroyed by one thread, the one that it calls
/// MainThread.
class App {
 public:
  /// `files` and `stores`: those that `config` names.
  App(Config config, std::unique_ptr<Files> files, std::unique_ptr<Stores> stores);
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  /// Takes up what a server before this one has left in the store, and serves from now on.
  /// UNAVAILABLE: an address cannot be had; other errors: the store cannot be read, or
  /// holds jobs of pools that there are not. Then nothing is left half started.
  absl::Status Start();

  /// Reads the files again and takes over what is in them. What is faulty is said in
  /// the log and changes nothing.
  void Reload();

  /// What has to be done once a second while it serves: certificates that have
  /// changed, the watchdog.
  void Tick();

  /// Shuts down after the contract: refuses submissions, cancels daemon jobs,
  /// waits for the others, at most `drain_timeout`, cancels the rest and gives it
  /// 5 s. Echo takes no new connections meanwhile; those it has end with the jobs.
  /// `hurry`: a descriptor that becomes readable when it shall not wait any longer
  /// (a second signal). Returns whether every job and its thread have ended; if
  /// not, threads are left that only the process's end ends.
  bool Shutdown(int hurry);

  std::string grpc_address() const;
  std::string http_address() const;
  /// Empty if echo is off.
  std::string echo_address() const;

 private:
  // Says whether jobs are taken: on /readyz and by gRPC's health.
  void ShowServing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(serving_mu_);
  // Takes over certificates that have changed. Returns whether they are well.
  bool ReloadCertificates();

  const Config config_;
  const std::unique_ptr<Files> files_;
  ListenAddress grpc_address_;
  ListenAddress http_address_;
  std::optional<ListenAddress> echo_address_;

  ThreadRegistry threads_;
  RegisteredThread main_thread_;
  std::shared_ptr<prometheus::Registry> metrics_;
  RpcMetrics rpc_metrics_;
  std::shared_ptr<ProcessMetrics> process_metrics_;
  CallMemory call_memory_;  // what is left of calls at the end gives back to it
  const std::shared_ptr<CommandList> commands_;
  HandlerRegistry handlers_;
  const std::unique_ptr<Stores> stores_;
  ForkServer fork_server_;
  ProcessPool processes_;
  Pipeline pipeline_;
  std::shared_ptr<LiveMetrics> live_metrics_;
  ServicePool service_pool_;
  JobService job_service_;
  ThreadService thread_service_;
  PoolService pool_service_;
  EchoService echo_service_;
  HealthService health_service_;
  HttpServer http_server_;
  EchoServer echo_server_;
  GrpcServer grpc_server_;
  Watchdog watchdog_;
  ReloadMetrics reload_metrics_;
  std::string certificate_fault_;  // that was logged last

  Mutex serving_mu_;
  bool draining_ ABSL_GUARDED_BY(serving_mu_) = false;
  bool started_ ABSL_GUARDED_BY(serving_mu_) = false;
};

}  // namespace jobpool
