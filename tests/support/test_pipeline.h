#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include "absl/strings/string_view.h"
#include "server/base/status_copy.h"
#include "server/handlers/registry.h"
#include "server/pipeline/pipeline.h"
#include "server/store/memory_store.h"
#include "server/workers/thread_registry.h"
#include "tests/support/eventually.h"
#include "tests/support/hooked_store.h"
#include "tests/support/job_builder.h"
#include "tests/support/log_hook.h"
#include "tests/support/watchdog.h"

namespace jobpool {

inline PoolOptions MakePool(absl::string_view name, int min_threads, int max_threads,
                            int64_t max_queued_jobs = 1'000'000) {
  PoolOptions pool;
  pool.name = std::string(name);
  pool.min_threads = min_threads;
  pool.max_threads = max_threads;
  pool.max_queued_jobs = max_queued_jobs;
  return pool;
}

/// What deleting a job comes to.
inline absl::Status Delete(Control& control, const std::string& id) {
  Gate deleted;
  absl::Status result;
  control.Delete(id, [&](const absl::Status& status) {
    result = CopyForThread(status);
    deleted.Open();
  });
  if (!deleted.Await()) throw std::runtime_error("no answer to a deletion");
  return result;
}

/// Waits until an update is kept. Not on a thread of the pipeline's that keeps jobs.
inline absl::StatusOr<JobSnapshot> Update(Control& control, const std::string& id, const JobUpdate& update) {
  Gate updated;
  absl::StatusOr<JobSnapshot> result;
  control.Update(id, update, [&](const absl::StatusOr<JobSnapshot>& answer) {
    if (answer.ok()) {
      result = *answer;
    } else {
      result = CopyForThread(answer.status());
    }
    updated.Open();
  });
  if (!updated.Await()) throw std::runtime_error("no answer to an update");
  return result;
}

/// A pipeline with all that it rests on. A worker is kept busy by a sleep job (by
/// the real clock, so that a fake one does not end it); what is left is cancelled
/// at the end.
class TestPipeline {
 public:
  struct Options {
    std::vector<PoolOptions> pools = {MakePool("blocking", 0, 4), MakePool("compute", 0, 2)};
    int64_t max_waits = 1000;
    size_t max_ended_jobs = 100'000;
    std::function<void(HandlerRegistry&)> replace_handlers = {};  // called before the pipeline is made
    std::optional<ProcessPoolOptions> processes = {};             // set: there are some
  };

  explicit TestPipeline(const Clock& clock = Clock::Real()) : TestPipeline(Options(), clock) {}

  explicit TestPipeline(const Options& options, const Clock& clock = Clock::Real())
      : kept_(options.max_ended_jobs), store_(kept_), clock_(clock) {
    options_.pools = options.pools;
    options_.limits.max_waits = options.max_waits;
    options_.seed = 42;
    if (options.replace_handlers) options.replace_handlers(handlers_);
    if (options.processes.has_value()) {
      processes_ = std::make_unique<ProcessPool>(*options.processes, fork_server_, threads_);
    }
    pipeline_ = std::make_unique<Pipeline>(options_, handlers_, store_, threads_, metrics_, clock_, nullptr,
                                           processes_.get());
  }

  ~TestPipeline() {
    pipeline_->Close([] {});
    pipeline_->control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted);
  }

  Pipeline* operator->() { return pipeline_.get(); }
  Pipeline& operator*() { return *pipeline_; }
  HookedStore& store() { return store_; }
  ThreadRegistry& threads() { return threads_; }
  ProcessPool& processes() { return *processes_; }
  const prometheus::Registry& metrics() const { return metrics_; }

  /// REQUIRES: it is accepted. What a test cannot go on without ends it by an
  /// exception, which GoogleTest reports, here and in AwaitEnd.
  std::shared_ptr<LiveJob> Submit(JobSpec spec) {
    absl::StatusOr<Submission> submission = pipeline_->admission().Submit(std::move(spec));
    if (!submission.ok()) throw std::runtime_error(submission.status().ToString());
    return std::move(submission->job.live);
  }

  /// A job that sleeps until it is cancelled, and does so when this returns.
  std::shared_ptr<LiveJob> SubmitBlocker(absl::string_view pool = "blocking") {
    JobSpec spec = SleepSpec(absl::Hours(24));
    spec.pool = std::string(pool);
    std::shared_ptr<LiveJob> job = Submit(std::move(spec));
    EXPECT_TRUE(AwaitRunning(*job));
    return job;
  }

  /// A job's start announces itself to nobody.
  static ::testing::AssertionResult AwaitRunning(const LiveJob& job) {
    return Eventually([&] { return StateOf(job) == JobState::kRunning; });
  }

  static JobState StateOf(const LiveJob& job) { return job.Snapshot().record.state; }

  /// The job when it has ended.
  JobSnapshot AwaitEnd(const std::string& id) {
    const auto ended = std::make_shared<Gate>();
    auto join = pipeline_->notifier().Wait({id}, Join::Mode::kAll, std::nullopt,
                                           [ended](Join::Result) { ended->Open(); });
    if (!join.ok()) throw std::runtime_error(join.status().ToString());
    if (!ended->Await()) throw std::runtime_error("the job has not ended");
    return (*join)->jobs()[0].Snapshot();
  }

  /// Waits until a submission's or a cancellation's last words are said: until the
  /// table has nothing left.
  ::testing::AssertionResult AwaitNoLiveJobs() {
    return Eventually([this] { return pipeline_->live_jobs() == 0; });
  }

 private:
  HandlerRegistry handlers_;
  MemoryStore kept_;
  HookedStore store_;
  ThreadRegistry threads_;
  prometheus::Registry metrics_;
  const Clock& clock_;
  PipelineOptions options_;
  ForkServer fork_server_;
  std::unique_ptr<ProcessPool> processes_;
  std::unique_ptr<Pipeline> pipeline_;
};

}  // namespace jobpool
