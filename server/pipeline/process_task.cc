#include "server/pipeline/process_task.h"

#include <memory>
#include <optional>
#include <unistd.h>
#include <utility>
#include <variant>

#include "jobpool/process/v1/process.pb.h"
#include "server/handlers/run_handler.h"
#include "server/job/bounds.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"
#include "server/store/record_codec.h"
#include "server/workers/thread_registry.h"

namespace jobpool {
namespace {

constexpr size_t kMaxErrorBytes = 4096;

bool IsDigits(const std::string& text, const char* allowed) {
  return text.find_first_not_of(allowed) == std::string::npos;
}

bool IsShort(const std::shared_ptr<const std::string>& payload) {
  return payload == nullptr || payload->size() <= kMaxPayloadBytes;
}

// What becomes text in an answer must be text, and nothing longer than it may be.
bool IsSound(const Result& result) {
  if (const auto* const fibonacci = std::get_if<FibonacciResult>(&result)) {
    return IsDigits(fibonacci->digits, "0123456789");
  }
  if (const auto* const noop = std::get_if<NoopResult>(&result)) return IsShort(noop->payload);
  if (const auto* const custom = std::get_if<CustomResult>(&result)) return IsShort(custom->payload);
  if (const auto* const pi = std::get_if<PiResult>(&result)) return IsDigits(pi->digits, "0123456789.");
  if (const auto* const hash = std::get_if<HashResult>(&result)) {
    return IsDigits(hash->sha256, "0123456789abcdef");
  }
  return true;
}

/// The server as work in a process of its own sees it: that process alone, as threading.enumerate() in a
/// child of multiprocessing.
class WorkerHost final : public HandlerHost {
 public:
  WorkerHost(const process::v1::Attempt& attempt, const JobRecord& job, const WorkerContext& context)
      : attempt_(attempt), job_(JobName(job.id)), pool_(PoolName(*job.pool)), context_(context) {}

  void Log(WorkLogLevel level, absl::string_view text) const override {
    context_.log(static_cast<int>(level), text);
  }
  void CurrentThread(TakeThread take) const override {
    take({attempt_.thread(), attempt_.thread_display_name(), ThreadRoleName(ThreadRole::kProcessWorker),
          ThreadStateName(ThreadState::kRunning), pool_, job_, getpid(), getpid()});
  }
  uint64_t ActiveCount() const override { return 1; }
  void ForEachThread(TakeThread take) const override { CurrentThread(take); }

 private:
  const process::v1::Attempt& attempt_;
  const std::string job_;
  const std::string pool_;
  const WorkerContext& context_;
};

}  // namespace

std::string EncodeTask(const LiveJob& job, const AttemptInfo& attempt, absl::string_view thread,
                       absl::string_view thread_display_name) {
  JobRecord record;
  record.id = job.id();
  record.number = job.number();
  record.work = job.work();
  record.pool = std::make_shared<const std::string>(job.pool());
  process::v1::Attempt task;
  RecordEncoder().Append(record, *task.mutable_job());
  task.set_display_name(std::string(attempt.display_name));
  task.set_number(attempt.number);
  if (attempt.deadline != absl::InfiniteFuture())
    task.set_deadline_nanos(absl::ToUnixNanos(attempt.deadline));
  task.set_thread(std::string(thread));
  task.set_thread_display_name(std::string(thread_display_name));
  return task.SerializeAsString();
}

std::optional<absl::StatusOr<Result>> DecodeAnswer(absl::string_view answer, Kind kind) {
  process::v1::TaskAnswer decoded;
  if (!decoded.ParseFromArray(answer.data(), static_cast<int>(answer.size()))) return std::nullopt;
  if (decoded.code() != 0) {
    if (decoded.code() < 0 || decoded.code() > static_cast<int>(absl::StatusCode::kUnauthenticated)) {
      return std::nullopt;
    }
    return absl::Status(static_cast<absl::StatusCode>(decoded.code()),
                        PrintableText(decoded.message(), kMaxErrorBytes));
  }
  std::optional<Result> result = DecodeResult(decoded.result());
  if (!result.has_value() || result->index() != static_cast<size_t>(kind) || !IsSound(*result)) {
    return std::nullopt;
  }
  return *std::move(result);
}

std::string RunTask(const HandlerRegistry& handlers, absl::string_view task, WorkerContext& context) {
  process::v1::Attempt attempt;
  if (!attempt.ParseFromArray(task.data(), static_cast<int>(task.size()))) return "";  // that is no answer
  const absl::StatusOr<JobRecord> job = RecordDecoder().Decode(attempt.job());
  if (!job.ok()) return "";
  const AttemptInfo info = {
      job->id, attempt.display_name(), attempt.number(),
      attempt.has_deadline_nanos() ? absl::FromUnixNanos(attempt.deadline_nanos()) : absl::InfiniteFuture()};
  const WorkerHost host(attempt, *job, context);
  HandlerContext handler_context{context.cancel, context.progress, info, &host};
  const absl::StatusOr<Result> result =
      RunHandler(handlers.Find(KindOf(job->work)), job->work, handler_context);
  process::v1::TaskAnswer answer;
  if (result.ok()) {
    answer.set_result(EncodeResult(*result));
  } else {
    answer.set_code(static_cast<int>(result.status().code()));
    answer.set_message(std::string(result.status().message()));
  }
  return answer.SerializeAsString();
}

}  // namespace jobpool
