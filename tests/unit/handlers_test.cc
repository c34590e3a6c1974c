// Every kind of work against an oracle that goes another way: sieves, naive
// sums, other series, OpenSSL's other interfaces. And what all kinds promise:
// they end when asked to, and say how far they are.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <gmpxx.h>
#include <iostream>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <time.h>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"
#include "server/base/clock.h"
#include "server/base/progress.h"
#include "server/handlers/decimal.h"
#include "server/handlers/paced_progress.h"
#include "server/handlers/registry.h"
#include "server/handlers/typed_handler.h"

namespace jobpool {
namespace {

const HandlerRegistry& Registry() {
  static const HandlerRegistry* const registry = new HandlerRegistry;
  return *registry;
}

absl::StatusOr<Result> RunWork(const Work& work, CancelToken& cancel, Progress& progress) {
  HandlerContext context{cancel, progress};
  return Registry().Find(KindOf(work)).Run(work, context);
}

// The result of `work`, which is expected to succeed, and to say so.
template <typename R>
R Do(const Work& work) {
  CancelToken cancel;
  Progress progress;
  absl::StatusOr<Result> result = RunWork(work, cancel, progress);
  if (!result.ok() || !std::holds_alternative<R>(*result)) {
    ADD_FAILURE() << KindName(KindOf(work)) << ": " << result.status();
    return R{};
  }
  if (KindOf(work) != Kind::kNoop) {
    EXPECT_EQ(progress.Get().value_or(Progress::Value{}).ratio, 1) << KindName(KindOf(work));
  }
  return std::get<R>(*std::move(result));
}

int64_t Primes(int64_t limit) { return Do<PrimesResult>(PrimesWork{limit}).count; }
std::string Fibonacci(int64_t index) { return Do<FibonacciResult>(FibonacciWork{index}).digits; }
std::string Pi(int32_t digits) { return Do<PiResult>(PiWork{digits}).digits; }
std::string Hash(int64_t bytes, uint64_t seed) { return Do<HashResult>(HashWork{bytes, seed}).sha256; }

absl::Duration CpuTime(clockid_t clock) {
  timespec time;
  EXPECT_EQ(clock_gettime(clock, &time), 0);
  return absl::DurationFromTimespec(time);
}

absl::Duration Since(MonotonicTime start) { return absl::FromChrono(Clock::Real().Monotonic() - start); }

// Long work of each kind that can be cancelled.
std::vector<Work> LongWork() {
  return {SleepWork{absl::Seconds(600)}, PrimesWork{1000000000000}, FibonacciWork{1000000}, PiWork{200000},
          HashWork{int64_t{1} << 40, 7}, SpinWork{absl::Hours(24)}};
}

TEST(RegistryTest, HasAHandlerForEveryKind) {
  for (size_t kind = 0; kind < kKindCount; ++kind) {
    EXPECT_NE(&Registry().Find(static_cast<Kind>(kind)), nullptr) << kind;
  }
}

TEST(PrimesTest, CountsUpToAndIncludingTheLimit) {
  constexpr int64_t kLimit = 25000000;  // beyond one segment of primesieve's sieve: some 10^7 numbers
  std::vector<bool> composite(kLimit + 1);
  std::vector<int64_t> primes;
  for (int64_t i = 2; i <= kLimit; ++i) {
    if (composite[i]) continue;
    primes.push_back(i);
    for (int64_t j = i * i; j <= kLimit; j += i) composite[j] = true;
  }
  const auto expected = [&](int64_t limit) {
    return std::upper_bound(primes.begin(), primes.end(), limit) - primes.begin();
  };
  for (int64_t limit = 0; limit <= 1000; ++limit) {
    ASSERT_EQ(Primes(limit), expected(limit)) << limit;
  }
  // 8161 is the 1024th prime: about there its first batch ends.
  for (int64_t around : {8161, 65536, 1000000, 11796480, 15000000, 24999983}) {
    for (int64_t limit = around - 3; limit <= around + 3; ++limit) {
      EXPECT_EQ(Primes(limit), expected(limit)) << limit;
    }
  }
}

TEST(PrimesTest, KnownCounts) {  // https://oeis.org/A006880
  EXPECT_EQ(Primes(0), 0);
  EXPECT_EQ(Primes(1), 0);
  EXPECT_EQ(Primes(2), 1);
  EXPECT_EQ(Primes(1000000), 78498);
  EXPECT_EQ(Primes(100000000), 5761455);
}

TEST(PrimesTest, KeepsToItsThread) {
  const absl::Duration process = CpuTime(CLOCK_PROCESS_CPUTIME_ID);
  const absl::Duration thread = CpuTime(CLOCK_THREAD_CPUTIME_ID);
  EXPECT_EQ(Primes(1000000000), 50847534);
  const absl::Duration by_thread = CpuTime(CLOCK_THREAD_CPUTIME_ID) - thread;
  const absl::Duration by_process = CpuTime(CLOCK_PROCESS_CPUTIME_ID) - process;
  EXPECT_GT(by_thread, 0.9 * by_process) << by_thread << " of " << by_process;
}

TEST(FibonacciTest, KnownNumbers) {
  EXPECT_EQ(Fibonacci(0), "0");
  EXPECT_EQ(Fibonacci(1), "1");
  EXPECT_EQ(Fibonacci(2), "1");
  EXPECT_EQ(Fibonacci(100), "354224848179261915075");
}

TEST(FibonacciTest, IsTheSumOfTheTwoBefore) {
  mpz_class number = 0;
  mpz_class next = 1;
  for (int64_t index = 0; index <= 100000; ++index) {
    if (index <= 1000 || index % 4999 == 0) {
      ASSERT_EQ(Fibonacci(index), number.get_str()) << index;
    }
    number += next;
    swap(number, next);
  }
}

TEST(FibonacciTest, LargestIndex) {
  // F(2k) = F(k) (2 F(k+1) - F(k)), F(2k+1) = F(k)^2 + F(k+1)^2.
  constexpr int kIndex = 1000000;
  mpz_class number = 0;
  mpz_class next = 1;
  for (int bit = 19; bit >= 0; --bit) {
    const mpz_class even = number * (2 * next - number);
    const mpz_class odd = number * number + next * next;
    const bool one = (kIndex >> bit & 1) != 0;
    number = one ? odd : even;
    next = one ? mpz_class(even + odd) : odd;
  }
  const std::string digits = Fibonacci(kIndex);
  EXPECT_EQ(digits.size(), 208988u);
  EXPECT_TRUE(digits == number.get_str());
}

TEST(DecimalTest, IsWhatGmpWrites) {
  CancelToken cancel;
  for (int exponent : {0, 1, 2, 100, 19999, 20000, 20001, 39999, 40000, 40001, 60000, 80001, 200001}) {
    mpz_class power;
    mpz_ui_pow_ui(power.get_mpz_t(), 10, exponent);
    for (const mpz_class& number :
         {mpz_class(power - 1), power, mpz_class(power + 1), mpz_class(power / 7)}) {
      const absl::StatusOr<std::string> digits = ToDecimal(number, cancel);
      ASSERT_TRUE(digits.ok()) << digits.status();
      EXPECT_TRUE(*digits == number.get_str()) << exponent;
    }
  }
}

// Pi to `digits` digits by Machin's formula, 16 arctan(1/5) - 4 arctan(1/239).
std::string MachinPi(int digits) {
  constexpr int kGuard = 12;  // against some 5,000 terms, each too small by up to 1
  mpz_class one;
  mpz_ui_pow_ui(one.get_mpz_t(), 10, digits + kGuard);
  const auto arctan = [&](unsigned long x) {
    mpz_class power = one / x;
    mpz_class sum = power;
    for (unsigned long n = 3; power != 0; n += 2) {
      power /= x * x;
      if (n % 4 == 3) {
        sum -= power / n;
      } else {
        sum += power / n;
      }
    }
    return sum;
  };
  const mpz_class pi = 16 * arctan(5) - 4 * arctan(239);
  return absl::StrCat("3.", pi.get_str().substr(1, digits));
}

// Pi to `digits` digits by the arithmetic-geometric mean (Brent and Salamin).
std::string MeanPi(int digits) {
  const mp_bitcnt_t precision = static_cast<mp_bitcnt_t>(digits * 3.322) + 256;
  mpf_class a(1, precision);
  mpf_class b(0.5, precision);
  b = sqrt(b);
  mpf_class t(0.25, precision);
  mpf_class before(0, precision);
  for (double power = 1; power < 2 * digits; power *= 2) {  // the digits double each time
    before = a;
    a = (a + b) / 2;
    b = sqrt(mpf_class(before * b));
    before -= a;
    t -= power * before * before;
  }
  mpf_class pi(0, precision);
  pi = (a + b) * (a + b) / (4 * t);
  mp_exp_t exponent = 0;
  std::string out = pi.get_str(exponent, 10, digits + 20);  // rounded far behind what is kept
  return absl::StrCat("3.", out.substr(1, digits));
}

TEST(PiTest, FiftyDigits) {
  EXPECT_EQ(Pi(1), "3.1");
  EXPECT_EQ(Pi(50), "3.14159265358979323846264338327950288419716939937510");
}

TEST(PiTest, IsThatOfMachin) {
  const std::string pi = MachinPi(5000);
  for (int digits = 1; digits <= 300; ++digits) ASSERT_EQ(Pi(digits), pi.substr(0, 2 + digits));
  // Root takes another step from 1,000 places on: 994 digits and 6 to guard them.
  for (int digits : {993, 994, 995, 1993, 1994, 3990, 3993, 4999, 5000}) {
    EXPECT_EQ(Pi(digits), pi.substr(0, 2 + digits));
  }
}

// The digits from 762 to 767 are 999999: rounding shows, and so do guard digits
// that are no guard.
TEST(PiTest, IsCutOffAmongNines) {
  const std::string pi = MachinPi(800);
  ASSERT_EQ(pi.substr(2 + 761, 6), "999999");
  for (int digits = 750; digits <= 775; ++digits) EXPECT_EQ(Pi(digits), pi.substr(0, 2 + digits));
}

TEST(PiTest, MostDigits) {
  ASSERT_EQ(MeanPi(5000), MachinPi(5000));
  const std::string pi = Pi(200000);
  EXPECT_EQ(pi.size(), 200002u);
  EXPECT_TRUE(pi == MeanPi(200000));
}

// The same bytes as in job.proto, block by block: AES-256 of a counter.
std::string HashByBlocks(int64_t bytes, uint64_t seed) {
  std::string key(32, '\0');
  for (int i = 0; i < 8; ++i) key[31 - i] = static_cast<char>(seed >> (8 * i));
  std::string blocks((bytes + 15) / 16 * 16, '\0');
  for (size_t block = 0; block < blocks.size() / 16; ++block) {
    for (int i = 0; i < 8; ++i) blocks[16 * block + 15 - i] = static_cast<char>(block >> (8 * i));
  }
  std::string stream(blocks.size() + 16, '\0');
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(EVP_CIPHER_CTX_new(),
                                                                                &EVP_CIPHER_CTX_free);
  int written = 0;
  EXPECT_EQ(EVP_EncryptInit_ex(context.get(), EVP_aes_256_ecb(), nullptr,
                               reinterpret_cast<const unsigned char*>(key.data()), nullptr),
            1);
  EXPECT_EQ(EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(stream.data()), &written,
                              reinterpret_cast<const unsigned char*>(blocks.data()),
                              static_cast<int>(blocks.size())),
            1);
  EXPECT_EQ(static_cast<size_t>(written), blocks.size());
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(stream.data()), bytes,
         reinterpret_cast<unsigned char*>(digest.data()));
  return absl::BytesToHexString(digest);
}

TEST(HashTest, NoBytes) {
  for (uint64_t seed : {uint64_t{0}, uint64_t{7}, std::numeric_limits<uint64_t>::max()}) {
    EXPECT_EQ(Hash(0, seed), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  }
}

TEST(HashTest, IsThatOfEncryptedCounters) {
  for (uint64_t seed :
       {uint64_t{0}, uint64_t{1}, uint64_t{0x0123456789abcdef}, std::numeric_limits<uint64_t>::max()}) {
    for (int64_t bytes : {1, 15, 16, 17, 262143, 262144, 262145, 524288, 1000000, 3145729}) {
      EXPECT_EQ(Hash(bytes, seed), HashByBlocks(bytes, seed)) << bytes << " bytes, seed " << seed;
    }
  }
}

// What the shell command in job.proto printed, with OpenSSL 3.0.
TEST(HashTest, IsThatOfTheShell) {
  EXPECT_EQ(Hash(1, 0), "fb95aa98d6e6c5827a57ec17b978d647fcc01d98c357b7e64989af57339e9ac3");
  EXPECT_EQ(Hash(1000000, 0), "5df7118f742dbf5b2eeb87789e3b463ad506af646ecdbdc49c2a469aa2043e98");
  EXPECT_EQ(Hash(1000000, 7), "4288cc3826b587b9b4fee2d76e70e651a631971ee92e89610b0045c86462bf8b");
  EXPECT_EQ(Hash(1000000, std::numeric_limits<uint64_t>::max()),
            "2fb1d004ba913a35b0e8590149aa66aa3567894966de1287582780d6c6eee5a5");
}

TEST(SpinTest, BurnsAtLeastWhatWasAsked) {
  for (absl::Duration asked :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(3), absl::Milliseconds(120)}) {
    const absl::Duration start = CpuTime(CLOCK_THREAD_CPUTIME_ID);
    const absl::Duration burnt = Do<SpinResult>(SpinWork{asked}).cpu_time;
    const absl::Duration outside = CpuTime(CLOCK_THREAD_CPUTIME_ID) - start;
    EXPECT_GE(burnt, asked);
    EXPECT_GE(outside, burnt);
    EXPECT_LT(outside, asked + absl::Milliseconds(50));
  }
}

TEST(SleepTest, SleepsAtLeastWhatWasAsked) {
  for (absl::Duration asked :
       {absl::ZeroDuration(), absl::Nanoseconds(1), absl::Milliseconds(1), absl::Milliseconds(250)}) {
    const MonotonicTime start = Clock::Real().Monotonic();
    const absl::Duration slept = Do<SleepResult>(SleepWork{asked}).slept;
    const absl::Duration outside = Since(start);
    EXPECT_GE(slept, asked);
    EXPECT_GE(outside, slept);
    EXPECT_LT(outside, asked + absl::Seconds(2));
  }
}

TEST(NoopTest, HandsThePayloadBack) {
  EXPECT_EQ(Do<NoopResult>(NoopWork{}).payload, nullptr);
  const auto payload = std::make_shared<const std::string>("a\0b", 3);
  EXPECT_EQ(Do<NoopResult>(NoopWork{payload}).payload, payload);
}

// Work on a thread of its own. Shared with it, so that a test can go on where
// the work does not end.
struct Running {
  explicit Running(Work w) : work(std::move(w)) {}

  const Work work;
  CancelToken cancel;
  Progress progress;
  absl::StatusOr<Result> result;  // until `ended`, the thread's
  MonotonicTime end;              // likewise
  std::atomic<bool> ended = false;
};

void Start(std::shared_ptr<Running> running) {
  std::thread([running = std::move(running)] {
    running->result = RunWork(running->work, running->cancel, running->progress);
    running->end = Clock::Real().Monotonic();
    running->ended = true;
  }).detach();
}

std::shared_ptr<Running> Start(Work work) {
  auto running = std::make_shared<Running>(std::move(work));
  Start(running);
  return running;
}

// Waits for `condition`, but not for ever: a minute, for valgrind's sake.
template <typename Condition>
bool Await(Condition condition) {
  const MonotonicTime start = Clock::Real().Monotonic();
  while (!condition()) {
    if (Since(start) > absl::Seconds(60)) return false;
    absl::SleepFor(absl::Microseconds(100));  // yielding starves the work under valgrind
  }
  return true;
}

// How far `progress` is: 0 while it says nothing.
double Ratio(const Progress& progress) { return progress.Get().value_or(Progress::Value{}).ratio; }

TEST(CancelTest, BeforeTheStart) {
  for (const Work& work : LongWork()) {
    const absl::string_view kind = KindName(KindOf(work));
    const auto running = std::make_shared<Running>(work);
    running->cancel.Cancel(CancelReason::kRequested);
    Start(running);
    ASSERT_TRUE(Await([&] { return running->ended.load(); })) << kind << " does not end";
    EXPECT_TRUE(absl::IsCancelled(running->result.status())) << kind << ": " << running->result.status();
    EXPECT_EQ(running->progress.Get().has_value(), false) << kind;
  }
  CancelToken cancel;
  Progress progress;
  cancel.Cancel(CancelReason::kRequested);
  EXPECT_TRUE(RunWork(NoopWork{}, cancel, progress).ok());
}

TEST(CancelTest, AmidTheWork) {
  for (const Work& work : LongWork()) {
    const absl::string_view kind = KindName(KindOf(work));
    // The shorter ones may be done before they are asked: try again.
    std::shared_ptr<Running> running;
    absl::Duration latency;
    for (int attempt = 0; attempt < 100; ++attempt) {
      running = Start(work);
      ASSERT_TRUE(Await([&] { return Ratio(running->progress) > 0; })) << kind << " says nothing";
      const MonotonicTime asked = Clock::Real().Monotonic();
      running->cancel.Cancel(CancelReason::kRequested);
      ASSERT_TRUE(Await([&] { return running->ended.load(); })) << kind << " does not end";
      latency = absl::FromChrono(running->end - asked);
      if (!running->result.ok()) break;
      ASSERT_TRUE(KindOf(work) == Kind::kFibonacci || KindOf(work) == Kind::kPi) << kind;
    }
    EXPECT_TRUE(absl::IsCancelled(running->result.status())) << kind << ": " << running->result.status();
    EXPECT_LT(Ratio(running->progress), 1) << kind;
    EXPECT_LT(latency, absl::Seconds(2)) << kind;  // 0.05 where nothing else runs
    std::cout << kind << " ended " << latency << " after it was asked\n";
  }
}

TEST(ProgressTest, GrowsTo1) {
  for (const Work& work :
       std::vector<Work>{SleepWork{absl::Milliseconds(300)}, PrimesWork{100000000}, FibonacciWork{1000000},
                         PiWork{200000}, HashWork{200000000, 1}, SpinWork{absl::Milliseconds(200)}}) {
    const absl::string_view kind = KindName(KindOf(work));
    const std::shared_ptr<Running> running = Start(work);
    double before = 0;
    ASSERT_TRUE(Await([&] {
      const bool ended = running->ended;
      if (const std::optional<Progress::Value> now = running->progress.Get(); now.has_value()) {
        EXPECT_GE(now->ratio, before) << kind;
        EXPECT_LE(now->ratio, 1) << kind;
        EXPECT_FALSE(now->message.empty()) << kind;
        before = now->ratio;
      }
      return ended;
    })) << kind;
    EXPECT_TRUE(running->result.ok()) << running->result.status();
    EXPECT_EQ(before, 1) << kind;
  }
}

TEST(ProgressTest, IsPaced) {
  Progress progress;
  PacedProgress paced(progress);
  int said = 0;
  const MonotonicTime start = Clock::Real().Monotonic();
  for (int i = 0; i < 1000000; ++i) {
    paced.Offer(0.5, [&] { return absl::StrCat(++said); });
  }
  EXPECT_GE(said, 1);
  EXPECT_LE(said, 1 + absl::ToDoubleSeconds(Since(start)) * 20);
}

TEST(ThreadsTest, RunTheSameHandlerAtOnce) {
  std::vector<std::shared_ptr<Running>> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(Start(PrimesWork{20000000}));
    all.push_back(Start(FibonacciWork{300000}));
    all.push_back(Start(PiWork{20000}));
    all.push_back(Start(HashWork{3000000, 9}));
  }
  const std::string fibonacci = Fibonacci(300000);
  const std::string pi = Pi(20000);
  const std::string hash = Hash(3000000, 9);
  for (size_t i = 0; i < all.size(); i += 4) {
    for (size_t j = i; j < i + 4; ++j) {
      ASSERT_TRUE(Await([&] { return all[j]->ended.load(); }));
      ASSERT_TRUE(all[j]->result.ok()) << all[j]->result.status();
    }
    EXPECT_EQ(std::get<PrimesResult>(*all[i]->result).count, 1270607);
    EXPECT_TRUE(std::get<FibonacciResult>(*all[i + 1]->result).digits == fibonacci);
    EXPECT_TRUE(std::get<PiResult>(*all[i + 2]->result).digits == pi);
    EXPECT_EQ(std::get<HashResult>(*all[i + 3]->result).sha256, hash);
  }
}

template <typename Exception>
class ThrowingHandler final : public TypedHandler<NoopWork> {
  absl::StatusOr<Result> RunTyped(const NoopWork&, HandlerContext&) const override { throw Exception(); }
};

struct LibraryError : std::runtime_error {
  LibraryError() : std::runtime_error("the library's words") {}
};

TEST(TypedHandlerTest, LetsNoExceptionOut) {
  CancelToken cancel;
  Progress progress;
  HandlerContext context{cancel, progress};
  EXPECT_EQ(ThrowingHandler<std::bad_alloc>().Run(NoopWork{}, context).status().code(),
            absl::StatusCode::kResourceExhausted);
  const absl::Status status = ThrowingHandler<LibraryError>().Run(NoopWork{}, context).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("the library's words"), absl::string_view::npos);
}

}  // namespace
}  // namespace jobpool
