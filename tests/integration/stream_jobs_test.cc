#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/rpc/error_details.pb.h"
#include "server/job/bounds.h"
#include "tests/integration/mini_server.h"
#include "tests/support/eventually.h"

namespace jobpool::testing {
namespace {

using Answer = v1::StreamJobsResponse::Entry;

/// One call of StreamJobs; cancelled, if it is still open, when it goes.
struct Stream {
  explicit Stream(v1::JobService::Stub& stub, std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
    context.set_deadline(std::chrono::system_clock::now() + timeout);  // a stuck test ends
    stream = stub.StreamJobs(&context);
  }
  ~Stream() { context.TryCancel(); }

  /// Waits for the next answer; false: there is none any more.
  bool Read(Answer& answer) {
    while (next == message.entries_size()) {
      next = 0;
      message.Clear();
      if (!stream->Read(&message)) return false;
      EXPECT_GE(message.entries_size(), 1);
      EXPECT_LE(message.entries_size(), kMaxStreamEntries);
    }
    answer = message.entries(next++);
    return true;
  }

  Answer Next() {
    Answer answer;
    EXPECT_TRUE(Read(answer)) << "no further answer: " << stream->Finish().error_message();
    return answer;
  }

  /// The next `count` answers, by their tags.
  std::map<uint64_t, Answer> Next(int count) {
    std::map<uint64_t, Answer> answers;
    for (int i = 0; i < count; ++i) {
      const Answer answer = Next();
      answers.emplace(answer.tag(), answer);
    }
    return answers;
  }

  /// Every answer up to the end, by its tag; fails if one comes twice, or the end is not OK.
  std::map<uint64_t, Answer> ReadAll() {
    std::map<uint64_t, Answer> answers;
    for (Answer answer; Read(answer);) {
      EXPECT_TRUE(answers.emplace(answer.tag(), answer).second) << answer.tag() << " is answered twice";
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return answers;
  }

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StreamJobsRequest, v1::StreamJobsResponse>> stream;
  v1::StreamJobsResponse message;
  int next = 0;
};

v1::SubmitJobRequest* Add(v1::StreamJobsRequest& message, uint64_t tag, const v1::Job& job,
                          bool detach = false) {
  v1::StreamJobsRequest::Entry* const entry = message.add_entries();
  entry->set_tag(tag);
  entry->set_detach(detach);
  *entry->mutable_request()->mutable_job() = job;
  return entry->mutable_request();
}

std::string FirstField(const google::rpc::Status& status) {
  google::rpc::BadRequest violations;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&violations)) return violations.field_violations(0).field();
  }
  return "";
}

class StreamJobsTest : public MiniServer {
 protected:
  explicit StreamJobsTest(ConfigFile file = ConfigFile::Default()) : MiniServer(std::move(file)) {}

  static v1::Job InMemory(v1::Job job) {
    job.set_durability(v1::Job::MEMORY);
    return job;
  }

  /// `count` no-ops with tags from `first` on.
  static v1::StreamJobsRequest Noops(uint64_t first, int count, const std::string& payload = "") {
    v1::StreamJobsRequest message;
    for (int i = 0; i < count; ++i) Add(message, first + static_cast<uint64_t>(i), InMemory(Noop(payload)));
    return message;
  }

  /// Of a caller whose own gRPC takes no more ahead than 64 KiB; else it may be tens of MiB.
  std::unique_ptr<v1::JobService::Stub> SmallWindow() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    return v1::JobService::NewStub(NewChannel(std::move(arguments)));
  }

  int64_t QueuedIn(const std::string& pool) {
    grpc::ClientContext context;
    v1::GetPoolRequest request;
    request.set_name(pool);
    v1::Pool answer;
    EXPECT_TRUE(pools_->GetPool(&context, request, &answer).ok());
    return answer.queued_jobs();
  }

  /// Calls `value` until it has given the same 200 times in a row, and returns it: by then whoever was not
  /// held up has gone on.
  template <typename Value>
  static int64_t Settled(Value value) {
    int64_t last = value();
    for (int same = 0; same < 200;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const int64_t now = value();
      same = now == last ? same + 1 : 0;
      last = now;
    }
    return last;
  }
};

TEST_F(StreamJobsTest, EveryEntryIsAnsweredUnderItsTag) {
  Stream call(*jobs_);
  for (uint64_t message = 0; message < 3; ++message) {
    v1::StreamJobsRequest request;
    for (uint64_t i = 0; i < 100; ++i) {  // some are kept on disk
      const uint64_t tag = 1000 * message + i;
      const v1::Job job = Noop(absl::StrCat(tag));
      Add(request, tag, i % 2 == 0 ? job : InMemory(job));
    }
    ASSERT_TRUE(call.stream->Write(request));
  }
  call.stream->WritesDone();
  const std::map<uint64_t, Answer> answers = call.ReadAll();
  EXPECT_EQ(answers.size(), 300u);
  for (const auto& [tag, answer] : answers) {
    EXPECT_EQ(answer.job().state(), v1::Job::SUCCEEDED);
    EXPECT_EQ(answer.job().result().noop().payload(), absl::StrCat(tag));
    EXPECT_EQ(answer.job().durability(), tag % 2 == 0 ? v1::Job::DISK : v1::Job::MEMORY);
  }
  const v1::Job& one = answers.at(1002).job();
  EXPECT_EQ(Get(one.name()).SerializeAsString(), one.SerializeAsString());
}

TEST_F(StreamJobsTest, AnswersComeInTheOrderOfTheEnds) {
  const auto stub = SmallWindow();
  Stream call(*stub);
  v1::StreamJobsRequest request;
  for (const uint64_t tag : {1, 2, 3, 4}) Add(request, tag, Sleep(3600))->set_job_id(absl::StrCat("s", tag));
  ASSERT_TRUE(call.stream->Write(request));
  // More than is written before the caller reads: what ends from here on has to wait, and comes together.
  constexpr int kLarge = 8;
  ASSERT_TRUE(call.stream->Write(Noops(100, kLarge, std::string(64 << 10, 'x'))));
  call.stream->WritesDone();  // it goes on until they have ended
  for (const int tag : {1, 2, 3, 4}) {
    EXPECT_TRUE(Eventually([&, name = absl::StrCat("jobs/s", tag)] {
      grpc::ClientContext context;
      v1::GetJobRequest get;
      get.set_name(name);
      v1::Job job;
      return jobs_->GetJob(&context, get, &job).ok() && job.state() == v1::Job::RUNNING;
    }));
  }
  for (const uint64_t tag : {3, 1, 4}) {
    const std::string name = absl::StrCat("jobs/s", tag);
    EXPECT_TRUE(Cancel(name).ok());
    Wait(name);
  }
  std::vector<uint64_t> tags;
  for (int i = 0; i < kLarge + 3; ++i) {
    const uint64_t tag = call.Next().tag();
    if (tag < 100) tags.push_back(tag);
  }
  EXPECT_EQ(tags, (std::vector<uint64_t>{3, 1, 4}));
  EXPECT_TRUE(Cancel("jobs/s2").ok());
  const Answer last = call.Next();
  EXPECT_EQ(last.tag(), 2u);
  EXPECT_EQ(last.job().state(), v1::Job::CANCELLED);
  EXPECT_TRUE(call.ReadAll().empty());
}

TEST_F(StreamJobsTest, RefusalsComeUnderTheirTagsBesideJobs) {
  Stream call(*jobs_);
  v1::StreamJobsRequest request;
  v1::Job elsewhere = Noop();
  elsewhere.set_pool("pools/none");
  v1::Job late = Noop();
  late.mutable_deadline_time()->set_seconds(1);
  Add(request, 0, Noop());
  Add(request, 1, Sleep(-1));
  Add(request, 2, elsewhere);
  Add(request, 3, Noop())->set_job_id("twin");
  Add(request, 4, Noop())->set_job_id("twin");
  request.add_entries()->set_tag(5);
  Add(request, 6, late);
  Add(request, 7, Noop())->set_validate_only(true);
  Add(request, 8, Noop())->set_request_id("x");
  Add(request, 9, Noop());
  ASSERT_TRUE(call.stream->Write(request));
  call.stream->WritesDone();
  const std::map<uint64_t, Answer> answers = call.ReadAll();
  ASSERT_EQ(answers.size(), 10u);
  for (const uint64_t tag : {0, 3, 9}) EXPECT_EQ(answers.at(tag).job().state(), v1::Job::SUCCEEDED) << tag;
  const auto expect = [&](uint64_t tag, int code, v1::ErrorReason reason, const std::string& field) {
    const google::rpc::Status& error = answers.at(tag).error();
    EXPECT_EQ(error.code(), code) << tag;
    EXPECT_EQ(ReasonOf(error), reason) << tag;
    EXPECT_EQ(FirstField(error), field) << tag;
  };
  expect(1, grpc::INVALID_ARGUMENT, v1::INVALID_FIELD, "entries[1].request.job.sleep.duration");
  expect(2, grpc::NOT_FOUND, v1::POOL_NOT_FOUND, "");
  expect(4, grpc::ALREADY_EXISTS, v1::JOB_EXISTS, "");
  expect(5, grpc::INVALID_ARGUMENT, v1::INVALID_FIELD, "entries[5].request.job");
  expect(6, grpc::INVALID_ARGUMENT, v1::INVALID_FIELD, "entries[6].request.job.deadline_time");
  expect(7, grpc::INVALID_ARGUMENT, v1::INVALID_FIELD, "entries[7].request.validate_only");
  expect(8, grpc::INVALID_ARGUMENT, v1::INVALID_FIELD, "entries[8].request.request_id");
}

TEST_F(StreamJobsTest, AMessageOfRefusalsAloneIsAnsweredToo) {
  Stream call(*jobs_);
  v1::StreamJobsRequest request;
  Add(request, 1, Sleep(-1));
  ASSERT_TRUE(call.stream->Write(request));
  EXPECT_EQ(ReasonOf(call.Next().error()), v1::INVALID_FIELD);
  request.Clear();
  v1::Job elsewhere = Noop();
  elsewhere.set_pool("pools/none");
  Add(request, 2, elsewhere);
  ASSERT_TRUE(call.stream->Write(request));
  EXPECT_EQ(ReasonOf(call.Next().error()), v1::POOL_NOT_FOUND);
  ASSERT_TRUE(call.stream->Write(Noops(3, 1)));
  EXPECT_EQ(call.Next().job().state(), v1::Job::SUCCEEDED);
}

TEST_F(StreamJobsTest, TheSameRequestIsTheSameJob) {
  const std::string id = "6f1d3c52-8a40-4c1e-9d5b-0e7a2b3c4d5e";
  Stream call(*jobs_);
  v1::StreamJobsRequest request;
  Add(request, 1, Noop("a"))->set_request_id(id);
  Add(request, 2, Noop("a"))->set_request_id(id);
  Add(request, 3, Noop("b"))->set_request_id(id);
  ASSERT_TRUE(call.stream->Write(request));
  std::map<uint64_t, Answer> answers = call.Next(3);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[1].job().state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(answers[1].job().SerializeAsString(), answers[2].job().SerializeAsString());
  EXPECT_EQ(ReasonOf(answers[3].error()), v1::REQUEST_ID_REUSED);
  // It has ended by now.
  request.Clear();
  Add(request, 4, Noop("a"))->set_request_id(id);
  ASSERT_TRUE(call.stream->Write(request));
  EXPECT_EQ(call.Next().job().name(), answers[1].job().name());
}

// Two messages on their way; ends the call early, and returns what that does to the jobs.
class StreamJobsBreakTest : public StreamJobsTest {
 protected:
  void Begin(Stream& call) {
    v1::Job later = Noop();
    later.mutable_schedule_time()->set_seconds(absl::ToUnixSeconds(absl::Now() + absl::Hours(1)));
    v1::StreamJobsRequest request;
    Add(request, 1, Sleep(3600))->set_job_id("mine");
    Add(request, 2, later)->set_job_id("later");
    ASSERT_TRUE(call.stream->Write(request));
    request.Clear();
    Add(request, 3, Sleep(3600), /*detach=*/true)->set_job_id("kept");
    Add(request, 4, Noop());
    ASSERT_TRUE(call.stream->Write(request));
    EXPECT_EQ(call.Next().tag(), 4u);  // so the others are there
    AwaitRunning("jobs/mine");
    AwaitRunning("jobs/kept");
  }

  void ExpectAbandoned() {
    EXPECT_EQ(ReasonOf(Wait("jobs/mine").error()), v1::CALLER_GONE);
    EXPECT_EQ(ReasonOf(Wait("jobs/later").error()), v1::CALLER_GONE);
    EXPECT_EQ(Get("jobs/kept").state(), v1::Job::RUNNING);
    EXPECT_TRUE(Cancel("jobs/kept").ok());
  }
};

TEST_F(StreamJobsBreakTest, CancelsTheJobsWithTheCallButForDetachedOnes) {
  Stream call(*jobs_);
  Begin(call);
  call.context.TryCancel();
  EXPECT_EQ(call.stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  ExpectAbandoned();
}

TEST_F(StreamJobsBreakTest, CancelsTheJobsAtTheCallsDeadline) {
  Stream call(*jobs_, std::chrono::seconds(1));
  Begin(call);
  EXPECT_EQ(call.stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ExpectAbandoned();
}

TEST_F(StreamJobsBreakTest, AnErrorOfTheCallCancelsTheJobsToo) {
  Stream call(*jobs_);
  Begin(call);
  ASSERT_TRUE(call.stream->Write(Noops(0, kMaxStreamEntries + 1)));
  Answer answer;
  EXPECT_FALSE(call.Read(answer));
  const grpc::Status status = call.stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FirstField(Details(status)), "entries");
  ExpectAbandoned();
}

TEST_F(StreamJobsBreakTest, ADuplicateBelongsToTheFirstCall) {
  const std::string id = "6f1d3c52-8a40-4c1e-9d5b-0e7a2b3c4d5e";
  v1::StreamJobsRequest request;
  v1::SubmitJobRequest* const asked = Add(request, 1, Sleep(3600));
  asked->set_job_id("mine");
  asked->set_request_id(id);
  Add(request, 2, Noop());
  Stream first(*jobs_);
  ASSERT_TRUE(first.stream->Write(request));
  EXPECT_EQ(first.Next().tag(), 2u);
  AwaitRunning("jobs/mine");
  {
    Stream second(*jobs_);
    ASSERT_TRUE(second.stream->Write(request));
    EXPECT_EQ(second.Next().tag(), 2u);
  }
  // What the second call's end does is done before those who come later are served.
  EXPECT_EQ(Get("jobs/mine").state(), v1::Job::RUNNING);
  EXPECT_TRUE(Cancel("jobs/mine").ok());
  EXPECT_EQ(ReasonOf(first.Next().job().error()), v1::CANCEL_REQUESTED);
}

TEST_F(StreamJobsTest, AMessageWithoutEntriesEndsTheCall) {
  Stream call(*jobs_);
  ASSERT_TRUE(call.stream->Write(v1::StreamJobsRequest()));
  Answer answer;
  EXPECT_FALSE(call.Read(answer));
  const grpc::Status status = call.stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FirstField(Details(status)), "entries");
}

TEST_F(StreamJobsTest, NothingToSayIsNoError) {
  Stream call(*jobs_);
  call.stream->WritesDone();
  EXPECT_TRUE(call.ReadAll().empty());
}

TEST_F(StreamJobsTest, MoreIsNotReadWhileJobsWait) {
  constexpr int kMessages = 40;
  grpc::ClientContext pause_context;
  v1::PausePoolRequest pause;
  pause.set_name("pools/compute");
  v1::Pool pool;
  ASSERT_TRUE(pools_->PausePool(&pause_context, pause, &pool).ok());
  Stream call(*jobs_);
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i) {
      EXPECT_TRUE(call.stream->Write(Noops(static_cast<uint64_t>(i) * 1000, 1000)));
    }
    call.stream->WritesDone();
  });
  EXPECT_TRUE(Eventually([&] { return QueuedIn("pools/compute") >= kMaxStreamJobs; }));
  EXPECT_LT(Settled([&] { return QueuedIn("pools/compute"); }), kMaxStreamJobs + kMaxStreamEntries);
  grpc::ClientContext resume_context;
  v1::ResumePoolRequest resume;
  resume.set_name("pools/compute");
  ASSERT_TRUE(pools_->ResumePool(&resume_context, resume, &pool).ok());
  EXPECT_EQ(call.ReadAll().size(), 1000u * kMessages);
  writer.join();
}

TEST_F(StreamJobsTest, WhoDoesNotReadIsHeldUpAndLosesNothing) {
  constexpr int kMessages = 120;  // of 1 MiB, and answers of twice as much
  const auto stub = SmallWindow();
  Stream call(*stub);
  std::atomic<int> written{0};
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i, ++written) {
      EXPECT_TRUE(call.stream->Write(Noops(static_cast<uint64_t>(i) * 256, 256, std::string(4 << 10, 'x'))));
    }
    call.stream->WritesDone();
  });
  EXPECT_TRUE(Eventually([&] { return written >= 10; }));
  // 17 to 24 as a rule, 37 were seen: what the buffers of all that is on the way take.
  EXPECT_LT(Settled([&] { return written.load(); }), kMessages / 2);
  EXPECT_EQ(call.ReadAll().size(), 256u * kMessages);
  writer.join();
}

// Of jobs that are just small: together they are more than a client takes in one message.
TEST_F(StreamJobsTest, ManySmallEndsComeInMessagesThatAClientTakes) {
  const auto stub = SmallWindow();
  Stream call(*stub);
  for (uint64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(call.stream->Write(Noops(1000 * i, 1000, std::string(3000, 'x'))));
  }
  call.stream->WritesDone();
  EXPECT_EQ(call.ReadAll().size(), 4000u);
}

TEST_F(StreamJobsTest, ManyStreamsAtOnce) {
  constexpr int kStreams = 8;
  constexpr int kMessages = 25;
  constexpr int kEntries = 100;
  std::vector<std::thread> callers;
  for (int i = 0; i < kStreams; ++i) {
    callers.emplace_back([&] {
      const auto stub = v1::JobService::NewStub(NewChannel());
      Stream call(*stub);
      std::thread writer([&] {
        for (uint64_t message = 0; message < kMessages; ++message) {
          EXPECT_TRUE(call.stream->Write(Noops(message * kEntries, kEntries)));
        }
        call.stream->WritesDone();
      });
      const std::map<uint64_t, Answer> answers = call.ReadAll();
      EXPECT_EQ(answers.size(), size_t{kMessages * kEntries});
      EXPECT_EQ(answers.count(kMessages * kEntries - 1), 1u);
      EXPECT_TRUE(std::all_of(answers.begin(), answers.end(), [](const auto& answer) {
        return answer.second.job().state() == v1::Job::SUCCEEDED;
      }));
      writer.join();
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_F(StreamJobsTest, ManyCallsBreakAtAnyMoment) {
  constexpr int kCalls = 60;
  for (int i = 0; i < kCalls; ++i) {
    Stream call(*jobs_);
    for (uint64_t message = 0; message < 3; ++message) {
      call.stream->Write(Noops(message * 400, static_cast<int>(message % 2 == 0 ? 400 : 20)));
    }
    Answer answer;
    for (int read = 0; read < 13 * i && call.Read(answer); ++read) {
    }
  }
  // What they have left is cancelled, or was done.
  EXPECT_TRUE(Eventually([&] { return QueuedIn("pools/compute") == 0; }));
  EXPECT_EQ(Wait(Submit(Noop()).name()).state(), v1::Job::SUCCEEDED);
}

TEST_F(StreamJobsTest, AShutdownIsToldWhenTheEndsAre) {
  Stream call(*jobs_);
  v1::StreamJobsRequest request;
  Add(request, 1, InMemory(Sleep(3600)))->set_job_id("memory");
  Add(request, 2, Sleep(3600))->set_job_id("disk");
  Add(request, 3, Noop());
  ASSERT_TRUE(call.stream->Write(request));
  EXPECT_EQ(call.Next().tag(), 3u);
  AwaitRunning("jobs/memory");
  AwaitRunning("jobs/disk");
  Stream silent(*jobs_);
  ASSERT_TRUE(silent.stream->Write(Noops(0, 1000, std::string(4 << 10, 'x'))));
  const absl::Time start = absl::Now();
  ShutDown();
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));  // also with one that reads nothing
  std::map<uint64_t, Answer> answers;
  for (Answer answer; call.Read(answer);) answers.emplace(answer.tag(), answer);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1].job().state(), v1::Job::CANCELLED);
  EXPECT_EQ(ReasonOf(answers[1].job().error()), v1::INTERRUPTED);
  EXPECT_EQ(ReasonOf(answers[2].error()), v1::SHUTTING_DOWN);
  const grpc::Status status = call.stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(Details(status)), v1::SHUTTING_DOWN);
}

// One worker, so that the order of the ends says something.
class StreamJobsFairnessTest : public StreamJobsTest {
 protected:
  StreamJobsFairnessTest() : StreamJobsTest(OneWorker()) {}

  static ConfigFile OneWorker() {
    ConfigFile file = ConfigFile::Default();
    for (PoolOptions& pool : file.pools) pool.min_threads = pool.max_threads = 1;
    return file;
  }
};

TEST_F(StreamJobsFairnessTest, AFloodHoldsOthersUpByABoundedNumberOfJobs) {
  constexpr int kMessages = 50;
  Stream flood(*jobs_);
  std::thread writer([&] {
    for (uint64_t i = 0; i < kMessages; ++i) EXPECT_TRUE(flood.stream->Write(Noops(i * 1000, 1000)));
    flood.stream->WritesDone();
  });
  flood.Next();  // it is on its way
  std::vector<v1::Job> others;
  const auto stub = v1::JobService::NewStub(NewChannel());
  std::thread other([&] {
    for (int i = 0; i < 3; ++i) {
      Stream call(*stub);
      EXPECT_TRUE(call.stream->Write(Noops(7, 1)));
      call.stream->WritesDone();
      others.push_back(call.ReadAll()[7].job());
    }
  });
  std::vector<int64_t> ends;
  const auto nanos = [](const google::protobuf::Timestamp& time) {
    return time.seconds() * 1'000'000'000 + time.nanos();
  };
  for (const auto& [tag, answer] : flood.ReadAll()) ends.push_back(nanos(answer.job().end_time()));
  writer.join();
  other.join();
  EXPECT_EQ(ends.size(), 1000u * kMessages - 1);
  for (const v1::Job& job : others) {
    EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
    const auto before = std::count_if(ends.begin(), ends.end(), [&](int64_t end) {
      return end >= nanos(job.create_time()) && end <= nanos(job.end_time());
    });
    // Those on their way when it came, and a message that was being submitted.
    EXPECT_LE(before, kMaxStreamJobs + 2 * kMaxStreamEntries);
  }
}

class StreamJobsLimitsTest : public StreamJobsTest {
 protected:
  StreamJobsLimitsTest() : StreamJobsTest(Limits()) {}

  static ConfigFile Limits() {
    ConfigFile file = ConfigFile::Default();
    for (PoolOptions& pool : file.pools) {
      pool.min_threads = 0;
      pool.max_threads = 1;
      pool.max_queued_jobs = 3;
    }
    file.max_call_bytes = 1 << 20;
    return file;
  }
};

TEST_F(StreamJobsLimitsTest, AFullQueueRefusesOneByOneAndTheCallGoesOn) {
  const std::string blocker = Submit(Sleep(3600)).name();
  AwaitRunning(blocker);
  Stream call(*jobs_);
  v1::StreamJobsRequest request;
  for (const uint64_t tag : {1, 2, 3, 4, 5}) {
    Add(request, tag, Sleep(3600))->set_job_id(absl::StrCat("s", tag));
  }
  Add(request, 6, Noop());  // another pool
  ASSERT_TRUE(call.stream->Write(request));
  std::map<uint64_t, Answer> answers = call.Next(3);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[6].job().state(), v1::Job::SUCCEEDED);
  for (const uint64_t tag : {4, 5}) {
    EXPECT_EQ(answers[tag].error().code(), grpc::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonOf(answers[tag].error()), v1::QUEUE_FULL);
    google::rpc::RetryInfo retry;
    const auto& details = answers[tag].error().details();
    EXPECT_TRUE(std::any_of(details.begin(), details.end(),
                            [&](const auto& detail) { return detail.UnpackTo(&retry); }));
  }
  EXPECT_TRUE(Cancel("jobs/s1").ok());
  EXPECT_EQ(call.Next().tag(), 1u);
  request.Clear();
  Add(request, 7, Noop());
  ASSERT_TRUE(call.stream->Write(request));
  EXPECT_EQ(call.Next().tag(), 7u);
}

TEST_F(StreamJobsLimitsTest, ALargeAnswerForWhichThereIsNoMemoryIsBrief) {
  Stream call(*jobs_);
  for (const uint64_t tag : {1, 2, 3}) {  // what was held before is given back
    ASSERT_TRUE(call.stream->Write(Noops(tag, 1, std::string(900 << 10, 'x'))));
    const Answer answer = call.Next();
    EXPECT_EQ(answer.tag(), tag);
    EXPECT_EQ(answer.job().state(), v1::Job::SUCCEEDED);
    EXPECT_FALSE(answer.job().has_result());
    EXPECT_TRUE(answer.job().has_end_time());
    ASSERT_TRUE(call.stream->Write(Noops(tag, 1, std::string(100 << 10, 'x'))));
    EXPECT_EQ(call.Next().job().result().noop().payload().size(), 100u << 10);
  }
}

TEST_F(StreamJobsLimitsTest, MoreThanOpenCallsMayHoldEndsTheCall) {
  Stream call(*jobs_);
  ASSERT_TRUE(call.stream->Write(Noops(0, 1000)));
  Answer answer;
  EXPECT_FALSE(call.Read(answer));
  const grpc::Status status = call.stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(Details(status)), v1::TOO_MANY_CALLS);
  // It is given back.
  EXPECT_TRUE(Eventually([&] {
    Stream next(*jobs_);
    next.stream->Write(Noops(0, 500));
    return next.Read(answer);
  }));
}

}  // namespace
}  // namespace jobpool::testing
