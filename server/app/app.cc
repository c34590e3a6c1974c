#include "server/app/app.h"

#include <random>
#include <string>
#include <utility>

#include <prometheus/gauge.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/app/drain.h"
#include "server/app/store_gauges.h"
#include "server/base/status_macros.h"
#include "server/handlers/command.h"
#include "server/telemetry/log.h"

namespace jobpool {
namespace {

// A small fixed number: for calls that look, not for jobs.
constexpr int kServiceThreads = 4;
constexpr int kMaxWaitingCalls = 10'000;
// How long calls that were answered may take to get out at the end.
constexpr absl::Duration kCallGrace = absl::Seconds(1);
// How long HTTP answers may take to get out at the end.
constexpr absl::Duration kHttpGrace = absl::Seconds(3);
// How long we go on to refuse, at least: time for callers to hear UNAVAILABLE, which they may retry
// elsewhere, before calls on open connections are cut off, which gRPC tells them as CANCELLED.
constexpr absl::Duration kRefuseTime = absl::Milliseconds(300);

PipelineOptions PipelineOf(const ConfigFile& config) {
  PipelineOptions options;
  options.pools = config.pools;
  options.limits = config.limits;
  options.kinds = config.kinds;
  std::random_device random;
  options.seed = (uint64_t{random()} << 32) | random();
  return options;
}

}  // namespace

App::App(Config config, std::unique_ptr<Files> files, std::unique_ptr<Stores> stores)
    : config_(std::move(config)),
      files_(std::move(files)),
      main_thread_(threads_, ThreadRole::kMain, ""),
      metrics_(std::make_shared<prometheus::Registry>()),
      rpc_metrics_(*metrics_),
      process_metrics_(std::make_shared<ProcessMetrics>()),
      call_memory_(files_->config().max_call_bytes),
      commands_(std::make_shared<CommandList>()),
      handlers_(&files_->plugins()),
      stores_(std::move(stores)),
      fork_server_(files_->plugins().files()),
      processes_(files_->config().processes, fork_server_, threads_),
      pipeline_(PipelineOf(files_->config()), handlers_, stores_->all(), threads_, *metrics_, Clock::Real(),
                stores_->disk(), &processes_),
      live_metrics_(std::make_shared<LiveMetrics>(threads_, pipeline_.pools(), processes_)),
      service_pool_(threads_, kServiceThreads, kServiceThreads, kMaxWaitingCalls),
      job_service_(pipeline_, {service_pool_, call_memory_}, rpc_metrics_),
      thread_service_(threads_, {service_pool_, call_memory_}, rpc_metrics_),
      pool_service_(pipeline_.pools(), threads_, {service_pool_, call_memory_}, rpc_metrics_),
      echo_service_(call_memory_, rpc_metrics_),
      health_service_({"jobpool.v1.JobService", "jobpool.v1.ThreadService", "jobpool.v1.PoolService",
                       "jobpool.v1.EchoService", "grpc.health.v1.Health"},
                      call_memory_, rpc_metrics_),
      http_server_(threads_,
                   {metrics_, process_metrics_, live_metrics_, std::make_shared<CertificateMetrics>(*files_),
                    std::make_shared<StoreGauges>(stores_->disk())}),
      echo_server_(threads_),
      watchdog_(pipeline_.timer(), service_pool_),
      reload_metrics_(*metrics_) {
  commands_->Set(files_->config().commands);
  handlers_.Replace(Kind::kCommand, MakeCommandHandler(commands_, &fork_server_));
  prometheus::BuildGauge()
      .Name("jobpool_build_info")
      .Help("What runs: always 1.")
      .Register(*metrics_)
      .Add({{"version", JOBPOOL_VERSION}})
      .Set(1);
}

App::~App() {
  job_service_.Shutdown();
  health_service_.Shutdown();
  echo_service_.Shutdown();
  grpc_server_.Stop(absl::ZeroDuration());
  http_server_.Stop(absl::ZeroDuration());
  pipeline_.Stop();  // what it calls goes before it
}

absl::Status App::Start() {
  JOBPOOL_ASSIGN_OR_RETURN(grpc_address_, ListenAddress::Parse(config_.grpc_listen));
  JOBPOOL_ASSIGN_OR_RETURN(http_address_, ListenAddress::Parse(config_.http_listen));
  if (config_.echo_listen.has_value()) {
    JOBPOOL_ASSIGN_OR_RETURN(echo_address_, ListenAddress::Parse(*config_.echo_listen));
  }
  pipeline_.set_on_store_health([this] {
    MutexLock lock(serving_mu_);
    ShowServing();
  });
  JOBPOOL_RETURN_IF_ERROR(pipeline_.Recover());
  // HTTP first: it can still be given up when gRPC's port is taken, and nobody has been served.
  JOBPOOL_RETURN_IF_ERROR(http_server_.Start(http_address_, files_->http_certificates()));
  if (echo_address_.has_value()) {
    JOBPOOL_RETURN_IF_ERROR(echo_server_.Listen(echo_address_->host, echo_address_->port));
  }
  JOBPOOL_RETURN_IF_ERROR(grpc_server_.Start(
      grpc_address_, {&job_service_, &thread_service_, &pool_service_, &echo_service_, &health_service_},
      {config_.max_message_bytes, config_.channelz, files_->grpc_certificates()}));
  if (echo_address_.has_value()) JOBPOOL_RETURN_IF_ERROR(echo_server_.Serve());
  pipeline_.ResumeRecovered();
  {
    MutexLock lock(serving_mu_);
    started_ = true;
    ShowServing();
  }
  if (const std::vector<absl::string_view> kinds = files_->plugins().Kinds(); !kinds.empty()) {
    Log().info("plug-ins loaded kinds={}", absl::StrJoin(kinds, ","));
  }
  for (CertificateFiles* const certificates : {files_->grpc_certificates(), files_->http_certificates()}) {
    if (certificates == nullptr) continue;
    if (const std::string fault = certificates->TimeFault(); !fault.empty()) Log().warn("{}", fault);
  }
  // Last: who waits for this line finds all that a start has to say above it.
  Log().info("serving grpc={} http={}{} version={}", grpc_address(), http_address(),
             echo_address_.has_value() ? " echo=" + echo_address() : "", JOBPOOL_VERSION);
  stores_->StartCheck(threads_);
  NotifyReady();
  return absl::OkStatus();
}

void App::ShowServing() {
  const bool serving = started_ && !draining_ && pipeline_.store_health().ok();
  http_server_.SetReady(serving);
  health_service_.SetServing(serving);
}

void App::Reload() {
  NotifyReloading();
  const absl::Status status = files_->ReloadConfig();
  if (status.ok()) {
    const ConfigFile& config = files_->config();
    pipeline_.Reconfigure(config.pools, config.kinds, config.limits);
    commands_->Set(config.commands);
    processes_.Reconfigure(config.processes);
    call_memory_.set_max_bytes(config.max_call_bytes);
    stores_->memory().SetLimits(static_cast<size_t>(config.max_ended_jobs),
                                static_cast<size_t>(config.max_ended_bytes));
  } else {
    Log().error("reload refused error=\"{}\"", std::string(status.message()));
  }
  certificate_fault_.clear();  // said again when it is asked for
  const bool successful = ReloadCertificates() && status.ok();
  if (successful) Log().info("reloaded");
  reload_metrics_.Reloaded(successful);
  NotifyReady();
}

bool App::ReloadCertificates() {
  std::string fault;
  for (const auto& [listener, certificates] :
       {std::pair("grpc", files_->grpc_certificates()), std::pair("http", files_->http_certificates())}) {
    if (certificates == nullptr) continue;
    const absl::StatusOr<bool> changed = certificates->Reload();
    if (!changed.ok()) {
      absl::StrAppend(&fault, fault.empty() ? "" : "; ", listener, ": ", changed.status().message());
    } else if (*changed) {
      Log().info("certificate read again listener={} file={} expires={}", listener,
                 certificates->paths().chain,
                 absl::FormatTime(certificates->Current()->not_after, absl::UTCTimeZone()));
    }
  }
  if (!fault.empty() && fault != certificate_fault_) {
    Log().error("certificate refused error=\"{}\"", fault);
  }
  certificate_fault_ = fault;
  return fault.empty();
}

void App::Tick() {
  ReloadCertificates();
  watchdog_.Tick();
}

bool App::Shutdown(int hurry) {
  NotifyStopping();
  JobDrain jobs(pipeline_);  // before it says that it does not serve: who has been told that is refused
  live_metrics_->SetDraining();
  {
    MutexLock lock(serving_mu_);
    draining_ = true;
    ShowServing();
  }
  stores_->EndCheck();
  echo_server_.StopAccepting();
  const MonotonicTime refused_from = Clock::Real().Monotonic();
  const bool drained = jobs.Await(config_.drain_timeout, hurry);
  AwaitReadable(hurry, Later(refused_from, kRefuseTime));
  job_service_.Shutdown();
  health_service_.Shutdown();
  echo_server_.Stop();
  echo_service_.Shutdown();
  grpc_server_.Stop(kCallGrace);
  // A thread that does not listen is ended by nothing but the end of the process.
  const bool threads_end = drained && !pipeline_.HasLostThreads();
  if (threads_end) pipeline_.Stop();
  http_server_.Stop(kHttpGrace);
  Log().info("stopped");
  return threads_end;
}

std::string App::grpc_address() const { return grpc_address_.ToString(grpc_server_.port()); }
std::string App::http_address() const { return http_address_.ToString(http_server_.port()); }
std::string App::echo_address() const {
  return echo_address_.has_value() ? echo_address_->ToString(echo_server_.port()) : "";
}

}  // namespace jobpool
