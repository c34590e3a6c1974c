#include "server/handlers/command.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/handlers/cancel_check.h"
#include "server/handlers/program_run.h"
#include "server/handlers/typed_handler.h"
#include "server/job/errors.h"
#include "server/process/program_failure.h"

namespace jobpool {
namespace {

CommandResult ResultOf(ProgramRun& run) {
  auto output = std::make_shared<CommandOutput>();
  output->exit_status = run.end.exit_status;
  output->signal = run.end.signal;
  output->out_truncated = run.out.truncated();
  output->err_truncated = run.err.truncated();
  output->out = run.out.TakeKept();
  output->err = run.err.TakeKept();
  return {std::move(output)};
}

absl::Status StatusOf(const ProgramRun& run, const Fences& fences) {
  const ProgramEnd& end = run.end;
  if (end.failure.empty() && end.signal == 0 && end.exit_status == 0) return absl::OkStatus();
  const ProgramFailure failure = FailureOf(end, fences, run.err.End());
  if (!end.failure.empty()) return absl::UnavailableError(failure.text);
  return CommandFailedError(failure.text, end.exit_status, end.signal, failure.limit);
}

class CommandHandler final : public TypedHandler<CommandWork> {
 public:
  CommandHandler(std::shared_ptr<const CommandList> commands, ProgramStarter* starter)
      : commands_(std::move(commands)), starter_(starter) {}

  void Check(const Work& work, absl::string_view prefix, Violations& violations) const override {
    const CommandWork& command = std::get<CommandWork>(work);
    if (command.call != nullptr)
      commands_->Check(*command.call, absl::StrCat(prefix, "job.command"), violations);
  }

 private:
  absl::StatusOr<Result> RunTyped(const CommandWork& work, HandlerContext& context) const override {
    const CommandCall& call = *work.call;
    // The list may be another than when the job was accepted.
    const std::shared_ptr<const AllowedCommand> command = commands_->Find(call.name);
    if (command == nullptr) return CommandNotAllowedError(call.name, "the server does not have it any more");
    Violations violations;
    command->Check(call, "job.command", violations);
    if (!violations.empty()) {
      return CommandNotAllowedError(call.name,
                                    absl::StrCat("is another by now: ", violations.ToStatus().message()));
    }
    if (starter_ == nullptr) return absl::UnavailableError("this server cannot start programs");
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(context.cancel));
    const ProgramSpec spec = command->SpecOf(call);
    JOBPOOL_ASSIGN_OR_RETURN(const std::unique_ptr<Program> program, starter_->Start(spec));
    if (context.on_program) context.on_program(program->pid());
    JOBPOOL_ASSIGN_OR_RETURN(ProgramRun run,
                             RunToEnd(*program,
                                      {call.input, command->max_output_bytes, command->kill_grace,
                                       context.on_output, context.on_signal},
                                      context.cancel));
    context.process_usage = run.end.usage;
    absl::Status failure = StatusOf(run, spec.fences);
    if (run.asked) failure = CheckCancel(context.cancel);
    if (!run.end.failure.empty()) return failure;
    CommandResult result = ResultOf(run);
    if (failure.ok()) return result;
    context.result_of_failure = std::move(result);
    return failure;
  }

  const std::shared_ptr<const CommandList> commands_;
  ProgramStarter* const starter_;
};

}  // namespace

std::unique_ptr<const Handler> MakeCommandHandler(std::shared_ptr<const CommandList> commands,
                                                  ProgramStarter* starter) {
  return std::make_unique<CommandHandler>(std::move(commands), starter);
}

}  // namespace jobpool
