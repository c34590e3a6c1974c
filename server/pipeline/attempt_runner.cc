#include "server/pipeline/attempt_runner.h"

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>

#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/handlers/run_handler.h"
#include "server/job/resource_name.h"
#include "server/pipeline/attempt_host.h"
#include "server/pipeline/process_task.h"

namespace jobpool {
namespace {

WorkLogLevel LevelOf(int level) {
  return static_cast<WorkLogLevel>(std::clamp(level, 0, static_cast<int>(WorkLogLevel::kError)));
}

}  // namespace

absl::StatusOr<AttemptRunner::Process> AttemptRunner::TakeProcess(const LiveJob& job) const {
  if (job.isolation() == Isolation::kThread) return nullptr;
  if (processes_ == nullptr) return absl::UnavailableError("this server runs no processes");
  JOBPOOL_ASSIGN_OR_RETURN(const ProcessUse use, handlers_.Find(job.kind()).UseOf(job.work()));
  return processes_->Take(use);
}

AttemptEnd AttemptRunner::Run(LiveJob& job, RunControl& control, const AttemptInfo& attempt,
                              const absl::StatusOr<Process>& process) const {
  if (!process.ok()) return {process.status()};
  return *process == nullptr ? RunHere(job, control, attempt) : RunIn(**process, job, control, attempt);
}

AttemptEnd AttemptRunner::RunHere(LiveJob& job, RunControl& control, const AttemptInfo& attempt) const {
  const AttemptHost host(job.id(), control.worker_thread_id, registry_, log_);
  HandlerContext context{control.cancel, control.progress, attempt, &host};
  if (job.kind() == Kind::kCommand) {
    context.on_output = [&](OutputStream stream, absl::string_view bytes) {
      if (events_.wants_output()) job.TellOutput(events_, control, {stream, std::string(bytes)});
    };
    context.on_program = [&](pid_t process_id) { job.ShowProgram(control, process_id); };
    context.on_signal = [&](int signal) {
      const auto action = signal == SIGKILL ? StopStep::Action::kKilled : StopStep::Action::kTerminated;
      job.MarkStep(control, action, clock_.Now());
    };
  }
  const ResourceUsage before = ResourceUsage::OfThread();
  absl::StatusOr<Result> result = RunHandler(handlers_.Find(job.kind()), job.work(), context);
  ResourceUsage usage = ResourceUsage::OfThread().Since(before);
  usage += context.process_usage;
  return {std::move(result), std::move(context.result_of_failure), usage};
}

AttemptEnd AttemptRunner::RunIn(ProcessPool::Lease& process, LiveJob& job, RunControl& control,
                                const AttemptInfo& attempt) const {
  control.SetProcess(&process);
  const std::string task = EncodeTask(job, attempt, ThreadName(process.thread_id()), process.display_name());
  const absl::StatusOr<std::string> answer = process.Run(
      task, {control.cancel, control.progress,
             [&](int level, absl::string_view text) { log_.Said(job.id(), LevelOf(level), text); }});
  const bool forced = control.SetProcess(nullptr);
  if (answer.ok()) {
    std::optional<absl::StatusOr<Result>> result = DecodeAnswer(*answer, job.kind());
    if (!result.has_value()) result = process.Refuse();
    return {*std::move(result), std::nullopt, process.usage()};
  }
  return {forced ? absl::CancelledError("ended by force") : answer.status(), std::nullopt, process.usage()};
}

}  // namespace jobpool
