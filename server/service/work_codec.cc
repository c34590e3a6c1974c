#include "server/service/work_codec.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/service/time_codec.h"

namespace jobpool {
namespace {

template <typename... Fns>
struct Overloaded : Fns... {
  using Fns::operator()...;
};
template <typename... Fns>
Overloaded(Fns...) -> Overloaded<Fns...>;

NoopWork DecodeNoop(const v1::Noop& noop) {
  if (noop.payload().empty()) return {};
  return {std::make_shared<const std::string>(noop.payload())};
}

NamedValues DecodeNamedValues(const google::protobuf::Map<std::string, std::string>& encoded) {
  NamedValues values(encoded.begin(), encoded.end());
  std::sort(values.begin(), values.end());
  return values;
}

CommandWork DecodeCommand(const v1::Command& command) {
  auto call = std::make_shared<CommandCall>();
  call->name = command.name();
  call->arguments = DecodeNamedValues(command.arguments());
  call->environment = DecodeNamedValues(command.environment());
  call->input = command.stdin();
  return {std::move(call)};
}

CustomWork DecodeCustom(const v1::Custom& custom) {
  return {std::make_shared<const CustomWork::Call>(CustomWork::Call{custom.kind(), custom.payload()})};
}

// Required: 0 is meant only where it is said.
absl::Duration DecodeRequiredDuration(bool has, const google::protobuf::Duration& encoded,
                                      absl::string_view field, Violations& violations) {
  if (!has) {
    violations.Add(field, "is required");
    return absl::ZeroDuration();
  }
  return DecodeDuration(encoded, field, violations).value_or(absl::ZeroDuration());
}

std::optional<Work> DecodeCompute(const v1::Compute& compute, absl::string_view prefix,
                                  Violations& violations) {
  switch (compute.work_case()) {
    case v1::Compute::kPrimes:
      return PrimesWork{compute.primes().limit()};
    case v1::Compute::kFibonacci:
      return FibonacciWork{compute.fibonacci().index()};
    case v1::Compute::kPi:
      return PiWork{compute.pi().digits()};
    case v1::Compute::kHash:
      return HashWork{compute.hash().bytes(), compute.hash().seed()};
    case v1::Compute::kSpin:
      return SpinWork{DecodeRequiredDuration(compute.spin().has_cpu_time(), compute.spin().cpu_time(),
                                             absl::StrCat(prefix, ".compute.spin.cpu_time"), violations)};
    case v1::Compute::WORK_NOT_SET:
      break;
  }
  violations.Add(absl::StrCat(prefix, ".compute.work"),
                 "one of primes, fibonacci, pi, hash, spin is required");
  return std::nullopt;
}

}  // namespace

void EncodeWork(const Work& work, bool with_payload, v1::Job* job) {
  std::visit(
      Overloaded{
          [&](const SleepWork& w) { EncodeDuration(w.duration, job->mutable_sleep()->mutable_duration()); },
          [&](const PrimesWork& w) { job->mutable_compute()->mutable_primes()->set_limit(w.limit); },
          [&](const FibonacciWork& w) { job->mutable_compute()->mutable_fibonacci()->set_index(w.index); },
          [&](const PiWork& w) { job->mutable_compute()->mutable_pi()->set_digits(w.digits); },
          [&](const HashWork& w) {
            job->mutable_compute()->mutable_hash()->set_bytes(w.bytes);
            job->mutable_compute()->mutable_hash()->set_seed(w.seed);
          },
          [&](const SpinWork& w) {
            EncodeDuration(w.cpu_time, job->mutable_compute()->mutable_spin()->mutable_cpu_time());
          },
          [&](const NoopWork& w) {
            v1::Noop* noop = job->mutable_noop();
            if (w.payload != nullptr && with_payload) noop->set_payload(*w.payload);
          },
          [&](const CommandWork& w) {
            v1::Command* command = job->mutable_command();
            command->set_name(w.call->name);
            for (const auto& [name, value] : w.call->arguments) (*command->mutable_arguments())[name] = value;
            for (const auto& [name, value] : w.call->environment) {
              (*command->mutable_environment())[name] = value;
            }
          },
          [&](const CustomWork& w) {
            v1::Custom* custom = job->mutable_custom();
            custom->set_kind(std::string(w.kind()));
            if (with_payload) custom->set_payload(std::string(w.payload()));
          },
      },
      work);
}

void EncodeResult(const Result& result, v1::Result* encoded) {
  std::visit(
      Overloaded{
          [&](const SleepResult& r) { EncodeDuration(r.slept, encoded->mutable_sleep()->mutable_slept()); },
          [&](const PrimesResult& r) { encoded->mutable_compute()->mutable_primes()->set_count(r.count); },
          [&](const FibonacciResult& r) {
            encoded->mutable_compute()->mutable_fibonacci()->set_digits(r.digits);
          },
          [&](const PiResult& r) { encoded->mutable_compute()->mutable_pi()->set_digits(r.digits); },
          [&](const HashResult& r) { encoded->mutable_compute()->mutable_hash()->set_sha256(r.sha256); },
          [&](const SpinResult& r) {
            EncodeDuration(r.cpu_time, encoded->mutable_compute()->mutable_spin()->mutable_cpu_time());
          },
          [&](const NoopResult& r) {
            v1::NoopResult* noop = encoded->mutable_noop();
            if (r.payload != nullptr) noop->set_payload(*r.payload);
          },
          [&](const CommandResult& r) {
            v1::CommandResult* command = encoded->mutable_command();
            command->set_exit_status(r.output->exit_status);
            command->set_signal(r.output->signal);
            command->set_stdout(r.output->out);
            command->set_stderr(r.output->err);
            command->set_stdout_truncated(r.output->out_truncated);
            command->set_stderr_truncated(r.output->err_truncated);
          },
          [&](const CustomResult& r) {
            v1::CustomResult* custom = encoded->mutable_custom();
            if (r.payload != nullptr) custom->set_payload(*r.payload);
          },
      },
      result);
}

std::optional<Work> DecodeWork(const v1::Job& job, absl::string_view prefix, Violations& violations) {
  switch (job.work_case()) {
    case v1::Job::kSleep:
      return SleepWork{DecodeRequiredDuration(job.sleep().has_duration(), job.sleep().duration(),
                                              absl::StrCat(prefix, ".sleep.duration"), violations)};
    case v1::Job::kCompute:
      return DecodeCompute(job.compute(), prefix, violations);
    case v1::Job::kNoop:
      return DecodeNoop(job.noop());
    case v1::Job::kCommand:
      return DecodeCommand(job.command());
    case v1::Job::kCustom:
      return DecodeCustom(job.custom());
    case v1::Job::WORK_NOT_SET:
      break;
  }
  violations.Add(absl::StrCat(prefix, ".work"), "one of sleep, compute, noop, command, custom is required");
  return std::nullopt;
}

}  // namespace jobpool
