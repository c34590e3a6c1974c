// The commands from the command line to the server and back, against a server in
// this process that answers as it is told.

#include <map>
#include <memory>
#include <mutex>
#include <signal.h>
#include <string>
#include <vector>

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/app.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "jobpool/v1/thread_service.grpc.pb.h"
#include "tests/support/fake_server.h"
#include "tests/support/run_cli.h"

namespace jobpool::cli {
namespace {

grpc::Status Refusal(grpc::StatusCode code, const std::string& message,
                     const google::protobuf::Message& detail) {
  google::rpc::Status status;
  status.add_details()->PackFrom(detail);
  return grpc::Status(code, message, status.SerializeAsString());
}

grpc::Status NotFound(const std::string& name) {
  google::rpc::ResourceInfo info;
  return Refusal(grpc::StatusCode::NOT_FOUND, absl::StrCat("no job ", name), info);
}

/// Jobs do not run: they are in the state that the test gives them.
class FakeJobs : public v1::JobService::Service {
 public:
  grpc::Status SubmitJob(grpc::ServerContext*, const v1::SubmitJobRequest* request, v1::Job* job) override {
    const std::lock_guard lock(mu);
    if (!refusal.ok()) return refusal;
    *job = request->job();
    job->set_name("jobs/a");
    job->set_state(submitted_as);
    if (submitted_as == v1::Job::SUCCEEDED) job->mutable_result()->mutable_noop()->set_payload("hi\x1b");
    if (submitted_as == v1::Job::FAILED) job->mutable_error()->set_message("no\x1b luck");
    jobs[job->name()] = *job;
    return grpc::Status::OK;
  }

  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::Job* job) override {
    const std::lock_guard lock(mu);
    if (!jobs.contains(request->name())) return NotFound(request->name());
    *job = jobs[request->name()];
    return grpc::Status::OK;
  }

  grpc::Status WaitJobs(grpc::ServerContext*, const v1::WaitJobsRequest* request,
                        v1::WaitJobsResponse* response) override {
    const std::lock_guard lock(mu);
    if (raise_once != 0) raise(std::exchange(raise_once, 0));
    if (refused_waits-- > 0) {
      google::rpc::RetryInfo retry;
      return Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "too many waits", retry);
    }
    size_t ended = 0;
    for (const std::string& name : request->names()) {
      if (!jobs.contains(name)) return NotFound(name);
      *response->add_jobs() = jobs[name];
      if (jobs[name].state() >= v1::Job::SUCCEEDED) ++ended;
    }
    const size_t needed = request->mode() == v1::WaitJobsRequest::ANY ? 1 : jobs.size();
    response->set_timed_out(ended < needed);
    return grpc::Status::OK;
  }

  grpc::Status CancelJob(grpc::ServerContext*, const v1::CancelJobRequest* request, v1::Job* job) override {
    const std::lock_guard lock(mu);
    if (request->name() == ended_meanwhile) {
      return Refusal(grpc::StatusCode::FAILED_PRECONDITION, "has ended", google::rpc::PreconditionFailure());
    }
    jobs[request->name()].set_state(v1::Job::CANCELLED);
    *job = jobs[request->name()];
    return grpc::Status::OK;
  }

  /// Each call tells what the test gave for it, and ends as that says.
  grpc::Status WatchJobs(grpc::ServerContext*, const v1::WatchJobsRequest* request,
                         grpc::ServerWriter<v1::WatchJobsResponse>* writer) override {
    const std::lock_guard lock(mu);
    watch_requests.push_back(*request);
    if (watches.empty()) return NotFound("jobs/none");
    const auto [messages, status] = watches.front();
    watches.erase(watches.begin());
    for (const v1::WatchJobsResponse& message : messages) writer->Write(message);
    return status;
  }

  /// Three pages of one job each.
  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    filter = request->filter();
    order_by = request->order_by();
    const int page = request->page_token().empty() ? 1 : request->page_token()[0] - '0';
    response->add_jobs()->set_name(absl::StrCat("jobs/", page));
    if (page < 3) response->set_next_page_token(absl::StrCat(page + 1));
    return grpc::Status::OK;
  }

  void Add(const std::string& name, v1::Job::State state) {
    jobs[name].set_name(name);
    jobs[name].set_state(state);
  }

  std::mutex mu;
  // Guarded by mu while the server runs a call.
  std::map<std::string, v1::Job> jobs;
  v1::Job::State submitted_as = v1::Job::SUCCEEDED;
  grpc::Status refusal;         // of SubmitJob
  int refused_waits = 0;        // how many WaitJobs are refused first
  std::string filter;           // of the last ListJobs
  std::string order_by;         // of the last ListJobs
  std::string ended_meanwhile;  // a job that CancelJob finds ended
  std::vector<std::pair<std::vector<v1::WatchJobsResponse>, grpc::Status>> watches;
  std::vector<v1::WatchJobsRequest> watch_requests;
  int raise_once = 0;  // a signal that comes during WaitJobs
};

class CommandsTest : public testing::Test {
 protected:
  /// Runs the CLI; what it printed is in out_ and err_.
  ExitStatus Run(const std::vector<std::string>& arguments) {
    CliRun run = RunCli(server_.address(), arguments);
    out_ = std::move(run.out);
    err_ = std::move(run.err);
    return run.status;
  }

  FakeJobs jobs_;
  FakeServer server_{&jobs_};
  std::string out_;
  std::string err_;
};

TEST_F(CommandsTest, RunPrintsTheResultEscaped) {
  EXPECT_EQ(Run({"run", "noop", "--payload", "hi"}), ExitStatus::kDone);
  EXPECT_TRUE(absl::StartsWith(out_, "job      jobs/a\nstate    SUCCEEDED\nresult   hi\\x1b\nelapsed  "))
      << out_;
  EXPECT_TRUE(absl::StrContains(err_, "jobs/a: SUCCEEDED after ")) << err_;
}

TEST_F(CommandsTest, RunOfAJobThatFails) {
  jobs_.submitted_as = v1::Job::FAILED;
  EXPECT_EQ(Run({"run", "noop", "-o", "name"}), ExitStatus::kJobFailed);
  EXPECT_EQ(out_, "jobs/a\n");
  EXPECT_TRUE(absl::StrContains(err_, "error: jobs/a FAILED: no\\x1b luck\n")) << err_;
}

TEST_F(CommandsTest, RunWaitsThroughRefusedWaits) {
  jobs_.refused_waits = 2;
  EXPECT_EQ(Run({"run", "noop"}), ExitStatus::kDone);
}

TEST_F(CommandsTest, AnInterruptedRunCancelsItsJob) {
  jobs_.submitted_as = v1::Job::RUNNING;
  jobs_.raise_once = SIGTERM;
  EXPECT_EQ(Run({"run", "sleep", "1h"}), ExitStatus::kInterrupted);
  EXPECT_EQ(jobs_.jobs["jobs/a"].state(), v1::Job::CANCELLED);
  EXPECT_TRUE(absl::StrContains(out_, "state    CANCELLED\n")) << out_;
}

TEST_F(CommandsTest, ViolationsAreShownAndAreUsage) {
  google::rpc::BadRequest bad_request;
  bad_request.add_field_violations()->set_field("job.sleep.duration");
  bad_request.mutable_field_violations(0)->set_description("must be 0 to 7 days");
  jobs_.refusal = Refusal(grpc::StatusCode::INVALID_ARGUMENT, "bad request", bad_request);
  EXPECT_EQ(Run({"submit", "sleep", "8000h"}), ExitStatus::kUsage);
  EXPECT_EQ(err_, "error: bad request\n  job.sleep.duration: must be 0 to 7 days\n");
  EXPECT_EQ(out_, "");
}

TEST_F(CommandsTest, BadArgumentsDoNotReachTheServer) {
  EXPECT_EQ(Run({"run", "primes", "many"}), ExitStatus::kUsage);
  EXPECT_EQ(
      err_,
      "error: primes: 'many' is not a whole number; it must be 0 to 10^12\nTry 'jobpool run --help'.\n");
  EXPECT_TRUE(jobs_.jobs.empty());
}

TEST_F(CommandsTest, SubmitPrintsTheName) {
  EXPECT_EQ(Run({"submit", "noop"}), ExitStatus::kDone);
  EXPECT_EQ(out_, "jobs/a\n");
}

TEST_F(CommandsTest, ALabelTakesOneValueAndLeavesTheKind) {
  EXPECT_EQ(Run({"submit", "--label", "a=b", "--label", "c=d", "sleep", "2s"}), ExitStatus::kDone);
  EXPECT_EQ(jobs_.jobs["jobs/a"].sleep().duration().seconds(), 2);
  EXPECT_EQ(jobs_.jobs["jobs/a"].labels_size(), 2);
}

TEST_F(CommandsTest, WaitTellsHowItWent) {
  jobs_.Add("jobs/good", v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"wait", "good"}), ExitStatus::kDone);
  jobs_.Add("jobs/bad", v1::Job::FAILED);
  EXPECT_EQ(Run({"wait", "jobs/good", "bad"}), ExitStatus::kJobFailed);
  EXPECT_EQ(Run({"wait", "--any", "good", "bad"}), ExitStatus::kDone);
  EXPECT_EQ(Run({"join", "--any", "bad"}), ExitStatus::kJobFailed);
  EXPECT_EQ(Run({"wait", "good", "unknown"}), ExitStatus::kNotFound);
}

v1::WatchJobsResponse Told(v1::JobEvent::Type type, v1::Job::State state, const std::string& token) {
  v1::WatchJobsResponse message;
  v1::JobEvent* const event = message.add_events();
  event->set_type(type);
  event->mutable_job()->set_name("jobs/a");
  event->mutable_job()->set_state(state);
  message.set_resume_token(token);
  return message;
}

TEST_F(CommandsTest, AWatchGoesOnWhereItBroke) {
  v1::WatchJobsResponse half = Told(v1::JobEvent::PROGRESS, v1::Job::RUNNING, "");
  half.mutable_events(0)->mutable_job()->mutable_progress()->set_ratio(0.5);
  half.mutable_events(0)->mutable_job()->mutable_progress()->set_message("half\x1b");
  google::rpc::RetryInfo retry;
  jobs_.watches = {
      {{Told(v1::JobEvent::INITIAL, v1::Job::QUEUED, "1"), half}, {grpc::StatusCode::UNAVAILABLE, "gone"}},
      {{Told(v1::JobEvent::CHANGED, v1::Job::RUNNING, "2")},
       Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "too slow", retry)},
      {{}, {grpc::StatusCode::OUT_OF_RANGE, "expired"}},
      {{Told(v1::JobEvent::ENDED, v1::Job::SUCCEEDED, "3")}, grpc::Status::OK}};
  EXPECT_EQ(Run({"watch", "a"}), ExitStatus::kDone);
  std::vector<std::string> tokens;
  for (const v1::WatchJobsRequest& request : jobs_.watch_requests) {
    EXPECT_EQ(request.names(0), "jobs/a");
    tokens.push_back(request.resume_token());
  }
  EXPECT_EQ(tokens, (std::vector<std::string>{"", "1", "2", ""}));
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(out_, '\n', absl::SkipEmpty())) {
    lines.emplace_back(line.substr(line.find(' ') + 1));
  }
  EXPECT_EQ(lines, (std::vector<std::string>{"jobs/a QUEUED", "jobs/a RUNNING 50% half\\x1b",
                                             "jobs/a RUNNING", "jobs/a SUCCEEDED"}));
  EXPECT_TRUE(absl::StrContains(err_, "starting again")) << err_;
}

TEST_F(CommandsTest, AWatchTellsHowItWent) {
  jobs_.watches = {{{Told(v1::JobEvent::ENDED, v1::Job::FAILED, "1")}, grpc::Status::OK}};
  EXPECT_EQ(Run({"jobs", "watch", "a", "-o", "name"}), ExitStatus::kJobFailed);
  EXPECT_EQ(out_, "jobs/a\n");
  jobs_.watches = {{{Told(v1::JobEvent::ENDED, v1::Job::SUCCEEDED, "1")}, grpc::Status::OK}};
  EXPECT_EQ(Run({"watch", "a", "-o", "json"}), ExitStatus::kDone);
  EXPECT_TRUE(absl::StrContains(out_, "\"ENDED\"")) << out_;
  EXPECT_EQ(Run({"watch", "none"}), ExitStatus::kNotFound);
  jobs_.watches = {{{}, {grpc::StatusCode::UNAVAILABLE, "gone"}}};
  EXPECT_EQ(Run({"watch", "--filter", "state = RUNNING"}), ExitStatus::kRefused) << "it had not begun";
  EXPECT_EQ(jobs_.watch_requests.back().filter(), "state = RUNNING");
}

TEST_F(CommandsTest, AWaitRunsOut) {
  jobs_.Add("jobs/good", v1::Job::SUCCEEDED);
  jobs_.Add("jobs/slow", v1::Job::RUNNING);
  EXPECT_EQ(Run({"wait", "good", "slow", "--timeout", "0"}), ExitStatus::kTimeout);
  EXPECT_EQ(err_, "error: the wait ran out; 1 of 2 jobs have not ended\n");
  EXPECT_EQ(Run({"-o", "name", "wait", "--any", "good", "slow"}), ExitStatus::kDone);
  EXPECT_EQ(out_, "jobs/good\n");
  EXPECT_EQ(Run({"wait", "slow", "--timeout=-1s"}), ExitStatus::kUsage);
}

TEST_F(CommandsTest, GoesOnAfterAnUnknownName) {
  jobs_.Add("jobs/good", v1::Job::SUCCEEDED);
  EXPECT_EQ(Run({"-o", "name", "jobs", "get", "unknown", "good"}), ExitStatus::kNotFound);
  EXPECT_EQ(out_, "jobs/good\n");
  EXPECT_EQ(err_, "error: no job jobs/unknown\n");
}

TEST_F(CommandsTest, ListFollowsThePages) {
  EXPECT_EQ(Run({"-o", "name", "jobs", "list", "--all"}), ExitStatus::kDone);
  EXPECT_EQ(out_, "jobs/1\njobs/2\njobs/3\n");
  EXPECT_EQ(Run({"-o", "name", "jobs", "list", "--page-token", "3"}), ExitStatus::kDone);
  EXPECT_EQ(out_, "jobs/3\n");
  EXPECT_EQ(Run({"-o", "json", "jobs", "list", "--all"}), ExitStatus::kDone);
  EXPECT_FALSE(absl::StrContains(out_, "nextPageToken")) << out_;
  EXPECT_EQ(Run({"jobs"}), ExitStatus::kDone);
  EXPECT_EQ(err_, "more: --all, or --page-token '2'\n");
}

TEST_F(CommandsTest, EachPageIsAskedForWithTheFilter) {
  EXPECT_EQ(Run({"jobs", "list", "--all", "--filter", "state = RUNNING", "--order-by", "priority desc"}),
            ExitStatus::kDone);
  EXPECT_EQ(jobs_.filter, "state = RUNNING");
  EXPECT_EQ(jobs_.order_by, "priority desc");
}

TEST_F(CommandsTest, CancelAllPassesOverAJobThatEnds) {
  jobs_.ended_meanwhile = "jobs/2";
  EXPECT_EQ(Run({"jobs", "cancel", "--all"}), ExitStatus::kDone);
  EXPECT_EQ(out_, "asked 2 jobs to end\n");
  EXPECT_EQ(err_, "");
  EXPECT_EQ(jobs_.jobs["jobs/3"].state(), v1::Job::CANCELLED);
  EXPECT_EQ(Run({"jobs", "delete", "--all"}), ExitStatus::kDone);  // none of them has ended
  EXPECT_EQ(out_, "deleted 0 jobs\n");
}

TEST_F(CommandsTest, AServerThatIsGone) {
  server_.Stop();
  EXPECT_EQ(Run({"threads"}), ExitStatus::kRefused);
  EXPECT_EQ(err_, absl::StrCat("error: cannot reach ", server_.address(), ": Connection refused\n"));
}

}  // namespace
}  // namespace jobpool::cli
