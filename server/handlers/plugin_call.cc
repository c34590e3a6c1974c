#include "server/handlers/plugin_call.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/bounds.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"

namespace jobpool {
namespace {

namespace abi = plugin::abi;

// As often as people can read.
constexpr absl::Duration kProgressInterval = absl::Milliseconds(50);

absl::string_view View(const abi::Text& text) { return {text.data, static_cast<size_t>(text.size)}; }
abi::Text TextOf(absl::string_view text) { return {text.data(), text.size()}; }

void Tell(const ThreadView& thread, abi::TakeThread take, void* to) {
  const abi::Thread told = {sizeof(abi::Thread), TextOf(thread.name),  TextOf(thread.display_name),
                            TextOf(thread.role), TextOf(thread.state), TextOf(thread.pool),
                            TextOf(thread.job),  thread.process_id,    thread.os_thread_id};
  take(to, &told);
}

// Nothing may be thrown through a plug-in. All that can be is that memory is lacking: then nothing was said.
template <typename Fn>
void Guarded(Fn fn) noexcept {
  try {
    fn();
  } catch (...) {
    return;
  }
}

}  // namespace

// What the plug-in calls.
struct PluginCall::Functions {
  static PluginCall& Of(void* server) { return *static_cast<PluginCall*>(server); }

  static int32_t Cancelled(void* server) noexcept {
    bool cancelled = false;
    Guarded([&] { cancelled = Of(server).Cancelled(); });
    return cancelled ? 1 : 0;
  }
  static int32_t WaitCancelled(void* server, int64_t nanos) noexcept {
    bool cancelled = false;
    Guarded([&] { cancelled = Of(server).WaitCancelled(absl::Nanoseconds(nanos)); });
    return cancelled ? 1 : 0;
  }
  static void SetProgress(void* server, double ratio, abi::Text message) noexcept {
    Guarded([&] { Of(server).SetProgress(ratio, View(message)); });
  }
  static void Log(void* server, int32_t level, abi::Text text) noexcept {
    Guarded([&] { Of(server).Log(level, View(text)); });
  }
  static void CurrentThread(void* server, abi::TakeThread take, void* to) noexcept {
    const HandlerHost* const host = Of(server).context_.host;
    if (host == nullptr) return;
    Guarded([&] { host->CurrentThread([&](const ThreadView& thread) { Tell(thread, take, to); }); });
  }
  static uint64_t ActiveCount(void* server) noexcept {
    const HandlerHost* const host = Of(server).context_.host;
    uint64_t count = 0;
    if (host != nullptr) Guarded([&] { count = host->ActiveCount(); });
    return count;
  }
  static void Threads(void* server, abi::TakeThread take, void* to) noexcept {
    const HandlerHost* const host = Of(server).context_.host;
    if (host == nullptr) return;
    Guarded([&] { host->ForEachThread([&](const ThreadView& thread) { Tell(thread, take, to); }); });
  }
  static void Succeed(void* server, abi::Text payload) noexcept {
    Of(server).Settle([&] { Of(server).Succeed(View(payload)); });
  }
  static void Fail(void* server, int32_t code, abi::Text message) noexcept {
    Of(server).Settle([&] { Of(server).Fail(code, View(message)); });
  }
};

absl::StatusOr<Result> PluginCall::Run(const abi::Kind& kind, absl::string_view payload) {
  const std::string job = JobName(context_.attempt.job_id);
  const abi::Call call = {JOBPOOL_PLUGIN_ABI_VERSION,
                          sizeof(abi::Call),
                          this,
                          TextOf(job),
                          TextOf(context_.attempt.display_name),
                          context_.attempt.number,
                          absl::ToUnixNanos(context_.attempt.deadline),
                          &Functions::Cancelled,
                          &Functions::WaitCancelled,
                          &Functions::SetProgress,
                          &Functions::Log,
                          &Functions::CurrentThread,
                          &Functions::ActiveCount,
                          &Functions::Threads,
                          &Functions::Succeed,
                          &Functions::Fail};
  kind.run(kind.handler, &call, TextOf(payload));
  FlushProgress(MonotonicTime::max());
  MutexLock lock(mu_);
  if (!end_.has_value() && out_of_memory_) return absl::ResourceExhaustedError("out of memory");
  if (!end_.has_value()) return absl::InternalError("the plug-in has returned without a result");
  return *std::move(end_);
}

void PluginCall::Settle(absl::FunctionRef<void()> end) noexcept {
  try {
    end();
  } catch (...) {  // what else can be than that memory is lacking
    MutexLock lock(mu_);
    if (!end_.has_value()) out_of_memory_ = true;
  }
}

bool PluginCall::Cancelled() {
  if (holds_progress_.load(std::memory_order_relaxed)) FlushProgress(Clock::Real().Monotonic());
  return context_.cancel.cancelled();
}

bool PluginCall::WaitCancelled(absl::Duration duration) {
  const Clock& clock = Clock::Real();
  const MonotonicTime end = Later(clock.Monotonic(), duration);
  if (const std::optional<MonotonicTime> next = NextProgress(); next.has_value() && *next <= end) {
    if (!context_.cancel.SleepFor(absl::FromChrono(*next - clock.Monotonic()))) return true;
    FlushProgress(clock.Monotonic());
  }
  return !context_.cancel.SleepFor(absl::FromChrono(end - clock.Monotonic()));
}

std::optional<MonotonicTime> PluginCall::NextProgress() const {
  MutexLock lock(mu_);
  if (!holds_progress_.load(std::memory_order_relaxed)) return std::nullopt;
  return next_progress_;
}

void PluginCall::SetProgress(double ratio, absl::string_view message) {
  const MonotonicTime now = Clock::Real().Monotonic();
  {
    MutexLock lock(mu_);
    const bool early = now < next_progress_;
    holds_progress_.store(early, std::memory_order_relaxed);
    if (early) {
      held_ratio_ = ratio;
      held_message_ = std::string(CutAtCharacter(message, kMaxPluginProgressBytes));
      return;
    }
    next_progress_ = Later(now, kProgressInterval);
  }
  context_.progress.Set(ratio, PrintableText(message, kMaxPluginProgressBytes));
}

void PluginCall::FlushProgress(MonotonicTime now) {
  double ratio = 0;
  std::string message;
  {
    MutexLock lock(mu_);
    if (!holds_progress_.load(std::memory_order_relaxed) || now < next_progress_) return;
    holds_progress_.store(false, std::memory_order_relaxed);
    next_progress_ = Later(Clock::Real().Monotonic(), kProgressInterval);
    ratio = held_ratio_;
    message = std::move(held_message_);
  }
  context_.progress.Set(ratio, PrintableText(message, kMaxPluginProgressBytes));
}

void PluginCall::Log(int32_t level, absl::string_view text) {
  if (context_.host == nullptr) return;
  const int32_t known = std::clamp(level, int32_t{0}, static_cast<int32_t>(WorkLogLevel::kError));
  context_.host->Log(static_cast<WorkLogLevel>(known), PrintableText(text, kMaxPluginTextBytes));
}

void PluginCall::Succeed(absl::string_view payload) {
  if (payload.size() > kMaxPayloadBytes) {
    End(absl::ResourceExhaustedError(
        absl::StrCat("the result has ", payload.size(), " bytes; it must be at most ", kMaxPayloadBytes)));
  } else if (payload.empty()) {
    End(CustomResult());
  } else {
    End(CustomResult{std::make_shared<const std::string>(payload)});
  }
}

void PluginCall::Fail(int32_t code, absl::string_view message) {
  const bool known = code >= static_cast<int32_t>(absl::StatusCode::kCancelled) &&
                     code <= static_cast<int32_t>(absl::StatusCode::kUnauthenticated);
  std::string text = PrintableText(message, kMaxPluginTextBytes);
  if (text.empty()) text = "the plug-in has given no reason";
  End(absl::Status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown, text));
}

void PluginCall::End(absl::StatusOr<Result> end) {
  MutexLock lock(mu_);
  if (!end_.has_value()) end_ = std::move(end);
}

}  // namespace jobpool
