#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/cancel_token.h"
#include "server/base/mutex.h"
#include "server/handlers/handler.h"
#include "server/job/work.h"
#include "server/workers/thread_registry.h"

namespace jobpool {

/// How the handlers of a Stage do their work.
enum class Conduct : unsigned char {
  kListens,   // until it is let go, or asked to end
  kStubborn,  // until it is let go, whoever asks
  kSucceeds,  // at once
  kFails,     // at once
};

enum class Ending : unsigned char { kSuccess, kFailure, kCancelled };

/// Handlers that a test lets go one by one. Each piece of work has a number, which
/// says how it is done. Thread-safe.
class Stage {
 public:
  /// Work of `kind` (kSleep, kPrimes, kFibonacci or kSpin) that is done like `conduct`.
  Work MakeWork(Kind kind, Conduct conduct) {
    MutexLock lock(mu_);
    const auto number = static_cast<int64_t>(conducts_.size());
    conducts_.push_back(conduct);
    switch (kind) {
      case Kind::kSleep:
        return SleepWork{absl::Nanoseconds(number)};
      case Kind::kPrimes:
        return PrimesWork{number};
      case Kind::kFibonacci:
        return FibonacciWork{number};
      default:
        return SpinWork{absl::Nanoseconds(number)};
    }
  }

  std::unique_ptr<const Handler> MakeHandler() { return std::make_unique<ActHandler>(*this); }

  /// Lets the work on that thread go. REQUIRES: it is there.
  void LetGo(uint64_t thread_id, Ending ending) {
    MutexLock lock(mu_);
    const auto found = actors_.find(thread_id);
    found->second->ending = ending;
    found->second->let_go.NotifyOne();
    actors_.erase(found);
  }

  /// Lets those go, as cancelled, that listen and were asked to end.
  void LetAskedGo() {
    MutexLock lock(mu_);
    for (auto at = actors_.begin(); at != actors_.end();) {
      Actor& actor = *at->second;
      if (actor.conduct != Conduct::kListens || !actor.cancel->cancelled()) {
        ++at;
        continue;
      }
      actor.ending = Ending::kCancelled;
      actor.let_go.NotifyOne();
      at = actors_.erase(at);
    }
  }

  /// From now on all work ends at once.
  void Close() {
    MutexLock lock(mu_);
    closed_ = true;
    for (const auto& [thread_id, actor] : actors_) {
      actor->ending = Ending::kSuccess;
      actor->let_go.NotifyOne();
    }
    actors_.clear();
  }

  /// How many wait to be let go.
  size_t waiting() const {
    MutexLock lock(mu_);
    return actors_.size();
  }

  /// How often one has come to wait.
  uint64_t entries() const {
    MutexLock lock(mu_);
    return entries_;
  }

 private:
  struct Actor {
    Conduct conduct;
    CancelToken* cancel;
    CondVar let_go;
    std::optional<Ending> ending;
  };

  class ActHandler final : public Handler {
   public:
    explicit ActHandler(Stage& stage) : stage_(stage) {}
    absl::StatusOr<Result> Run(const Work& work, HandlerContext& context) const override {
      return stage_.Act(work, context);
    }

   private:
    Stage& stage_;
  };

  static int64_t NumberOf(const Work& work) {
    switch (KindOf(work)) {
      case Kind::kSleep:
        return absl::ToInt64Nanoseconds(std::get<SleepWork>(work).duration);
      case Kind::kPrimes:
        return std::get<PrimesWork>(work).limit;
      case Kind::kFibonacci:
        return std::get<FibonacciWork>(work).index;
      default:
        return absl::ToInt64Nanoseconds(std::get<SpinWork>(work).cpu_time);
    }
  }

  static Result ResultOf(const Work& work) {
    switch (KindOf(work)) {
      case Kind::kSleep:
        return SleepResult{};
      case Kind::kPrimes:
        return PrimesResult{};
      case Kind::kFibonacci:
        return FibonacciResult{};
      default:
        return SpinResult{};
    }
  }

  absl::StatusOr<Result> Act(const Work& work, HandlerContext& context) {
    Ending ending = Ending::kSuccess;
    {
      MutexLock lock(mu_);
      Actor self{conducts_[static_cast<size_t>(NumberOf(work))], &context.cancel, {}, {}};
      if (self.conduct == Conduct::kFails) ending = Ending::kFailure;
      if (!closed_ && (self.conduct == Conduct::kListens || self.conduct == Conduct::kStubborn)) {
        ++entries_;
        actors_.emplace(RegisteredThread::Current()->id(), &self);
        while (!self.ending.has_value()) self.let_go.Wait(mu_);
        ending = *self.ending;
      }
    }
    if (ending == Ending::kFailure) return absl::UnavailableError("let go to fail");
    if (ending == Ending::kCancelled) return absl::CancelledError("let go as cancelled");
    return ResultOf(work);
  }

  mutable Mutex mu_;
  std::vector<Conduct> conducts_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, Actor*> actors_ ABSL_GUARDED_BY(mu_);  // by their threads; on their stacks
  uint64_t entries_ ABSL_GUARDED_BY(mu_) = 0;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace jobpool
