#include "server/pipeline/job_log.h"

#include <string>

#include <spdlog/spdlog.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

// Abseil's own string_view and fmt do not know each other.
std::string Text(absl::string_view text) { return std::string(text); }

// What callers have chosen, so that it cannot be taken for a part of the line.
std::string Quoted(absl::string_view text) { return absl::StrCat("\"", absl::Utf8SafeCEscape(text), "\""); }

spdlog::level::level_enum SeverityOf(WorkLogLevel level) {
  switch (level) {
    case WorkLogLevel::kDebug:
      return spdlog::level::debug;
    case WorkLogLevel::kInfo:
      return spdlog::level::info;
    case WorkLogLevel::kWarning:
      return spdlog::level::warn;
    case WorkLogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

bool JobLog::Wanted() {
  spdlog::logger& log = Log();
  if (log.should_log(spdlog::level::debug)) return true;
  if (!log.should_log(spdlog::level::info)) return false;
  int64_t suppressed = 0;
  if (!limiter_.Allow(&suppressed)) return false;
  if (suppressed > 0) log.info("job lines left out count={} (--log_level=debug shows all)", suppressed);
  return true;
}

void JobLog::Started(const std::string& id, const std::string& display_name, Kind kind,
                     const RegistryEntry& thread) {
  if (!Wanted()) return;
  Log().info("job started job=jobs/{} display_name={} kind={} thread={} os_thread_id={}", id,
             Quoted(display_name), Text(KindName(kind)), Quoted(thread.display_name()),
             thread.os_thread_id());
}

void JobLog::Ended(const JobRecord& job) {
  if (!Wanted()) return;
  const Outcome& outcome = *job.outcome;
  const bool ran = !job.attempts.empty();
  const double seconds = ran ? absl::ToDoubleSeconds(outcome.end_time - job.attempts.back().start_time) : 0.0;
  Log().info("job ended job=jobs/{} display_name={} kind={} state={} thread={} run_seconds={:.6f}{}", job.id,
             Quoted(job.DisplayName()), Text(KindName(KindOf(job.work))), Text(JobStateName(job.state)),
             Quoted(ran ? job.attempts.back().thread_display_name : ""), seconds,
             outcome.error.ok() ? "" : " error=" + Quoted(outcome.error.message()));
}

void JobLog::Retried(const JobRecord& job) {
  if (!Wanted()) return;
  const Attempt& attempt = job.attempts.back();
  Log().info("attempt failed job=jobs/{} display_name={} kind={} attempt={} run_seconds={:.6f} error={}",
             job.id, Quoted(job.DisplayName()), Text(KindName(KindOf(job.work))), attempt.number,
             absl::ToDoubleSeconds(attempt.end_time - attempt.start_time), Quoted(attempt.error.message()));
}

void JobLog::Said(const std::string& id, WorkLogLevel level, absl::string_view text) {
  spdlog::logger& log = Log();
  const spdlog::level::level_enum severity = SeverityOf(level);
  if (!log.should_log(severity)) return;
  int64_t suppressed = 0;
  if (!log.should_log(spdlog::level::debug) && !said_limiter_.Allow(&suppressed)) return;
  if (suppressed > 0) log.warn("lines of jobs left out count={} (--log_level=debug shows all)", suppressed);
  log.log(severity, "job says job=jobs/{} text={}", id, Quoted(text));
}

void JobLog::Abandoned(const std::string& id, uint64_t thread_id) {
  Log().warn("attempt abandoned: its thread did not listen job=jobs/{} thread=threads/{}", id, thread_id);
}

}  // namespace jobpool
