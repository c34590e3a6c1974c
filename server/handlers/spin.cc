#include "server/handlers/spin.h"

#include <cerrno>
#include <cstdint>
#include <time.h>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/handlers/cancel_check.h"
#include "server/handlers/paced_progress.h"
#include "server/handlers/typed_handler.h"

namespace jobpool {
namespace {

absl::StatusOr<absl::Duration> ThreadCpuTime() {
  timespec time;
  if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0) {
    return absl::ErrnoToStatus(errno, "cannot read the thread's CPU clock");
  }
  return absl::DurationFromTimespec(time);
}

// Some 10 to 20 us of arithmetic that no compiler can leave out: long against
// the system call that reads the clock (0.3 us), so that what is burnt is user
// time, and short against any time that one asks for.
void Burn() {
  uint64_t x = 0;
  for (int i = 0; i < 10000; ++i) {
    // The generator of Knuth's MMIX.
    x = x * 6364136223846793005u + 1442695040888963407u;
    asm volatile("" : "+r"(x));
  }
}

class SpinHandler final : public TypedHandler<SpinWork> {
  absl::StatusOr<Result> RunTyped(const SpinWork& work, HandlerContext& context) const override {
    PacedProgress progress(context.progress);
    JOBPOOL_ASSIGN_OR_RETURN(const absl::Duration start, ThreadCpuTime());
    while (true) {
      JOBPOOL_RETURN_IF_ERROR(CheckCancel(context.cancel));
      JOBPOOL_ASSIGN_OR_RETURN(const absl::Duration now, ThreadCpuTime());
      const absl::Duration burnt = now - start;
      if (burnt >= work.cpu_time) {
        progress.Finish(absl::StrCat(absl::FormatDuration(work.cpu_time), " burnt"));
        return SpinResult{burnt};
      }
      progress.Offer(absl::FDivDuration(burnt, work.cpu_time), [&] {
        return absl::StrCat(absl::FormatDuration(absl::Trunc(burnt, absl::Milliseconds(10))), " of ",
                            absl::FormatDuration(work.cpu_time), " burnt");
      });
      Burn();
    }
  }
};

}  // namespace

std::unique_ptr<const Handler> MakeSpinHandler() { return std::make_unique<SpinHandler>(); }

}  // namespace jobpool
