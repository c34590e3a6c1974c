#include "server/handlers/fibonacci.h"

#include <gmpxx.h>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/handlers/cancel_check.h"
#include "server/handlers/decimal.h"
#include "server/handlers/paced_progress.h"
#include "server/handlers/typed_handler.h"

namespace jobpool {
namespace {

class FibonacciHandler final : public TypedHandler<FibonacciWork> {
  absl::StatusOr<Result> RunTyped(const FibonacciWork& work, HandlerContext& context) const override {
    PacedProgress progress(context.progress);
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(context.cancel));
    // Cannot be interrupted: 3 ms for the largest index.
    mpz_class number;
    mpz_fib_ui(number.get_mpz_t(), static_cast<unsigned long>(work.index));
    progress.Offer(kComputedRatio,
                   [&] { return absl::StrCat("F(", work.index, ") computed, now its digits"); });
    JOBPOOL_ASSIGN_OR_RETURN(std::string digits, ToDecimal(number, context.cancel));
    progress.Finish(absl::StrCat(digits.size(), " digits"));
    return FibonacciResult{std::move(digits)};
  }

  // Of 14 ms for the largest index, 3 go into the number, the rest into its digits.
  static constexpr double kComputedRatio = 0.2;
};

}  // namespace

std::unique_ptr<const Handler> MakeFibonacciHandler() { return std::make_unique<FibonacciHandler>(); }

}  // namespace jobpool
