// Plug-ins: what is loaded and what is refused, and what the server does for those that run.

#include "server/handlers/plugins.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <gmock/gmock.h>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/handlers/custom.h"
#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/log_hook.h"
#include "tests/support/plugin_files.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(PluginsTest, HaveTheKindsOfAllThatAreLoaded) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("reverse")), absl::OkStatus());
  // Each has a registrar of its own.
  ASSERT_EQ(plugins.Load(PluginFile("counter")), absl::OkStatus());
  ASSERT_EQ(plugins.Load(PluginFile("word_count")), absl::OkStatus());
  EXPECT_THAT(plugins.Kinds(), ElementsAre("counter", "reverse", "word-count"));
  EXPECT_NE(plugins.Find("reverse"), nullptr);
  EXPECT_NE(plugins.Find("reverse"), plugins.Find("counter"));
  EXPECT_EQ(plugins.Find("revers"), nullptr);
  EXPECT_EQ(plugins.Find(""), nullptr);
}

TEST(PluginsTest, RefuseWithOneLineThatNamesTheFileAndItsFault) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  const std::vector<absl::string_view> before = plugins.Kinds();
  const TempDir folder;
  folder.Write("text.so", std::string(100, 'x'));
  const std::pair<std::string, std::string> faults[] = {
      {"/nowhere/x.so", "No such file"},
      {"nowhere.so", "No such file"},
      {folder.Path("text.so"), "invalid ELF header"},
      {PluginFile("no_entry"), "no symbol jobpool_plugin"},
      {PluginFile("null_entry"), "gives nothing"},
      {PluginFile("other_version"),
       "is built for version 2 of the interface for plug-ins; this server has version 1"},
      {PluginFile("small_size"), "its size is 8"},
      {PluginFile("kind_without_run"), "its kind 0 is incomplete"},
      {PluginFile("throws_at_load"), "has failed to say its kinds: no licence"},
      {PluginFile("throws_int_at_load"), "has failed to say its kinds: unknown exception"},
      {PluginFile("no_handler"), "has failed to say its kinds: a kind without a handler"},
      {PluginFile("no_kinds"), "has no kinds"},
      {PluginFile("own_kind"), "the kind \"sleep\" is one of the server's own"},
      {PluginFile("custom_kind"), "the kind \"custom\" is one of the server's own"},
      {PluginFile("kind_twice"), "the kind \"fresh\" comes twice"},
      {PluginFile("kind_of_another"), absl::StrCat("the kind \"echo\" is that of ", PluginFile("kinds"))},
      {PluginFile("kinds"), absl::StrCat(" is that of ", PluginFile("kinds"))},
      {PluginFile("bad_name"), "the kind \"Bad_Name\" must match"},
  };
  for (const auto& [file, fault] : faults) {
    const std::string said(plugins.Load(file).message());
    EXPECT_THAT(said, StartsWith(absl::StrCat("--plugin: ", file, ": "))) << file;
    EXPECT_THAT(said, HasSubstr(fault)) << file;
    EXPECT_FALSE(absl::StrContains(said, '\n')) << said;
    EXPECT_EQ(plugins.Kinds(), before) << file;
  }
}

// The server around a plug-in; keeps what it says.
class FakeHost final : public HandlerHost {
 public:
  void Log(WorkLogLevel level, absl::string_view text) const override {
    MutexLock lock(mu_);
    log_.emplace_back(level, std::string(text));
  }
  void CurrentThread(TakeThread take) const override {
    take({"threads/7", "monitor", "WORKER", "RUNNING", "pools/blocking", "jobs/a", 11, 12});
  }
  uint64_t ActiveCount() const override { return 2; }
  void ForEachThread(TakeThread take) const override {
    take({"threads/1", "MainThread", "MAIN", "RUNNING", "", "", 11, 11});
    CurrentThread(take);
  }

  std::vector<std::pair<WorkLogLevel, std::string>> log() const {
    MutexLock lock(mu_);
    return log_;
  }

 private:
  mutable Mutex mu_;
  mutable std::vector<std::pair<WorkLogLevel, std::string>> log_ ABSL_GUARDED_BY(mu_);
};

Work Custom(absl::string_view kind, absl::string_view payload = "") {
  return CustomWork{
      std::make_shared<const CustomWork::Call>(CustomWork::Call{std::string(kind), std::string(payload)})};
}

class CustomHandlerTest : public ::testing::Test {
 protected:
  CustomHandlerTest() {
    for (const char* name : {"kinds", "raw", "counter"}) {
      EXPECT_EQ(plugins_.Load(PluginFile(name)), absl::OkStatus());
    }
  }

  absl::StatusOr<Result> Run(absl::string_view kind, absl::string_view payload = "") {
    HandlerContext context{cancel_, progress_, attempt_, &host_};
    return handler_->Run(Custom(kind, payload), context);
  }

  // The payload of a result, which is expected.
  std::string Do(absl::string_view kind, absl::string_view payload = "") {
    const absl::StatusOr<Result> result = Run(kind, payload);
    if (!result.ok()) return absl::StrCat("failed: ", result.status().ToString());
    const std::shared_ptr<const std::string>& bytes = std::get<CustomResult>(*result).payload;
    return bytes != nullptr ? *bytes : "";
  }

  absl::Status Failure(absl::string_view kind, absl::string_view payload = "") {
    return Run(kind, payload).status();
  }

  Plugins plugins_;
  const std::unique_ptr<const Handler> handler_ = MakeCustomHandler(&plugins_);
  CancelToken cancel_;
  Progress progress_;
  AttemptInfo attempt_ = {"a", "nightly", 3, absl::InfiniteFuture()};
  FakeHost host_;
};

TEST_F(CustomHandlerTest, GivesThePayloadAndTakesTheResult) {
  EXPECT_EQ(Do("echo", std::string("a\0\xff", 3)), std::string("a\0\xff", 3));
  EXPECT_EQ(std::get<CustomResult>(*Run("echo")).payload, nullptr);
}

TEST_F(CustomHandlerTest, AResultHasItsBound) {
  EXPECT_EQ(Do("bytes", absl::StrCat(kMaxPayloadBytes)).size(), kMaxPayloadBytes);
  const absl::Status status = Failure("bytes", absl::StrCat(kMaxPayloadBytes + 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the result has 1048577 bytes"));
}

TEST_F(CustomHandlerTest, WhatIsThrownIsAFailure) {
  EXPECT_EQ(Failure("throws", "boom"), absl::InternalError("exception: boom"));
  EXPECT_EQ(Failure("throws-int"), absl::InternalError("unknown exception"));
  EXPECT_EQ(Failure("throws-bad-alloc").code(), absl::StatusCode::kResourceExhausted);
  // Without the wrapper.
  EXPECT_EQ(Failure("raw-throws").code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(Failure("raw-throws").message()), HasSubstr("through the border"));
  EXPECT_EQ(Do("echo", "goes on"), "goes on");
}

TEST_F(CustomHandlerTest, AFailureHasItsCodeAndItsWords) {
  EXPECT_EQ(Failure("fails", "caf\xc3\xa9"), absl::UnavailableError("caf\xc3\xa9"));
  EXPECT_EQ(Failure("fails", "a\nb\xff"), absl::UnavailableError("a b?"));
  EXPECT_EQ(Failure("fails"), absl::UnavailableError("the plug-in has given no reason"));
  EXPECT_EQ(Failure("fails", std::string(100'000, 'x')).message(), std::string(kMaxPluginTextBytes, 'x'));
  EXPECT_EQ(Failure("throws", std::string(100'000, 'x')).message().size(), kMaxPluginTextBytes);
  EXPECT_EQ(Failure("raw-odd-code", "odd"), absl::UnknownError("odd"));
}

TEST_F(CustomHandlerTest, TheFirstWordCountsAndOneIsNeeded) {
  EXPECT_EQ(Do("raw-twice"), "first");
  EXPECT_EQ(Failure("raw-silent").code(), absl::StatusCode::kInternal);
}

TEST_F(CustomHandlerTest, AKindThatIsNotLoadedIsSaidSo) {
  const absl::Status status = Failure("gone");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "KIND_NOT_LOADED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"gone\""));
  HandlerContext context{cancel_, progress_};
  EXPECT_EQ(ReasonOf(MakeCustomHandler(nullptr)->Run(Custom("echo"), context).status()), "KIND_NOT_LOADED");
}

std::string Refusal(const Handler& handler, absl::string_view kind) {
  Violations violations;
  handler.Check(Custom(kind), "requests[3].", violations);
  return std::string(violations.ToStatus().message());
}

TEST_F(CustomHandlerTest, ARefusalNamesTheFieldAndSomeOfWhatThereIs) {
  EXPECT_THAT(Refusal(*handler_, "echo"), IsEmpty());
  EXPECT_THAT(Refusal(*handler_, "Bad_Name"), IsEmpty());  // said with the other bounds
  EXPECT_THAT(
      Refusal(*handler_, "gone"),
      StartsWith(
          "requests[3].job.custom.kind: there is no kind \"gone\"; there is bytes, counter, deaf, echo"));
  EXPECT_THAT(Refusal(*MakeCustomHandler(nullptr), "gone"), HasSubstr("the server has loaded no plug-in"));
  const size_t named = 20;
  ASSERT_GT(plugins_.Kinds().size(), named);
  EXPECT_THAT(Refusal(*handler_, "gone"),
              HasSubstr(absl::StrCat(" and ", plugins_.Kinds().size() - named, " more")));
}

TEST_F(CustomHandlerTest, TellsWhatItRunsFor) {
  attempt_.deadline = absl::FromUnixMillis(1'800'000'000'123);
  EXPECT_EQ(Do("tells"),
            "job jobs/a\nname nightly\nattempt 3\ndeadline 1800000000123\n"
            "self threads/7 monitor WORKER RUNNING pools/blocking jobs/a 11 12\n"
            "count 2\nthread threads/1 MAIN\nthread threads/7 WORKER");
  attempt_.deadline = absl::InfiniteFuture();
  EXPECT_THAT(Do("tells"), HasSubstr("\ndeadline none\n"));
}

TEST_F(CustomHandlerTest, GoesWithoutAServer) {
  HandlerContext context{cancel_, progress_};
  EXPECT_TRUE(handler_->Run(Custom("tells"), context).ok());
  EXPECT_TRUE(handler_->Run(Custom("logs", "x"), context).ok());
}

TEST_F(CustomHandlerTest, KeepsItsLinesInBounds) {
  Do("logs", absl::StrCat("a\n", std::string(100'000, 'x')));
  const auto log = host_.log();
  ASSERT_EQ(log.size(), 2u);
  EXPECT_EQ(log[0], std::pair(WorkLogLevel::kDebug, std::string("a trifle")));
  EXPECT_EQ(log[1].first, WorkLogLevel::kWarning);
  EXPECT_EQ(log[1].second, absl::StrCat("a ", std::string(kMaxPluginTextBytes - 2, 'x')));
}

TEST_F(CustomHandlerTest, TakesWhatIsOutOfItsBounds) {
  EXPECT_EQ(Do("raw-bounds"), "1 1 0");
  const auto log = host_.log();
  ASSERT_EQ(log.size(), 2u);
  EXPECT_EQ(log[0].first, WorkLogLevel::kDebug);
  EXPECT_EQ(log[1].first, WorkLogLevel::kError);
  EXPECT_EQ(progress_.Get()->ratio, 0.5);
}

TEST_F(CustomHandlerTest, ShowsProgressNowAndThenAndItsLastWord) {
  std::atomic<int> shown{0};
  progress_.set_observer([&] { ++shown; });
  const MonotonicTime start = Clock::Real().Monotonic();
  ASSERT_EQ(Do("progress", "100000"), "");
  const absl::Duration took = absl::FromChrono(Clock::Real().Monotonic() - start);
  const Progress::Value last = *progress_.Get();
  EXPECT_EQ(last.ratio, 1);
  EXPECT_EQ(last.message, absl::StrCat("100000", std::string(kMaxPluginProgressBytes - 6, 'x')));
  EXPECT_GE(shown, 2);
  EXPECT_LE(shown, took / absl::Milliseconds(50) + 2);
}

// Runs a kind on a thread of its own until it is asked to end.
template <typename Condition>
absl::Status RunUntil(CancelToken& cancel, const std::function<absl::Status()>& run, Condition condition,
                      absl::Duration* took) {
  absl::Status status;
  std::thread worker([&] { status = run(); });
  EXPECT_TRUE(Eventually(condition));
  const MonotonicTime asked = Clock::Real().Monotonic();
  cancel.Cancel(CancelReason::kRequested);
  worker.join();
  *took = absl::FromChrono(Clock::Real().Monotonic() - asked);
  return status;
}

TEST_F(CustomHandlerTest, ShowsTheLastWordBeforeAWait) {
  absl::Duration took;
  const auto second = [&] { return progress_.Get().value_or(Progress::Value()).message == "second"; };
  const absl::Status status = RunUntil(
      cancel_, [&] { return Failure("progress-and-waits"); }, second, &took);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(progress_.Get()->ratio, 0.5);
}

TEST_F(CustomHandlerTest, EndsWhenAsked) {
  for (const char* kind : {"waits", "spins"}) {
    CancelToken cancel;
    std::atomic<bool> runs{false};
    absl::Duration took;
    const auto run = [&, kind] {
      HandlerContext context{cancel, progress_, attempt_, &host_};
      runs = true;
      return handler_->Run(Custom(kind), context).status();
    };
    EXPECT_TRUE(absl::IsCancelled(RunUntil(
        cancel, run, [&] { return runs.load(); }, &took)))
        << kind;
    EXPECT_LT(took, absl::Seconds(10)) << kind;  // test_plugins.py measures it
  }
}

// Through a pipeline.

TestPipeline::Options With(const Plugins& plugins) {
  TestPipeline::Options options;
  options.replace_handlers = [&](HandlerRegistry& handlers) {
    handlers.Replace(Kind::kCustom, MakeCustomHandler(&plugins));
  };
  return options;
}

JobSpec CustomSpec(absl::string_view kind, absl::string_view payload = "", absl::string_view id = "") {
  JobSpec spec;
  spec.id = std::string(id);
  spec.work = Custom(kind, payload);
  return spec;
}

std::string PayloadOf(const JobRecord& record) {
  if (!record.outcome->result.has_value()) return std::string(record.outcome->error.message());
  return *std::get<CustomResult>(*record.outcome->result).payload;
}

TEST(CustomJobTest, SeesTheServerAroundIt) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  TestPipeline pipeline(With(plugins));
  JobSpec spec = CustomSpec("tells", "", "my-job");
  spec.options.display_name = "nightly";
  spec.options.timeout = absl::Hours(1);
  pipeline.Submit(std::move(spec));
  const JobRecord record = pipeline.AwaitEnd("my-job").record;
  const Attempt& attempt = record.attempts.front();
  const std::string deadline = absl::StrCat(absl::ToUnixMillis(attempt.start_time + absl::Hours(1)));
  EXPECT_THAT(PayloadOf(record),
              StartsWith(absl::StrCat("job jobs/my-job\nname nightly\nattempt 1\ndeadline ", deadline,
                                      "\nself threads/", attempt.thread_id, " ", attempt.thread_display_name,
                                      " WORKER RUNNING pools/blocking jobs/my-job ", getpid(), " ",
                                      attempt.os_thread_id, "\ncount ")));
  // The active count is the length of roll call, for nothing else starts a thread here.
  const std::vector<std::string> lines = absl::StrSplit(PayloadOf(record), '\n');
  int count = 0;
  ASSERT_TRUE(absl::SimpleAtoi(absl::StripPrefix(lines[5], "count "), &count));
  EXPECT_EQ(lines.size(), 6u + static_cast<size_t>(count));
}

TEST(CustomJobTest, TheEarlierOfDeadlineAndTimeoutIsTold) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  TestPipeline pipeline(With(plugins));
  const absl::Time deadline = absl::FromUnixMillis(absl::ToUnixMillis(absl::Now() + absl::Minutes(30)));
  JobSpec spec = CustomSpec("tells", "", "a");
  spec.options.timeout = absl::Hours(1);
  spec.options.deadline_time = deadline;
  pipeline.Submit(std::move(spec));
  EXPECT_THAT(PayloadOf(pipeline.AwaitEnd("a").record),
              HasSubstr(absl::StrCat("\ndeadline ", absl::ToUnixMillis(deadline), "\n")));
}

TEST(CustomJobTest, KnowsItsAttempt) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  TestPipeline pipeline(With(plugins));
  JobSpec spec = CustomSpec("fails-once", "", "a");
  spec.options.retry.max_attempts = 2;
  spec.options.retry.initial_backoff = absl::ZeroDuration();
  pipeline.Submit(std::move(spec));
  const JobRecord record = pipeline.AwaitEnd("a").record;
  EXPECT_EQ(PayloadOf(record), "again");
  EXPECT_EQ(record.attempts.size(), 2u);
}

TEST(CustomJobTest, AFailureIsTheJobs) {
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  TestPipeline pipeline(With(plugins));
  pipeline.Submit(CustomSpec("throws", "boom", "thrown"));
  pipeline.Submit(CustomSpec("gives-up", "", "not-asked"));
  pipeline.Submit(CustomSpec("gone", "", "gone"));
  const auto error = [&](const char* id) {
    const JobRecord record = pipeline.AwaitEnd(id).record;
    EXPECT_EQ(record.state, JobState::kFailed) << id;
    EXPECT_EQ(record.attempts.size(), 1u) << id;
    return absl::StrCat(absl::StatusCodeToString(record.outcome->error.code()), " ",
                        ReasonOf(record.outcome->error), ": ", record.outcome->error.message());
  };
  EXPECT_EQ(error("thrown"), "INTERNAL WORK_FAILED: exception: boom");
  EXPECT_EQ(error("not-asked"), "CANCELLED WORK_FAILED: cancelled before it was done");
  EXPECT_THAT(error("gone"), StartsWith("FAILED_PRECONDITION KIND_NOT_LOADED: "));
}

TEST(CustomJobTest, ItsLinesAreInTheLogWithItsName) {
  Mutex mu;
  std::vector<std::string> lines;
  LogHook hook("info", [&](const std::string& line) {
    MutexLock lock(mu);
    if (absl::StartsWith(line, "job says") || absl::StartsWith(line, "lines of jobs")) lines.push_back(line);
  });
  Plugins plugins;
  ASSERT_EQ(plugins.Load(PluginFile("kinds")), absl::OkStatus());
  FakeClock clock;
  {
    TestPipeline pipeline(With(plugins), clock);
    pipeline.Submit(CustomSpec("logs", "a \"quoted\" word", "a"));
    pipeline.AwaitEnd("a");
    for (int i = 0; i < 150; ++i) pipeline.AwaitEnd(pipeline.Submit(CustomSpec("logs", "x"))->id());
    clock.Advance(absl::Seconds(1));
    pipeline.AwaitEnd(pipeline.Submit(CustomSpec("logs", "last", "z"))->id());
  }
  MutexLock lock(mu);
  ASSERT_EQ(lines.size(), 102u);
  EXPECT_EQ(lines.front(), "job says job=jobs/a text=\"a \\\"quoted\\\" word\"");
  EXPECT_EQ(lines[100], "lines of jobs left out count=51 (--log_level=debug shows all)");
  EXPECT_EQ(lines[101], "job says job=jobs/z text=\"last\"");
}

}  // namespace
}  // namespace jobpool
