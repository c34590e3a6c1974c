#include "server/handlers/sleep.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/handlers/cancel_check.h"
#include "server/handlers/typed_handler.h"

namespace jobpool {
namespace {

// How long a sleep of `duration` goes on between two words about its progress:
// a hundredth of it, but never so short that the waking costs something nor so
// long that a watcher doubts whether it goes on.
absl::Duration Step(absl::Duration duration) {
  return std::clamp(duration / 100, absl::Milliseconds(100), absl::Seconds(1));
}

class SleepHandler final : public TypedHandler<SleepWork> {
  absl::StatusOr<Result> RunTyped(const SleepWork& work, HandlerContext& context) const override {
    const Clock& clock = Clock::Real();
    const MonotonicTime start = clock.Monotonic();
    const absl::Duration step = Step(work.duration);
    absl::Duration wake;  // since `start`, as is `slept`: what a slice oversleeps does not add up
    while (true) {
      JOBPOOL_RETURN_IF_ERROR(CheckCancel(context.cancel));
      const absl::Duration slept = absl::FromChrono(clock.Monotonic() - start);
      if (slept >= work.duration) {
        context.progress.Set(1, absl::StrCat(absl::FormatDuration(work.duration), " slept"));
        return SleepResult{slept};
      }
      if (slept >= wake) {
        context.progress.Set(absl::FDivDuration(slept, work.duration),
                             absl::StrCat(absl::FormatDuration(absl::Trunc(slept, absl::Milliseconds(100))),
                                          " of ", absl::FormatDuration(work.duration), " slept"));
        wake = slept - slept % step + step;
      }
      context.cancel.SleepFor(std::min(wake, work.duration) - slept);
    }
  }
};

}  // namespace

std::unique_ptr<const Handler> MakeSleepHandler() { return std::make_unique<SleepHandler>(); }

}  // namespace jobpool
