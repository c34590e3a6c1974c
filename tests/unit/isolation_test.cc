// What holds of jobs wherever they run, in threads and in processes; and what holds in
// processes alone.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/sanitizers.h"
#include "server/process/descendants.h"
#include "tests/support/error_details.h"
#include "tests/support/eventually.h"
#include "tests/support/job_builder.h"
#include "tests/support/test_pipeline.h"
#include "tests/support/test_worker.h"

namespace jobpool {
namespace {

JobSpec Do(Isolation isolation, const std::string& what) {
  JobSpec spec;
  spec.work = NoopWork{std::make_shared<const std::string>(what)};
  spec.pool = "compute";
  spec.isolation = isolation;
  return spec;
}

// The handlers of these tests do what no computation does.
ProcessPoolOptions Unconfined() {
  ProcessPoolOptions processes;
  processes.confine = false;
  return processes;
}

TestPipeline::Options OptionsWith(ProcessPoolOptions processes = Unconfined()) {
  TestPipeline::Options options;
  options.pools = {MakePool("blocking", 0, 4), MakePool("compute", 0, 2)};
  options.pools[1].stop_grace = absl::Milliseconds(100);
  options.replace_handlers = ReplaceTestHandlers;
  options.processes = std::move(processes);
  return options;
}

std::string AnswerOf(const JobRecord& record) {
  if (!record.outcome->result.has_value()) return absl::StrCat("error: ", record.outcome->error.message());
  const auto& payload = std::get<NoopResult>(*record.outcome->result).payload;
  return payload == nullptr ? "" : *payload;
}

bool Lives(pid_t pid) { return kill(pid, 0) == 0; }

class IsolationTest : public testing::TestWithParam<Isolation> {
 protected:
  JobRecord Run(const std::string& what) {
    return pipeline_.AwaitEnd(pipeline_.Submit(Do(GetParam(), what))->id()).record;
  }

  std::shared_ptr<LiveJob> Submit(const std::string& what) { return pipeline_.Submit(Do(GetParam(), what)); }

  // A job that runs, and has said so.
  std::shared_ptr<LiveJob> Running(const std::string& what) {
    auto job = Submit(what);
    EXPECT_TRUE(Eventually([&] { return job->Snapshot().progress.has_value(); })) << what;
    return job;
  }

  // The thread that roll call shows on that job.
  std::optional<ThreadInfo> ThreadOn(const LiveJob& job) {
    for (const ThreadInfo& thread : pipeline_.threads().Snapshot().threads) {
      if (thread.job.id == job.id()) return thread;
    }
    return std::nullopt;
  }

  TestPipeline pipeline_{OptionsWith()};
};

INSTANTIATE_TEST_SUITE_P(Both, IsolationTest, testing::Values(Isolation::kThread, Isolation::kProcess),
                         [](const auto& tested) {
                           return std::string(tested.param == Isolation::kThread ? "Thread" : "Process");
                         });

TEST_P(IsolationTest, RunsToItsEnd) {
  const JobRecord job = Run("hello");
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(AnswerOf(job), "hello");
  ASSERT_EQ(job.attempts.size(), 1u);
  EXPECT_TRUE(job.attempts[0].error.ok());
  EXPECT_EQ(job.isolation, GetParam());
}

TEST_P(IsolationTest, TheAttemptTellsWhereItRan) {
  const JobRecord job = Run("pid");
  const Attempt& attempt = job.attempts.at(0);
  EXPECT_EQ(AnswerOf(job), absl::StrCat(attempt.process_id));
  EXPECT_EQ(attempt.process_id == getpid(), GetParam() == Isolation::kThread);
  EXPECT_TRUE(absl::StartsWith(attempt.thread_display_name,
                               GetParam() == Isolation::kThread ? "Thread-" : "Process-"));
  EXPECT_NE(attempt.thread_id, 0u);
}

void ExpectEveryKindRuns(TestPipeline& pipeline, Isolation isolation) {
  const auto run = [&](Work work) {
    JobSpec spec = Do(isolation, "");
    spec.work = std::move(work);
    const JobRecord record = pipeline.AwaitEnd(pipeline.Submit(std::move(spec))->id()).record;
    EXPECT_EQ(record.state, JobState::kSucceeded) << record.outcome->error;
    return record.outcome->result.value_or(SleepResult());
  };
  const auto get = []<typename R>(const Result& result, R) {
    return std::holds_alternative<R>(result) ? std::get<R>(result) : R();
  };
  EXPECT_EQ(get(run(PrimesWork{1'000'000}), PrimesResult()).count, 78'498);
  EXPECT_EQ(get(run(FibonacciWork{100}), FibonacciResult()).digits, "354224848179261915075");
  EXPECT_EQ(get(run(FibonacciWork{1'000'000}), FibonacciResult()).digits.size(), 208'988u);
  EXPECT_EQ(get(run(PiWork{10}), PiResult()).digits, "3.1415926535");
  EXPECT_EQ(get(run(PiWork{20'000}), PiResult()).digits.size(), 20'002u);
  EXPECT_EQ(get(run(HashWork{0, 0}), HashResult()).sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(get(run(HashWork{10'000'000, 1}), HashResult()).sha256.size(), 64u);
  EXPECT_GE(get(run(SpinWork{absl::Milliseconds(5)}), SpinResult()).cpu_time, absl::Milliseconds(5));
  EXPECT_GE(get(run(SleepWork{absl::Milliseconds(5)}), SleepResult()).slept, absl::Milliseconds(5));
}

TEST_P(IsolationTest, EveryKindRuns) { ExpectEveryKindRuns(pipeline_, GetParam()); }

TEST_P(IsolationTest, FailsWithItsReason) {
  const JobRecord failed = Run("fail because");
  EXPECT_EQ(failed.state, JobState::kFailed);
  EXPECT_EQ(failed.outcome->error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(failed.outcome->error.message(), "because");
  EXPECT_EQ(ReasonOf(failed.outcome->error), "WORK_FAILED");
  const JobRecord thrown = Run("throw up");
  EXPECT_EQ(thrown.outcome->error.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::EndsWith(thrown.outcome->error.message(), "up")) << thrown.outcome->error;
}

TEST_P(IsolationTest, TellsItsProgress) {
  const auto job = Running("tell so far");
  EXPECT_EQ(job->Snapshot().progress->ratio, 0.5);
  EXPECT_EQ(job->Snapshot().progress->message, "so far");
}

TEST_P(IsolationTest, EndsWhenItIsAsked) {
  const auto job = Running("tell");
  ASSERT_TRUE(pipeline_->control().Cancel(job->id()).ok());
  const JobRecord record = pipeline_.AwaitEnd(job->id()).record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  ASSERT_EQ(record.attempts[0].stop_steps.size(), 1u);
  EXPECT_EQ(record.attempts[0].stop_steps[0].action, StopStep::Action::kAsked);
}

TEST_P(IsolationTest, EndsWhenItsTimeIsOver) {
  JobSpec spec = Do(GetParam(), "tell");
  spec.options.timeout = absl::Milliseconds(20);
  const JobRecord record = pipeline_.AwaitEnd(pipeline_.Submit(std::move(spec))->id()).record;
  EXPECT_EQ(record.state, JobState::kFailed);
  EXPECT_EQ(ReasonOf(record.outcome->error), "ATTEMPT_TIMED_OUT");
}

TEST_P(IsolationTest, IsRetried) {
  JobSpec spec = Do(GetParam(), "fail");
  spec.options.retry.max_attempts = 3;
  spec.options.retry.initial_backoff = absl::Milliseconds(1);
  const JobRecord record = pipeline_.AwaitEnd(pipeline_.Submit(std::move(spec))->id()).record;
  EXPECT_EQ(record.attempts.size(), 3u);
  EXPECT_EQ(record.state, JobState::kFailed);
}

TEST_P(IsolationTest, RollCallShowsIt) {
  JobSpec spec = Do(GetParam(), "tell");
  spec.options.display_name = "mine";
  const auto job = pipeline_.Submit(std::move(spec));
  ASSERT_TRUE(TestPipeline::AwaitRunning(*job));
  const auto thread = ThreadOn(*job);
  ASSERT_TRUE(thread.has_value());
  const Attempt attempt = job->Snapshot().record.attempts[0];
  EXPECT_EQ(thread->id, attempt.thread_id);
  EXPECT_EQ(thread->role,
            GetParam() == Isolation::kThread ? ThreadRole::kWorker : ThreadRole::kProcessWorker);
  EXPECT_EQ(thread->state, ThreadState::kRunning);
  EXPECT_EQ(thread->process_id, attempt.process_id);
  EXPECT_EQ(thread->os_thread_id, attempt.os_thread_id);
  EXPECT_EQ(thread->job.display_name, "mine");
  const RollCall all = pipeline_.threads().Snapshot();
  EXPECT_EQ(static_cast<size_t>(pipeline_.threads().Count().total()), all.threads.size());
}

TEST_P(IsolationTest, ThreadsAndJobsAreRenamed) {
  const auto job = Running("tell");
  const ThreadInfo thread = *ThreadOn(*job);
  ASSERT_TRUE(pipeline_.threads().Rename(thread.id, "my worker with a long name"));
  EXPECT_EQ(pipeline_.threads().Find(thread.id)->display_name, "my worker with a long name");
  EXPECT_EQ(pipeline_.threads().Find(thread.id)->native_name, "my worker with ");
  const std::string comm = absl::StrCat("/proc/", thread.process_id, "/task/", thread.os_thread_id, "/comm");
  EXPECT_TRUE(Eventually([&] {
    std::string name;
    std::ifstream file(comm);
    return std::getline(file, name) && name == "my worker with ";
  }));
  ASSERT_TRUE(Update(pipeline_->control(), job->id(), {"renamed", std::nullopt}).ok());
  EXPECT_EQ(pipeline_.threads().Find(thread.id)->job.display_name, "renamed");
}

TEST_P(IsolationTest, TellsWhatItUsed) {
  const ResourceUsage usage = Run("burn").attempts[0].usage;
  EXPECT_GE(usage.user_cpu_time + usage.system_cpu_time, absl::Milliseconds(90));
  EXPECT_LT(usage.user_cpu_time + usage.system_cpu_time, absl::Seconds(30));
  // Of two tasks on one process, or thread, each has its own.
  const ResourceUsage next = Run("hello").attempts[0].usage;
  EXPECT_LT(next.user_cpu_time + next.system_cpu_time, absl::Milliseconds(90));
  const ResourceUsage waited = Run("nap").attempts[0].usage;
  EXPECT_GE(waited.voluntary_context_switches, 1);
  EXPECT_GE(Run("touch").attempts[0].usage.minor_page_faults, 100);
  if (GetParam() == Isolation::kProcess) {
    EXPECT_GT(usage.peak_memory_bytes, 1 << 20);
  } else {
    EXPECT_EQ(usage.peak_memory_bytes, 0);
  }
}

TEST_P(IsolationTest, JoinsCanTimeOut) {
  const auto job = Running("tell");
  const auto told = std::make_shared<Gate>();
  const auto how = std::make_shared<std::atomic<Join::Result>>(Join::Result::kEnded);
  Notifier& notifier = pipeline_->notifier();
  const auto join = notifier.Wait({job->id()}, Join::Mode::kAll, Later(notifier.Now(), absl::Milliseconds(1)),
                                  [told, how](Join::Result result) {
                                    how->store(result);
                                    told->Open();
                                  });
  ASSERT_TRUE(join.ok());
  ASSERT_TRUE(told->Await());
  EXPECT_EQ(how->load(), Join::Result::kTimedOut);
  EXPECT_EQ(TestPipeline::StateOf(*job), JobState::kRunning);
}

TEST_P(IsolationTest, ThePoolIsResized) {
  Dispatcher& pool = *pipeline_->pools().Find("compute");
  PoolOptions options = pool.options();
  options.max_threads = 1;
  pool.Reconfigure(options);
  const auto first = Running("tell");
  const auto second = Submit("tell");
  EXPECT_EQ(TestPipeline::StateOf(*second), JobState::kQueued);
  options.max_threads = 2;
  pool.Reconfigure(options);
  EXPECT_TRUE(TestPipeline::AwaitRunning(*second));
  EXPECT_EQ(TestPipeline::StateOf(*first), JobState::kRunning);
}

TEST_P(IsolationTest, ThePoolsRulesHold) {
  Dispatcher& pool = *pipeline_->pools().Find("compute");
  const auto first = Running("tell");
  const auto second = Running("tell");
  const auto third = Submit("third");
  EXPECT_EQ(TestPipeline::StateOf(*third), JobState::kQueued);  // the pool has two threads
  pool.Pause();
  ASSERT_TRUE(pipeline_->control().Cancel(first->id()).ok());
  pipeline_.AwaitEnd(first->id());
  EXPECT_EQ(TestPipeline::StateOf(*third), JobState::kQueued);
  pool.Resume();
  EXPECT_EQ(AnswerOf(pipeline_.AwaitEnd(third->id()).record), "third");
  pool.Drain();
  EXPECT_FALSE(pipeline_->admission().Submit(Do(GetParam(), "late")).ok());
  ASSERT_TRUE(pipeline_->control().Cancel(second->id()).ok());
  EXPECT_EQ(pipeline_.AwaitEnd(second->id()).record.state, JobState::kCancelled);
}

class ProcessTest : public IsolationTest {};
INSTANTIATE_TEST_SUITE_P(Only, ProcessTest, testing::Values(Isolation::kProcess),
                         [](const auto&) { return std::string("Process"); });

TEST_P(ProcessTest, AProcessIsUsedAgain) {
  const std::string pid = AnswerOf(Run("pid"));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(AnswerOf(Run("pid")), pid);
  EXPECT_EQ(pipeline_.processes().starts(), 1u);
}

// As with a global of a program's: each process has its own, and the server's threads share one.
TEST_P(ProcessTest, AGlobalIsTheProcesss) {
  EXPECT_EQ(AnswerOf(Run("set 0")), "0");
  EXPECT_EQ(AnswerOf(pipeline_.AwaitEnd(pipeline_.Submit(Do(Isolation::kThread, "get"))->id()).record),
            "100");
}

TEST_P(ProcessTest, ACrashFailsTheAttemptAlone) {
  const auto neighbour = Running("tell");
  const std::pair<const char*, const char*> crashes[] = {
      {"segv", "ended by signal 11 (SIGSEGV)"},
      {"abort", "ended by signal 6 (SIGABRT)"},
      {"kill", "ended by signal 9 (SIGKILL)"},
      {"overflow", "ended by signal 11 (SIGSEGV)"},
      {"terminate", "ended by signal 6 (SIGABRT)"},
      {"exit 3", "exit status 3; the end of its stderr: first line | about to exit"},
      {"close", "it has closed its socket"},
      {"rubbish", "it has sent what is no answer"},
  };
  for (const auto& [what, why] : crashes) {
    const JobRecord record = Run(what);
    EXPECT_EQ(record.state, JobState::kFailed) << what;
    EXPECT_EQ(ReasonOf(record.outcome->error), "PROCESS_DIED") << what;
    EXPECT_TRUE(
        absl::StartsWith(record.outcome->error.message(), absl::StrCat("the job's process has died: ", why)))
        << what << ": " << record.outcome->error.message();
    EXPECT_EQ(AnswerOf(Run("on")), "on");
  }
  EXPECT_EQ(TestPipeline::StateOf(*neighbour), JobState::kRunning);
  EXPECT_EQ(pipeline_.processes().crashes(), std::size(crashes));
}

TEST_P(ProcessTest, NothingIsLeftOfACrash) {
  Run("on");
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  };
  const auto before = descriptors();
  const int threads = pipeline_.threads().Count().by_role[static_cast<size_t>(ThreadRole::kProcessWorker)];
  for (int i = 0; i < 20; ++i) Run("abort");
  Run("on");
  EXPECT_TRUE(Eventually([&] { return descriptors() <= before; })) << descriptors() << " " << before;
  EXPECT_EQ(pipeline_.threads().Count().by_role[static_cast<size_t>(ThreadRole::kProcessWorker)], threads);
  // The fork server, a keeper and its process.
  EXPECT_TRUE(Eventually([&] { return DescendantsOf(getpid()).size() == 3; }))
      << DescendantsOf(getpid()).size();
}

TEST_P(ProcessTest, WhatDoesNotListenIsKilled) {
  const auto job = Running("deaf");
  const pid_t pid = job->Snapshot().record.attempts[0].process_id;
  ASSERT_TRUE(pipeline_->control().Cancel(job->id()).ok());
  const JobRecord record = pipeline_.AwaitEnd(job->id()).record;
  EXPECT_EQ(record.state, JobState::kCancelled);
  std::vector<StopStep::Action> actions;
  for (const StopStep& step : record.attempts[0].stop_steps) actions.push_back(step.action);
  EXPECT_EQ(actions, (std::vector<StopStep::Action>{StopStep::Action::kAsked, StopStep::Action::kTerminated,
                                                    StopStep::Action::kKilled}));
  EXPECT_TRUE(Eventually([&] { return !Lives(pid); }));
}

TEST_P(ProcessTest, AnIdleProcessThatDiesIsReplaced) {
  pid_t pid = 0;
  ASSERT_TRUE(absl::SimpleAtoi(AnswerOf(Run("pid")), &pid));
  kill(pid, SIGKILL);
  EXPECT_TRUE(Eventually([&] {
    return pipeline_.threads().Count().by_role[static_cast<size_t>(ThreadRole::kProcessWorker)] == 0;
  }));
  EXPECT_NE(AnswerOf(Run("pid")), absl::StrCat(pid));
}

std::vector<pid_t> ProcessIdsIn(const ThreadRegistry& threads) {
  std::vector<pid_t> pids;
  for (const ThreadInfo& thread : threads.Snapshot().threads) {
    if (thread.role == ThreadRole::kProcessWorker) pids.push_back(thread.process_id);
  }
  return pids;
}

// Whether a pool's keeper, the one SERVICE thread in `threads`, has nothing to do: what it has started ahead
// can be taken.
bool KeeperRests(const ThreadRegistry& threads) {
  const std::vector<ThreadInfo> all = threads.Snapshot().threads;
  return std::none_of(all.begin(), all.end(), [](const ThreadInfo& thread) {
    return thread.role == ThreadRole::kService && thread.running();
  });
}

TEST(ProcessPoolTest, StartsSomeAheadAndReplacesThem) {
  ThreadRegistry threads;
  ForkServer fork_server;
  ProcessPoolOptions options;
  options.min_idle = 2;
  ProcessPool pool(options, fork_server, threads);
  ASSERT_TRUE(Eventually([&] { return ProcessIdsIn(threads).size() == 2; }));
  const std::vector<pid_t> before = ProcessIdsIn(threads);
  kill(before[0], SIGKILL);
  EXPECT_TRUE(
      Eventually([&] { return ProcessIdsIn(threads).size() == 2 && ProcessIdsIn(threads) != before; }));
  EXPECT_EQ(pool.crashes(), 1u);
}

TEST(ProcessPoolTest, MakesRoomForAnother) {
  ProcessPoolOptions processes = Unconfined();
  processes.max_tasks = 2;
  TestPipeline pipeline(OptionsWith(processes));
  const auto pid = [&] {
    return AnswerOf(pipeline.AwaitEnd(pipeline.Submit(Do(Isolation::kProcess, "pid"))->id()).record);
  };
  const std::string first = pid();
  EXPECT_EQ(pid(), first);
  EXPECT_NE(pid(), first);
}

TEST(ProcessPoolTest, AnIdleOneEndsAfterAWhile) {
  ProcessPoolOptions processes = Unconfined();
  processes.idle_timeout = absl::Milliseconds(1);
  TestPipeline pipeline(OptionsWith(processes));
  pipeline.AwaitEnd(pipeline.Submit(Do(Isolation::kProcess, "on"))->id());
  EXPECT_TRUE(Eventually([&] {
    return pipeline.threads().Count().by_role[static_cast<size_t>(ThreadRole::kProcessWorker)] == 0;
  }));
}

TEST(ProcessPoolTest, AFreshOneHasDoneNothingAndDoesNothingAfter) {
  ThreadRegistry threads;
  ForkServer fork_server;
  ProcessPool pool(Unconfined(), fork_server, threads);
  const auto use = [&](ProcessUse how) {
    auto process = pool.Take(how);
    if (!process.ok()) return pid_t{0};
    CancelToken cancel;
    Progress progress;
    (void)(*process)->Run("no task", {cancel, progress, [](int, absl::string_view) {}});
    return (*process)->process_id();
  };
  const pid_t built_in = use(ProcessUse::kBuiltIn);
  EXPECT_GT(built_in, 0);
  EXPECT_EQ(use(ProcessUse::kBuiltIn), built_in);
  const pid_t reused = use(ProcessUse::kReused);
  EXPECT_NE(reused, built_in);  // whose tasks are another's code
  EXPECT_EQ(use(ProcessUse::kReused), reused);
  const pid_t fresh = use(ProcessUse::kFresh);
  EXPECT_NE(fresh, built_in);
  EXPECT_NE(fresh, reused);
  EXPECT_NE(use(ProcessUse::kFresh), fresh);
  EXPECT_FALSE(Lives(fresh));
  EXPECT_EQ(use(ProcessUse::kBuiltIn), built_in);
  EXPECT_EQ(pool.crashes(), 0u);
}

TEST(ProcessPoolTest, OtherOptionsHoldForOthers) {
  ThreadRegistry threads;
  ForkServer fork_server;
  ProcessPool pool(Unconfined(), fork_server, threads);
  auto first = pool.Take(ProcessUse::kFresh);
  ASSERT_TRUE(first.ok());
  const pid_t busy = (*first)->process_id();
  auto second = pool.Take(ProcessUse::kBuiltIn);
  ASSERT_TRUE(second.ok());
  const pid_t idle = (*second)->process_id();
  CancelToken cancel;
  Progress progress;
  ASSERT_TRUE((*second)->Run("no task", {cancel, progress, [](int, absl::string_view) {}}).ok());
  second->reset();
  EXPECT_TRUE(Lives(idle));
  ProcessPoolOptions options = Unconfined();
  options.fences.open_files = 77;
  pool.Reconfigure(options);
  EXPECT_TRUE(Eventually([&] { return !Lives(idle); }));
  EXPECT_TRUE(Lives(busy));
  auto third = pool.Take(ProcessUse::kBuiltIn);
  ASSERT_TRUE(third.ok());
  std::ifstream limits(absl::StrCat("/proc/", (*third)->process_id(), "/limits"));
  const std::string text((std::istreambuf_iterator<char>(limits)), {});
  EXPECT_TRUE(absl::StrContains(text, "Max open files            77 ")) << text;
}

TEST(ProcessPoolTest, WhatAnswersRubbishIsNotUsedAgain) {
  TestPipeline pipeline(OptionsWith());
  const auto run = [&](const std::string& what) {
    return pipeline.AwaitEnd(pipeline.Submit(Do(Isolation::kProcess, what))->id()).record;
  };
  const std::string pid = AnswerOf(run("pid"));
  const JobRecord odd = run("odd");
  EXPECT_EQ(ReasonOf(odd.outcome->error), "PROCESS_DIED");
  EXPECT_TRUE(absl::StrContains(odd.outcome->error.message(), "no answer")) << odd.outcome->error;
  EXPECT_EQ(absl::StrCat(odd.attempts[0].process_id), pid);
  EXPECT_NE(AnswerOf(run("pid")), pid);
  EXPECT_EQ(pipeline.processes().crashes(), 1u);
}

TEST(ProcessPoolTest, WhatCannotBeginIsNotStartedAgainAndAgain) {
  ThreadRegistry threads;
  ForkServer fork_server({}, "/bin/false");
  ProcessPool pool(Unconfined(), fork_server, threads);
  EXPECT_FALSE(pool.Take(ProcessUse::kFresh).ok());
  EXPECT_EQ(pool.starts(), 0u);
}

TEST(ProcessPoolTest, ThoseThatDieBeforeTheirFirstTaskAreReplacedOneASecond) {
  ThreadRegistry threads;
  ForkServer fork_server;
  ProcessPoolOptions options = Unconfined();
  options.min_idle = 2;
  ProcessPool pool(options, fork_server, threads);
  const auto start = std::chrono::steady_clock::now();
  // Which one, and how many die with it, is of no matter: each that lives is killed.
  EXPECT_TRUE(Eventually([&] {
    for (const pid_t pid : ProcessIdsIn(threads)) kill(pid, SIGKILL);
    return pool.starts() >= 4;
  }));
  // Two at first, the next a second later.
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900));
}

TEST(ProcessPoolTest, TheUsedDoNotPushTheUnusedOut) {
  ThreadRegistry threads;
  ForkServer fork_server;
  ProcessPoolOptions options = Unconfined();
  options.min_idle = 1;
  options.idle_timeout = absl::ZeroDuration();
  ProcessPool pool(options, fork_server, threads);
  ASSERT_TRUE(Eventually([&] { return ProcessIdsIn(threads).size() == 1 && KeeperRests(threads); }));
  const pid_t ahead = ProcessIdsIn(threads)[0];
  auto one = pool.Take(ProcessUse::kBuiltIn);
  auto other = pool.Take(ProcessUse::kBuiltIn);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ((*one)->process_id(), ahead);
  ASSERT_TRUE(Eventually([&] { return ProcessIdsIn(threads).size() >= 3; }));  // another is started ahead
  pid_t next = 0;
  for (const pid_t pid : ProcessIdsIn(threads)) {
    if (pid != (*one)->process_id() && pid != (*other)->process_id()) next = pid;
  }
  for (auto* lease : {&one, &other}) {
    CancelToken cancel;
    Progress progress;
    EXPECT_TRUE((**lease)->Run("no task", {cancel, progress, [](int, absl::string_view) {}}).ok());
    *lease = nullptr;
  }
  EXPECT_TRUE(
      Eventually([&] { return ProcessIdsIn(threads).size() == 1; }));  // the used ones have idled too long
  EXPECT_TRUE(Lives(next));
}

TEST(ProcessPoolTest, WhatComputesCanDoNothingElse) {
  TestPipeline pipeline(OptionsWith(ProcessPoolOptions()));
  ExpectEveryKindRuns(pipeline, Isolation::kProcess);
  const auto run = [&](const std::string& what) {
    return pipeline.AwaitEnd(pipeline.Submit(Do(Isolation::kProcess, what))->id()).record;
  };
  EXPECT_EQ(AnswerOf(run("hello")), "hello");
  // A signal to another process.
  const JobRecord killer = run("kill");
  EXPECT_TRUE(absl::StrContains(AnswerOf(killer), kSanitized ? "SIGKILL" : "SIGSYS")) << AnswerOf(killer);
  EXPECT_EQ(AnswerOf(run("open /etc/passwd")), kSanitized ? "opened" : "Permission denied");
}

}  // namespace
}  // namespace jobpool
