#include <memory>
#include <random>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "absl/strings/cord.h"
#include "server/store/record_codec.h"
#include "tests/support/job_builder.h"
#include "tests/support/query_model.h"

namespace jobpool {
namespace {

std::string Encode(const JobRecord& job) {
  std::string bytes;
  RecordEncoder().Append(job, bytes);
  return bytes;
}

JobRecord Recoded(const JobRecord& job) {
  const auto decoded = RecordDecoder().Decode(Encode(job));
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded.ok() ? *decoded : JobRecord{};
}

// A job that has all there is.
JobRecord Full() {
  JobRecord job = MakeRecord("full", 1'800'000'000);
  job.create_time += absl::Nanoseconds(123'456'789);
  job.work = HashWork{1 << 20, ~uint64_t{0}};
  job.daemon = true;
  job.durability = Durability::kDisk;
  job.priority = 9;
  JobOptions options;
  options.display_name = "caf\xc3\xa9";
  options.labels = {{"a", ""}, {"b", "1"}};
  options.retention = absl::ZeroDuration();
  options.timeout = absl::Nanoseconds(1);
  options.deadline_time = job.create_time + absl::Nanoseconds(7);
  options.schedule_time = job.create_time - absl::Nanoseconds(7);
  options.ready_time = absl::UnixEpoch();
  options.retry = {3, absl::Milliseconds(1), absl::Seconds(2), 1.5, 0};
  options.retry_of = "first";
  job.options = std::make_shared<const JobOptions>(options);
  Attempt attempt;
  attempt.thread_id = ~uint64_t{0};
  attempt.thread_display_name = "blocking-7";
  attempt.os_thread_id = 123;
  attempt.process_id = 45;
  attempt.start_time = job.create_time + absl::Nanoseconds(1);
  attempt.stop_steps = {{StopStep::Action::kAsked, attempt.start_time + absl::Seconds(1)},
                        {StopStep::Action::kAbandoned, attempt.start_time + absl::Seconds(2)}};
  job.Start(attempt);
  job.attempts[0].stop_steps = attempt.stop_steps;
  absl::Status error = absl::InternalError("\xff is not text");
  error.SetPayload("type.googleapis.com/x.Y", absl::Cord(std::string("\0\1", 2)));
  error.SetPayload("type.googleapis.com/x.Z", absl::Cord("z"));
  job.Retry(attempt.start_time + absl::Seconds(3), {absl::Nanoseconds(5), absl::Nanoseconds(6)}, error,
            job.create_time + absl::Seconds(9));
  job.MakeReady();
  attempt.stop_steps.clear();
  attempt.start_time += absl::Seconds(10);
  job.Start(attempt);
  Outcome outcome = MakeOutcome(attempt.start_time + absl::Nanoseconds(99));
  outcome.error = error;
  outcome.progress = Progress::Value{0.25, "a quarter", 17};
  job.End(JobState::kFailed, {absl::Seconds(1), absl::Seconds(2)}, std::move(outcome));
  return job;
}

void ExpectSame(const Attempt& a, const Attempt& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.thread_id, b.thread_id);
  EXPECT_EQ(a.thread_display_name, b.thread_display_name);
  EXPECT_EQ(a.os_thread_id, b.os_thread_id);
  EXPECT_EQ(a.process_id, b.process_id);
  EXPECT_EQ(a.start_time, b.start_time);
  EXPECT_EQ(a.end_time, b.end_time);
  EXPECT_EQ(a.usage.user_cpu_time, b.usage.user_cpu_time);
  EXPECT_EQ(a.usage.system_cpu_time, b.usage.system_cpu_time);
  EXPECT_EQ(a.error, b.error);
  ASSERT_EQ(a.stop_steps.size(), b.stop_steps.size());
  for (size_t i = 0; i < a.stop_steps.size(); ++i) {
    EXPECT_EQ(a.stop_steps[i].action, b.stop_steps[i].action);
    EXPECT_EQ(a.stop_steps[i].time, b.stop_steps[i].time);
  }
}

void ExpectSame(const JobRecord& a, const JobRecord& b) {
  EXPECT_EQ(a.id, b.id);
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(KindOf(a.work), KindOf(b.work));
  EXPECT_EQ(*a.pool, *b.pool);
  EXPECT_EQ(a.create_time, b.create_time);
  EXPECT_EQ(a.Options(), b.Options());
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.daemon, b.daemon);
  EXPECT_EQ(a.durability, b.durability);
  EXPECT_EQ(a.priority, b.priority);
  EXPECT_EQ(a.revision, b.revision);
  ASSERT_EQ(a.attempts.size(), b.attempts.size());
  for (size_t i = 0; i < a.attempts.size(); ++i) ExpectSame(a.attempts[i], b.attempts[i]);
  ASSERT_EQ(a.outcome == nullptr, b.outcome == nullptr);
  if (a.outcome == nullptr) return;
  EXPECT_EQ(a.outcome->end_time, b.outcome->end_time);
  EXPECT_EQ(a.outcome->error, b.outcome->error);
  EXPECT_EQ(a.outcome->result.has_value(), b.outcome->result.has_value());
  ASSERT_EQ(a.outcome->progress.has_value(), b.outcome->progress.has_value());
  if (!a.outcome->progress.has_value()) return;
  EXPECT_EQ(a.outcome->progress->ratio, b.outcome->progress->ratio);
  EXPECT_EQ(a.outcome->progress->message, b.outcome->progress->message);
  EXPECT_EQ(a.outcome->progress->version, b.outcome->progress->version);
}

TEST(SqliteRecordCodecTest, KeepsAllThatThereIs) {
  const JobRecord job = Full();
  const JobRecord recoded = Recoded(job);
  ExpectSame(recoded, job);
  EXPECT_EQ(std::get<HashWork>(recoded.work).bytes, 1 << 20);
  EXPECT_EQ(std::get<HashWork>(recoded.work).seed, ~uint64_t{0});
}

TEST(SqliteRecordCodecTest, KeepsWhatIsInfinite) {
  const JobRecord plain = MakeRecord("plain", 7);
  const JobRecord recoded = Recoded(plain);
  ExpectSame(recoded, plain);
  EXPECT_EQ(recoded.options, nullptr);
  JobRecord named = plain;
  JobOptions options;
  options.display_name = "x";
  named.options = std::make_shared<const JobOptions>(options);
  named.Start(Attempt());
  ExpectSame(Recoded(named), named);
}

TEST(SqliteRecordCodecTest, KeepsEachKind) {
  const auto payload = std::make_shared<const std::string>("\0x", 2);
  const std::pair<Work, Result> kinds[] = {
      {SleepWork{absl::Nanoseconds(1)}, SleepResult{absl::Nanoseconds(2)}},
      {PrimesWork{3}, PrimesResult{4}},
      {FibonacciWork{5}, FibonacciResult{"6"}},
      {PiWork{7}, PiResult{"8"}},
      {HashWork{9, 10}, HashResult{"11"}},
      {SpinWork{absl::Nanoseconds(12)}, SpinResult{absl::Nanoseconds(13)}},
      {NoopWork{payload}, NoopResult{payload}},
      {CommandWork{std::make_shared<const CommandCall>(
           CommandCall{"c", {{"a", "\xff"}, {"b", ""}}, {{"C", "1"}}, std::string("\0x", 2)})},
       CommandResult{std::make_shared<const CommandOutput>(
           CommandOutput{1, 2, std::string("\0y", 2), "z", true, true})}},
      {CustomWork{std::make_shared<const CustomWork::Call>(CustomWork::Call{"reverse", *payload})},
       CustomResult{payload}},
      {CustomWork{std::make_shared<const CustomWork::Call>(CustomWork::Call{"reverse", ""})}, CustomResult{}},
  };
  for (const auto& [work, result] : kinds) {
    JobRecord job = MakeRecord("a", 1);
    job.work = work;
    job.Start(Attempt());
    Outcome outcome = MakeOutcome(absl::FromUnixSeconds(2));
    outcome.result = result;
    job.End(JobState::kSucceeded, {}, outcome);
    const JobRecord recoded = Recoded(job);
    ExpectSame(recoded, job);
    ASSERT_EQ(recoded.outcome->result->index(), result.index());
    // The same again gives the same bytes: nothing was lost of work or result.
    EXPECT_EQ(Encode(recoded), Encode(job)) << KindName(KindOf(work));
  }
  EXPECT_EQ(std::get<PrimesWork>(Recoded([] {
                                   JobRecord job = MakeRecord("a");
                                   job.work = PrimesWork{3};
                                   return job;
                                 }())
                                     .work)
                .limit,
            3);
}

TEST(SqliteRecordCodecTest, KeepsEachPartOfACommand) {
  JobRecord job = MakeRecord("a", 1);
  job.work = CommandWork{std::make_shared<const CommandCall>(
      CommandCall{"c", {{"a", "\xff"}, {"b", ""}}, {{"C", "1"}}, std::string("\0x", 2)})};
  job.Start(Attempt());
  Outcome outcome = MakeOutcome(absl::FromUnixSeconds(2));
  outcome.error = absl::UnknownError("exit status 1");
  outcome.result = CommandResult{
      std::make_shared<const CommandOutput>(CommandOutput{1, 2, std::string("\0y", 2), "z", true, false})};
  job.End(JobState::kFailed, {}, outcome);
  const JobRecord recoded = Recoded(job);
  const CommandCall& call = *std::get<CommandWork>(recoded.work).call;
  EXPECT_EQ(call.name, "c");
  EXPECT_EQ(call.arguments, (NamedValues{{"a", "\xff"}, {"b", ""}}));
  EXPECT_EQ(call.environment, (NamedValues{{"C", "1"}}));
  EXPECT_EQ(call.input, std::string("\0x", 2));
  const CommandOutput& output = *std::get<CommandResult>(*recoded.outcome->result).output;
  EXPECT_EQ(output.exit_status, 1);
  EXPECT_EQ(output.signal, 2);
  EXPECT_EQ(output.out, std::string("\0y", 2));
  EXPECT_EQ(output.err, "z");
  EXPECT_TRUE(output.out_truncated);
  EXPECT_FALSE(output.err_truncated);
  EXPECT_EQ(recoded.outcome->error.message(), "exit status 1");
}

TEST(SqliteRecordCodecTest, KeepsWhatACustomJobIs) {
  JobRecord job = MakeRecord("a");
  job.work = CustomWork{
      std::make_shared<const CustomWork::Call>(CustomWork::Call{"word-count", std::string("\0\xff", 2)})};
  const JobRecord recoded = Recoded(job);
  const CustomWork& work = std::get<CustomWork>(recoded.work);
  EXPECT_EQ(work.kind(), "word-count");
  EXPECT_EQ(work.payload(), std::string("\0\xff", 2));
}

TEST(SqliteRecordCodecTest, KeepsRecordsOfAnyOptions) {
  Random random(42);
  RecordDecoder decoder;
  RecordEncoder encoder;
  std::string bytes;
  for (int i = 0; i < 500; ++i) {
    const JobRecord job = Below(random, 10) == 0 ? Full() : RandomJob(random, "j");
    bytes.clear();
    encoder.Append(job, bytes);
    const auto decoded = decoder.Decode(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ExpectSame(*decoded, job);
  }
}

TEST(SqliteRecordCodecTest, SharesPoolNames) {
  RecordDecoder decoder;
  const JobRecord a = *decoder.Decode(Encode(MakeRecord("a")));
  const JobRecord b = *decoder.Decode(Encode(MakeRecord("b")));
  EXPECT_EQ(a.pool, b.pool);
}

TEST(SqliteRecordCodecTest, APlainJobIsSmall) {
  EXPECT_LT(Encode(MakeRecord("j1jk2z7m0q3v4x8")).size(), 60u);
}

// Whatever the bytes are: an error, or a record that can be used.
TEST(SqliteRecordCodecTest, BadBytesAreDataLoss) {
  const std::string bytes = Encode(Full());
  RecordDecoder decoder;
  EXPECT_EQ(decoder.Decode("").status().code(), absl::StatusCode::kDataLoss);
  size_t errors = 0;
  const auto expect_sound = [&](absl::string_view damaged) {
    const auto decoded = decoder.Decode(damaged);
    if (!decoded.ok()) {
      ++errors;
      EXPECT_EQ(decoded.status().code(), absl::StatusCode::kDataLoss);
    } else {
      EXPECT_EQ(IsEnded(decoded->state), decoded->outcome != nullptr);
      EXPECT_LT(decoded->priority, kPriorities);
      EXPECT_NE(decoded->pool, nullptr);
    }
  };
  for (size_t size = 0; size < bytes.size(); ++size) expect_sound(absl::string_view(bytes).substr(0, size));
  std::mt19937 random(42);
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    expect_sound(damaged);
  }
  EXPECT_GT(errors, bytes.size() / 2);
}

}  // namespace
}  // namespace jobpool
