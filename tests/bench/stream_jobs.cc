#include "tests/bench/stream_jobs.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include <grpcpp/client_context.h>

#include "tests/bench/job_server.h"

namespace jobpool::bench {
namespace {

using Steady = std::chrono::steady_clock;

// On their way at a time: within the window of a call, which is 10,000 jobs.
constexpr int kStreamBatches = 8;

// One call that keeps so many messages of jobs on their way for some time.
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

  // Jobs a second; to be called once.
  double Await() {
    std::unique_lock<std::mutex> lock(mu_);
    done_cv_.wait(lock, [this] { return done_; });
    return static_cast<double>(ended_) / std::chrono::duration<double>(Steady::now() - begin_).count();
  }

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
    } else if (open_ <= kBatch * (kStreamBatches - 1)) {
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
  bool writing_ = true;
  bool no_more_ = false;
  bool done_ = false;
};

}  // namespace

double StreamJobsPerSecond(v1::JobService::Stub& stub, double seconds) {
  StreamCaller caller(stub, seconds);
  return caller.Await();
}

}  // namespace jobpool::bench
