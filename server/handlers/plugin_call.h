#pragma once

#include <atomic>
#include <jobpool/plugin.h>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/handlers/handler.h"

namespace jobpool {

/// One call of a plug-in's kind: tells it what it asks, and takes what it says, in the bounds that
/// include/jobpool/plugin.h names. To be run once; the plug-in may use it on any thread meanwhile.
class PluginCall {
 public:
  /// `context` outlives it.
  explicit PluginCall(HandlerContext& context) : context_(context) {}
  PluginCall(const PluginCall&) = delete;
  PluginCall& operator=(const PluginCall&) = delete;

  /// What the plug-in has said its work comes to; INTERNAL: it has returned and said nothing.
  absl::StatusOr<Result> Run(const plugin::abi::Kind& kind, absl::string_view payload);

 private:
  struct Functions;

  bool Cancelled();
  bool WaitCancelled(absl::Duration duration);
  void SetProgress(double ratio, absl::string_view message);
  void Log(int32_t level, absl::string_view text);
  void Succeed(absl::string_view payload);
  void Fail(int32_t code, absl::string_view message);
  void End(absl::StatusOr<Result> end);
  // Calls `end`, one of those, and remembers if there is no memory for it.
  void Settle(absl::FunctionRef<void()> end) noexcept;

  // Passes on what was held back of the progress, once it is `now` or later that it may be.
  void FlushProgress(MonotonicTime now);
  // When that will be; nothing if nothing is held back.
  std::optional<MonotonicTime> NextProgress() const;

  HandlerContext& context_;
  std::atomic<bool> holds_progress_{false};  // written under mu_

  mutable Mutex mu_;
  MonotonicTime next_progress_ ABSL_GUARDED_BY(mu_) = MonotonicTime::min();
  double held_ratio_ ABSL_GUARDED_BY(mu_) = 0;
  std::string held_message_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::StatusOr<Result>> end_ ABSL_GUARDED_BY(mu_);
  bool out_of_memory_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace jobpool
