#include "client/cli/job_text.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr size_t kNameWidth = 32;      // of a display name in a table
constexpr size_t kResultWidth = 48;    // of a result in a table
constexpr size_t kArgumentWidth = 60;  // of the value of one argument of a command

std::string ErrorText(const google::rpc::Status& error) {
  return error.message().empty() ? absl::StrCat("code ", error.code()) : error.message();
}

std::string PoolText(const v1::Job& job) { return std::string(absl::StripPrefix(job.pool(), "pools/")); }

std::string PriorityText(const v1::Job& job) {
  return job.has_priority() ? absl::StrCat(job.priority()) : "";
}

std::string ProgressText(const v1::Job& job) {
  if (!job.has_progress()) return "";
  return absl::StrFormat("%d%%", static_cast<int>(job.progress().ratio() * 100));
}

/// From its first start to its end, or to now.
std::string RunTimeText(const v1::Job& job, absl::Time now) {
  if (!job.has_start_time()) return "";
  const absl::Time end = job.has_end_time() ? FromProto(job.end_time()) : now;
  return DurationText(end - FromProto(job.start_time()));
}

/// How long until a job that is scheduled becomes ready.
std::string ReadyInText(const v1::Job& job, absl::Time now) {
  return job.has_ready_time() ? AgeText(FromProto(job.ready_time()) - now) : "";
}

std::string RetryPolicyText(const v1::RetryPolicy& policy) {
  std::string text = absl::StrCat("up to ", policy.max_attempts(), " attempts");
  if (policy.has_initial_backoff()) {
    absl::StrAppend(&text, ", backoff ", absl::FormatDuration(FromProto(policy.initial_backoff())));
  }
  if (policy.has_max_backoff()) {
    absl::StrAppend(&text, " to ", absl::FormatDuration(FromProto(policy.max_backoff())));
  }
  if (policy.has_multiplier()) absl::StrAppend(&text, ", times ", policy.multiplier());
  if (policy.has_jitter()) absl::StrAppend(&text, ", jitter ", policy.jitter());
  return text;
}

// A number where the server is newer than this.
std::string StopStepText(const v1::StopStep& step) {
  const std::string& name = v1::StopStep::Action_Name(step.action());
  return absl::StrCat(name.empty() ? absl::StrCat(static_cast<int>(step.action())) : name, " ",
                      TimeText(FromProto(step.time())));
}

/// An attempt in a line: where, when and how it went.
std::string AttemptText(const v1::Attempt& attempt) {
  std::string text =
      absl::StrCat(attempt.thread_display_name(), " (", attempt.thread(), ", tid ", attempt.os_thread_id(),
                   ", pid ", attempt.process_id(), ") ", TimeText(FromProto(attempt.start_time())));
  if (attempt.has_end_time()) {
    absl::StrAppend(&text, " for ",
                    DurationText(FromProto(attempt.end_time()) - FromProto(attempt.start_time())));
  }
  if (attempt.has_usage()) {
    absl::StrAppend(&text, ", CPU ",
                    DurationText(FromProto(attempt.usage().user_cpu_time()) +
                                 FromProto(attempt.usage().system_cpu_time())));
    if (const int64_t bytes = attempt.usage().peak_memory_bytes(); bytes > 0) {
      absl::StrAppendFormat(&text, ", at most %.1f MiB", static_cast<double>(bytes) / (1 << 20));
    }
  }
  for (const v1::StopStep& step : attempt.stop_steps()) absl::StrAppend(&text, ", ", StopStepText(step));
  if (attempt.has_error()) absl::StrAppend(&text, ": ", ErrorText(attempt.error()));
  return text;
}

std::string LabelsText(const v1::Job& job) {
  const std::map<std::string, std::string> sorted(job.labels().begin(), job.labels().end());
  std::string text;
  for (const auto& [key, value] : sorted) absl::StrAppend(&text, text.empty() ? "" : " ", key, "=", value);
  return text;
}

/// With its arguments, sorted, as on the command line.
std::string CommandText(const v1::Command& command) {
  const std::map<std::string, std::string> sorted(command.arguments().begin(), command.arguments().end());
  std::string text = absl::StrCat("command ", command.name());
  for (const auto& [name, value] : sorted) {
    absl::StrAppend(&text, " ", name, "=", CutToWidth(PrintableBytes(value), kArgumentWidth));
  }
  return text;
}

std::string CommandResultText(const v1::CommandResult& result) {
  const auto bytes = [](const std::string& stream, bool truncated) {
    return absl::StrCat(stream.size(), truncated ? " bytes and more" : " bytes");
  };
  return absl::StrCat(result.signal() != 0 ? absl::StrCat("signal ", result.signal())
                                           : absl::StrCat("exit status ", result.exit_status()),
                      ", ", bytes(result.stdout(), result.stdout_truncated()), " of stdout, ",
                      bytes(result.stderr(), result.stderr_truncated()), " of stderr");
}

}  // namespace

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::Job::SUCCEEDED || job.state() == v1::Job::FAILED ||
         job.state() == v1::Job::CANCELLED;
}

std::string StateText(v1::Job::State state) {
  const std::string& name = v1::Job::State_Name(state);
  return name.empty() ? absl::StrCat(static_cast<int>(state)) : name;
}

std::string KindText(const v1::Job& job) {
  const std::string work = WorkText(job);
  return work.substr(0, work.find(' '));
}

std::string WorkText(const v1::Job& job) {
  if (job.has_sleep()) return absl::StrCat("sleep ", absl::FormatDuration(FromProto(job.sleep().duration())));
  if (job.has_noop()) {
    const std::string& payload = job.noop().payload();
    return payload.empty() ? "noop" : absl::StrCat("noop with ", payload.size(), " bytes");
  }
  if (job.has_command()) return CommandText(job.command());
  if (job.has_custom()) {
    const std::string& payload = job.custom().payload();
    const std::string work = absl::StrCat("custom ", job.custom().kind());
    return payload.empty() ? work : absl::StrCat(work, " with ", payload.size(), " bytes");
  }
  const v1::Compute& compute = job.compute();
  switch (compute.work_case()) {
    case v1::Compute::kPrimes:
      return absl::StrCat("primes ", compute.primes().limit());
    case v1::Compute::kFibonacci:
      return absl::StrCat("fibonacci ", compute.fibonacci().index());
    case v1::Compute::kPi:
      return absl::StrCat("pi ", compute.pi().digits());
    case v1::Compute::kHash: {
      const std::string text = absl::StrCat("hash ", compute.hash().bytes());
      return compute.hash().seed() == 0 ? text : absl::StrCat(text, " --seed ", compute.hash().seed());
    }
    case v1::Compute::kSpin:
      return absl::StrCat("spin ", absl::FormatDuration(FromProto(compute.spin().cpu_time())));
    case v1::Compute::WORK_NOT_SET:
      break;
  }
  return "";
}

std::string ResultText(const v1::Job& job) {
  const v1::Result& result = job.result();
  if (result.has_sleep()) return absl::FormatDuration(FromProto(result.sleep().slept()));
  if (result.has_noop()) return PrintableBytes(result.noop().payload());
  if (result.has_command()) return CommandResultText(result.command());
  if (result.has_custom()) return PrintableBytes(result.custom().payload());
  const v1::ComputeResult& compute = result.compute();
  switch (compute.result_case()) {
    case v1::ComputeResult::kPrimes:
      return absl::StrCat(compute.primes().count());
    case v1::ComputeResult::kFibonacci:
      return compute.fibonacci().digits();
    case v1::ComputeResult::kPi:
      return compute.pi().digits();
    case v1::ComputeResult::kHash:
      return compute.hash().sha256();
    case v1::ComputeResult::kSpin:
      return absl::FormatDuration(FromProto(compute.spin().cpu_time()));
    case v1::ComputeResult::RESULT_NOT_SET:
      break;
  }
  return "";
}

std::string JobsTable(const Jobs& jobs, absl::Time now, bool header) {
  Table table({"NAME", "DISPLAY NAME", "STATE", "KIND", "PRIORITY", "PROGRESS", "POOL", "AGE", "RUN TIME",
               "READY IN"});
  table.SetStateColumn(2);
  for (const v1::Job& job : jobs) {
    table.AddRow({job.name(), CutToWidth(job.display_name(), kNameWidth), StateText(job.state()),
                  KindText(job), PriorityText(job), ProgressText(job), PoolText(job),
                  AgeText(now - FromProto(job.create_time())), RunTimeText(job, now), ReadyInText(job, now)});
  }
  return table.ToString(header);
}

std::string JoinedJobsTable(const Jobs& jobs, absl::Time now) {
  Table table({"NAME", "DISPLAY NAME", "STATE", "KIND", "RUN TIME", "RESULT"});
  table.SetStateColumn(2);
  for (const v1::Job& job : jobs) {
    const std::string result = job.has_error() ? ErrorText(job.error()) : ResultText(job);
    table.AddRow({job.name(), CutToWidth(job.display_name(), kNameWidth), StateText(job.state()),
                  KindText(job), RunTimeText(job, now), CutToWidth(result, kResultWidth)});
  }
  return table.ToString();
}

std::string JobDetails(const v1::Job& job) {
  Table table;
  table.SetStateColumn(1);
  const auto add = [&table](std::string field, std::string value) {
    if (!value.empty()) table.AddRow({std::move(field), std::move(value)});
  };
  add("name", job.name());
  add("display name", job.display_name());
  add("state", StateText(job.state()));
  add("work", WorkText(job));
  add("pool", PoolText(job));
  add("priority", PriorityText(job));
  if (job.daemon()) add("daemon", "true");
  if (job.isolation() != v1::Job::ISOLATION_UNSPECIFIED) {
    add("isolation", v1::Job::Isolation_Name(job.isolation()));
  }
  if (job.durability() != v1::Job::DURABILITY_UNSPECIFIED) {
    add("durability", v1::Job::Durability_Name(job.durability()));
  }
  add("labels", LabelsText(job));
  add("retry of", job.retry_of());
  if (job.has_timeout()) add("timeout", absl::FormatDuration(FromProto(job.timeout())));
  if (job.has_retry_policy()) add("retries", RetryPolicyText(job.retry_policy()));
  if (job.has_progress()) add("progress", absl::StrCat(ProgressText(job), " ", job.progress().message()));
  add("result", ResultText(job));
  if (job.has_error()) add("error", ErrorText(job.error()));
  if (job.has_create_time()) add("created", TimeText(FromProto(job.create_time())));
  if (job.has_schedule_time()) add("scheduled for", TimeText(FromProto(job.schedule_time())));
  if (job.has_ready_time()) add("ready", TimeText(FromProto(job.ready_time())));
  if (job.has_deadline_time()) add("deadline", TimeText(FromProto(job.deadline_time())));
  if (job.has_start_time()) add("started", TimeText(FromProto(job.start_time())));
  if (job.has_end_time()) add("ended", TimeText(FromProto(job.end_time())));
  if (job.has_expire_time()) add("expires", TimeText(FromProto(job.expire_time())));
  for (const v1::Attempt& attempt : job.attempts()) {
    add(absl::StrCat("attempt ", attempt.number()), AttemptText(attempt));
  }
  add("etag", job.etag());
  return table.ToString();
}

std::string RunSummary(const v1::Job& job, absl::Duration elapsed) {
  Table table;
  table.SetStateColumn(1);
  table.AddRow({"job", job.name()});
  table.AddRow({"state", StateText(job.state())});
  if (job.has_result()) table.AddRow({"result", ResultText(job)});
  if (job.attempts_size() > 1) table.AddRow({"attempts", absl::StrCat(job.attempts_size())});
  table.AddRow({"elapsed", DurationText(elapsed)});
  return table.ToString();
}

}  // namespace jobpool::cli
