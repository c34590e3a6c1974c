// Random sequences of what callers do to jobs and pools, and of time, on the real
// pipeline and on a model of it that is slow and plain. After each step the pipeline
// comes to rest, and all that can be seen of it is what the model says.
//
// JOBPOOL_MODEL_SEEDS: how many sequences; JOBPOOL_MODEL_FIRST_SEED: where to begin.
//
// Faults that were put in one at a time, each found within the 300 sequences of a plain run:
// - job_queue: a place off by one; a priority is passed over for ever; being passed over is not reset;
//   the lowest priority first;
// - live_job: a retry beyond the deadline; a retry of a cancelled job; no stop step; an unchanged revision;
// - dispatcher: the place of a cancelled job, scheduled or queued, is kept; a retry takes no place;
//   LetGo does nothing; who takes a job does not tell of the next; a lost thread is not replaced;
//   the timeout's timer outlives its attempt; a kind's place is kept; a late completion ends its job;
//   a paused pool starts jobs; a draining one takes them; no timer for a deadline; a job that would be
//   ready after the server's end is not cancelled; starts do not count for the rate;
// - kind_limits: one more than may run; nobody is told that the rate lets one pass; it is not given back;
// - job_timers, completion: Arm keeps the old timers; the end does not disarm; a retry is counted twice;
//   an attempt is not counted; waiters are told twice; an ended job is not stored;
// - control: the etag is not looked at; a new priority without its last place; an update that does not
//   arm the timers; one that makes a job ready and does not queue it;
// - admission, timer, thread_pool: a refused batch keeps places; a deadline that has passed is accepted;
//   an earlier timer wakes nobody; threads beyond the maximum stay; idle threads never end.
// Out of its reach is what needs two things at the same moment (a timeout that meets its attempt's end), and
// a time of day that jumps.

#include "tests/support/control_model.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/status_macros.h"
#include "server/job/errors.h"
#include "server/pipeline/explanation.h"
#include "tests/support/fake_clock.h"
#include "tests/support/metric_reader.h"
#include "tests/support/stage.h"
#include "tests/support/test_pipeline.h"

namespace jobpool {
namespace {

using Time = ControlModel::Time;
constexpr Time kMs = 1'000'000;
constexpr Time kSecond = 1000 * kMs;
constexpr Time kNever = ControlModel::kNever;
constexpr Time kNone = ControlModel::kNone;
constexpr const char* kPoolNames[] = {"blocking", "compute"};
constexpr Kind kKinds[] = {Kind::kSleep, Kind::kPrimes, Kind::kFibonacci, Kind::kSpin};

absl::Time ToTime(Time time) {
  if (time == kNever) return absl::InfiniteFuture();
  if (time == kNone) return absl::InfinitePast();
  return absl::FromUnixSeconds(1'767'225'600) + absl::Nanoseconds(time);
}

absl::Duration ToDuration(Time time) {
  return time == kNever ? absl::InfiniteDuration() : absl::Nanoseconds(time);
}

class ToldWaiter final : public Waiter {
 public:
  void OnJobEnd(const EndedJob&) override { ++told; }
  void OnJobLeft() override {}
  std::atomic<int> told{0};
};

// Thrown where the pipeline is not what the model says.
struct Mismatch {
  std::string what;
};

// One sequence on a pipeline of its own.
class Sequence {
 public:
  explicit Sequence(uint64_t seed) : random_(seed), burst_(seed % 16 == 7), to_the_end_(seed % 4 == 1) {
    model_.pools.resize(2);
    for (auto& pool : model_.pools) {
      pool.max_threads = burst_ ? 1 : static_cast<int>(1 + Random(3));
      pool.min_threads = static_cast<int>(Random(pool.max_threads + 1));
      pool.idle_timeout = Random(3000) * kMs;
      pool.stop_grace = Unique(50, 2000);
      pool.max_queued = burst_ ? 1000 : 2 + Random(12);
    }
    model_.seen = [this](size_t job) { return seen_[job].record.attempts.size(); };
    TestPipeline::Options options;
    options.pools = {OptionsOf(0), OptionsOf(1)};
    options.replace_handlers = [this](HandlerRegistry& handlers) {
      for (const Kind kind : kKinds) handlers.Replace(kind, stage_.MakeHandler());
    };
    pipeline_ = std::make_unique<TestPipeline>(options, clock_);
  }

  ~Sequence() {
    stage_.Close();
    pipeline_.reset();
  }

  // Returns whether it went on to its end: it stops where two things happen at the same
  // moment, of which either may come first.
  bool Run() {
    const bool whole = GoThrough();
    CompareMetrics();
    End();
    return whole;
  }

  std::string log() const { return absl::StrJoin(log_, "\n"); }
  int steps() const { return compared_; }

 private:
  struct Seen {
    bool found = false;
    EndedJob ended;  // null: it is live
    JobRecord record;
  };
  struct Known {  // of a thread
    size_t pool = 0;
    Time busy = 0;  // when it was last seen on a job, or for the first time
    bool lost = false;
  };

  bool GoThrough() {
    const int steps = static_cast<int>(20 + Random(41));
    Settle();
    Compare();
    for (int i = 0; i < steps; ++i) {
      if (!Advance(model_.now + 1 + Random(1000), /*look=*/false)) return false;
      if (!Operate(i > steps * 2 / 3)) return false;
    }
    return !to_the_end_ || LetAllEnd();
  }

  int64_t Random(int64_t below) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(below)); }
  bool Chance(int percent) { return Random(100) < percent; }
  // Milliseconds, and some nanoseconds that no other has.
  Time Unique(int64_t from_ms, int64_t to_ms) {
    return (from_ms + Random(to_ms - from_ms + 1)) * kMs + 7 * ++unique_;
  }
  void Note(std::string line) {
    log_.push_back(absl::StrCat("  at ", static_cast<double>(model_.now) / 1e6, " ms: ", line));
  }
  static std::string Text(Time time) {
    if (time == kNever) return "never";
    if (time == kNone) return "none";
    return absl::StrCat(static_cast<double>(time) / 1e6, "ms");
  }

  Dispatcher& PoolAt(size_t index) { return *(*pipeline_)->pools().Find(kPoolNames[index]); }
  Pipeline& pipeline() { return **pipeline_; }

  PoolOptions OptionsOf(size_t index) const {
    const ControlModel::Pool& pool = model_.pools[index];
    PoolOptions options = MakePool(kPoolNames[index], pool.min_threads, pool.max_threads, pool.max_queued);
    options.idle_timeout = ToDuration(pool.idle_timeout);
    options.stop_grace = ToDuration(pool.stop_grace);
    options.max_starts_per_second = pool.starts.per_second;
    options.max_submits_per_second = pool.submits.per_second;
    return options;
  }

  // -- rest

  // Adds two timers that are due, one by each clock, and waits until they were called:
  // then all that were due before were called too. Returns the numbers of the two.
  std::pair<uint64_t, uint64_t> Ping() {
    Timer& timer = pipeline().timer();
    const auto number = [](const Timer::Id& id) {
      return std::visit([](const auto& key) { return key.second; }, id);
    };
    const auto calls = std::make_shared<std::atomic<int>>(0);
    const uint64_t first = number(timer.At(clock_.Monotonic(), [calls] { ++*calls; }));
    const uint64_t last = number(timer.AtTime(clock_.Now(), [calls] { ++*calls; }));
    AwaitThat([&] { return calls->load() == 2; }, "the timer's thread does not answer");
    return {first, last};
  }

  template <typename Holds>
  void AwaitThat(Holds holds, const char* otherwise) {
    const auto limit = std::chrono::steady_clock::now() + kTestPatience;
    for (int i = 0; !holds(); ++i) {
      if (i % 1024 == 1023 && std::chrono::steady_clock::now() >= limit) throw Mismatch{otherwise};
      std::this_thread::yield();
    }
  }

  // Every worker waits for work, not woken, or in a handler to be let go; the timer's
  // thread waits; and nobody was awake meanwhile.
  bool IsQuiet() {
    const uint64_t before = clock_.waits() + stage_.entries();
    int threads = 0;
    int idle = 0;
    for (size_t p = 0; p < 2; ++p) {
      const PoolLoad load = PoolAt(p).Load();
      threads += load.threads;
      idle += load.idle_threads;
    }
    return static_cast<int>(stage_.waiting()) + idle == threads &&
           static_cast<int>(clock_.sleepers()) == idle + 1 &&
           pipeline_->threads().Count().by_role[static_cast<size_t>(ThreadRole::kWorker)] == threads &&
           before == clock_.waits() + stage_.entries();
  }

  // Until nothing moves any more before the clock does: no timer was added between two
  // pings, and between them all was quiet.
  void Settle() {
    uint64_t last = Ping().second;
    for (;;) {
      stage_.LetAskedGo();
      AwaitThat([&] { return IsQuiet(); }, "the pipeline does not come to rest");
      const auto [first, next] = Ping();
      if (first == last + 1) return;
      last = next;
    }
  }

  // -- what is seen

  void Observe() {
    seen_.resize(model_.jobs.size());
    for (size_t i = 0; i < seen_.size(); ++i) {
      if (model_.jobs[i].gone) continue;
      if (live_[i] != nullptr && seen_[i].ended == nullptr) seen_[i].record = live_[i]->Snapshot().record;
      const absl::StatusOr<JobHandle> found = pipeline().reader().Find(model_.jobs[i].spec.id);
      seen_[i].found = found.ok();
      if (!found.ok() || found->live != nullptr) continue;
      if (seen_[i].ended == nullptr) {
        seen_[i].record = *found->ended;
      } else {
        Expect(seen_[i].ended.get() == found->ended.get(), Name(i), " has ended and is another");
      }
      seen_[i].ended = found->ended;
      live_[i].reset();
    }
  }

  template <typename... Parts>
  void Expect(bool holds, const Parts&... parts) {
    if (!holds) throw Mismatch{absl::StrCat(parts...)};
  }
  template <typename A, typename B, typename... Parts>
  void ExpectEqual(const A& is, const B& should, const Parts&... parts) {
    if (!(is == should)) throw Mismatch{absl::StrCat(parts..., ": is ", is, ", should be ", should)};
  }
  template <typename... Parts>
  void ExpectTime(absl::Time is, Time should, const Parts&... parts) {
    if (is == ToTime(should)) return;
    throw Mismatch{absl::StrCat(parts..., ": is ", absl::FormatTime(is, absl::UTCTimeZone()), ", should be ",
                                absl::FormatTime(ToTime(should), absl::UTCTimeZone()))};
  }
  std::string Name(size_t job) const { return model_.jobs[job].spec.id; }

  void Compare(bool all = true) {
    ++compared_;
    for (size_t i = 0; i < model_.jobs.size(); ++i) CompareJob(i);
    for (size_t p = 0; p < 2; ++p) ComparePool(p);
    CompareThreads();
    if (!all) return;
    CompareList();
    // They only grow: what was counted wrongly stays so. (They cost more than all the rest.)
    if (compared_ % 4 == 0) CompareMetrics();
  }

  void CompareJob(size_t i) {
    const ControlModel::Job& job = model_.jobs[i];
    const std::string name = Name(i);
    ExpectEqual(waiters_[i]->told.load(), job.ended() ? 1 : 0, name, " told");
    if (job.gone) {
      if (!model_.Find(name).has_value())
        Expect(!pipeline().reader().Find(name).ok(), name, " is still there");
      return;
    }
    const Seen& seen = seen_[i];
    const JobRecord& record = seen.record;
    Expect(seen.found, name, " is not found");
    ExpectEqual(seen.ended != nullptr, job.ended(), name, " ended");
    ExpectEqual(JobStateName(record.state), JobStateName(job.state), name, " state");
    if (job.ended() && checked_.contains(i)) return CompareHeld(i);  // its record is constant
    ExpectEqual(record.revision, job.revision, name, " revision");
    const auto [etag, is_new] = etags_.emplace(std::pair(i, job.revision), record.Etag());
    ExpectEqual(record.Etag(), etag->second, name, " etag");
    if (is_new) Expect(all_etags_.emplace(i, record.Etag()).second, name, " has an old etag");
    ExpectEqual(int{record.priority}, job.spec.priority, name, " priority");
    ExpectEqual(*record.pool, kPoolNames[job.spec.pool], name, " pool");
    ExpectEqual(record.Options().retry_of, job.spec.retry_of, name, " retry_of");
    if (!job.display_name.empty()) ExpectEqual(record.DisplayName(), job.display_name, name, " display_name");
    ExpectTime(record.create_time, job.create, name, " create_time");
    ExpectTime(record.Options().deadline_time, job.spec.deadline, name, " deadline_time");
    ExpectTime(record.Options().schedule_time, job.spec.schedule, name, " schedule_time");
    if (!job.ended()) ExpectTime(record.ReadyTime(), job.ready, name, " ready_time");
    ExpectEqual(record.attempts.size(), job.tries.size(), name, " attempts");
    for (size_t a = 0; a < job.tries.size(); ++a) CompareAttempt(i, a);
    Expect((record.outcome != nullptr) == job.ended(), name, " outcome");
    if (job.ended()) {
      ExpectTime(record.outcome->end_time, job.end, name, " end_time");
      ExpectEqual(ReasonOf(record.outcome->error), job.error, name, " error");
      ExpectEqual(record.outcome->result.has_value(), job.state == JobState::kSucceeded, name, " result");
      checked_.insert(i);
      return CompareHeld(i);
    }
    const Explanation why = Explain(JobHandle{live_[i], nullptr}, pipeline().pools(), clock_.Now());
    const bool queued = job.state == JobState::kQueued;
    ExpectEqual(why.place, queued ? model_.Ahead(i) + 1 : 0, name, " place");
    if (queued) {
      const ControlModel::Pool& pool = model_.pools[job.spec.pool];
      const bool paused = pool.state == 'P';
      const auto wait = static_cast<int>(why.wait);
      Expect((why.wait == JobWait::kPause) == paused, name, " waits for ", wait);
      if (why.wait == JobWait::kKindLimit) Expect(!model_.KindMayStart(job.spec.kind()), name, " not held");
      if (why.wait == JobWait::kPoolRate) Expect(!pool.starts.Allows(model_.now), name, " not slowed");
      if (why.wait == JobWait::kWorkers) {
        Expect(model_.Busy(job.spec.pool) >= pool.max_threads, name, " has workers");
      }
      Expect(why.wait != JobWait::kStart, name, " should have started");
    } else if (job.state == JobState::kScheduled) {
      Expect(why.wait == (job.tries.empty() ? JobWait::kSchedule : JobWait::kBackoff), name, " explained");
    }
  }

  // Once it has ended, no timer, queue or list keeps it, but the thread that is on it.
  void CompareHeld(size_t i) {
    const bool worked_on =
        std::any_of(model_.runs.begin(), model_.runs.end(), [&](const auto& run) { return run.job == i; });
    if (!worked_on) Expect(held_[i].expired(), Name(i), " has ended and is still held");
  }

  void CompareAttempt(size_t i, size_t a) {
    const std::string name = absl::StrCat(Name(i), " attempt ", a + 1);
    const Attempt& attempt = seen_[i].record.attempts[a];
    ControlModel::Try& expected = model_.jobs[i].tries[a];
    ExpectEqual(attempt.number, static_cast<int32_t>(a + 1), name, " number");
    ExpectTime(attempt.start_time, expected.start, name, " start_time");
    ExpectTime(attempt.end_time, expected.end, name, " end_time");
    ExpectEqual(ReasonOf(attempt.error), expected.error, name, " error");
    ExpectEqual(attempt.stop_steps.size(), expected.steps.size(), name, " stop_steps");
    for (size_t s = 0; s < expected.steps.size(); ++s) {
      Expect(attempt.stop_steps[s].action == expected.steps[s].action, name, " step ", s);
      ExpectTime(attempt.stop_steps[s].time, expected.steps[s].time, name, " step");
    }
    if (expected.thread == 0) expected.thread = attempt.thread_id;
    ExpectEqual(attempt.thread_id, expected.thread, name, " thread");
  }

  void ComparePool(size_t p) {
    const std::string name = kPoolNames[p];
    const ControlModel::Pool& pool = model_.pools[p];
    const PoolLoad load = PoolAt(p).Load();
    ExpectEqual(load.scheduled_jobs, model_.CountState(p, JobState::kScheduled), name, " scheduled");
    ExpectEqual(load.queued_jobs, model_.CountState(p, JobState::kQueued), name, " queued");
    ExpectEqual(load.running_jobs, model_.CountState(p, JobState::kRunning), name, " running");
    ExpectEqual(load.lost_threads, pool.lost, name, " lost");
    const int busy = model_.Busy(p);
    ExpectEqual(load.retiring_threads, pool.lost + std::max(0, busy - pool.max_threads), name, " retiring");
    const int threads = load.threads - load.lost_threads;
    Expect(threads >= std::max(pool.min_threads, busy), name, " has too few threads: ", threads);
    Expect(threads <= std::max(pool.max_threads, busy), name, " has too many threads: ", threads);
    ExpectEqual(load.idle_threads, threads - busy, name, " idle");
    if (model_.now - stirred_ >= pool.idle_timeout) {
      ExpectEqual(threads, std::max(pool.min_threads, busy), name, " threads after idling");
    }
    const bool draining = PoolAt(p).CheckRoom(1).code() == absl::StatusCode::kUnavailable;
    ExpectEqual(draining, pool.state == 'D', name, " draining");
    const int64_t room = pool.max_queued - model_.Reserved(p);
    if (!draining) {
      if (room > 0) Expect(PoolAt(p).CheckRoom(room).ok(), name, " has no room for ", room);
      Expect(!PoolAt(p).CheckRoom(std::max<int64_t>(0, room) + 1).ok(), name, " has room for ", room, " + 1");
    }
    absl::Time oldest = absl::InfiniteFuture();
    for (const ControlModel::Job& job : model_.jobs) {
      if (job.state == JobState::kQueued && job.spec.pool == p) oldest = std::min(oldest, ToTime(job.ready));
    }
    Expect(load.oldest_queued_time >= oldest &&
               (load.queued_jobs == 0 || load.oldest_queued_time <= clock_.Now()),
           name, " oldest_queued_time");
  }

  void CompareThreads() {
    const RollCall roll_call = pipeline_->threads().Snapshot();
    const ActiveCount count = pipeline_->threads().Count();
    ExpectEqual(count.total(), static_cast<int>(roll_call.threads.size()), "active count");
    std::map<uint64_t, const ThreadInfo*> there;
    size_t workers = 0;
    for (const ThreadInfo& thread : roll_call.threads) {
      there[thread.id] = &thread;
      workers += thread.role == ThreadRole::kWorker;
    }
    ExpectEqual(roll_call.threads.size() - workers, size_t{1}, "threads that are no workers");
    std::set<uint64_t> on_jobs;
    for (const ControlModel::Run& run : model_.runs) {
      const uint64_t id = model_.jobs[run.job].tries[run.attempt].thread;
      Expect(on_jobs.insert(id).second, "thread ", id, " is on two jobs");
      const auto found = there.find(id);
      Expect(found != there.end(), "thread ", id, " of ", Name(run.job), " is not there");
      const ThreadInfo& thread = *found->second;
      ExpectEqual(thread.pool, kPoolNames[run.pool], "thread ", id, " pool");
      ExpectEqual(thread.job.id, Name(run.job), "thread ", id, " job");
      Expect(thread.state == (run.lost ? ThreadState::kRetiring : ThreadState::kRunning), "thread ", id,
             " state ", ThreadStateName(thread.state));
      const ControlModel::Job& job = model_.jobs[run.job];
      if (!run.decided && !job.display_name.empty()) {
        ExpectEqual(thread.job.display_name, job.display_name, "thread ", id, " display_name");
      }
    }
    std::array<int, 2> ended_early{};
    for (auto at = known_.begin(); at != known_.end();) {
      const auto& [id, known] = *at;
      const auto& pool = model_.pools[known.pool];
      if (there.contains(id)) {
        ++at;
        continue;
      }
      if (!known.lost && model_.now - known.busy < pool.idle_timeout) ++ended_early[known.pool];
      at = known_.erase(at);
    }
    for (size_t p = 0; p < 2; ++p) {
      Expect(ended_early[p] <= std::max(0, threads_before_[p] - model_.pools[p].max_threads), kPoolNames[p],
             ": a thread has ended too early");
      threads_before_[p] = 0;
    }
    for (const auto& [id, thread] : there) {
      if (thread->role != ThreadRole::kWorker) continue;
      const size_t pool = thread->pool == kPoolNames[0] ? 0 : 1;
      Known& known = known_.emplace(id, Known{pool, model_.now, false}).first->second;
      if (on_jobs.contains(id)) known.busy = model_.now;
      known.lost |= thread->state == ThreadState::kRetiring;
      if (!on_jobs.contains(id)) Expect(thread->state == ThreadState::kIdle, "thread ", id, " is not idle");
      threads_before_[pool] += !known.lost;
    }
  }

  void CompareList() {
    JobQuery query;
    query.limit = 10'000;
    const absl::StatusOr<JobPage> page = pipeline().reader().List(query);
    Expect(page.ok(), "not listed");
    std::multiset<std::string> listed;
    std::multiset<std::string> expected;
    for (const ListedJob& job : page->jobs) listed.insert(job.id());
    int64_t live = 0;
    for (const ControlModel::Job& job : model_.jobs) {
      if (job.Listed()) expected.insert(job.spec.id);
      live += !job.ended();
    }
    if (listed != expected) throw Mismatch{"lists " + absl::StrJoin(listed, " ")};
    ExpectEqual(static_cast<int64_t>(pipeline().live_jobs()), live, "live jobs");
  }

  void CompareMetrics() {
    static const std::map<std::string, std::pair<std::string, std::string>> series = {
        {"jobpool_jobs_submitted_total", {"submitted", ""}},
        {"jobpool_jobs_finished_total", {"finished", ""}},
        {"jobpool_jobs_rejected_total", {"rejected", ""}},
        {"jobpool_jobs_interrupted_total", {"interrupted", ""}},
        {"jobpool_job_retries_total", {"retries", ""}},
        {"jobpool_attempts_abandoned_total", {"abandoned", ""}},
        {"jobpool_late_completions_total", {"late", ""}},
        {"jobpool_job_queue_duration_seconds", {"started", "queued_seconds"}},
        {"jobpool_job_run_duration_seconds", {"ran", "ran_seconds"}},
    };
    std::map<std::string, double> expected = model_.counts.of;
    for (const prometheus::MetricFamily& family : pipeline_->metrics().Collect()) {
      const auto known = series.find(family.name);
      if (known == series.end()) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        std::string labels;
        for (const char* name : {"kind", "pool", "state", "reason"}) {
          for (const auto& label : metric.label) {
            if (label.name != name) continue;
            const bool upper = label.name == "state" || label.name == "reason";
            absl::StrAppend(&labels, " ", upper ? absl::AsciiStrToUpper(label.value) : label.value);
          }
        }
        const std::string counted = known->second.first + labels;
        const bool histogram = !known->second.second.empty();
        ExpectEqual(histogram ? static_cast<double>(metric.histogram.sample_count) : metric.counter.value,
                    expected[counted], counted);
        expected.erase(counted);
        if (!histogram) continue;
        const std::string summed = known->second.second + labels;
        Expect(std::abs(metric.histogram.sample_sum - expected[summed]) < 1e-6, summed, ": is ",
               metric.histogram.sample_sum, ", should be ", expected[summed]);
        expected.erase(summed);
      }
    }
    Expect(expected.empty(), "no series ", expected.empty() ? "" : expected.begin()->first);
  }

  // -- what is done

  // After something was done, or has happened: what the pipeline makes of it, and what
  // the model does.
  template <typename Apply>
  void Then(Apply apply) {
    Settle();
    Observe();
    if (model_.now >= next_tick_) {
      model_.Expire();
      next_tick_ = model_.now + kSecond;
    }
    apply();
    stirred_ = model_.now;
    Observe();  // new jobs too
    Compare();
  }

  // Goes on to `target`, from one event to the next. Returns false where two are due at
  // once.
  bool Advance(Time target, bool look = true) {
    for (;;) {
      const std::vector<ControlModel::Event> events = model_.Events();
      if (events.size() > 1 && events[1].time - events[0].time < 10 && events[0].time <= target + 10)
        return false;
      if (events.empty() || events[0].time > target) break;
      const ControlModel::Event event = events[0];
      const bool rate = event.type == 'P' || event.type == 'K';
      // A rate is reckoned in floating point.
      const Time to = event.time + (rate ? 2 : 0);
      clock_.Advance(absl::Nanoseconds(to - model_.now));
      model_.now = to;
      Note(absl::StrCat("event ", std::string(1, event.type), " ", event.index));
      Then([&] { model_.Happen(event); });
    }
    if (target > model_.now) {
      clock_.Advance(absl::Nanoseconds(target - model_.now));
      model_.now = target;
    }
    if (!look && model_.now < next_tick_) return true;
    Settle();
    Observe();
    if (model_.now >= next_tick_) {
      model_.Expire();
      next_tick_ = model_.now + kSecond;
    }
    Compare(/*all=*/false);
    return true;
  }

  bool Operate(bool late) {
    const int64_t choice = Random(118);
    if (choice < 26) {
      Submit({AnySpec()});
    } else if (choice < 33) {
      SubmitBatch();
    } else if (choice < 43) {
      Cancel();
    } else if (choice < 63) {
      Finish();
    } else if (choice < 74) {
      Update();
    } else if (choice < 78) {
      Retry();
    } else if (choice < 81) {
      Delete();
    } else if (choice < 87) {
      ReconfigurePool();
    } else if (choice < 91) {
      if (!burst_) ReconfigureKind();
    } else if (choice < 97) {
      ChangeState();
    } else if (choice == 97) {
      if (late) CancelLaterThan();
    } else {
      return Advance(AnyTarget());
    }
    return true;
  }

  Time AnyTarget() {
    const std::vector<ControlModel::Event> events = model_.Events();
    const int64_t choice = Random(6);
    if (!events.empty() && choice < 3) {
      const Time next =
          events[static_cast<size_t>(Random(std::min<int64_t>(3, static_cast<int64_t>(events.size()))))].time;
      const Time before = next - 1000;
      Note("to an event");
      return choice == 0 && before > model_.now ? before : next;
    }
    const Time target = model_.now + Unique(0, choice == 3 ? 50 : choice == 4 ? 1500 : 6000);
    Note(absl::StrCat("to ", Text(target)));
    return target;
  }

  ControlModel::Spec AnySpec() {
    ControlModel::Spec spec;
    const int64_t conduct = Random(10);
    spec.conduct = conduct < 5   ? Conduct::kListens
                   : conduct < 8 ? Conduct::kStubborn
                   : conduct < 9 ? Conduct::kSucceeds
                                 : Conduct::kFails;
    const bool at_once = spec.conduct == Conduct::kSucceeds || spec.conduct == Conduct::kFails;
    spec.work = stage_.MakeWork(at_once ? Kind::kSpin : kKinds[Random(3)], spec.conduct);
    spec.pool = static_cast<size_t>(Random(2));
    spec.priority = static_cast<int>(Chance(50) ? Random(10) : Random(3));
    if (Chance(85)) spec.id = absl::StrCat("j", ++made_);
    if (Chance(6) && !model_.jobs.empty())
      spec.id = model_.jobs[static_cast<size_t>(Random(AsInt(model_.jobs.size())))].spec.id;
    if (Chance(25)) spec.schedule = model_.now + (Chance(10) ? -Unique(0, 100) : Unique(1, 3000));
    if (Chance(25)) spec.timeout = Unique(1, 2000);
    if (Chance(25)) spec.deadline = std::max(model_.now, spec.schedule) + Unique(1, 5000);
    if (Chance(2)) spec.deadline = std::min(model_.now, spec.schedule == kNone ? model_.now : spec.schedule);
    if (spec.deadline <= spec.schedule) spec.schedule = kNone;
    if (Chance(15)) spec.retention = (1 + Random(5)) * kSecond;
    if (Chance(40)) {
      spec.max_attempts = static_cast<int>(2 + Random(3));
      spec.initial_backoff = Unique(1, 1000);
      spec.max_backoff = spec.initial_backoff + Unique(0, 1500);
      spec.multiplier = static_cast<int>(1 + Random(3));
    }
    return spec;
  }

  static int64_t AsInt(size_t n) { return static_cast<int64_t>(n); }

  JobSpec ToJobSpec(const ControlModel::Spec& spec) {
    JobSpec job;
    job.id = spec.id;
    job.work = spec.work;
    job.pool = kPoolNames[spec.pool];
    job.priority = static_cast<uint8_t>(spec.priority);
    job.options.schedule_time = ToTime(spec.schedule);
    job.options.deadline_time = ToTime(spec.deadline);
    job.options.timeout = ToDuration(spec.timeout);
    if (spec.retention != kNever) job.options.retention = ToDuration(spec.retention);
    if (spec.max_attempts > 1) {
      job.options.retry = {spec.max_attempts, ToDuration(spec.initial_backoff), ToDuration(spec.max_backoff),
                           static_cast<double>(spec.multiplier), 0};
    }
    job.options.retry_of = spec.retry_of;
    return job;
  }

  static std::string Text(const ControlModel::Spec& spec) {
    return absl::StrCat(spec.id, " ", ControlModel::Label(spec), " priority ", spec.priority, " conduct ",
                        static_cast<int>(spec.conduct), " schedule ", Text(spec.schedule), " timeout ",
                        Text(spec.timeout), " deadline ", Text(spec.deadline), " attempts ",
                        spec.max_attempts, " backoff ", Text(spec.initial_backoff), " to ",
                        Text(spec.max_backoff), " by ", spec.multiplier);
  }

  // Whether the pipeline's answer is among those that the model allows.
  void ExpectAnswer(const absl::Status& status, const std::set<std::string>& refusals,
                    const std::string& what) {
    Note(absl::StrCat(what, " -> ", status.ok() ? "OK" : ReasonOf(status)));
    if (refusals.empty()) {
      Expect(status.ok(), what, " was refused: ", std::string(status.message()));
    } else {
      Expect(refusals.contains(ReasonOf(status)), what, ": ", ReasonOf(status), ", should be ",
             absl::StrJoin(refusals, " or "));
    }
  }

  void Submit(std::vector<ControlModel::Spec> specs) {
    std::set<std::string> refusals = model_.Refusals(specs);
    // Places that are kept for those who were refused before (RetrySlots) are beyond the model.
    const bool crowded = std::any_of(specs.begin(), specs.end(),
                                     [&](const auto& spec) { return PoolAt(spec.pool).crowded(); });
    std::vector<JobHandle> jobs;
    absl::Status status;
    std::shared_ptr<ToldWaiter> waiter;
    if (specs.size() == 1) {
      waiter = std::make_shared<ToldWaiter>();
      absl::StatusOr<Submission> submission = pipeline().admission().Submit(ToJobSpec(specs[0]), waiter);
      status = submission.status();
      if (submission.ok()) jobs.push_back(submission->job);
    } else {
      std::vector<JobSpec> job_specs;
      for (const auto& spec : specs) job_specs.push_back(ToJobSpec(spec));
      absl::StatusOr<std::vector<JobHandle>> submitted =
          pipeline().admission().SubmitAll(std::move(job_specs));
      status = submitted.status();
      if (submitted.ok()) jobs = *std::move(submitted);
    }
    std::string what = "submit";
    for (const auto& spec : specs) absl::StrAppend(&what, "\n    ", Text(spec));
    if (crowded && ReasonOf(status) == "QUEUE_FULL") refusals.insert("QUEUE_FULL");
    ExpectAnswer(status, refusals, what);
    if (!status.ok()) {
      model_.counts.Add("rejected " + ReasonOf(status), static_cast<double>(specs.size()));
      Then([] {});
      return;
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      specs[i].id = jobs[i].live->id();
      live_.push_back(jobs[i].live);
      held_.push_back(jobs[i].live);
      waiters_.push_back(waiter != nullptr ? waiter : std::make_shared<ToldWaiter>());
      if (waiter == nullptr) jobs[i].Await(waiters_.back());
      Seen seen;
      seen_.push_back(seen);
    }
    jobs.clear();
    Settle();
    ObserveLive();
    if (model_.now >= next_tick_) {
      model_.Expire();
      next_tick_ = model_.now + kSecond;
    }
    model_.Submit(specs);
    stirred_ = model_.now;
    Observe();
    Compare();
  }

  // Before the model knows of new jobs.
  void ObserveLive() {
    for (size_t i = 0; i < live_.size(); ++i) {
      if (live_[i] != nullptr) seen_[i].record = live_[i]->Snapshot().record;
    }
  }

  void SubmitBatch() {
    std::vector<ControlModel::Spec> specs;
    const auto pool = static_cast<size_t>(Random(2));
    if (burst_ && Chance(50)) {
      SetState(pool, 'P');
      while (model_.Busy(pool) > 0) Finish(pool);
      const auto count = 58 + Random(14);
      const int priority = static_cast<int>(5 + Random(5));
      for (int64_t i = 0; i < count; ++i) {
        ControlModel::Spec spec;
        spec.id = absl::StrCat("j", ++made_);
        const bool waits = i < 3;
        spec.conduct = waits ? Conduct::kListens : Conduct::kSucceeds;
        spec.work = stage_.MakeWork(Kind::kSpin, spec.conduct);
        spec.pool = pool;
        spec.priority = waits ? static_cast<int>(Random(5)) : priority;
        specs.push_back(spec);
      }
      Submit(specs);
      SetState(pool, 'A');
      return;
    } else {
      // Queued one after the other: a free worker may take one before a better one is.
      const auto one_priority = static_cast<int>(Random(10));
      const int64_t count = 1 + Random(4);
      for (int64_t i = 0; i < count; ++i) {
        specs.push_back(AnySpec());
        const auto& of = model_.pools[specs.back().pool];
        if (of.state != 'P' && model_.Busy(specs.back().pool) < of.max_threads)
          specs.back().priority = one_priority;
      }
    }
    Submit(specs);
  }

  std::optional<size_t> AnyJob() {
    if (model_.jobs.empty()) return std::nullopt;
    // Mostly one that is live.
    for (int i = 0; i < 8; ++i) {
      const auto job = static_cast<size_t>(Random(AsInt(model_.jobs.size())));
      if (!model_.jobs[job].ended()) return job;
    }
    return static_cast<size_t>(Random(AsInt(model_.jobs.size())));
  }

  // The job of that name now: another can have the name of one that is gone.
  std::set<std::string> Resolve(size_t& job) const {
    const std::optional<size_t> found = model_.Find(Name(job));
    if (!found.has_value()) return {"JOB_NOT_FOUND"};
    job = *found;
    return {};
  }

  void Cancel() {
    std::optional<size_t> job = AnyJob();
    if (!job.has_value()) return;
    std::set<std::string> refusals = Resolve(*job);
    if (refusals.empty() && model_.jobs[*job].ended()) refusals = {"JOB_ENDED"};
    absl::StatusOr<JobSnapshot> answer = [&]() -> absl::StatusOr<JobSnapshot> {
      JOBPOOL_ASSIGN_OR_RETURN(const std::shared_ptr<LiveJob> asked, pipeline().control().Cancel(Name(*job)));
      return asked->Snapshot();
    }();
    ExpectAnswer(answer.status(), refusals, "cancel " + Name(*job));
    if (answer.ok()) {
      const bool runs = model_.jobs[*job].state == JobState::kRunning;
      Expect(answer->record.state == (runs ? JobState::kRunning : JobState::kCancelled), "answer of cancel");
    }
    Then([&] {
      if (refusals.empty()) model_.Cancel(*job);
    });
  }

  void Finish(std::optional<size_t> pool = std::nullopt) {
    std::vector<ControlModel::Run> runs;
    for (const ControlModel::Run& run : model_.runs) {
      if (!pool.has_value() || run.pool == *pool) runs.push_back(run);
    }
    if (runs.empty()) return;
    const ControlModel::Run run = runs[static_cast<size_t>(Random(AsInt(runs.size())))];
    const uint64_t thread = model_.jobs[run.job].tries[run.attempt].thread;
    const int64_t choice = Random(5);
    const Ending ending = choice < 2 ? Ending::kSuccess : choice < 4 ? Ending::kFailure : Ending::kCancelled;
    Note(absl::StrCat("let ", Name(run.job), " go on thread ", thread, " with ", static_cast<int>(ending)));
    stage_.LetGo(thread, ending);
    Then([&] { model_.Finish(thread, ending); });
  }

  void Update() {
    std::optional<size_t> job = AnyJob();
    if (!job.has_value()) return;
    std::set<std::string> refusals = Resolve(*job);
    ControlModel::Update update;
    JobUpdate given;
    std::string what = "update " + Name(*job);
    if (Chance(25)) {
      update.display_name = absl::StrCat("name ", ++unique_);
      given.display_name = update.display_name;
      absl::StrAppend(&what, " display_name");
    }
    if (Chance(40)) {
      update.priority = static_cast<int>(Random(10));
      given.priority = static_cast<uint8_t>(*update.priority);
      absl::StrAppend(&what, " priority ", *update.priority);
    }
    if (Chance(35)) {
      const int64_t choice = Random(10);
      update.schedule = choice < 2   ? kNone
                        : choice < 3 ? model_.now - Unique(1, 10)
                                     : model_.now + Unique(1, 3000);
      given.schedule_time = ToTime(*update.schedule);
      absl::StrAppend(&what, " schedule ", Text(*update.schedule));
    }
    if (Chance(35)) {
      const int64_t choice = Random(10);
      update.deadline = choice < 2   ? kNever
                        : choice < 3 ? model_.now - Unique(0, 10)
                                     : model_.now + Unique(1, 5000);
      given.deadline_time = ToTime(*update.deadline);
      absl::StrAppend(&what, " deadline ", Text(*update.deadline));
    }
    if (refusals.empty() && Chance(40)) {
      const bool old = Chance(40);
      given.etag = seen_[*job].record.Etag();
      if (old) {
        update.stale_etag = true;
        given.etag = model_.jobs[*job].revision > 1 ? etags_[{*job, model_.jobs[*job].revision - 1}] : "0-0";
        if (given.etag.empty()) given.etag = "0-1";
      }
      absl::StrAppend(&what, old ? " old etag" : " etag");
    }
    if (refusals.empty()) refusals = model_.UpdateRefusals(*job, update);
    const absl::StatusOr<JobSnapshot> answer = jobpool::Update(pipeline().control(), Name(*job), given);
    ExpectAnswer(answer.status(), refusals, what);
    Then([&] {
      if (refusals.empty()) model_.Apply(*job, update);
    });
  }

  void Retry() {
    if (model_.jobs.empty()) return;
    auto job = static_cast<size_t>(Random(AsInt(model_.jobs.size())));
    std::set<std::string> refusals = Resolve(job);
    if (refusals.empty() && !model_.jobs[job].ended()) refusals = {"JOB_NOT_ENDED"};
    const absl::StatusOr<JobSpec> made = pipeline().control().SpecOfRetry(Name(job));
    ExpectAnswer(made.status(), refusals, "retry " + Name(job));
    if (!made.ok()) return Then([] {});
    ControlModel::Spec spec = model_.jobs[job].spec;
    spec.retry_of = spec.id;
    spec.id = "";
    spec.schedule = kNone;
    spec.deadline = kNever;
    const JobSpec expected = ToJobSpec(spec);
    JobOptions options = made->options;
    options.display_name = "";
    Expect(made->id.empty() && made->pool == expected.pool && made->priority == expected.priority &&
               options == expected.options,
           "spec of retry");
    spec.id = absl::StrCat("j", ++made_);
    Submit({spec});
  }

  void Delete() {
    if (model_.jobs.empty()) return;
    auto job = static_cast<size_t>(Random(AsInt(model_.jobs.size())));
    std::set<std::string> refusals = Resolve(job);
    if (refusals.empty() && !model_.jobs[job].ended()) refusals = {"JOB_NOT_ENDED"};
    ExpectAnswer(jobpool::Delete(pipeline().control(), Name(job)), refusals, "delete " + Name(job));
    Then([&] {
      if (refusals.empty()) model_.jobs[job].gone = true;
    });
  }

  void ReconfigurePool() {
    const auto p = static_cast<size_t>(Random(2));
    ControlModel::Pool& pool = model_.pools[p];
    switch (Random(7)) {
      case 0:
      case 1:
        if (!burst_) pool.max_threads = static_cast<int>(1 + Random(4));
        pool.min_threads = static_cast<int>(Random(pool.max_threads + 1));
        break;
      case 2:
        if (!burst_) pool.max_queued = 1 + Random(10);
        break;
      case 3:
        pool.idle_timeout = Random(3000) * kMs;
        break;
      case 4:
        pool.stop_grace = Unique(50, 2000);
        break;
      case 5:
        if (!burst_) pool.starts.Set(AnyRate({0, 1, 4, 16, 64}));
        break;
      default:
        if (!burst_) pool.submits.Set(AnyRate({0, 0, 1, 4, 16}));
    }
    Note(absl::StrCat("pool ", kPoolNames[p], ": threads ", pool.min_threads, " to ", pool.max_threads,
                      ", queue ", pool.max_queued, ", idle ", Text(pool.idle_timeout), ", grace ",
                      Text(pool.stop_grace), ", starts ", pool.starts.per_second, ", submits ",
                      pool.submits.per_second));
    // Those that idle are woken to look at the clock again: rest is after that.
    const std::map<uint64_t, uint64_t> before = clock_.WaitsByThread();
    std::set<uint64_t> woken;
    for (const ThreadInfo& thread : pipeline_->threads().Snapshot().threads) {
      if (thread.pool == kPoolNames[p] && before.contains(thread.id)) woken.insert(thread.id);
    }
    PoolAt(p).Reconfigure(OptionsOf(p));
    AwaitThat(
        [&] {
          const std::map<uint64_t, uint64_t> after = clock_.WaitsByThread();
          return std::none_of(woken.begin(), woken.end(), [&](uint64_t thread) {
            const auto found = after.find(thread);
            return found != after.end() && found->second == before.at(thread);
          });
        },
        "an idle thread was not woken");
    Then([&] { model_.StartAll(); });
  }

  int AnyRate(const std::vector<int>& rates) {
    return rates[static_cast<size_t>(Random(AsInt(rates.size())))];
  }

  void ReconfigureKind() {
    const Kind kind = kKinds[Random(4)];
    ControlModel::KindLimit& limit = model_.kinds[static_cast<size_t>(kind)];
    if (Chance(25)) limit.starts.Set(AnyRate({0, 2, 8, 32}));
    if (Chance(50)) limit.submits.Set(AnyRate({0, 1, 2, 8}));
    // Those that end at once would make the order of starts a matter of luck.
    if (Chance(60) && kind != Kind::kSpin) limit.max_running = static_cast<int>(Random(4));
    KindOptionsByKind options;
    for (size_t i = 0; i < kKindCount; ++i) {
      const ControlModel::KindLimit& of = model_.kinds[i];
      options[i] = {of.max_running, static_cast<double>(of.starts.per_second),
                    static_cast<double>(of.submits.per_second)};
    }
    Note(absl::StrCat("kind ", std::string(KindName(kind)), ": running ", limit.max_running, ", starts ",
                      limit.starts.per_second, ", submits ", limit.submits.per_second));
    pipeline().kinds().Reconfigure(options);
    Then([&] { model_.StartAll(); });
  }

  void ChangeState() {
    const auto p = static_cast<size_t>(Random(2));
    SetState(p, "PPADA"[Random(5)]);
  }

  void SetState(size_t p, char state) {
    Note(absl::StrCat("pool ", kPoolNames[p], " ", std::string(1, state)));
    if (state == 'P') PoolAt(p).Pause();
    if (state == 'A') PoolAt(p).Resume();
    if (state == 'D') PoolAt(p).Drain();
    model_.pools[p].state = state;
    Then([&] { model_.StartAll(); });
  }

  void CancelLaterThan() {
    const Time time = model_.now + Unique(0, 2000);
    Note(absl::StrCat("cancel what is later than ", Text(time)));
    pipeline().control().CancelLaterThan(ToTime(time), CancelReason::kInterrupted);
    Then([&] { model_.CancelLaterThan(time); });
  }

  // Takes all limits away and lets everything end by itself.
  bool LetAllEnd() {
    for (size_t p = 0; p < 2; ++p) {
      model_.pools[p].state = 'A';
      PoolAt(p).Resume();
      Then([&] { model_.StartAll(); });
    }
    for (;;) {
      const bool live =
          std::any_of(model_.jobs.begin(), model_.jobs.end(), [](const auto& job) { return !job.ended(); });
      if (!live && model_.runs.empty()) return true;
      if (!model_.runs.empty()) {
        Finish();
        continue;
      }
      const std::vector<ControlModel::Event> events = model_.Events();
      Expect(!events.empty(), "nothing happens any more, and jobs are live");
      if (!Advance(events.front().time)) return false;
    }
  }

  // The server's end.
  void End() {
    stage_.Close();
    pipeline().Close([] {});
    pipeline().control().CancelWhere([](const LiveJob&) { return true; }, CancelReason::kInterrupted);
    pipeline().Stop();
    ExpectEqual(pipeline().live_jobs(), size_t{0}, "live jobs at the end");
    for (size_t i = 0; i < waiters_.size(); ++i)
      ExpectEqual(waiters_[i]->told.load(), 1, Name(i), " told at the end");
    ExpectEqual(SumOfSeries(pipeline_->metrics(), "jobpool_jobs_finished_total"),
                SumOfSeries(pipeline_->metrics(), "jobpool_jobs_submitted_total"), "finished at the end");
    ExpectEqual(pipeline_->threads().Count().total(), 0, "threads at the end");
  }

  std::mt19937_64 random_;
  const bool burst_;       // many jobs that end at once, and one worker
  const bool to_the_end_;  // all jobs end by themselves
  int64_t unique_ = 0;
  int made_ = 0;
  int compared_ = 0;
  std::vector<std::string> log_;

  FakeClock clock_;
  Stage stage_;
  ControlModel model_;
  Time next_tick_ = kSecond;  // of upkeep
  Time stirred_ = 0;          // when something was done or happened

  // By the jobs' indexes in the model.
  std::vector<std::shared_ptr<LiveJob>> live_;  // null: seen to have ended
  std::vector<std::weak_ptr<LiveJob>> held_;
  std::vector<std::shared_ptr<ToldWaiter>> waiters_;
  std::vector<Seen> seen_;
  std::set<size_t> checked_;  // ended ones that were compared
  std::map<std::pair<size_t, uint32_t>, std::string> etags_;
  std::set<std::pair<size_t, std::string>> all_etags_;
  std::map<uint64_t, Known> known_;
  std::array<int, 2> threads_before_{};

  std::unique_ptr<TestPipeline> pipeline_;
};

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr ? std::strtoll(value, nullptr, 10) : otherwise;
}

TEST(ControlModelTest, ThePipelineDoesWhatTheModelSays) {
  const int64_t first = FromEnvironment("JOBPOOL_MODEL_FIRST_SEED", 1);
  const int64_t seeds = FromEnvironment("JOBPOOL_MODEL_SEEDS", 300);
  int64_t whole = 0;
  int64_t steps = 0;
  for (int64_t seed = first; seed < first + seeds; ++seed) {
    alarm(100);  // the watchdog's, for each sequence anew
    Sequence sequence(static_cast<uint64_t>(seed));
    try {
      whole += sequence.Run();
    } catch (const Mismatch& mismatch) {
      FAIL() << "seed " << seed << ":\n" << sequence.log() << "\n" << mismatch.what;
    }
    steps += sequence.steps();
  }
  RecordProperty("steps", std::to_string(steps));
  EXPECT_GE(whole, seeds * 8 / 10);  // else there is little to be learnt
}

}  // namespace
}  // namespace jobpool
