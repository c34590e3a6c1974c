#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/base/cancel_token.h"
#include "server/job/bounds.h"
#include "server/job/job_record.h"
#include "tests/support/stage.h"

namespace jobpool {

/// What the protos promise of a pipeline's jobs and pools, done slowly and plainly: one
/// thing after the other, lists that are gone through, no threads. Times are
/// nanoseconds since it began.
class ControlModel {
 public:
  using Time = int64_t;
  static constexpr Time kNever = std::numeric_limits<Time>::max();
  static constexpr Time kNone = std::numeric_limits<Time>::min();

  struct Step {
    StopStep::Action action;
    Time time;
  };
  struct Try {  // an attempt
    Time start = 0;
    Time end = kNever;
    std::string error;  // the reason; "": none
    std::vector<Step> steps;
    uint64_t thread = 0;  // as it was seen
  };
  struct Spec {
    std::string id;
    Work work;
    Conduct conduct = Conduct::kListens;
    size_t pool = 0;
    int priority = kDefaultPriority;
    Time schedule = kNone;
    Time timeout = kNever;
    Time deadline = kNever;
    Time retention = kNever;
    int max_attempts = 1;
    Time initial_backoff = 0;
    Time max_backoff = 0;
    int multiplier = 2;
    std::string retry_of;

    Kind kind() const { return KindOf(work); }
  };
  struct Job {
    Spec spec;
    JobState state = JobState::kQueued;
    uint32_t revision = 1;
    Time create = 0;
    Time ready = 0;
    uint64_t came = 0;  // into the queue: the order there
    std::string display_name;
    std::vector<Try> tries;
    Time end = kNever;
    std::string error;
    bool gone = false;  // deleted, or expired

    bool ended() const { return IsEnded(state); }
    bool Listed() const { return !gone; }
  };
  // Work that a thread is on.
  struct Run {
    size_t job = 0;
    size_t attempt = 0;
    size_t pool = 0;
    CancelReason reason = CancelReason::kNone;
    Time timeout = kNever;
    Time grace = kNever;
    bool decided = false;  // abandoned
    bool lost = false;     // and its thread was replaced
  };
  // In any period of t seconds rate * t, and what comes in the time `burst`.
  struct Rate {
    Time burst = 100'000'000;
    int per_second = 0;
    Time due = kNone;  // of the next on an even grid

    Time Interval() const { return 1'000'000'000 / per_second; }
    Time Next() const {
      if (per_second == 0 || due == kNone) return kNone;
      return due - std::max<Time>(0, burst - Interval());
    }
    // So many together, or none of them.
    bool Allows(Time at, int64_t events = 1) const {
      if (per_second == 0) return true;
      return std::max(due, at) + (events - 1) * Interval() - std::max<Time>(0, burst - Interval()) <= at;
    }
    void Take(Time at, int64_t events = 1) {
      if (per_second > 0) due = std::max(due, at) + events * Interval();
    }
    void Set(int rate) {
      if (rate != per_second) due = kNone;
      per_second = rate;
    }
  };
  struct Pool {
    int min_threads = 0;
    int max_threads = 1;
    int64_t max_queued = 1000;
    Time idle_timeout = 0;
    Time stop_grace = 0;
    Rate starts;
    Rate submits = {.burst = 1'000'000'000};
    char state = 'A';  // active, Paused, Draining
    int lost = 0;
    std::array<int, kPriorities> passed_over{};
  };
  struct KindLimit {
    int max_running = 0;
    Rate starts;
    Rate submits = {.burst = 1'000'000'000};
  };
  struct Update {
    std::optional<std::string> display_name;
    std::optional<int> priority;
    std::optional<Time> schedule;
    std::optional<Time> deadline;
    bool stale_etag = false;

    bool ChangesPlan() const { return priority || schedule || deadline; }
  };

  // What has been counted, by the names of the series.
  struct Counts {
    std::map<std::string, double> of;
    void Add(const std::string& series, double value = 1) { of[series] += value; }
  };

  /// Says how many attempts of a job have begun in fact. Where two pools want the same
  /// place of a kind, or a thread is replaced while a kind's place becomes free, either
  /// may come first: then what was seen decides.
  std::function<size_t(size_t job)> seen;

  Time now = 0;
  std::vector<Pool> pools;
  std::array<KindLimit, kKindCount> kinds;
  std::vector<Job> jobs;
  std::vector<Run> runs;
  Counts counts;
  Time last_ready = kNever;  // what would be ready later is cancelled

  // -- questions

  int64_t CountState(size_t pool, JobState state) const {
    return std::count_if(jobs.begin(), jobs.end(),
                         [&](const Job& job) { return job.spec.pool == pool && job.state == state; });
  }
  int64_t Reserved(size_t pool) const {
    return CountState(pool, JobState::kQueued) + CountState(pool, JobState::kScheduled);
  }
  /// Threads that are on something, without lost ones.
  int Busy(size_t pool) const {
    return static_cast<int>(std::count_if(runs.begin(), runs.end(),
                                          [&](const Run& run) { return run.pool == pool && !run.lost; }));
  }
  int Running(Kind kind) const {
    return static_cast<int>(std::count_if(runs.begin(), runs.end(), [&](const Run& run) {
      return !run.decided && jobs[run.job].spec.kind() == kind;
    }));
  }
  bool KindMayStart(Kind kind) const {
    const KindLimit& limit = kinds[static_cast<size_t>(kind)];
    return (limit.max_running == 0 || Running(kind) < limit.max_running) && limit.starts.Allows(now);
  }
  /// Of a queued job.
  int64_t Ahead(size_t index) const {
    const Job& job = jobs[index];
    return std::count_if(jobs.begin(), jobs.end(), [&](const Job& other) {
      return other.state == JobState::kQueued && other.spec.pool == job.spec.pool &&
             (other.spec.priority > job.spec.priority ||
              (other.spec.priority == job.spec.priority && other.came < job.came));
    });
  }
  std::optional<size_t> Find(const std::string& id) const {
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].spec.id == id && jobs[i].Listed()) return i;
    }
    return std::nullopt;
  }
  Run* RunOf(size_t job) {
    for (Run& run : runs) {
      if (run.job == job && !run.decided) return &run;
    }
    return nullptr;
  }

  struct Event {
    Time time = kNever;
    char type = 0;  // Ready, Deadline, Timeout, Grace, Pool's or Kind's rate
    size_t index = 0;
    size_t attempt = 0;
  };
  /// All that time will bring if nothing else happens before, in its order.
  std::vector<Event> Events() const {
    std::vector<Event> events;
    const auto add = [&](Time time, char type, size_t index, size_t attempt = 0) {
      if (time > now && time != kNever) events.push_back({time, type, index, attempt});
    };
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].ended()) continue;
      if (jobs[i].state == JobState::kScheduled) add(jobs[i].ready, 'R', i);
      add(jobs[i].spec.deadline, 'D', i);
    }
    for (const Run& run : runs) {
      if (run.decided) continue;
      add(run.timeout, 'T', run.job, run.attempt);
      add(run.grace, 'G', run.job, run.attempt);
    }
    for (size_t p = 0; p < pools.size(); ++p) {
      if (CountState(p, JobState::kQueued) > 0 && pools[p].state != 'P') add(pools[p].starts.Next(), 'P', p);
    }
    for (size_t kind = 0; kind < kKindCount; ++kind) {
      const bool waits = std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) {
        return job.state == JobState::kQueued && job.spec.kind() == static_cast<Kind>(kind);
      });
      if (waits) add(kinds[kind].starts.Next(), 'K', kind);
    }
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.time < b.time; });
    return events;
  }

  // -- what happens

  void Happen(const Event& event) {
    switch (event.type) {
      case 'R':
        if (jobs[event.index].state == JobState::kScheduled) BecomeReady(event.index);
        break;
      case 'D':
        Stop(event.index, CancelReason::kDeadline);
        break;
      case 'T':
        if (RunOf(event.index) != nullptr) Ask(event.index, CancelReason::kTimeout);
        break;
      case 'G':
        if (RunOf(event.index) != nullptr) Abandon(event.index);
        break;
      default:
        break;
    }
    StartAll();
  }

  /// Why the jobs may be refused; none: they are not.
  std::set<std::string> Refusals(const std::vector<Spec>& specs) const {
    std::set<std::string> why;
    for (size_t i = 0; i < specs.size(); ++i) {
      const Spec& spec = specs[i];
      if (spec.deadline <= now) why.insert("INVALID_FIELD");
      if (pools[spec.pool].state == 'D') why.insert("POOL_DRAINING");
      const auto same_pool = [&](const Spec& other) { return other.pool == spec.pool; };
      if (Reserved(spec.pool) + std::count_if(specs.begin(), specs.end(), same_pool) >
          pools[spec.pool].max_queued) {
        why.insert("QUEUE_FULL");
      }
      const auto same_kind = [&](const Spec& other) { return other.kind() == spec.kind(); };
      if (!pools[spec.pool].submits.Allows(now, std::count_if(specs.begin(), specs.end(), same_pool)) ||
          !kinds[static_cast<size_t>(spec.kind())].submits.Allows(
              now, std::count_if(specs.begin(), specs.end(), same_kind))) {
        why.insert("RATE_REACHED");
      }
      if (spec.id.empty()) continue;
      if (Find(spec.id).has_value()) why.insert("JOB_EXISTS");
      for (size_t j = 0; j < i; ++j) {
        if (specs[j].id == spec.id) why.insert("JOB_EXISTS");
      }
    }
    return why;
  }

  void Submit(const std::vector<Spec>& specs) {
    for (const Spec& spec : specs) {
      pools[spec.pool].submits.Take(now);
      kinds[static_cast<size_t>(spec.kind())].submits.Take(now);
    }
    const size_t first = jobs.size();
    for (const Spec& spec : specs) {
      Job job;
      job.spec = spec;
      job.create = now;
      job.ready = std::max(now, spec.schedule);
      job.state = spec.schedule > now ? JobState::kScheduled : JobState::kQueued;
      counts.Add("submitted " + Label(spec));
      jobs.push_back(job);
    }
    for (size_t i = first; i < jobs.size(); ++i) {
      if (jobs[i].state == JobState::kQueued) Push(i);
      StopIfTooLate(i);
    }
    StartAll();
  }

  void Cancel(size_t index) {
    Stop(index, CancelReason::kRequested);
    StartAll();
  }

  void CancelLaterThan(Time time) {
    last_ready = time;
    for (size_t i = 0; i < jobs.size(); ++i) {
      const bool waits = jobs[i].state == JobState::kQueued || jobs[i].state == JobState::kScheduled;
      const bool held = waits && pools[jobs[i].spec.pool].state == 'P';
      if (held) Stop(i, CancelReason::kInterrupted);
      StopIfTooLate(i);
    }
    StartAll();
  }

  /// The work on that thread is done.
  void Finish(uint64_t thread, Ending ending) {
    for (size_t r = 0; r < runs.size(); ++r) {
      const Run& run = runs[r];
      if (jobs[run.job].tries[run.attempt].thread != thread) continue;
      if (!run.decided) {
        Decide(run.job, ending);
      } else {
        counts.Add("late");
        if (run.lost) --pools[run.pool].lost;
        runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(r));
      }
      break;
    }
    StartAll();
  }

  std::set<std::string> UpdateRefusals(size_t index, const Update& update) const {
    const Job& job = jobs[index];
    std::set<std::string> why;
    if (job.ended()) return {"JOB_ENDED"};
    if (update.stale_etag) why.insert("ETAG_MISMATCH");
    if (update.ChangesPlan() && job.state == JobState::kRunning) why.insert("JOB_RUNNING");
    const Time deadline = update.deadline.value_or(job.spec.deadline);
    const Time schedule = update.schedule.value_or(job.spec.schedule);
    if (update.deadline.has_value() && deadline <= now) why.insert("INVALID_FIELD");
    if (update.ChangesPlan() && deadline <= schedule) why.insert("INVALID_FIELD");
    return why;
  }

  void Apply(size_t index, const Update& update) {
    Job& job = jobs[index];
    if (update.display_name) job.display_name = *update.display_name;
    ++job.revision;
    const bool queued = job.state == JobState::kQueued;
    const bool later = update.schedule.has_value() && *update.schedule > now;
    if (queued && (update.priority || later)) TakeOut(index);
    if (update.priority) job.spec.priority = *update.priority;
    if (update.deadline) job.spec.deadline = *update.deadline;
    if (update.schedule) {
      job.spec.schedule = *update.schedule;
      if (later) {
        job.state = JobState::kScheduled;
        job.ready = *update.schedule;
        StopIfTooLate(index);
      } else if (!queued && job.state == JobState::kScheduled) {
        job.ready = now;
        Push(index);
      }
    }
    if (queued && !later && update.priority) Push(index);
    StartAll();
  }

  void Expire() {
    for (Job& job : jobs) {
      if (job.ended() && job.spec.retention != kNever && job.end + job.spec.retention <= now) job.gone = true;
    }
  }

  /// Starts whatever may.
  void StartAll() { StartThose(/*only_seen=*/false); }

  static std::string KindLabel(const Spec& spec) { return std::string(KindName(spec.kind())); }
  static std::string Label(const Spec& spec) {
    return KindLabel(spec) + (spec.pool == 0 ? " blocking" : " compute");
  }

 private:
  void Push(size_t index) {
    jobs[index].state = JobState::kQueued;
    jobs[index].came = ++came_;
  }

  // A job leaves the queue: its priority has nobody passed over if nobody is left.
  void TakeOut(size_t index) {
    const Spec& spec = jobs[index].spec;
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (i != index && jobs[i].state == JobState::kQueued && jobs[i].spec.pool == spec.pool &&
          jobs[i].spec.priority == spec.priority) {
        return;
      }
    }
    pools[spec.pool].passed_over[static_cast<size_t>(spec.priority)] = 0;
  }

  void BecomeReady(size_t index) {
    ++jobs[index].revision;
    Push(index);
  }

  void StopIfTooLate(size_t index) {
    if (jobs[index].state == JobState::kScheduled && jobs[index].ready > last_ready) {
      Stop(index, CancelReason::kInterrupted);
    }
  }

  void End(size_t index, JobState state, const std::string& error) {
    Job& job = jobs[index];
    if (job.state == JobState::kQueued) TakeOut(index);
    job.state = state;
    job.error = error;
    job.end = now;
    ++job.revision;
    counts.Add("finished " + Label(job.spec) + " " + std::string(JobStateName(state)));
    if (error == "INTERRUPTED") counts.Add("interrupted");
  }

  static JobState EndFor(CancelReason reason, std::string& error) {
    switch (reason) {
      case CancelReason::kTimeout:
        error = "ATTEMPT_TIMED_OUT";
        return JobState::kFailed;
      case CancelReason::kDeadline:
        error = "DEADLINE_PASSED";
        return JobState::kFailed;
      case CancelReason::kInterrupted:
        error = "INTERRUPTED";
        return JobState::kCancelled;
      default:
        error = "CANCEL_REQUESTED";
        return JobState::kCancelled;
    }
  }

  void Stop(size_t index, CancelReason reason) {
    if (jobs[index].ended()) return;
    if (jobs[index].state == JobState::kRunning) {
      Ask(index, reason);
      return;
    }
    std::string error;
    const JobState end = EndFor(reason, error);
    End(index, end, error);
  }

  void Ask(size_t index, CancelReason reason) {
    Run& run = *RunOf(index);
    const bool first = run.reason == CancelReason::kNone;
    if (first || run.reason == CancelReason::kTimeout) run.reason = reason;
    if (!first) return;
    Job& job = jobs[index];
    job.tries.back().steps.push_back({StopStep::Action::kAsked, now});
    ++job.revision;
    run.grace = now + pools[run.pool].stop_grace;
    if (job.spec.conduct == Conduct::kListens) Decide(index, Ending::kCancelled);
  }

  void Abandon(size_t index) {
    Job& job = jobs[index];
    Run& run = *RunOf(index);
    Pool& pool = pools[run.pool];
    job.tries.back().steps.push_back({StopStep::Action::kAbandoned, now});
    ++job.revision;
    counts.Add("abandoned " + KindLabel(job.spec));
    // No more than the pool's maximum are replaced.
    if (pool.lost < pool.max_threads) {
      run.lost = true;
      ++pool.lost;
    }
    StartThose(/*only_seen=*/true);  // the new thread may be quicker than what follows
    Run& same = *RunOf(index);
    Run stays = same;
    stays.decided = true;
    Decide(index, Ending::kCancelled);
    runs.push_back(stays);
  }

  // What becomes of a running job whose attempt has ended so.
  void Decide(size_t index, Ending ending) {
    Job& job = jobs[index];
    const Run run = *RunOf(index);
    for (size_t r = 0; r < runs.size(); ++r) {
      if (runs[r].job == index && !runs[r].decided) {
        runs.erase(runs.begin() + static_cast<std::ptrdiff_t>(r));
        break;
      }
    }
    Try& attempt = job.tries.back();
    attempt.end = now;
    counts.Add("ran " + KindLabel(job.spec));
    counts.Add("ran_seconds " + KindLabel(job.spec), static_cast<double>(now - attempt.start) / 1e9);
    if (ending == Ending::kSuccess) {
      End(index, JobState::kSucceeded, "");
      return;
    }
    JobState end = JobState::kFailed;
    std::string error = "WORK_FAILED";
    if (ending == Ending::kCancelled && run.reason != CancelReason::kNone) end = EndFor(run.reason, error);
    if (end == JobState::kFailed && static_cast<int>(job.tries.size()) < job.spec.max_attempts) {
      if (run.reason == CancelReason::kNone || run.reason == CancelReason::kTimeout) {
        Time backoff = job.spec.initial_backoff;
        for (size_t i = 1; i < job.tries.size(); ++i)
          backoff = std::min(backoff * job.spec.multiplier, job.spec.max_backoff);
        if (now + backoff < job.spec.deadline) {
          attempt.error = error;
          job.state = JobState::kScheduled;
          job.ready = now + backoff;
          ++job.revision;
          counts.Add("retries " + KindLabel(job.spec));
          StopIfTooLate(index);
          return;
        }
      } else {
        end = EndFor(run.reason, error);  // instead of another attempt
      }
    }
    attempt.error = error;
    End(index, end, error);
  }

  // The highest priority with a job that may start, or the one that was passed over
  // most, if that is more than 62 times; within it, who came first.
  std::optional<size_t> Choose(size_t p) const {
    const Pool& pool = pools[p];
    if (pool.state == 'P' || Busy(p) >= pool.max_threads || !pool.starts.Allows(now)) return std::nullopt;
    std::optional<size_t> chosen;
    int chosen_rank = -1;
    for (size_t i = 0; i < jobs.size(); ++i) {
      const Job& job = jobs[i];
      if (job.state != JobState::kQueued || job.spec.pool != p || !KindMayStart(job.spec.kind())) continue;
      const int passed = pool.passed_over[static_cast<size_t>(job.spec.priority)];
      const int rank = (passed >= 63 ? passed * 100 : 0) + job.spec.priority;
      if (rank > chosen_rank || (rank == chosen_rank && job.came < jobs[*chosen].came)) {
        chosen = i;
        chosen_rank = rank;
      }
    }
    return chosen;
  }

  void StartThose(bool only_seen) {
    for (;;) {
      std::optional<size_t> next;
      for (size_t p = 0; p < pools.size(); ++p) {
        const std::optional<size_t> candidate = Choose(p);
        if (!candidate.has_value()) continue;
        if (seen(*candidate) > jobs[*candidate].tries.size()) {
          next = candidate;
          break;
        }
        if (!only_seen && !next.has_value()) next = candidate;
      }
      if (!next.has_value()) return;
      Start(*next);
    }
  }

  void Start(size_t index) {
    Job& job = jobs[index];
    Pool& pool = pools[job.spec.pool];
    for (int priority = 0; priority < kPriorities; ++priority) {
      const bool waits = std::any_of(jobs.begin(), jobs.end(), [&](const Job& other) {
        return other.state == JobState::kQueued && other.spec.pool == job.spec.pool &&
               other.spec.priority == priority && KindMayStart(other.spec.kind());
      });
      int& passed_over = pool.passed_over[static_cast<size_t>(priority)];
      if (priority == job.spec.priority) {
        passed_over = 0;
      } else if (waits) {
        ++passed_over;
      }
    }
    TakeOut(index);
    pool.starts.Take(now);
    kinds[static_cast<size_t>(job.spec.kind())].starts.Take(now);
    job.state = JobState::kRunning;
    ++job.revision;
    job.tries.push_back({now, kNever, "", {}, 0});
    const std::string pool_name = job.spec.pool == 0 ? "blocking" : "compute";
    counts.Add("started " + pool_name);
    counts.Add("queued_seconds " + pool_name, static_cast<double>(now - job.ready) / 1e9);
    Run run;
    run.job = index;
    run.attempt = job.tries.size() - 1;
    run.pool = job.spec.pool;
    if (job.spec.timeout != kNever) run.timeout = now + job.spec.timeout;
    runs.push_back(run);
    if (job.spec.conduct == Conduct::kSucceeds) Decide(index, Ending::kSuccess);
    if (job.spec.conduct == Conduct::kFails) Decide(index, Ending::kFailure);
  }

  uint64_t came_ = 0;
};

}  // namespace jobpool
