#include "server/store/record_codec.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "jobpool/store/v1/job_record.pb.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

// More than a server has; what goes beyond comes from another's file.
constexpr size_t kMaxPools = 64;

// What is absent in the file; not the server's default, which may change.
constexpr absl::Duration kAbsentRetention = absl::Hours(24);

int64_t Nanos(absl::Time time) { return absl::ToUnixNanos(time); }
int64_t Nanos(absl::Duration duration) { return absl::ToInt64Nanoseconds(duration); }

void EncodeError(const absl::Status& status, store::v1::Error& error) {
  error.set_code(status.raw_code());
  error.set_message(std::string(status.message()));
  status.ForEachPayload([&](absl::string_view type_url, const absl::Cord& value) {
    store::v1::Detail& detail = *error.add_details();
    detail.set_type_url(std::string(type_url));
    detail.set_value(std::string(value));
  });
}

absl::Status DecodeError(const store::v1::Error& error) {
  absl::Status status(static_cast<absl::StatusCode>(error.code()), error.message());
  for (const store::v1::Detail& detail : error.details()) {
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  }
  return status;
}

void EncodePayload(const std::shared_ptr<const std::string>& payload, std::string& bytes) {
  if (payload != nullptr) bytes = *payload;
}

std::shared_ptr<const std::string> DecodePayload(std::string& bytes) {
  if (bytes.empty()) return nullptr;
  return std::make_shared<const std::string>(std::move(bytes));
}

using NamedValueFields = google::protobuf::RepeatedPtrField<store::v1::NamedValue>;

void EncodeNamedValues(const NamedValues& values, NamedValueFields& to) {
  for (const auto& [name, value] : values) {
    store::v1::NamedValue& added = *to.Add();
    added.set_name(name);
    added.set_value(value);
  }
}

NamedValues DecodeNamedValues(NamedValueFields& from) {
  NamedValues values;
  values.reserve(static_cast<size_t>(from.size()));
  for (store::v1::NamedValue& value : from) {
    values.emplace_back(std::move(*value.mutable_name()), std::move(*value.mutable_value()));
  }
  return values;
}

CommandWork DecodeCommand(store::v1::CommandWork& from) {
  auto call = std::make_shared<CommandCall>();
  call->name = std::move(*from.mutable_name());
  call->arguments = DecodeNamedValues(*from.mutable_arguments());
  call->environment = DecodeNamedValues(*from.mutable_environment());
  call->input = std::move(*from.mutable_input());
  return {std::move(call)};
}

CommandResult DecodeCommandResult(store::v1::CommandResult& from) {
  auto output = std::make_shared<CommandOutput>();
  output->exit_status = from.exit_status();
  output->signal = from.signal();
  output->out = std::move(*from.mutable_out());
  output->err = std::move(*from.mutable_err());
  output->out_truncated = from.out_truncated();
  output->err_truncated = from.err_truncated();
  return {std::move(output)};
}

struct WorkEncoder {
  store::v1::JobRecord& to;

  void operator()(const SleepWork& work) const { to.set_sleep_nanos(Nanos(work.duration)); }
  void operator()(const PrimesWork& work) const { to.set_primes_limit(work.limit); }
  void operator()(const FibonacciWork& work) const { to.set_fibonacci_index(work.index); }
  void operator()(const PiWork& work) const { to.set_pi_digits(work.digits); }
  void operator()(const HashWork& work) const {
    to.mutable_hash()->set_bytes(work.bytes);
    to.mutable_hash()->set_seed(work.seed);
  }
  void operator()(const SpinWork& work) const { to.set_spin_nanos(Nanos(work.cpu_time)); }
  void operator()(const NoopWork& work) const { EncodePayload(work.payload, *to.mutable_noop_payload()); }
  void operator()(const CommandWork& work) const {
    store::v1::CommandWork& command = *to.mutable_command();
    command.set_name(work.call->name);
    EncodeNamedValues(work.call->arguments, *command.mutable_arguments());
    EncodeNamedValues(work.call->environment, *command.mutable_environment());
    command.set_input(work.call->input);
  }
  void operator()(const CustomWork& work) const {
    to.mutable_custom()->set_kind(std::string(work.kind()));
    to.mutable_custom()->set_payload(std::string(work.payload()));
  }
};

struct ResultEncoder {
  store::v1::Outcome& to;

  void operator()(const SleepResult& result) const { to.set_slept_nanos(Nanos(result.slept)); }
  void operator()(const PrimesResult& result) const { to.set_primes_count(result.count); }
  void operator()(const FibonacciResult& result) const { to.set_fibonacci_digits(result.digits); }
  void operator()(const PiResult& result) const { to.set_pi_digits(result.digits); }
  void operator()(const HashResult& result) const { to.set_sha256(result.sha256); }
  void operator()(const SpinResult& result) const { to.set_cpu_nanos(Nanos(result.cpu_time)); }
  void operator()(const NoopResult& result) const {
    EncodePayload(result.payload, *to.mutable_noop_payload());
  }
  void operator()(const CommandResult& result) const {
    store::v1::CommandResult& command = *to.mutable_command();
    command.set_exit_status(result.output->exit_status);
    command.set_signal(result.output->signal);
    command.set_out(result.output->out);
    command.set_err(result.output->err);
    command.set_out_truncated(result.output->out_truncated);
    command.set_err_truncated(result.output->err_truncated);
  }
  void operator()(const CustomResult& result) const {
    EncodePayload(result.payload, *to.mutable_custom_payload());
  }
};

absl::Status NoRecord(absl::string_view why) {
  return absl::DataLossError(absl::StrCat("a job's record is damaged: ", why));
}

absl::Status DecodeWork(store::v1::JobRecord& from, Work& work) {
  switch (from.work_case()) {
    case store::v1::JobRecord::kSleepNanos:
      work = SleepWork{absl::Nanoseconds(from.sleep_nanos())};
      return absl::OkStatus();
    case store::v1::JobRecord::kPrimesLimit:
      work = PrimesWork{from.primes_limit()};
      return absl::OkStatus();
    case store::v1::JobRecord::kFibonacciIndex:
      work = FibonacciWork{from.fibonacci_index()};
      return absl::OkStatus();
    case store::v1::JobRecord::kPiDigits:
      work = PiWork{from.pi_digits()};
      return absl::OkStatus();
    case store::v1::JobRecord::kHash:
      work = HashWork{from.hash().bytes(), from.hash().seed()};
      return absl::OkStatus();
    case store::v1::JobRecord::kSpinNanos:
      work = SpinWork{absl::Nanoseconds(from.spin_nanos())};
      return absl::OkStatus();
    case store::v1::JobRecord::kNoopPayload:
      work = NoopWork{DecodePayload(*from.mutable_noop_payload())};
      return absl::OkStatus();
    case store::v1::JobRecord::kCommand:
      work = DecodeCommand(*from.mutable_command());
      return absl::OkStatus();
    case store::v1::JobRecord::kCustom: {
      store::v1::CustomWork& custom = *from.mutable_custom();
      work = CustomWork{std::make_shared<const CustomWork::Call>(
          CustomWork::Call{std::move(*custom.mutable_kind()), std::move(*custom.mutable_payload())})};
      return absl::OkStatus();
    }
    case store::v1::JobRecord::WORK_NOT_SET:
      break;
  }
  return NoRecord("it has no work");
}

std::optional<Result> DecodeResult(store::v1::Outcome& from) {
  switch (from.result_case()) {
    case store::v1::Outcome::kSleptNanos:
      return SleepResult{absl::Nanoseconds(from.slept_nanos())};
    case store::v1::Outcome::kPrimesCount:
      return PrimesResult{from.primes_count()};
    case store::v1::Outcome::kFibonacciDigits:
      return FibonacciResult{std::move(*from.mutable_fibonacci_digits())};
    case store::v1::Outcome::kPiDigits:
      return PiResult{std::move(*from.mutable_pi_digits())};
    case store::v1::Outcome::kSha256:
      return HashResult{std::move(*from.mutable_sha256())};
    case store::v1::Outcome::kCpuNanos:
      return SpinResult{absl::Nanoseconds(from.cpu_nanos())};
    case store::v1::Outcome::kNoopPayload:
      return NoopResult{DecodePayload(*from.mutable_noop_payload())};
    case store::v1::Outcome::kCommand:
      return DecodeCommandResult(*from.mutable_command());
    case store::v1::Outcome::kCustomPayload:
      return CustomResult{DecodePayload(*from.mutable_custom_payload())};
    case store::v1::Outcome::RESULT_NOT_SET:
      break;
  }
  return std::nullopt;
}

void EncodeOptions(const JobOptions& options, store::v1::JobOptions& to) {
  if (!options.display_name.empty()) to.set_display_name(options.display_name);
  for (const auto& [key, value] : options.labels) {
    store::v1::Label& label = *to.add_labels();
    label.set_key(key);
    label.set_value(value);
  }
  if (options.retention != kAbsentRetention) to.set_retention_nanos(Nanos(options.retention));
  if (options.timeout != absl::InfiniteDuration()) to.set_timeout_nanos(Nanos(options.timeout));
  if (options.deadline_time != absl::InfiniteFuture())
    to.set_deadline_time_nanos(Nanos(options.deadline_time));
  if (options.schedule_time != absl::InfinitePast()) to.set_schedule_time_nanos(Nanos(options.schedule_time));
  if (options.ready_time != absl::InfinitePast()) to.set_ready_time_nanos(Nanos(options.ready_time));
  if (options.retry != RetryPolicy{}) {
    store::v1::RetryPolicy& retry = *to.mutable_retry();
    retry.set_max_attempts(options.retry.max_attempts);
    retry.set_initial_backoff_nanos(Nanos(options.retry.initial_backoff));
    retry.set_max_backoff_nanos(Nanos(options.retry.max_backoff));
    retry.set_multiplier(options.retry.multiplier);
    retry.set_jitter(options.retry.jitter);
  }
  if (!options.retry_of.empty()) to.set_retry_of(options.retry_of);
}

std::shared_ptr<const JobOptions> DecodeOptions(store::v1::JobOptions& from) {
  auto options = std::make_shared<JobOptions>();
  options->display_name = std::move(*from.mutable_display_name());
  options->labels.reserve(static_cast<size_t>(from.labels_size()));
  for (store::v1::Label& label : *from.mutable_labels()) {
    options->labels.emplace_back(std::move(*label.mutable_key()), std::move(*label.mutable_value()));
  }
  options->retention =
      from.has_retention_nanos() ? absl::Nanoseconds(from.retention_nanos()) : kAbsentRetention;
  if (from.has_timeout_nanos()) options->timeout = absl::Nanoseconds(from.timeout_nanos());
  if (from.has_deadline_time_nanos()) {
    options->deadline_time = absl::FromUnixNanos(from.deadline_time_nanos());
  }
  if (from.has_schedule_time_nanos()) {
    options->schedule_time = absl::FromUnixNanos(from.schedule_time_nanos());
  }
  if (from.has_ready_time_nanos()) options->ready_time = absl::FromUnixNanos(from.ready_time_nanos());
  if (from.has_retry()) {
    const store::v1::RetryPolicy& retry = from.retry();
    options->retry.max_attempts = retry.max_attempts();
    options->retry.initial_backoff = absl::Nanoseconds(retry.initial_backoff_nanos());
    options->retry.max_backoff = absl::Nanoseconds(retry.max_backoff_nanos());
    options->retry.multiplier = retry.multiplier();
    options->retry.jitter = retry.jitter();
  }
  options->retry_of = std::move(*from.mutable_retry_of());
  return options;
}

void EncodeAttempt(const Attempt& attempt, absl::Time create_time, store::v1::Attempt& to) {
  to.set_number(attempt.number);
  to.set_thread_id(attempt.thread_id);
  to.set_thread_display_name(attempt.thread_display_name);
  to.set_os_thread_id(attempt.os_thread_id);
  to.set_process_id(attempt.process_id);
  to.set_start_after_nanos(Nanos(attempt.start_time - create_time));
  if (attempt.end_time != absl::InfiniteFuture())
    to.set_run_nanos(Nanos(attempt.end_time - attempt.start_time));
  to.set_user_cpu_nanos(Nanos(attempt.usage.user_cpu_time));
  to.set_system_cpu_nanos(Nanos(attempt.usage.system_cpu_time));
  to.set_voluntary_context_switches(attempt.usage.voluntary_context_switches);
  to.set_involuntary_context_switches(attempt.usage.involuntary_context_switches);
  to.set_minor_page_faults(attempt.usage.minor_page_faults);
  to.set_major_page_faults(attempt.usage.major_page_faults);
  to.set_peak_memory_bytes(attempt.usage.peak_memory_bytes);
  if (!attempt.error.ok()) EncodeError(attempt.error, *to.mutable_error());
  for (const StopStep& step : attempt.stop_steps) {
    store::v1::StopStep& stop_step = *to.add_stop_steps();
    stop_step.set_action(static_cast<store::v1::StopStep::Action>(static_cast<int>(step.action) + 1));
    stop_step.set_after_nanos(Nanos(step.time - attempt.start_time));
    stop_step.set_for_good(step.for_good);
  }
}

Attempt DecodeAttempt(store::v1::Attempt& from, absl::Time create_time) {
  Attempt attempt;
  attempt.number = from.number();
  attempt.thread_id = from.thread_id();
  attempt.thread_display_name = std::move(*from.mutable_thread_display_name());
  attempt.os_thread_id = from.os_thread_id();
  attempt.process_id = from.process_id();
  attempt.start_time = create_time + absl::Nanoseconds(from.start_after_nanos());
  if (from.has_run_nanos()) attempt.end_time = attempt.start_time + absl::Nanoseconds(from.run_nanos());
  attempt.usage = {absl::Nanoseconds(from.user_cpu_nanos()),
                   absl::Nanoseconds(from.system_cpu_nanos()),
                   from.voluntary_context_switches(),
                   from.involuntary_context_switches(),
                   from.minor_page_faults(),
                   from.major_page_faults(),
                   from.peak_memory_bytes()};
  if (from.has_error()) attempt.error = DecodeError(from.error());
  for (const store::v1::StopStep& step : from.stop_steps()) {
    attempt.stop_steps.push_back({step.action() == store::v1::StopStep::ACTION_UNSPECIFIED
                                      ? StopStep::Action::kAsked
                                      : static_cast<StopStep::Action>(static_cast<int>(step.action()) - 1),
                                  attempt.start_time + absl::Nanoseconds(step.after_nanos()),
                                  step.for_good()});
  }
  return attempt;
}

void EncodeOutcome(const Outcome& outcome, absl::Time create_time, store::v1::Outcome& to) {
  to.set_end_after_nanos(Nanos(outcome.end_time - create_time));
  if (outcome.result.has_value()) std::visit(ResultEncoder{to}, *outcome.result);
  if (!outcome.error.ok()) EncodeError(outcome.error, *to.mutable_error());
  if (outcome.progress.has_value()) {
    to.mutable_progress()->set_ratio(outcome.progress->ratio);
    to.mutable_progress()->set_message(outcome.progress->message);
    to.mutable_progress()->set_version(outcome.progress->version);
  }
}

std::shared_ptr<const Outcome> DecodeOutcome(store::v1::Outcome& from, absl::Time create_time) {
  auto outcome = std::make_shared<Outcome>();
  outcome->end_time = create_time + absl::Nanoseconds(from.end_after_nanos());
  outcome->result = DecodeResult(from);
  if (from.has_error()) outcome->error = DecodeError(from.error());
  if (from.has_progress()) {
    store::v1::Progress& progress = *from.mutable_progress();
    outcome->progress =
        Progress::Value{progress.ratio(), std::move(*progress.mutable_message()), progress.version()};
  }
  return outcome;
}

// Action I is the enum's value I + 1.
static_assert(static_cast<int>(StopStep::Action::kAsked) + 1 == store::v1::StopStep::ACTION_ASKED);
static_assert(static_cast<int>(StopStep::Action::kAbandoned) + 1 == store::v1::StopStep::ACTION_ABANDONED);
static_assert(static_cast<int>(StopStep::Action::kTerminated) + 1 == store::v1::StopStep::ACTION_TERMINATED);
static_assert(static_cast<int>(StopStep::Action::kKilled) + 1 == store::v1::StopStep::ACTION_KILLED);
// State I is the enum's value I + 1.
static_assert(static_cast<int>(JobState::kScheduled) + 1 == store::v1::JobRecord::STATE_SCHEDULED);
static_assert(static_cast<int>(JobState::kRunning) + 1 == store::v1::JobRecord::STATE_RUNNING);
static_assert(static_cast<int>(JobState::kCancelled) + 1 == store::v1::JobRecord::STATE_CANCELLED);

}  // namespace

RecordEncoder::RecordEncoder() : message_(std::make_unique<store::v1::JobRecord>()) {}
RecordEncoder::~RecordEncoder() = default;

void RecordEncoder::Append(const JobRecord& job, std::string& bytes) {
  store::v1::JobRecord& to = *message_;
  to.Clear();
  to.set_id(job.id);
  to.set_number(job.number);
  to.set_pool(*job.pool);
  to.set_create_time_nanos(Nanos(job.create_time));
  to.set_state(static_cast<store::v1::JobRecord::State>(static_cast<int>(job.state) + 1));
  to.set_priority(job.priority);
  to.set_revision(job.revision);
  std::visit(WorkEncoder{to}, job.work);
  for (const Attempt& attempt : job.attempts) EncodeAttempt(attempt, job.create_time, *to.add_attempts());
  if (job.outcome != nullptr) EncodeOutcome(*job.outcome, job.create_time, *to.mutable_outcome());
  if (job.options != nullptr && *job.options != JobOptions{}) {
    EncodeOptions(*job.options, *to.mutable_options());
  }
  to.set_daemon(job.daemon);
  to.set_on_disk(job.durability == Durability::kDisk);
  to.set_in_process(job.isolation == Isolation::kProcess);
  to.AppendToString(&bytes);
}

std::string EncodeResult(const Result& result) {
  store::v1::Outcome outcome;
  std::visit(ResultEncoder{outcome}, result);
  return outcome.SerializeAsString();
}

std::optional<Result> DecodeResult(absl::string_view bytes) {
  store::v1::Outcome outcome;
  if (!outcome.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return DecodeResult(outcome);
}

RecordDecoder::RecordDecoder() : message_(std::make_unique<store::v1::JobRecord>()) {}
RecordDecoder::~RecordDecoder() = default;

absl::StatusOr<JobRecord> RecordDecoder::Decode(absl::string_view bytes) {
  store::v1::JobRecord& from = *message_;
  if (!from.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return NoRecord("it cannot be read");
  if (from.id().empty() || from.number() == 0 || from.pool().empty()) return NoRecord("it has no name");
  if (from.state() <= store::v1::JobRecord::STATE_UNSPECIFIED ||
      from.state() > store::v1::JobRecord::STATE_CANCELLED) {
    return NoRecord(absl::StrCat("its state is ", static_cast<int>(from.state())));
  }
  if (from.priority() >= kPriorities) return NoRecord(absl::StrCat("its priority is ", from.priority()));
  JobRecord job;
  job.state = static_cast<JobState>(static_cast<int>(from.state()) - 1);
  if (IsEnded(job.state) != from.has_outcome()) return NoRecord("its state and its outcome do not agree");
  JOBPOOL_RETURN_IF_ERROR(DecodeWork(from, job.work));
  job.id = std::move(*from.mutable_id());
  job.number = from.number();
  job.pool = Pool(from.pool());
  job.create_time = absl::FromUnixNanos(from.create_time_nanos());
  job.priority = static_cast<uint8_t>(from.priority());
  job.revision = from.revision();
  job.attempts.reserve(static_cast<size_t>(from.attempts_size()));
  for (store::v1::Attempt& attempt : *from.mutable_attempts()) {
    job.attempts.push_back(DecodeAttempt(attempt, job.create_time));
  }
  if (from.has_outcome()) job.outcome = DecodeOutcome(*from.mutable_outcome(), job.create_time);
  if (from.has_options()) job.options = DecodeOptions(*from.mutable_options());
  job.daemon = from.daemon();
  job.durability = from.on_disk() ? Durability::kDisk : Durability::kMemory;
  job.isolation = from.in_process() ? Isolation::kProcess : Isolation::kThread;
  return job;
}

const std::shared_ptr<const std::string>& RecordDecoder::Pool(const std::string& name) {
  for (const auto& pool : pools_) {
    if (*pool == name) return pool;
  }
  if (pools_.size() == kMaxPools) pools_.clear();
  pools_.push_back(std::make_shared<const std::string>(name));
  return pools_.back();
}

}  // namespace jobpool
