#include <string>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/explanation_text.h"
#include "client/cli/job_text.h"
#include "client/cli/output.h"
#include "client/cli/pool_text.h"
#include "client/cli/progress_bar.h"
#include "client/cli/table.h"
#include "client/cli/thread_text.h"
#include "client/cli/time_text.h"
#include "jobpool/printable.h"
#include "jobpool/v1/job_service.pb.h"

namespace jobpool::cli {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'100);

v1::Job FinishedJob() {
  v1::Job job;
  job.set_name("jobs/a");
  job.set_display_name("Job-1");
  job.mutable_compute()->mutable_primes()->set_limit(1000);
  job.set_pool("pools/compute");
  job.set_state(v1::Job::SUCCEEDED);
  job.mutable_progress()->set_ratio(1);
  job.mutable_result()->mutable_compute()->mutable_primes()->set_count(168);
  job.mutable_create_time()->set_seconds(1'700'000'000);
  job.mutable_start_time()->set_seconds(1'700'000'001);
  job.mutable_end_time()->set_seconds(1'700'000'003);
  job.mutable_end_time()->set_nanos(250'000'000);
  return job;
}

TEST(PrintableTest, KeepsTextAndEscapesWhatATerminalObeys) {
  EXPECT_EQ(Printable("nächtlich 夜 🌙 a\\b"), "nächtlich 夜 🌙 a\\b");
  EXPECT_EQ(Printable("\x1b[31mred\n"), "\\x1b[31mred\\x0a");
  EXPECT_EQ(Printable("\x7f\xc2\x9b"), "\\x7f\\xc2\\x9b");           // DEL; CSI of C1
  EXPECT_EQ(Printable("a\xe2\x80\xae!"), "a\\xe2\\x80\\xae!");       // right-to-left override
  EXPECT_EQ(Printable("\xff\xc0\xafx"), "\\xff\\xc0\\xafx");         // never in UTF-8; overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(Printable("\xe5\xa4"), "\\xe5\\xa4");                    // cut off
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(Printable(std::string("\0", 1)), "\\x00");
}

TEST(PrintableTest, BytesStayDistinguishable) {
  EXPECT_EQ(PrintableBytes("a\n\r\t\\n"), "a\\n\\r\\t\\\\n");
  EXPECT_EQ(PrintableBytes("ä\xff"), "ä\\xff");
}

TEST(PrintableTest, KnowsUtf8) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("ä 夜 🌙 \x1b"));
  EXPECT_FALSE(IsUtf8("a\xff"));
  EXPECT_FALSE(IsUtf8("\xe5\xa4"));
}

TEST(TableTest, AlignsByCharactersWithoutSpacesAtTheEnd) {
  Table table({"NAME", "STATE"});
  table.AddRow({"ä", "x"});
  table.AddRow({"", "long one"});
  table.AddRow({"long", ""});
  EXPECT_EQ(table.ToString(), "NAME  STATE\nä     x\n-     long one\nlong  -\n");
}

TEST(TableTest, WithoutRowsShowsTheHeader) {
  EXPECT_EQ(Table({"NAME", "STATE"}).ToString(), "NAME  STATE\n");
  EXPECT_EQ(Table().ToString(), "");
}

TEST(TableTest, CutsAtCharacters) {
  EXPECT_EQ(CutToWidth("äöü", 3), "äöü");
  EXPECT_EQ(CutToWidth("äöüß", 3), "äö…");
  EXPECT_EQ(CutToWidth("ab", 1), "…");
  EXPECT_EQ(CutToWidth("ab", 0), "");
}

TEST(TableTest, WideAndCombiningCharactersAlign) {
  EXPECT_EQ(DisplayWidth("夜間"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);
  EXPECT_EQ(DisplayWidth("🌙"), 2);
  Table table({"NAME", "STATE"});
  table.AddRow({"夜間", "x"});
  table.AddRow({"e\u0301", "x"});
  EXPECT_EQ(table.ToString(), "NAME  STATE\n夜間  x\ne\u0301     x\n");
  EXPECT_EQ(CutToWidth("夜間作業", 5), "夜間…");
  EXPECT_EQ(CutToWidth("夜間作業", 4), "夜…");
}

TEST(TableTest, FurtherLinesStandBelowTheHeader) {
  Table table({"DISPLAY NAME", "STATE"});
  table.AddRow({"a", "x"});
  EXPECT_EQ(table.ToString(/*header=*/false), "a             x\n");
}

TEST(TimeTextTest, DurationsShowWhatMatters) {
  EXPECT_EQ(DurationText(absl::Nanoseconds(312'900)), "312us");
  EXPECT_EQ(DurationText(absl::Microseconds(12'345)), "12.3ms");
  EXPECT_EQ(DurationText(absl::Microseconds(999'999)), "999.9ms");
  EXPECT_EQ(DurationText(absl::Milliseconds(2'001)), "2.001s");
  EXPECT_EQ(DurationText(absl::Milliseconds(59'999) + absl::Microseconds(999)), "59.999s");
  EXPECT_EQ(DurationText(absl::Milliseconds(62'345)), "1m02.345s");
  EXPECT_EQ(DurationText(absl::Hours(25) + absl::Milliseconds(62'345)), "25h01m02.345s");
  EXPECT_EQ(DurationText(absl::Seconds(-1)), "0us");
}

TEST(TimeTextTest, ClockAgeAndTime) {
  EXPECT_EQ(ClockText(absl::Milliseconds(1'990)), "1.9s");
  EXPECT_EQ(ClockText(absl::Seconds(62)), "1m02s");
  EXPECT_EQ(ClockText(absl::Seconds(3'723)), "1h02m03s");
  EXPECT_EQ(AgeText(absl::Seconds(59)), "59s");
  EXPECT_EQ(AgeText(absl::Seconds(61)), "1m");
  EXPECT_EQ(AgeText(absl::Minutes(119)), "1h");
  EXPECT_EQ(AgeText(absl::Hours(49)), "2d");
  EXPECT_EQ(AgeText(absl::Seconds(-5)), "0s");
  EXPECT_EQ(TimeText(absl::FromUnixMillis(1'700'000'000'250)), "2023-11-14T22:13:20.250Z");
}

TEST(JobTextTest, TableShowsAJobInALine) {
  Jobs jobs;
  *jobs.Add() = FinishedJob();
  EXPECT_EQ(JobsTable(jobs, kNow),
            "NAME    DISPLAY NAME  STATE      KIND    PRIORITY  PROGRESS  POOL     AGE  RUN TIME  READY IN\n"
            "jobs/a  Job-1         SUCCEEDED  primes  -         100%      compute  1m   2.250s    -\n");
  EXPECT_EQ(JoinedJobsTable(jobs, kNow),
            "NAME    DISPLAY NAME  STATE      KIND    RUN TIME  RESULT\n"
            "jobs/a  Job-1         SUCCEEDED  primes  2.250s    168\n");
}

TEST(JobTextTest, JoinedTableShowsTheErrorAndCutsLongResults) {
  Jobs jobs;
  v1::Job& failed = *jobs.Add();
  failed.set_state(v1::Job::FAILED);
  failed.mutable_error()->set_message("no\x1b luck");
  v1::Job& pi = *jobs.Add();
  pi.mutable_result()->mutable_compute()->mutable_pi()->set_digits(std::string(1000, '3'));
  const std::string table = JoinedJobsTable(jobs, kNow);
  EXPECT_TRUE(absl::StrContains(table, "no\\x1b luck")) << table;
  EXPECT_TRUE(absl::StrContains(table, absl::StrCat(std::string(47, '3'), "…\n"))) << table;
}

TEST(JobTextTest, ResultOfEachKind) {
  v1::Job job;
  EXPECT_EQ(ResultText(job), "");
  job.mutable_result()->mutable_sleep()->mutable_slept()->set_seconds(2);
  EXPECT_EQ(ResultText(job), "2s");
  job.mutable_result()->mutable_noop()->set_payload("a\x1b\xff\n");
  EXPECT_EQ(ResultText(job), "a\\x1b\\xff\\n");
  v1::ComputeResult& compute = *job.mutable_result()->mutable_compute();
  compute.mutable_fibonacci()->set_digits("55");
  EXPECT_EQ(ResultText(job), "55");
  compute.mutable_hash()->set_sha256("e3b0");
  EXPECT_EQ(ResultText(job), "e3b0");
  compute.mutable_spin()->mutable_cpu_time()->set_nanos(1'500'000);
  EXPECT_EQ(ResultText(job), "1.5ms");
  v1::CommandResult& command = *job.mutable_result()->mutable_command();
  command.set_exit_status(3);
  command.set_stdout("abc");
  command.set_stderr_truncated(true);
  EXPECT_EQ(ResultText(job), "exit status 3, 3 bytes of stdout, 0 bytes and more of stderr");
  command.set_signal(9);
  EXPECT_EQ(ResultText(job), "signal 9, 3 bytes of stdout, 0 bytes and more of stderr");
}

TEST(JobTextTest, WorkAsItWasGiven) {
  v1::Job job;
  EXPECT_EQ(KindText(job), "");
  job.mutable_compute()->mutable_hash()->set_bytes(10);
  EXPECT_EQ(WorkText(job), "hash 10");
  job.mutable_compute()->mutable_hash()->set_seed(7);
  EXPECT_EQ(WorkText(job), "hash 10 --seed 7");
  EXPECT_EQ(KindText(job), "hash");
  job.mutable_sleep()->mutable_duration()->set_seconds(90);
  EXPECT_EQ(WorkText(job), "sleep 1m30s");
  job.mutable_command()->set_name("greet");
  (*job.mutable_command()->mutable_arguments())["who"] = "a\nb";
  (*job.mutable_command()->mutable_arguments())["times"] = std::string(100, 'x');
  EXPECT_EQ(WorkText(job), absl::StrCat("command greet times=", std::string(59, 'x'), "… who=a\\nb"));
  EXPECT_EQ(KindText(job), "command");
}

TEST(JobTextTest, SummaryOfARun) {
  EXPECT_EQ(RunSummary(FinishedJob(), absl::Milliseconds(2'300)),
            "job      jobs/a\nstate    SUCCEEDED\nresult   168\nelapsed  2.300s\n");
}

TEST(JobTextTest, DetailsLeaveOutWhatIsNotSet) {
  v1::Job job = FinishedJob();
  job.clear_progress();
  job.mutable_labels()->insert({"b", "2"});
  job.mutable_labels()->insert({"a", "1"});
  EXPECT_EQ(JobDetails(job),
            "name          jobs/a\n"
            "display name  Job-1\n"
            "state         SUCCEEDED\n"
            "work          primes 1000\n"
            "pool          compute\n"
            "labels        a=1 b=2\n"
            "result        168\n"
            "created       2023-11-14T22:13:20.000Z\n"
            "started       2023-11-14T22:13:21.000Z\n"
            "ended         2023-11-14T22:13:23.250Z\n");
}

TEST(JobTextTest, TableShowsWhenAJobBecomesReady) {
  Jobs jobs;
  v1::Job& job = *jobs.Add();
  job.set_name("jobs/a");
  job.set_state(v1::Job::SCHEDULED);
  job.set_priority(0);
  job.mutable_create_time()->set_seconds(1'700'000'090);
  job.mutable_ready_time()->set_seconds(1'700'000'100 + 90);
  EXPECT_EQ(JobsTable(jobs, kNow),
            "NAME    DISPLAY NAME  STATE      KIND  PRIORITY  PROGRESS  POOL  AGE  RUN TIME  READY IN\n"
            "jobs/a  -             SCHEDULED  -     0         -         -     10s  -         1m\n");
}

TEST(JobTextTest, DetailsOfAPlan) {
  v1::Job job;
  job.set_name("jobs/a");
  job.set_display_name("Job-1");
  job.set_state(v1::Job::SCHEDULED);
  job.mutable_noop();
  job.set_pool("pools/compute");
  job.set_priority(9);
  job.set_retry_of("jobs/b");
  job.mutable_timeout()->set_seconds(2);
  job.mutable_retry_policy()->set_max_attempts(3);
  job.mutable_retry_policy()->mutable_initial_backoff()->set_seconds(1);
  job.mutable_retry_policy()->mutable_max_backoff()->set_seconds(300);
  job.mutable_retry_policy()->set_multiplier(2);
  job.mutable_retry_policy()->set_jitter(0.2);
  job.mutable_schedule_time()->set_seconds(1'700'000'000);
  job.mutable_ready_time()->set_seconds(1'700'000'003);
  job.mutable_deadline_time()->set_seconds(1'700'000'060);
  v1::Attempt& attempt = *job.add_attempts();
  attempt.set_number(1);
  attempt.set_thread_display_name("Thread-1");
  attempt.set_thread("threads/9");
  attempt.mutable_start_time()->set_seconds(1'700'000'000);
  attempt.mutable_end_time()->set_seconds(1'700'000'002);
  attempt.mutable_error()->set_message("took\x1b longer");
  attempt.add_stop_steps()->set_action(v1::StopStep::ASKED);
  attempt.mutable_stop_steps(0)->mutable_time()->set_seconds(1'700'000'001);
  attempt.add_stop_steps()->set_action(v1::StopStep::ABANDONED);
  attempt.mutable_stop_steps(1)->mutable_time()->set_seconds(1'700'000'002);
  job.set_etag("e-1");
  EXPECT_EQ(JobDetails(job),
            "name           jobs/a\n"
            "display name   Job-1\n"
            "state          SCHEDULED\n"
            "work           noop\n"
            "pool           compute\n"
            "priority       9\n"
            "retry of       jobs/b\n"
            "timeout        2s\n"
            "retries        up to 3 attempts, backoff 1s to 5m, times 2, jitter 0.2\n"
            "scheduled for  2023-11-14T22:13:20.000Z\n"
            "ready          2023-11-14T22:13:23.000Z\n"
            "deadline       2023-11-14T22:14:20.000Z\n"
            "attempt 1      Thread-1 (threads/9, tid 0, pid 0) 2023-11-14T22:13:20.000Z for 2.000s, "
            "ASKED 2023-11-14T22:13:21.000Z, ABANDONED 2023-11-14T22:13:22.000Z: took\\x1b longer\n"
            "etag           e-1\n");
}

TEST(JobTextTest, SummaryCountsAttemptsWhereThereAreSeveral) {
  v1::Job job = FinishedJob();
  job.add_attempts();
  EXPECT_FALSE(absl::StrContains(RunSummary(job, absl::Seconds(1)), "attempts"));
  job.add_attempts();
  EXPECT_TRUE(absl::StrContains(RunSummary(job, absl::Seconds(1)), "\nattempts  2\n"));
}

TEST(ExplanationTextTest, LeavesOutWhatIsNotSaid) {
  v1::ExplainJobResponse explanation;
  explanation.set_name("jobs/a");
  explanation.set_state(v1::Job::RUNNING);
  explanation.set_explanation("It runs\x1b.");
  EXPECT_EQ(ExplanationText(explanation, kNow),
            "name         jobs/a\nstate        RUNNING\nexplanation  It runs\\x1b.\n");
  explanation.set_state(v1::Job::QUEUED);
  explanation.set_wait(v1::ExplainJobResponse::WORKERS);
  explanation.set_place(3);
  explanation.mutable_estimated_start_time()->set_seconds(1'700'000'130);
  explanation.set_basis("its place");
  explanation.set_drain_rate(0.123456);
  EXPECT_EQ(ExplanationText(explanation, kNow),
            "name          jobs/a\n"
            "state         QUEUED\n"
            "waits for     WORKERS\n"
            "explanation   It runs\\x1b.\n"
            "place         3\n"
            "should start  2023-11-14T22:15:30.000Z (in 30s)\n"
            "basis         its place\n"
            "measured      0.123 starts per second\n");
}

TEST(ThreadTextTest, TableShowsOsThreadsBelow) {
  v1::ListThreadsResponse response;
  v1::Thread& thread = *response.add_threads();
  thread.set_name("threads/1");
  thread.set_display_name("MainThread");
  thread.set_role(v1::Thread::MAIN);
  thread.set_state(v1::Thread::IDLE);
  thread.set_os_thread_id(42);
  thread.set_native_name("jobpoold");
  thread.mutable_start_time()->set_seconds(1'700'000'000);
  const std::string table =
      "NAME       DISPLAY NAME  ROLE  STATE  POOL  JOB  TID  NATIVE NAME  CPU TIME  JOBS RUN  AGE\n"
      "threads/1  MainThread    MAIN  IDLE   -     -    42   jobpoold     0us       0         1m\n";
  EXPECT_EQ(ThreadsTable(response, kNow), table);
  response.add_os_threads()->set_os_thread_id(43);
  EXPECT_EQ(ThreadsTable(response, kNow),
            absl::StrCat(table, "\nOS THREAD  NATIVE NAME  CPU TIME\n43         -            0us\n"));
}

v1::Pool DrainingPool() {
  v1::Pool pool;
  pool.set_name("pools/blocking");
  pool.set_state(v1::Pool::DRAINING);
  pool.set_max_threads(256);
  pool.set_threads(3);
  pool.set_retiring_threads(2);
  pool.set_running_jobs(4);
  pool.set_queued_jobs(5);
  pool.set_scheduled_jobs(6);
  pool.set_max_queued_jobs(1000);
  pool.mutable_idle_timeout()->set_seconds(10);
  return pool;
}

TEST(PoolTextTest, Table) {
  v1::ListPoolsResponse response;
  *response.add_pools() = DrainingPool();
  EXPECT_EQ(
      PoolsTable(response),
      "NAME            STATE     THREADS  IDLE  RETIRING  MIN  MAX  RUNNING  QUEUED  SCHEDULED  MAX QUEUED  "
      "IDLE TIMEOUT\n"
      "pools/blocking  DRAINING  3        0     2         0    256  4        5       6          1000        "
      "10s\n");
}

TEST(PoolTextTest, Details) {
  v1::Pool pool = DrainingPool();
  pool.set_max_starts_per_second(2.5);
  pool.mutable_stop_grace()->set_seconds(5);
  EXPECT_EQ(PoolDetails(pool),
            "name                pools/blocking\n"
            "state               DRAINING\n"
            "threads             3 (0 idle, 2 retiring), 0 to 256\n"
            "idle timeout        10s\n"
            "running jobs        4\n"
            "queued jobs         5 and 6 scheduled, of at most 1000\n"
            "starts per second   at most 2.5\n"
            "submits per second  any number\n"
            "stop grace          5s\n");
}

TEST(ProgressBarTest, BarFollowsTheRatio) {
  v1::Job job;
  job.set_state(v1::Job::RUNNING);
  job.mutable_progress()->set_ratio(0.5);
  job.mutable_progress()->set_message("second\x1b half");
  EXPECT_EQ(BarLine(job, absl::Milliseconds(1'200), 80),
            "[############------------]  50%  1.2s  second\\x1b half");
  job.mutable_progress()->set_ratio(7);
  job.mutable_progress()->clear_message();
  EXPECT_EQ(BarLine(job, absl::Milliseconds(1'200), 80), "[########################] 100%  1.2s");
}

TEST(ProgressBarTest, NarrowTerminalsGetLess) {
  v1::Job job;
  job.mutable_progress()->set_ratio(0.5);
  job.mutable_progress()->set_message("second half");
  EXPECT_EQ(BarLine(job, absl::Seconds(1), 40), " 50%  1.0s  second half");
  EXPECT_EQ(BarLine(job, absl::Seconds(1), 16), " 50%  1.0s  se…");
  EXPECT_EQ(BarLine(job, absl::Seconds(1), 0), "");
}

TEST(ProgressBarTest, WithoutProgressTheStateStandsForIt) {
  v1::Job job;
  job.set_name("jobs/a");
  job.set_state(v1::Job::QUEUED);
  EXPECT_EQ(BarLine(job, absl::Seconds(1), 80), "QUEUED  1.0s");
  EXPECT_EQ(PlainLine(job, absl::Seconds(1)), "jobs/a: QUEUED after 1.0s");
}

TEST(ProgressBarTest, PlainLineTellsTheProgressWhileItRuns) {
  v1::Job job = FinishedJob();
  EXPECT_EQ(PlainLine(job, absl::Milliseconds(2'300)), "jobs/a: SUCCEEDED after 2.300s");
  job.set_state(v1::Job::RUNNING);
  job.mutable_progress()->set_ratio(0.25);
  job.mutable_progress()->set_message("counting");
  EXPECT_EQ(PlainLine(job, absl::Seconds(2)), "jobs/a: RUNNING 25% after 2.0s: counting");
}

TEST(JsonTest, IsCanonicalProto3) {
  v1::WaitJobsResponse response;
  v1::Job& job = *response.add_jobs();
  job.set_name("jobs/a");
  job.mutable_compute()->mutable_primes()->set_limit(5);
  job.mutable_noop()->set_payload("hi");
  response.set_timed_out(false);
  const auto json = ToJson(response);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(*json,
            "{\n \"jobs\": [\n  {\n   \"name\": \"jobs/a\",\n   \"noop\": {\n    \"payload\": \"aGk=\"\n   "
            "}\n  }\n ],\n"
            " \"timedOut\": false\n}\n");
}

TEST(JsonTest, OutputFormats) {
  EXPECT_EQ(ParseOutputFormat("table"), OutputFormat::kTable);
  EXPECT_EQ(ParseOutputFormat("json"), OutputFormat::kJson);
  EXPECT_EQ(ParseOutputFormat("name"), OutputFormat::kName);
}

}  // namespace
}  // namespace jobpool::cli
