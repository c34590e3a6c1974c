#include "server/job/work.h"

namespace jobpool {

namespace {

size_t Bytes(const NamedValues& values) {
  size_t bytes = values.size() * sizeof(NamedValues::value_type);
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  return bytes;
}

size_t Bytes(const CommandCall& call) {
  return sizeof(call) + call.name.size() + Bytes(call.arguments) + Bytes(call.environment) +
         call.input.size();
}

}  // namespace

size_t HeapBytes(const Work& work) {
  if (const auto* command = std::get_if<CommandWork>(&work)) {
    return command->call != nullptr ? Bytes(*command->call) : 0;
  }
  const auto* noop = std::get_if<NoopWork>(&work);
  if (noop != nullptr) return noop->payload != nullptr ? noop->payload->size() : 0;
  const auto* custom = std::get_if<CustomWork>(&work);
  if (custom == nullptr || custom->call == nullptr) return 0;
  return sizeof(CustomWork::Call) + custom->call->kind.size() + custom->call->payload.size();
}

size_t HeapBytes(const Result& result) {
  if (const auto* fibonacci = std::get_if<FibonacciResult>(&result)) return fibonacci->digits.size();
  if (const auto* pi = std::get_if<PiResult>(&result)) return pi->digits.size();
  if (const auto* command = std::get_if<CommandResult>(&result);
      command != nullptr && command->output != nullptr) {
    return sizeof(CommandOutput) + command->output->out.size() + command->output->err.size();
  }
  if (const auto* custom = std::get_if<CustomResult>(&result)) {
    return custom->payload != nullptr ? custom->payload->size() : 0;
  }
  return 0;  // that of noop is its work's
}

absl::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kSleep:
      return "sleep";
    case Kind::kPrimes:
      return "primes";
    case Kind::kFibonacci:
      return "fibonacci";
    case Kind::kPi:
      return "pi";
    case Kind::kHash:
      return "hash";
    case Kind::kSpin:
      return "spin";
    case Kind::kNoop:
      return "noop";
    case Kind::kCommand:
      return "command";
    case Kind::kCustom:
      return "custom";
  }
  return "";
}

std::optional<Kind> FindKind(absl::string_view name) {
  for (size_t i = 0; i < kKindCount; ++i) {
    if (KindName(static_cast<Kind>(i)) == name) return static_cast<Kind>(i);
  }
  return std::nullopt;
}

}  // namespace jobpool
