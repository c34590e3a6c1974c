#include "server/pipeline/explanation.h"

#include "absl/strings/str_cat.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

std::string TimeText(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%E3S UTC", time, absl::UTCTimeZone());
}

void ExplainScheduled(const JobRecord& job, const QueuePlace& place, Explanation& out) {
  const bool retry = !job.attempts.empty();
  out.wait = retry ? JobWait::kBackoff : JobWait::kSchedule;
  out.text = retry ? absl::StrCat("Attempt ", job.attempts.size(), " has failed; the next one is due at ",
                                  TimeText(job.ReadyTime()), ".")
                   : absl::StrCat("Waits for its schedule_time, ", TimeText(job.ReadyTime()), ".");
  if (place.state == PoolState::kPaused) absl::StrAppend(&out.text, " Its pool is paused.");
  out.estimated_start = job.ReadyTime();
  out.basis = retry ? "the end of its backoff; it may then have to wait in the queue"
                    : "its schedule_time; it may then have to wait in the queue";
}

void ExplainQueued(const JobRecord& job, const QueuePlace& place, absl::Time now, Explanation& out) {
  const std::string pool = PoolName(*job.pool);
  if (!place.ahead.has_value()) {
    out.wait = JobWait::kStart;
    out.text = "A worker has just taken it.";
    out.estimated_start = now;
    out.basis = "it has left the queue";
    return;
  }
  out.place = static_cast<int64_t>(*place.ahead) + 1;
  const std::string where =
      *place.ahead == 0
          ? "It is the next one in the queue"
          : absl::StrCat(*place.ahead, *place.ahead == 1 ? " job comes" : " jobs come", " before it");
  if (place.state == PoolState::kPaused) {
    out.wait = JobWait::kPause;
    out.text = absl::StrCat(pool, " is paused. ", where, ".");
    out.basis = "nothing starts before the pool is resumed";
    return;
  }
  if (place.kind_held) {
    out.wait = JobWait::kKindLimit;
    out.text = absl::StrCat("As many jobs of kind ", std::string(KindName(KindOf(job.work))),
                            " run, or start, as may. ", where, ".");
    out.basis = "it is not known when the others of its kind end";
    return;
  }
  if (place.rate_reached) {
    out.wait = JobWait::kPoolRate;
    out.text = absl::StrCat(pool, " starts as many jobs a second as it may. ", where, ".");
  } else if (place.all_workers_busy) {
    out.wait = JobWait::kWorkers;
    out.text = absl::StrCat("Every worker of ", pool, " is on a job. ", where, ".");
  } else {
    out.wait = JobWait::kStart;
    out.text = absl::StrCat("A worker is on its way. ", where, ".");
  }
  if (place.interval > absl::ZeroDuration()) {
    out.estimated_start = now + place.interval * static_cast<double>(out.place);
    out.basis = absl::StrCat("its place, and ", absl::FormatDuration(place.interval),
                             " from one start to the next, measured while jobs waited");
  } else if (out.wait == JobWait::kStart) {
    out.estimated_start = now;
    out.basis = "a worker is free";
  } else {
    out.basis = "no job has been started yet while others waited";
  }
}

}  // namespace

Explanation Explain(const JobHandle& handle, const PoolSet& pools, absl::Time now) {
  const JobRecord job = handle.Snapshot().record;
  Explanation out;
  out.state = job.state;
  if (IsEnded(job.state)) {
    out.text = absl::StrCat("It has ended: ", std::string(JobStateName(job.state)), ".");
    out.basis = "it will not start again";
    return out;
  }
  const QueuePlace place = pools.Find(*job.pool)->PlaceOf(*handle.live);
  if (place.interval > absl::ZeroDuration()) out.drain_rate = 1 / absl::ToDoubleSeconds(place.interval);
  switch (job.state) {
    case JobState::kScheduled:
      ExplainScheduled(job, place, out);
      break;
    case JobState::kQueued:
      ExplainQueued(job, place, now, out);
      break;
    default:
      out.text = absl::StrCat("It runs since ", TimeText(job.attempts.back().start_time), ", attempt ",
                              job.attempts.size(), ", on ", ThreadName(job.attempts.back().thread_id), ".");
      out.basis = "it has started";
  }
  return out;
}

}  // namespace jobpool
