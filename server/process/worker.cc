#include "server/process/worker.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "jobpool/process/v1/process.pb.h"
#include "server/base/holds_soon.h"
#include "server/base/mutex.h"
#include "server/process/confine.h"
#include "server/process/message_socket.h"
#include "server/process/usage_codec.h"

namespace jobpool {
namespace {

using process::v1::WorkerControl;
using process::v1::WorkerReply;
using process::v1::WorkerRequest;

/// The socket to the server, on which several threads may speak.
class Speaker {
 public:
  explicit Speaker(int socket) : socket_(socket) {}

  // Does not return where the server has gone: nobody wants what is under way.
  void Say(const WorkerReply& reply) {
    MutexLock lock(mu_);
    if (!WriteMessage(socket_, reply).ok()) _exit(0);
  }

 private:
  const int socket_;
  Mutex mu_;
};

/// Which request is under way, and which are to end.
class Cancellations {
 public:
  void Begin(uint64_t number, std::shared_ptr<CancelToken> token) {
    MutexLock lock(mu_);
    token_ = std::move(token);
    number_ = number;
    if (number_ <= cancelled_) token_->Cancel(CancelReason::kRequested);
  }
  // It may come before the request, over another socket.
  void Cancel(uint64_t number) {
    MutexLock lock(mu_);
    cancelled_ = number;
    if (token_ != nullptr && number_ <= cancelled_) token_->Cancel(CancelReason::kRequested);
  }

 private:
  Mutex mu_;
  std::shared_ptr<CancelToken> token_ ABSL_GUARDED_BY(mu_);
  uint64_t number_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t cancelled_ ABSL_GUARDED_BY(mu_) = 0;
};

// How often it looks whether another request has come before it sleeps.
constexpr int kLooks = 8;

bool IsReadable(int socket) {
  pollfd readable = {socket, POLLIN, 0};
  return poll(&readable, 1, 0) != 0;
}

// Where the native name of the calling thread is written, also once no file can be opened any more.
int ThreadName() { return open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC); }

void Listen(int socket, int name, Cancellations& cancellations) {
  MessageReader reader(socket);
  WorkerControl control;
  for (;;) {
    const auto got = reader.Read(control);
    // The server has gone: nobody wants what is under way.
    if (!got.ok() || *got != MessageReader::Got::kMessage) _exit(0);
    if (control.has_cancel()) cancellations.Cancel(control.cancel());
    if (control.has_name()) (void)!write(name, control.name().data(), control.name().size());
  }
}

}  // namespace

int RunWorker(int socket, const WorkerTask& task) {
  MessageReader reader(socket);
  Speaker speaker(socket);
  Cancellations cancellations;
  std::vector<Fd> control;
  WorkerRequest request;
  for (;;) {
    if (!control.empty()) HoldsSoon(kLooks, [socket] { return IsReadable(socket); });
    std::vector<Fd> descriptors;  // with the first
    const auto got = reader.Read(request, control.empty() ? &descriptors : nullptr);
    if (!got.ok() || *got != MessageReader::Got::kMessage) _exit(0);
    if (control.empty()) {
      if (descriptors.size() != 1) return EXIT_FAILURE;
      control = std::move(descriptors);
      try {
        std::thread([fd = control[0].get(), &cancellations, name = ThreadName()] {
          Listen(fd, name, cancellations);
        }).detach();  // it ends with the process
      } catch (const std::system_error& error) {
        std::fprintf(stderr, "cannot start a thread: %s\n", error.what());
        return EXIT_FAILURE;
      }
      if (request.number() == 0) continue;
    }
    if (request.confine()) {
      if (const std::string failed = Confine(); !failed.empty()) {
        std::fprintf(stderr, "%s\n", failed.c_str());
        return EXIT_FAILURE;
      }
    }
    auto token = std::make_shared<CancelToken>();
    cancellations.Begin(request.number(), token);
    Progress progress;
    progress.set_observer([&] {
      const std::optional<Progress::Value> value = progress.Get();
      WorkerReply said;
      said.mutable_progress()->set_ratio(value->ratio);
      said.mutable_progress()->set_message(value->message);
      speaker.Say(said);
    });
    WorkerContext context{*token, progress, [&](int level, absl::string_view text) {
                            WorkerReply said;
                            said.mutable_line()->set_level(level);
                            said.mutable_line()->set_text(std::string(text));
                            speaker.Say(said);
                          }};
    const ResourceUsage before = ResourceUsage::OfProcess();
    WorkerReply reply;
    WorkerReply::Done& done = *reply.mutable_done();
    done.set_number(request.number());
    done.set_result(task(request.task(), context));
    EncodeUsage(ResourceUsage::OfProcess().Since(before), done.mutable_usage());
    speaker.Say(reply);
  }
}

}  // namespace jobpool
