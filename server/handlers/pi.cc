#include "server/handlers/pi.h"

#include <bit>
#include <cstdint>
#include <gmpxx.h>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/handlers/cancel_check.h"
#include "server/handlers/decimal.h"
#include "server/handlers/paced_progress.h"
#include "server/handlers/typed_handler.h"

// The series of D. and G. Chudnovsky (1988),
//   1/pi = 12 * sum over k >= 0 of
//       (-1)^k (6k)! (13591409 + 545140134 k) / ((3k)! k!^3 640320^(3k + 3/2)),
// summed by binary splitting (B. Haible, T. Papanikolaou, "Fast multiprecision
// evaluation of series of rational numbers", 1998), so that one division and
// one square root are left: pi = 426880 sqrt(10005) Q / T.
//
// GMP ends the program where memory runs out; 200,000 digits take 2 MB.

namespace jobpool {
namespace {

constexpr uint64_t kA = 13591409;
constexpr uint64_t kB = 545140134;
constexpr uint64_t kC3Over24 = 10939058860032000;  // 640320^3 / 24

// log10(640320^3 / 1728): what each term adds.
constexpr double kDigitsPerTerm = 14.181647462725477;

// How much of the time goes by until the terms are summed, then until the root
// is there, and the quotient: measured at 200,000 digits.
constexpr double kSummedRatio = 0.55;
constexpr double kRootRatio = 0.7;
constexpr double kDividedRatio = 0.83;

// The terms [from, to) as P, Q and T of Haible and Papanikolaou: each term is
// the one before it times p/q, times (kA + kB k).
struct Terms {
  mpz_class p;
  mpz_class q;
  mpz_class t;
};

class ChudnovskySum {
 public:
  // Sums `count` > 0 terms.
  ChudnovskySum(uint64_t count, const CancelToken& cancel, PacedProgress& progress)
      : count_(count), cancel_(cancel), progress_(progress) {
    // Each level of the recursion costs about the same, so that a node's share
    // is its number of terms; this is the sum over a balanced tree's nodes.
    const int levels = std::bit_width(count - 1);
    total_ = static_cast<double>(count * (levels + 2) - (uint64_t{1} << levels));
  }

  absl::StatusOr<Terms> Sum() { return Sum(0, count_); }

 private:
  absl::StatusOr<Terms> Sum(uint64_t from, uint64_t to) {
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel_));
    if (to - from == 1) {
      Terms term = Term(from);
      Count(1, to);
      return term;
    }
    const uint64_t middle = from + (to - from) / 2;
    JOBPOOL_ASSIGN_OR_RETURN(Terms left, Sum(from, middle));
    JOBPOOL_ASSIGN_OR_RETURN(Terms right, Sum(middle, to));
    left.t *= right.q;
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel_));
    right.t *= left.p;
    left.t += right.t;
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel_));
    left.q *= right.q;
    JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel_));
    // Nobody to the right of the last term asks for its P.
    if (to != count_) left.p *= right.p;
    Count(to - from, to);
    return left;
  }

  // Term `k` alone. The products fit: k is below 14,106 at 200,000 digits.
  static Terms Term(uint64_t k) {
    Terms term;
    if (k == 0) {
      term.p = 1;
      term.q = 1;
    } else {
      term.p = (6 * k - 5) * (2 * k - 1) * (6 * k - 1);
      term.q = k * k * k;
      term.q *= kC3Over24;
    }
    term.t = kA + kB * k;
    term.t *= term.p;
    if (k % 2 == 1) term.t = -term.t;
    return term;
  }

  // A node of `size` terms, the last of them before `end`, is done.
  void Count(uint64_t size, uint64_t end) {
    done_ += static_cast<double>(size);
    progress_.Offer(kSummedRatio * done_ / total_,
                    [&] { return absl::StrCat(end, " of ", count_, " terms summed"); });
  }

  const uint64_t count_;
  const CancelToken& cancel_;
  PacedProgress& progress_;
  double total_;
  double done_ = 0;
};

mpz_class PowerOfTen(uint64_t exponent) {
  mpz_class power;
  mpz_ui_pow_ui(power.get_mpz_t(), 10, exponent);
  return power;
}

// sqrt(10005) * 10^places: less than 1 too small, less than 1/100 too large.
// One step of Heron's method from the root with half the places, which doubles
// them: an error of d there leaves one of d^2 / 200 here, beside that of
// rounding down. Not mpz_sqrt at once, for that cannot be interrupted (6 to
// 14 ms at 200,000 digits).
absl::StatusOr<mpz_class> Root(uint64_t places, const CancelToken& cancel) {
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  if (places < 1000) {
    mpz_class root = 10005 * PowerOfTen(2 * places);
    mpz_sqrt(root.get_mpz_t(), root.get_mpz_t());
    return root;
  }
  const uint64_t half = (places + 1) / 2;
  JOBPOOL_ASSIGN_OR_RETURN(mpz_class root, Root(half, cancel));
  mpz_class rest = 10005 * PowerOfTen(2 * half);
  rest -= root * root;
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  const mpz_class shift = PowerOfTen(places - half);
  rest *= shift;
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  const mpz_class twice = 2 * root;
  mpz_fdiv_q(rest.get_mpz_t(), rest.get_mpz_t(), twice.get_mpz_t());  // rest may be below 0
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  root *= shift;
  root += rest;
  return root;
}

// The whole part of a / b, both above 0: as in long division, with two digits
// of half the quotient's length each, to ask `cancel` in between.
absl::StatusOr<mpz_class> Quotient(const mpz_class& a, const mpz_class& b, const CancelToken& cancel) {
  const size_t a_bits = mpz_sizeinbase(a.get_mpz_t(), 2);
  const size_t b_bits = mpz_sizeinbase(b.get_mpz_t(), 2);
  const size_t half = a_bits > b_bits ? (a_bits - b_bits) / 2 : 0;
  mpz_class high = a >> half;
  mpz_class rest;
  mpz_tdiv_qr(high.get_mpz_t(), rest.get_mpz_t(), high.get_mpz_t(), b.get_mpz_t());
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  mpz_class low;
  mpz_tdiv_r_2exp(low.get_mpz_t(), a.get_mpz_t(), half);
  low += rest << half;
  mpz_tdiv_q(low.get_mpz_t(), low.get_mpz_t(), b.get_mpz_t());
  low += high << half;
  return low;
}

// pi * 10^places: less than 1.1 too small, less than 0.001 too large. The
// bounds add up from those of Root (times pi / 100), from the quotient (up to
// 1 too small) and, below 10^-12, from what is cut off sum and operands.
absl::StatusOr<mpz_class> ScaledPi(uint64_t places, const CancelToken& cancel, PacedProgress& progress) {
  // One term more than is needed: what is left out is below the 14th digit
  // after the last place.
  const auto count = static_cast<uint64_t>(static_cast<double>(places) / kDigitsPerTerm) + 2;
  JOBPOOL_ASSIGN_OR_RETURN(Terms sum, ChudnovskySum(count, cancel, progress).Sum());

  JOBPOOL_ASSIGN_OR_RETURN(const mpz_class root, Root(places, cancel));
  progress.Offer(kRootRatio, [] { return "root taken, now dividing"; });
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));

  // Q and T have twice as many digits as their quotient needs: what is beyond
  // 64 bits more than that (log2(10) < 3.322) only costs time.
  const auto needed = static_cast<size_t>(static_cast<double>(places) * 3.322) + 64;
  const size_t bits = mpz_sizeinbase(sum.t.get_mpz_t(), 2);
  if (bits > needed) {
    sum.q >>= bits - needed;
    sum.t >>= bits - needed;
  }
  sum.q *= 426880;
  sum.q *= root;
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  JOBPOOL_ASSIGN_OR_RETURN(mpz_class scaled, Quotient(sum.q, sum.t, cancel));
  progress.Offer(kDividedRatio, [] { return "divided, now writing the digits"; });
  JOBPOOL_RETURN_IF_ERROR(CheckCancel(cancel));
  return scaled;
}

// The whole part of pi * 10^digits.
absl::StatusOr<mpz_class> Truncated(uint64_t digits, const CancelToken& cancel, PacedProgress& progress) {
  // Dropping guard digits from what ScaledPi gives leaves the right digits,
  // unless they are 0 (then it may be just above pi, and pi's own digits end
  // in 99...) or within 2 of their end (then pi may be just beyond it). More of
  // them decide then, since pi's digits do not go on like that. Six, since 1 in
  // 300,000 is worth a second run, and since the six nines after digit 761 make
  // that testable.
  for (uint64_t guard = 6;; guard *= 2) {
    JOBPOOL_ASSIGN_OR_RETURN(mpz_class scaled, ScaledPi(digits + guard, cancel, progress));
    const mpz_class end = PowerOfTen(guard);
    mpz_class rest;
    mpz_tdiv_qr(scaled.get_mpz_t(), rest.get_mpz_t(), scaled.get_mpz_t(), end.get_mpz_t());
    if (rest > 0 && rest < end - 2) return scaled;
  }
}

class PiHandler final : public TypedHandler<PiWork> {
  absl::StatusOr<Result> RunTyped(const PiWork& work, HandlerContext& context) const override {
    PacedProgress progress(context.progress);
    JOBPOOL_ASSIGN_OR_RETURN(const mpz_class pi, Truncated(work.digits, context.cancel, progress));
    JOBPOOL_ASSIGN_OR_RETURN(std::string digits, ToDecimal(pi, context.cancel));
    digits.insert(1, 1, '.');
    progress.Finish(absl::StrCat(work.digits, " digits"));
    return PiResult{std::move(digits)};
  }
};

}  // namespace

std::unique_ptr<const Handler> MakePiHandler() { return std::make_unique<PiHandler>(); }

}  // namespace jobpool
