#include "server/pipeline/job_watches.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/job/bounds.h"
#include "server/job/errors.h"
#include "server/store/memory_store.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/job_builder.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

using Kind = WatchItem::Kind;

/// A watch as its caller has it; closed when it goes.
class Watcher {
 public:
  Watcher(JobWatches& watches, WatchSpec spec) {
    absl::StatusOr<std::shared_ptr<JobWatch>> watch =
        watches.Watch(std::move(spec), [signal = signal_] { signal->Wake(); });
    status_ = watch.status();
    if (watch.ok()) watch_ = *std::move(watch);
  }
  ~Watcher() { Close(); }

  void Close() {
    if (watch_ != nullptr) watch_->Close();
  }

  const absl::Status& status() const { return status_; }

  WatchItem Take() {
    WatchItem item = watch_->Take();
    if (item.kind != Kind::kCut) position_ = item.position;
    return item;
  }

  /// The next event or end, waiting for it.
  WatchItem Next() {
    for (;;) {
      WatchItem item = Take();
      if (item.kind != Kind::kNothingYet) return item;
      if (!signal_->Await()) throw std::runtime_error("the watch tells nothing");
    }
  }

  /// The next event, as text.
  std::string Say() {
    const WatchItem item = Next();
    switch (item.kind) {
      case Kind::kEvent:
        return Text(*item.event);
      case Kind::kAllEnded:
        return "all ended";
      case Kind::kShuttingDown:
        return "shutting down";
      case Kind::kCut:
        return ReasonOf(item.error);
      case Kind::kNothingYet:
        break;
    }
    return "";
  }

  std::optional<uint64_t> position() const { return position_; }

  static std::string Text(const JobEvent& event) {
    static constexpr const char* kTypes[] = {"INITIAL", "CREATED", "CHANGED", "PROGRESS",
                                             "ENDED",   "DELETED", "OUTPUT"};
    return absl::StrCat(kTypes[static_cast<size_t>(event.type)], " ", event.job->id, " ",
                        JobStateName(event.job->state),
                        event.progress.has_value() ? " " + event.progress->message : "",
                        event.output.has_value() ? " " + event.output->bytes : "");
  }

 private:
  class Signal {
   public:
    void Wake() {
      MutexLock lock(mu_);
      woken_ = true;
      cv_.NotifyAll();
    }
    bool Await() {
      const auto deadline = std::chrono::steady_clock::now() + kTestPatience;
      MutexLock lock(mu_);
      while (!woken_) {
        if (std::chrono::steady_clock::now() >= deadline) return false;
        cv_.WaitUntil(mu_, deadline);
      }
      woken_ = false;
      return true;
    }

   private:
    Mutex mu_;
    CondVar cv_;
    bool woken_ ABSL_GUARDED_BY(mu_) = false;
  };

  std::shared_ptr<Signal> signal_ = std::make_shared<Signal>();
  absl::Status status_;
  std::shared_ptr<JobWatch> watch_;
  std::optional<uint64_t> position_;
};

WatchSpec Names(std::vector<std::string> ids, std::optional<uint64_t> after = std::nullopt) {
  WatchSpec spec;
  spec.ids = std::move(ids);
  spec.after = after;
  return spec;
}

WatchSpec Where(absl::string_view filter, bool changes_only = false,
                std::optional<uint64_t> after = std::nullopt) {
  WatchSpec spec;
  spec.filter = JobFilter::Parse(filter).value();
  spec.changes_only = changes_only;
  spec.after = after;
  return spec;
}

constexpr char kAny[] = "";
constexpr char kRunning[] = "state = RUNNING";

class JobWatchesTest : public ::testing::Test {
 protected:
  // What the pipeline does with jobs.
  std::shared_ptr<LiveJob> Create(absl::string_view id) {
    JobRecord record = MakeRecord(id);
    record.number = ++number_;
    auto job = std::make_shared<LiveJob>(std::move(record));
    EXPECT_TRUE(
        table_.Insert(absl::MakeConstSpan(&job, 1), nullptr, nullptr, [&] { job->TellCreated(events_); })
            .ok());
    return job;
  }

  std::shared_ptr<RunControl> Start(LiveJob& job) {
    auto control = std::make_shared<RunControl>();
    EXPECT_TRUE(table_.Change(job, [&] { return job.Start(Attempt(), control, &events_); }));
    control->progress.set_observer([this, &job] { job.TellProgress(events_); });
    return control;
  }

  void Rename(LiveJob& job, const std::string& name) {
    EXPECT_TRUE(table_.Change(job, [&] { return jobpool::Rename(job, name, &events_).has_value(); }));
  }

  void End(LiveJob& job, JobState from = JobState::kRunning) {
    const EndedJob ended = job.BeginEnd(from, JobState::kCancelled, {}, MakeOutcome(absl::Now()));
    ASSERT_NE(ended, nullptr);
    EXPECT_TRUE(store_.Put(ended).ok());
    table_.Erase(job, [&] { job.FinishEnd(ended, &events_); });
  }

  void Delete(const std::string& id) {
    const EndedJob ended = *store_.Get(id);
    EXPECT_TRUE(*store_.Delete(id));
    events_.Record(JobEventType::kDeleted, ended);
  }

  static constexpr int64_t kMaxEvents = 50'000;

  FakeClock clock_;
  ThreadRegistry registry_;
  JobTable table_;
  MemoryStore store_{100'000};
  JobReader reader_{table_, store_};
  JobEvents events_{clock_, kMaxEvents};
  JobWatches watches_{events_, reader_, registry_, 100};
  uint64_t number_ = 0;
};

TEST_F(JobWatchesTest, NamesFromHowTheyStandToTheirEnds) {
  const auto a = Create("a");
  const auto b = Create("b");
  const auto other = Create("other");
  End(*b, JobState::kQueued);
  Watcher watcher(watches_, Names({"b", "a"}));
  EXPECT_EQ(watcher.Say(), "INITIAL a QUEUED");
  EXPECT_EQ(watcher.Say(), "INITIAL b CANCELLED");
  Rename(*a, "new");
  Rename(*other, "new");
  const auto control = Start(*a);
  EXPECT_EQ(watcher.Say(), "CHANGED a QUEUED");
  EXPECT_EQ(watcher.Say(), "CHANGED a RUNNING");
  control->progress.Set(0.5, "half");
  control->progress.Set(0.5, "and a bit");
  EXPECT_EQ(watcher.Say(), "PROGRESS a RUNNING half");
  EXPECT_EQ(watcher.Say(), "PROGRESS a RUNNING and a bit");
  Delete("b");
  EXPECT_EQ(watcher.Say(), "DELETED b CANCELLED");
  End(*a);
  EXPECT_EQ(watcher.Say(), "ENDED a CANCELLED and a bit");
  EXPECT_EQ(watcher.Say(), "all ended");
}

TEST_F(JobWatchesTest, NamesOfEndedJobsEndAtOnce) {
  End(*Create("a"), JobState::kQueued);
  Watcher watcher(watches_, Names({"a"}));
  EXPECT_EQ(watcher.Take().event->type, JobEventType::kInitial);
  const WatchItem end = watcher.Take();
  EXPECT_EQ(end.kind, Kind::kAllEnded);
  EXPECT_TRUE(end.position.has_value());
}

TEST_F(JobWatchesTest, AnUnknownNameIsRefusedAndLeavesNothing) {
  watches_.set_max_watches(1);
  Create("a");
  Watcher refused(watches_, Names({"a", "b"}));
  EXPECT_EQ(ReasonOf(refused.status()), "JOB_NOT_FOUND");
  Watcher watcher(watches_, Names({"a"}));
  EXPECT_TRUE(watcher.status().ok());
}

TEST_F(JobWatchesTest, AFilterTellsOfWhatMatchesOrMatchedBefore) {
  const auto before = Create("before");
  Start(*before);
  Create("queued");
  Watcher watcher(watches_, Where(kRunning));
  EXPECT_EQ(watcher.Say(), "INITIAL before RUNNING");
  const auto a = Create("a");
  Rename(*a, "new");
  const auto control = Start(*a);
  EXPECT_EQ(watcher.Say(), "CHANGED a RUNNING");
  control->progress.Set(0.5, "half");
  EXPECT_EQ(watcher.Say(), "PROGRESS a RUNNING half");
  End(*a);
  EXPECT_EQ(watcher.Say(), "ENDED a CANCELLED half");
  Delete("a");
  End(*before);
  EXPECT_EQ(watcher.Say(), "ENDED before CANCELLED");
}

TEST_F(JobWatchesTest, OutputIsToldToWhoAsksForIt) {
  const auto a = Create("a");
  const auto control = Start(*a);
  const auto write = [&](const RunControl& attempt, const char* bytes) {
    a->TellOutput(events_, attempt, {OutputStream::kOut, bytes});
  };
  const auto with_output = [](WatchSpec spec) {
    spec.output = true;
    return spec;
  };
  Watcher plain(watches_, Names({"a"}));
  Watcher filtered(watches_, Where(kRunning));
  Watcher named(watches_, with_output(Names({"a"})));
  Watcher matching(watches_, with_output(Where(kRunning)));
  write(*control, "before its state is told");
  for (Watcher* const watcher : {&plain, &filtered, &named, &matching}) {
    EXPECT_EQ(watcher->Say(), "INITIAL a RUNNING");
  }
  write(*control, "one");
  write(RunControl(), "of another attempt");
  Rename(*a, "new");
  for (Watcher* const watcher : {&named, &matching}) {
    EXPECT_EQ(watcher->Say(), "OUTPUT a RUNNING before its state is told");
    EXPECT_EQ(watcher->Say(), "OUTPUT a RUNNING one");
  }
  for (Watcher* const watcher : {&plain, &filtered, &named, &matching}) {
    EXPECT_EQ(watcher->Say(), "CHANGED a RUNNING");
  }
  const std::optional<uint64_t> position = named.position();
  write(*control, "two");
  End(*a);
  write(*control, "too late");
  for (Watcher* const watcher : {&plain, &named}) {
    if (watcher == &named) {
      EXPECT_EQ(watcher->Say(), "OUTPUT a RUNNING two");
    }
    EXPECT_EQ(watcher->Say(), "ENDED a CANCELLED");
    EXPECT_EQ(watcher->Say(), "all ended");
  }
  Watcher resumed(watches_, with_output(Names({"a"}, position)));
  EXPECT_EQ(resumed.Say(), "OUTPUT a RUNNING two");
  Watcher without(watches_, Names({"a"}, position));
  EXPECT_EQ(without.Say(), "ENDED a CANCELLED");
}

TEST_F(JobWatchesTest, ChangesOnly) {
  const auto a = Create("a");
  Watcher all(watches_, Where(kAny));
  EXPECT_EQ(all.Say(), "INITIAL a QUEUED");
  Start(*a);
  Watcher watcher(watches_, Where(kAny, /*changes_only=*/true));
  EXPECT_TRUE(watcher.Take().position.has_value());
  End(*a);
  EXPECT_EQ(watcher.Say(), "ENDED a CANCELLED");
}

TEST_F(JobWatchesTest, WhatHappensWhileTheFirstStatesAreToldIsToldOnce) {
  const auto a = Create("a");
  const auto b = Create("b");
  Watcher watcher(watches_, Names({"a", "b"}));
  const auto control = Start(*a);
  control->progress.Set(0.5, "one");
  control->progress.Set(0.5, "two");
  EXPECT_EQ(watcher.Say(), "INITIAL a RUNNING two");
  EXPECT_FALSE(watcher.position().has_value()) << "going on from here would leave b out";
  control->progress.Set(0.5, "three");
  Start(*b);
  EXPECT_EQ(watcher.Say(), "INITIAL b RUNNING");
  EXPECT_EQ(watcher.Say(), "PROGRESS a RUNNING three");
  End(*b);
  EXPECT_EQ(watcher.Say(), "ENDED b CANCELLED");
  ASSERT_TRUE(watcher.position().has_value());
  End(*a);
  Watcher resumed(watches_, Names({"a", "b"}, watcher.position()));
  EXPECT_EQ(resumed.Say(), "ENDED a CANCELLED three");
  EXPECT_EQ(resumed.Say(), "all ended");
}

TEST_F(JobWatchesTest, AJobThatGoesBeforeItsStateIsTold) {
  const auto a = Create("a");
  const auto b = Create("b");
  Watcher names(watches_, Names({"a", "b"}));
  Watcher filter(watches_, Where(kAny));
  End(*a, JobState::kQueued);
  Delete("a");
  EXPECT_EQ(names.Say(), "INITIAL b QUEUED");
  EXPECT_EQ(names.Say(), "ENDED a CANCELLED");
  EXPECT_EQ(names.Say(), "DELETED a CANCELLED");
  EXPECT_EQ(filter.Say(), "INITIAL b QUEUED");
  EXPECT_EQ(filter.Say(), "ENDED a CANCELLED");
}

TEST_F(JobWatchesTest, ResumedNamesEndThoughTheirJobsAreGone) {
  const auto a = Create("a");
  Watcher watcher(watches_, Names({"a"}));
  watcher.Say();
  EXPECT_EQ(watcher.Take().kind, Kind::kNothingYet);
  End(*a, JobState::kQueued);
  Delete("a");
  Watcher resumed(watches_, Names({"a"}, watcher.position()));
  EXPECT_EQ(resumed.Say(), "ENDED a CANCELLED");
  const std::optional<uint64_t> position = resumed.position();
  EXPECT_EQ(resumed.Say(), "DELETED a CANCELLED");
  EXPECT_EQ(resumed.Say(), "all ended");
  Watcher again(watches_, Names({"a"}, position));
  EXPECT_EQ(again.Say(), "DELETED a CANCELLED");
  EXPECT_EQ(again.Say(), "all ended");
}

TEST_F(JobWatchesTest, WhoIsTooSlowIsCutAndCanGoOn) {
  const auto a = Create("a");
  Watcher watcher(watches_, Where(kAny, /*changes_only=*/true));
  Watcher other(watches_, Where(kAny, /*changes_only=*/true));
  const std::optional<uint64_t> start = watcher.Take().position;
  for (size_t i = 0; i < JobWatch::kMaxWaiting; ++i) Rename(*a, absl::StrCat(i));
  for (size_t i = 0; i < JobWatch::kMaxWaiting; ++i) ASSERT_EQ(other.Say(), "CHANGED a QUEUED");
  Rename(*a, "one too many");
  EXPECT_EQ(other.Next().event->job->Options().display_name, "one too many");
  EXPECT_EQ(watcher.Say(), "WATCH_TOO_SLOW");
  EXPECT_EQ(watcher.Say(), "WATCH_TOO_SLOW");
  watcher.Close();
  Watcher resumed(watches_, Where(kAny, true, start));
  for (size_t i = 0; i < JobWatch::kMaxWaiting; ++i) {
    ASSERT_EQ(resumed.Next().event->job->Options().display_name, absl::StrCat(i));
  }
  EXPECT_EQ(resumed.Next().event->job->Options().display_name, "one too many");
}

TEST_F(JobWatchesTest, TheLastThatMayWaitIsNotTooMany) {
  const auto a = Create("a");
  Watcher watcher(watches_, Where(kAny, /*changes_only=*/true));
  Watcher other(watches_, Where(kAny, /*changes_only=*/true));
  for (size_t i = 0; i < JobWatch::kMaxWaiting; ++i) Rename(*a, absl::StrCat(i));
  for (size_t i = 0; i < JobWatch::kMaxWaiting; ++i) ASSERT_EQ(other.Say(), "CHANGED a QUEUED");
  EXPECT_EQ(watcher.Next().event->job->Options().display_name, "0");
}

TEST_F(JobWatchesTest, WhatTheLogHasForgottenCutsAndExpires) {
  const auto a = Create("a");
  Watcher watcher(watches_, Where(kAny, /*changes_only=*/true));
  Watcher other(watches_, Where(kAny, /*changes_only=*/true));
  const std::optional<uint64_t> start = watcher.Take().position;
  events_.set_max_events(10);
  for (int i = 0; i < 20; ++i) {
    Rename(*a, absl::StrCat(i));
    ASSERT_EQ(other.Say(), "CHANGED a QUEUED");
  }
  EXPECT_EQ(watcher.Say(), "WATCH_TOO_SLOW");
  Watcher expired(watches_, Where(kAny, true, start));
  EXPECT_EQ(ReasonOf(expired.status()), "RESUME_TOKEN_EXPIRED");
  Watcher resumed(watches_, Where(kAny, true, events_.last() - 5));
  for (int i = 15; i < 20; ++i) EXPECT_EQ(resumed.Next().event->job->Options().display_name, absl::StrCat(i));
}

TEST_F(JobWatchesTest, EventsThatComeFasterThanTheyAreGivenOutCut) {
  const auto a = Create("a");
  Gate blocked;
  Gate release;
  const auto blocker =
      watches_.Watch(Where(kAny, /*changes_only=*/true), [&] {  // on the thread that gives out
        blocked.Open();
        release.Await();
      });
  ASSERT_TRUE(blocker.ok());
  EXPECT_EQ((*blocker)->Take().kind, Kind::kNothingYet);
  Watcher watcher(watches_, Where(kAny, /*changes_only=*/true));
  Rename(*a, "first");
  blocked.Await();
  EXPECT_EQ(watcher.Say(), "CHANGED a QUEUED");
  EXPECT_EQ(watcher.Take().kind, Kind::kNothingYet);
  events_.set_max_events(10);
  for (int i = 0; i < 20; ++i) Rename(*a, absl::StrCat(i));
  release.Open();
  EXPECT_EQ(watcher.Say(), "WATCH_TOO_SLOW");
  (*blocker)->Close();
}

TEST_F(JobWatchesTest, ResumesForFiveMinutes) {
  const auto a = Create("a");
  Watcher watcher(watches_, Names({"a"}));
  watcher.Say();
  watcher.Take();
  const std::optional<uint64_t> position = watcher.position();
  watcher.Close();
  Start(*a);
  clock_.Advance(JobEvents::kKeptUnwatched - absl::Seconds(1));
  events_.ForgetUnwatched();
  {
    Watcher resumed(watches_, Names({"a"}, position));
    EXPECT_EQ(resumed.Say(), "CHANGED a RUNNING");
  }
  clock_.Advance(JobEvents::kKeptUnwatched);
  events_.ForgetUnwatched();
  End(*a);
  Watcher expired(watches_, Names({"a"}, position));
  EXPECT_EQ(ReasonOf(expired.status()), "RESUME_TOKEN_EXPIRED");
}

TEST_F(JobWatchesTest, ThePositionGoesOnWithEventsOfOthers) {
  Create("a");
  const auto other = Create("other");
  Watcher watcher(watches_, Names({"a"}));
  Watcher all(watches_, Where(kAny, true));
  watcher.Say();
  const uint64_t before = *watcher.Take().position;
  Rename(*other, "new");
  all.Say();
  EXPECT_TRUE(Eventually([&] { return *watcher.Take().position == before + 1; }));
}

TEST_F(JobWatchesTest, AsManyWatchesAsMayBe) {
  watches_.set_max_watches(2);
  Watcher one(watches_, Where(kAny));
  auto two = std::make_unique<Watcher>(watches_, Where(kAny));
  EXPECT_TRUE(two->status().ok());
  EXPECT_EQ(ReasonOf(Watcher(watches_, Where(kAny)).status()), "TOO_MANY_CALLS");
  two.reset();
  EXPECT_TRUE(Watcher(watches_, Where(kAny)).status().ok());
}

TEST_F(JobWatchesTest, AsManyJobsAsMayMatch) {
  for (int i = 0; i < kMaxWatchedJobs; ++i) Create(absl::StrCat("j", i));
  {
    Watcher watcher(watches_, Where(kAny));
    EXPECT_TRUE(watcher.status().ok());
    for (int i = 0; i < kMaxWatchedJobs; ++i) ASSERT_EQ(watcher.Take().kind, Kind::kEvent);
    EXPECT_EQ(watcher.Take().kind, Kind::kNothingYet);
  }
  Create("onemore");
  EXPECT_EQ(ReasonOf(Watcher(watches_, Where(kAny)).status()), "TOO_MANY_CALLS");
  EXPECT_TRUE(Watcher(watches_, Where(kAny, /*changes_only=*/true)).status().ok());
  EXPECT_TRUE(Watcher(watches_, Where(kRunning)).status().ok());
}

TEST_F(JobWatchesTest, ShutdownTellsAllThatWasBefore) {
  const auto a = Create("a");
  Watcher watcher(watches_, Where(kAny, true));
  Watcher waits(watches_, Where(kRunning, true));
  EXPECT_EQ(waits.Take().kind, Kind::kNothingYet);
  Rename(*a, "new");
  watches_.Shutdown();
  EXPECT_EQ(waits.Say(), "shutting down");
  EXPECT_EQ(watcher.Say(), "CHANGED a QUEUED");
  EXPECT_EQ(watcher.Say(), "shutting down");
  EXPECT_EQ(ReasonOf(Watcher(watches_, Where(kAny)).status()), "SHUTTING_DOWN");
}

TEST_F(JobWatchesTest, NobodyWhoWatchesNothingPays) {
  const size_t threads = registry_.Snapshot().threads.size();
  End(*Create("a"), JobState::kQueued);
  EXPECT_FALSE(events_.active());
  EXPECT_EQ(events_.last(), 0);
  EXPECT_EQ(registry_.Snapshot().threads.size(), threads);
}

// Jobs run while watchers come, break off at any event and go on: what each hears together is what the log
// has, of what it wants, in its order, once.
TEST(JobWatchesStressTest, BreaksLeaveNothingOutAndRepeatNothing) {
  constexpr int kJobs = 1'000;
  constexpr int kWatchers = 6;
  TestPipeline pipeline;
  JobWatches& watches = pipeline->watches();
  Watcher model(watches, Where(kAny, /*changes_only=*/true));
  const std::optional<uint64_t> start = model.Take().position;
  ASSERT_TRUE(start.has_value());
  const auto wanted = [](int watcher) -> std::string {
    if (watcher == 0) return "";
    const JobState state = static_cast<JobState>(watcher % 3 + 1);
    return absl::StrCat("kind = sleep OR display_name = last OR state = ", std::string(JobStateName(state)));
  };
  const auto is_last = [](const JobEvent& event) {
    return event.type == JobEventType::kEnded && event.job->id == "last";
  };
  std::vector<std::vector<uint64_t>> heard(kWatchers);
  std::vector<std::thread> threads;
  for (int w = 0; w < kWatchers; ++w) {
    threads.emplace_back([&, w] {
      std::mt19937 random(static_cast<unsigned>(w));
      std::optional<uint64_t> position = start;
      for (bool done = false; !done;) {
        Watcher watcher(watches, Where(wanted(w), /*changes_only=*/true, position));
        ASSERT_TRUE(watcher.status().ok()) << watcher.status();
        for (auto left = random() % 40; left > 0 && !done; --left) {
          const WatchItem item = watcher.Next();
          ASSERT_EQ(item.kind, Kind::kEvent);
          heard[static_cast<size_t>(w)].push_back(item.event->sequence);
          position = item.position;
          done = is_last(*item.event);
        }
      }
    });
  }
  for (int i = 0; i < kJobs; ++i) {
    pipeline.Submit(i % 5 == 0 ? SleepSpec(absl::Milliseconds(i % 3)) : NoopSpec());
  }
  EXPECT_TRUE(pipeline.AwaitNoLiveJobs());
  JobSpec last = NoopSpec("last");
  last.options.display_name = "last";
  pipeline.Submit(std::move(last));
  std::vector<SharedJobEvent> all;
  do {
    const WatchItem item = model.Next();
    ASSERT_EQ(item.kind, Kind::kEvent);
    all.push_back(item.event);
  } while (!is_last(*all.back()));
  for (std::thread& thread : threads) thread.join();

  std::map<std::string, std::string> lives;  // of each job, as it was told
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(all[i]->sequence, *start + i + 1);
    if (all[i]->type == JobEventType::kProgress) continue;
    absl::StrAppend(&lives[all[i]->job->id], JobStateName(all[i]->job->state), " ");
  }
  EXPECT_EQ(lives.size(), kJobs + 1);
  for (const auto& [id, life] : lives) EXPECT_EQ(life, "QUEUED RUNNING SUCCEEDED ") << id;
  for (int w = 0; w < kWatchers; ++w) {
    const JobFilter filter = JobFilter::Parse(wanted(w)).value();
    std::vector<uint64_t> expected;
    for (const SharedJobEvent& event : all) {
      if (filter.Matches(*event->job) || (event->before != nullptr && filter.Matches(*event->before))) {
        expected.push_back(event->sequence);
      }
    }
    EXPECT_EQ(heard[static_cast<size_t>(w)], expected) << w;
  }
}

// Names that are watched while their jobs run and change: the first states and what is told after them fit.
TEST(JobWatchesStressTest, FirstStatesAndChangesFit) {
  TestPipeline pipeline;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> ids;
    for (int i = 0; i < 8; ++i) ids.push_back(pipeline.Submit(i % 2 == 0 ? NoopSpec() : SleepSpec({}))->id());
    Watcher watcher(pipeline->watches(), Names(ids));
    ASSERT_TRUE(watcher.status().ok());
    std::map<std::string, std::pair<uint32_t, uint64_t>> told;  // revision and progress
    std::map<std::string, int> ends;
    for (;;) {
      const WatchItem item = watcher.Next();
      if (item.kind == Kind::kAllEnded) break;
      ASSERT_EQ(item.kind, Kind::kEvent);
      const JobRecord& job = *item.event->job;
      const auto found = told.find(job.id);
      ASSERT_EQ(item.event->type == JobEventType::kInitial, found == told.end());
      if (found != told.end() && item.event->type == JobEventType::kProgress) {
        ASSERT_EQ(job.revision, found->second.first);
        ASSERT_EQ(item.event->progress->version, found->second.second + 1);
      } else if (found != told.end()) {
        ASSERT_EQ(job.revision, found->second.first + 1);
      }
      told[job.id] = {job.revision, item.event->progress.has_value() ? item.event->progress->version : 0};
      if (IsEnded(job.state)) ++ends[job.id];
    }
    ASSERT_EQ(ends.size(), ids.size());
    for (const auto& [id, count] : ends) ASSERT_EQ(count, 1) << id;
  }
}

}  // namespace
}  // namespace jobpool
