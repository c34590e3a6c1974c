#include "client/cli/job_output.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace jobpool::cli {

ExitStatus PrintJobs(const Session& session, const Jobs& jobs) {
  ExitStatus status = ExitStatus::kDone;
  for (const v1::Job& job : jobs) {
    if (session.format == OutputFormat::kName) Print(absl::StrCat(job.name(), "\n"));
    if (session.format == OutputFormat::kJson) status = PrintJson(job);
    if (status != ExitStatus::kDone) return status;
  }
  if (session.format == OutputFormat::kTable && !jobs.empty()) Print(JobsTable(jobs, absl::Now()));
  return status;
}

ExitStatus CallForJobs(Session& session, const std::vector<std::string>& names,
                       const std::function<absl::StatusOr<v1::Job>(const std::string&)>& call) {
  Jobs jobs;
  const ExitStatus status = ForEachName("jobs", names, [&](const std::string& name) {
    absl::StatusOr<v1::Job> job = call(name);
    if (job.ok()) *jobs.Add() = std::move(*job);
    return job.status();
  });
  const ExitStatus printed = PrintJobs(session, jobs);
  return status == ExitStatus::kDone ? printed : status;
}

}  // namespace jobpool::cli
