#include "server/job/job_record.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/support/job_builder.h"

namespace jobpool {
namespace {

constexpr JobState kStates[] = {JobState::kQueued, JobState::kRunning, JobState::kSucceeded,
                                JobState::kFailed, JobState::kCancelled};
constexpr size_t kJobStateCount = std::size(kStates);

// A job that got to `state` by the shortest way.
JobRecord RecordIn(JobState state) {
  JobRecord record = MakeRecord("j");
  if (state == JobState::kQueued) return record;
  EXPECT_TRUE(record.Start(Attempt()));
  if (state == JobState::kRunning) return record;
  EXPECT_TRUE(record.End(state, {}, MakeOutcome(absl::UnixEpoch())));
  return record;
}

TEST(JobStateTest, FollowEachOtherAsTheContractSays) {
  const bool allowed[kJobStateCount][kJobStateCount] = {
      // to: QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED
      {false, true, false, true, true},     // from QUEUED
      {true, false, true, true, true},      // from RUNNING, to QUEUED as the server ends
      {false, false, false, false, false},  // from SUCCEEDED
      {false, false, false, false, false},  // from FAILED
      {false, false, false, false, false},  // from CANCELLED
  };
  for (size_t from = 0; from < kJobStateCount; ++from) {
    for (size_t to = 0; to < kJobStateCount; ++to) {
      EXPECT_EQ(CanFollow(kStates[from], kStates[to]), allowed[from][to])
          << JobStateName(kStates[from]) << " to " << JobStateName(kStates[to]);
    }
  }
}

TEST(JobStateTest, Names) {
  EXPECT_EQ(JobStateName(JobState::kQueued), "QUEUED");
  EXPECT_EQ(JobStateName(JobState::kRunning), "RUNNING");
  EXPECT_EQ(JobStateName(JobState::kSucceeded), "SUCCEEDED");
  EXPECT_EQ(JobStateName(JobState::kFailed), "FAILED");
  EXPECT_EQ(JobStateName(JobState::kCancelled), "CANCELLED");
}

TEST(JobStateTest, EndedAreTheLastThree) {
  for (const JobState state : kStates) {
    EXPECT_EQ(IsEnded(state), state != JobState::kQueued && state != JobState::kRunning);
  }
}

TEST(JobRecordTest, StartsFromQueuedAlone) {
  for (const JobState state : kStates) {
    JobRecord record = RecordIn(state);
    const size_t attempts = record.attempts.size();
    EXPECT_EQ(record.Start(Attempt()), state == JobState::kQueued);
    EXPECT_EQ(record.state, state == JobState::kQueued ? JobState::kRunning : state);
    EXPECT_EQ(record.attempts.size(), attempts + (state == JobState::kQueued ? 1 : 0));
  }
}

TEST(JobRecordTest, EndsFromEveryStateAsItMay) {
  for (const JobState from : kStates) {
    for (const JobState end : {JobState::kSucceeded, JobState::kFailed, JobState::kCancelled}) {
      JobRecord record = RecordIn(from);
      const auto outcome = record.outcome;
      EXPECT_EQ(record.End(end, {}, MakeOutcome(absl::FromUnixSeconds(9))), CanFollow(from, end));
      EXPECT_EQ(record.state, CanFollow(from, end) ? end : from);
      if (CanFollow(from, end)) {
        EXPECT_EQ(record.outcome->end_time, absl::FromUnixSeconds(9));
      } else {
        EXPECT_EQ(record.outcome, outcome);
      }
    }
  }
}

TEST(JobRecordTest, StartNumbersTheAttempt) {
  JobRecord record = MakeRecord("j");
  Attempt attempt;
  attempt.number = 77;
  attempt.thread_id = 5;
  attempt.thread_display_name = "Thread-5";
  ASSERT_TRUE(record.Start(attempt));
  ASSERT_EQ(record.attempts.size(), 1u);
  EXPECT_EQ(record.attempts[0].number, 1);
  EXPECT_EQ(record.attempts[0].thread_id, 5u);
  EXPECT_EQ(record.attempts[0].thread_display_name, "Thread-5");
  EXPECT_EQ(record.attempts[0].end_time, absl::InfiniteFuture());
}

TEST(JobRecordTest, EndCompletesTheAttemptThatRuns) {
  JobRecord record = RecordIn(JobState::kRunning);
  Outcome outcome = MakeOutcome(absl::FromUnixSeconds(7));
  outcome.error = absl::InternalError("broken");
  outcome.progress = Progress::Value{0.5, "half"};
  ASSERT_TRUE(record.End(JobState::kFailed, {absl::Seconds(2), absl::Seconds(1)}, outcome));
  EXPECT_EQ(record.attempts[0].end_time, absl::FromUnixSeconds(7));
  EXPECT_EQ(record.attempts[0].usage.user_cpu_time, absl::Seconds(2));
  EXPECT_EQ(record.attempts[0].usage.system_cpu_time, absl::Seconds(1));
  EXPECT_EQ(record.attempts[0].error, absl::InternalError("broken"));
  EXPECT_EQ(record.outcome->error, absl::InternalError("broken"));
  EXPECT_EQ(record.outcome->progress->message, "half");
}

TEST(JobRecordTest, EndWithoutARunHasNoAttempt) {
  JobRecord record = MakeRecord("j");
  ASSERT_TRUE(record.End(JobState::kCancelled, {}, MakeOutcome(absl::FromUnixSeconds(7))));
  EXPECT_TRUE(record.attempts.empty());
}

TEST(JobRecordTest, DisplayNameIsTheOneAskedForOrJobN) {
  JobRecord record = MakeRecord("j");
  record.number = 12;
  EXPECT_EQ(record.DisplayName(), "Job-12");
  JobOptions options;
  record.options = std::make_shared<const JobOptions>(options);
  EXPECT_EQ(record.DisplayName(), "Job-12");
  options.display_name = "nightly";
  record.options = std::make_shared<const JobOptions>(options);
  EXPECT_EQ(record.DisplayName(), "nightly");
}

TEST(JobRecordTest, ExpiresRetentionAfterItsEnd) {
  EXPECT_EQ(MakeEnded("j", 0, 100, absl::Seconds(5))->ExpireTime(), absl::FromUnixSeconds(105));
  EXPECT_EQ(MakeEnded("j", 0, 100, absl::ZeroDuration())->ExpireTime(), absl::FromUnixSeconds(100));
  JobRecord record = RecordIn(JobState::kSucceeded);
  EXPECT_EQ(record.options, nullptr);
  EXPECT_EQ(record.Options().retention, kDefaultRetention);
  EXPECT_EQ(record.ExpireTime(), absl::UnixEpoch() + absl::Hours(24));
}

TEST(WorkTest, KindsFollowTheAlternatives) {
  const Work works[] = {SleepWork{}, PrimesWork{}, FibonacciWork{}, PiWork{},    HashWork{},
                        SpinWork{},  NoopWork{},   CommandWork{},   CustomWork{}};
  ASSERT_EQ(std::size(works), kKindCount);
  const char* const names[] = {"sleep", "primes", "fibonacci", "pi",    "hash",
                               "spin",  "noop",   "command",   "custom"};
  for (size_t i = 0; i < kKindCount; ++i) {
    EXPECT_EQ(static_cast<size_t>(KindOf(works[i])), i);
    EXPECT_EQ(KindName(KindOf(works[i])), names[i]);
  }
}

TEST(WorkTest, CommandsCountWhatTheyHold) {
  EXPECT_EQ(HeapBytes(Work(CommandWork{})), 0u);
  EXPECT_EQ(HeapBytes(Result(CommandResult{})), 0u);
  const CommandCall call{
      "name", {{"a", std::string(1000, 'x')}}, {{"B", std::string(2000, 'x')}}, std::string(4000, 'x')};
  const size_t bytes = HeapBytes(Work(CommandWork{std::make_shared<const CommandCall>(call)}));
  EXPECT_GE(bytes, 4u + 1 + 1000 + 1 + 2000 + 4000 + sizeof(CommandCall));
  EXPECT_LE(bytes, 7500u);
  CommandOutput output;
  output.out = std::string(1000, 'x');
  output.err = std::string(2000, 'x');
  EXPECT_EQ(HeapBytes(Result(CommandResult{std::make_shared<const CommandOutput>(output)})),
            3000 + sizeof(CommandOutput));
}

// A million of them may wait: see docs/benchmarks.md.
TEST(WorkTest, IsSmall) {
  EXPECT_LE(sizeof(Work), 24u);
  EXPECT_EQ(HeapBytes(Work(NoopWork{})), 0u);
}

TEST(WorkTest, CountsWhatItHolds) {
  const std::string payload(1000, 'x');
  const auto call = std::make_shared<const CustomWork::Call>(CustomWork::Call{"reverse", payload});
  EXPECT_GE(HeapBytes(Work(CustomWork{call})), 1007u);
  EXPECT_EQ(HeapBytes(Work(CustomWork{})), 0u);
  EXPECT_EQ(HeapBytes(Result(CustomResult{std::make_shared<const std::string>(payload)})), 1000u);
  EXPECT_EQ(HeapBytes(Result(CustomResult{})), 0u);
}

}  // namespace
}  // namespace jobpool
