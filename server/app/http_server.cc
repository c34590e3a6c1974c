#include "server/app/http_server.h"

#include <memory>
#include <sys/socket.h>
#include <utility>

#include <httplib.h>
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

// Connections that are served at a time; the next wait, then those in the
// listen queue, so that no number of them costs more than this.
constexpr int kMinThreads = 1;
constexpr int kMaxThreads = 64;
constexpr int kMaxWaitingConnections = 256;
// A connection on which nothing comes gives its thread back after this.
constexpr int kIdleSeconds = 1;

// Lets httplib serve on threads of ours.
class RegisteredThreads final : public httplib::TaskQueue {
 public:
  explicit RegisteredThreads(ThreadRegistry& registry)
      : pool_(registry, kMinThreads, kMaxThreads, kMaxWaitingConnections) {}

  void enqueue(std::function<void()> serve) override { pool_.RunBlocking(std::move(serve)); }
  void shutdown() override { pool_.Stop(); }

 private:
  ServicePool pool_;
};

}  // namespace

HttpServer::HttpServer(ThreadRegistry& registry, Metrics metrics)
    : registry_(registry), metrics_(std::move(metrics)) {}

HttpServer::~HttpServer() { Stop(absl::InfiniteDuration()); }

absl::Status HttpServer::Start(const ListenAddress& address) {
  server_ = std::make_unique<httplib::Server>();
  server_->new_task_queue = [this] { return new RegisteredThreads(registry_); };
  // Not httplib's default, SO_REUSEPORT, with which a second server on the port
  // would start and take half the requests.
  server_->set_socket_options([](int socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server_->set_read_timeout(kIdleSeconds);
  server_->set_write_timeout(kIdleSeconds);
  server_->set_keep_alive_timeout(kIdleSeconds);
  server_->set_payload_max_length(64 << 10);
  server_->Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server_->Get("/readyz", [this](const httplib::Request&, httplib::Response& response) {
    const bool ready = ready_.load();
    response.status = ready ? 200 : 503;
    response.set_content(ready ? "ok\n" : "not serving\n", "text/plain");
  });
  server_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    std::vector<prometheus::MetricFamily> families;
    for (const auto& metrics : metrics_) {
      for (prometheus::MetricFamily& family : metrics->Collect()) families.push_back(std::move(family));
    }
    response.set_content(prometheus::TextSerializer().Serialize(families),
                         "text/plain; version=0.0.4; charset=utf-8");
  });
  if (address.port == 0) {
    port_ = server_->bind_to_any_port(address.host.c_str());
  } else if (server_->bind_to_port(address.host.c_str(), address.port)) {
    port_ = address.port;
  } else {
    port_ = -1;
  }
  if (port_ < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address.ToString(address.port), ": in use, or not ours"));
  }
  listener_ = std::thread([this] {
    RegisteredThread thread(registry_, ThreadRole::kService, "");
    thread.SetRunning(true);
    server_->listen_after_bind();
    MutexLock lock(mu_);
    ended_ = true;
    ended_cv_.NotifyAll();
  });
  // A stop() before the listener has begun would be lost.
  for (bool ended = false; !server_->is_running() && !ended; std::this_thread::yield()) {
    MutexLock lock(mu_);
    ended = ended_;
  }
  return absl::OkStatus();
}

bool HttpServer::Stop(absl::Duration grace) {
  if (!listener_.joinable()) return true;
  server_->stop();
  const Clock& clock = Clock::Real();
  const MonotonicTime deadline = Later(clock.Monotonic(), grace);
  {
    MutexLock lock(mu_);
    while (!ended_) {
      if (clock.Monotonic() >= deadline) return false;
      clock.WaitUntil(ended_cv_, mu_, deadline);
    }
  }
  listener_.join();
  return true;
}

}  // namespace jobpool
