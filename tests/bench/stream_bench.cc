// No-ops through one call of StreamJobs, held in memory, to their ends, against unary batches of 1,000 small
// messages that a bare server sends back; and, beside them, through BatchSubmitJobs and WaitJobs. In turns in
// one run, each server a process of its own on loopback. Prints the rates and their ratios, round by round.
//
//   stream_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "bare.grpc.pb.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "tests/bench/child.h"
#include "tests/bench/closed_loop.h"

namespace jobpool::bench {
namespace {

using Steady = std::chrono::steady_clock;

constexpr int kBatch = 1000;
constexpr int kBatchesInFlight = 8;

/// One call that keeps so many messages of jobs on their way for some time.
class StreamCaller final : public grpc::ClientBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse> {
 public:
  StreamCaller(v1::JobService::Stub& stub, double seconds)
      : begin_(Steady::now()),
        stop_(begin_ + std::chrono::duration_cast<Steady::duration>(std::chrono::duration<double>(seconds))) {
    for (int i = 0; i < kBatch; ++i) {
      v1::StreamJobsRequest::Entry* const entry = request_.add_entries();
      entry->set_tag(static_cast<uint64_t>(i));
      entry->mutable_request()->mutable_job()->mutable_noop();
    }
    stub.async()->StreamJobs(&context_, this);
    StartRead(&response_);
    open_ = kBatch;
    StartWrite(&request_);
    StartCall();
  }

  /// Jobs a second; to be called once.
  double Await() {
    std::unique_lock<std::mutex> lock(mu_);
    done_cv_.wait(lock, [this] { return done_; });
    return static_cast<double>(ended_) / std::chrono::duration<double>(Steady::now() - begin_).count();
  }

  int64_t messages() const { return messages_; }

  void OnWriteDone(bool ok) override {
    if (!ok) return;
    const std::lock_guard<std::mutex> lock(mu_);
    writing_ = false;
    WriteNext();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    for (const auto& entry : response_.entries()) {
      if (entry.job().state() != v1::Job::SUCCEEDED) Fail();
    }
    {
      const std::lock_guard<std::mutex> lock(mu_);
      ++messages_;
      ended_ += response_.entries_size();
      open_ -= response_.entries_size();
      WriteNext();
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) Fail();
    const std::lock_guard<std::mutex> lock(mu_);
    done_ = true;
    done_cv_.notify_one();
  }

 private:
  static void Fail() {
    std::fprintf(stderr, "a job or the call failed\n");
    std::_Exit(1);
  }

  void WriteNext() {
    if (writing_ || no_more_) return;
    if (Steady::now() >= stop_) {
      no_more_ = true;
      StartWritesDone();
    } else if (open_ <= kBatch * (kBatchesInFlight - 1)) {
      writing_ = true;
      open_ += kBatch;
      StartWrite(&request_);
    }
  }

  const Steady::time_point begin_;
  const Steady::time_point stop_;
  grpc::ClientContext context_;
  v1::StreamJobsRequest request_;
  v1::StreamJobsResponse response_;
  std::mutex mu_;
  std::condition_variable done_cv_;
  int64_t open_ = 0;
  int64_t ended_ = 0;
  int64_t messages_ = 0;
  bool writing_ = true;
  bool no_more_ = false;
  bool done_ = false;
};

struct EchoCall {
  grpc::ClientContext context;
  Batch batch;
  Batch answer;
};

StartCall EchoCalls(BareService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    const auto call = std::make_shared<EchoCall>();
    for (int i = 0; i < kBatch; ++i) call->batch.add_items()->set_tag(static_cast<uint64_t>(i));
    stub.async()->Echo(&call->context, &call->batch, &call->answer,
                       [call, done = std::move(done)](const grpc::Status& status) {
                         done(status.ok() && call->answer.items_size() == kBatch);
                       });
  };
}

/// A batch through its whole life.
struct LifeCall {
  grpc::ClientContext submit_context;
  grpc::ClientContext wait_context;
  v1::BatchSubmitJobsRequest batch;
  v1::BatchSubmitJobsResponse submitted;
  v1::WaitJobsRequest wait;
  v1::WaitJobsResponse waited;
};

StartCall LifeCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    const auto call = std::make_shared<LifeCall>();
    for (int i = 0; i < kBatch; ++i) call->batch.add_requests()->mutable_job()->mutable_noop();
    stub.async()->BatchSubmitJobs(&call->submit_context, &call->batch, &call->submitted,
                                  [&stub, call, done = std::move(done)](const grpc::Status& submitted) {
                                    if (!submitted.ok()) return done(false);
                                    for (const v1::Job& job : call->submitted.jobs())
                                      call->wait.add_names(job.name());
                                    stub.async()->WaitJobs(&call->wait_context, &call->wait, &call->waited,
                                                           [call, done](const grpc::Status& waited) {
                                                             done(waited.ok() && !call->waited.timed_out());
                                                           });
                                  });
  };
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Print(const char* what, const std::vector<double>& values) {
  std::printf("%-64s %9.2f (%.2f to %.2f)\n", what, Median(values),
              *std::min_element(values.begin(), values.end()),
              *std::max_element(values.begin(), values.end()));
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  using namespace jobpool::bench;
  if (argc < 3) {
    std::fprintf(stderr, "usage: stream_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]\n");
    return 2;
  }
  const double seconds = argc > 3 ? std::atof(argv[3]) : 2;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  const Child bare_server({argv[1]}, 1, "");
  const Child jobpoold({argv[2], "--store=memory", "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0"},
                       2, "serving grpc=");
  const auto bare_stub =
      BareService::NewStub(grpc::CreateChannel(bare_server.address(), grpc::InsecureChannelCredentials()));
  const auto job_stub = jobpool::v1::JobService::NewStub(
      grpc::CreateChannel(jobpoold.address(), grpc::InsecureChannelCredentials()));
  std::vector<double> echo, stream, life, echo_ratio, life_ratio, entries;
  for (int round = 0; round <= rounds; ++round) {
    const double echoed = kBatch * RunClosedLoop(EchoCalls(*bare_stub), kBatchesInFlight, seconds).per_second;
    const double lived = kBatch * RunClosedLoop(LifeCalls(*job_stub), kBatchesInFlight, seconds).per_second;
    StreamCaller caller(*job_stub, seconds);
    const double streamed = caller.Await();
    if (round == 0) continue;  // warm-up
    echo.push_back(echoed);
    stream.push_back(streamed);
    life.push_back(lived);
    echo_ratio.push_back(streamed / echoed);
    life_ratio.push_back(streamed / lived);
    entries.push_back(streamed * seconds / static_cast<double>(caller.messages()));
  }
  Print("unary batches of 1,000 echoed by a bare server, messages a second", echo);
  Print("no-ops through StreamJobs to their ends, a second", stream);
  Print("  ratio", echo_ratio);
  Print("  entries in an answer, about", entries);
  Print("no-ops through BatchSubmitJobs and WaitJobs, a second", life);
  Print("  StreamJobs against that", life_ratio);
  return 0;
}
