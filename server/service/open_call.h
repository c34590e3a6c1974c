#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "server/base/mutex.h"
#include "server/service/call.h"
#include "server/service/status_codec.h"

namespace jobpool {

/// What calls that outlive their handler have in common, whatever `Reactor` of gRPC's
/// they are. `Call` is the class that derives from it.
///
/// Such a call is shared: by gRPC, until OnDone, and by whatever may still tell it
/// something. It finishes once, whoever comes first, and is counted then. Thread-safe.
template <typename Call, typename Reactor>
class OpenCall : public Reactor, public std::enable_shared_from_this<Call> {
 public:
  /// Finishes the call with `status`, unless that was done.
  void FinishOnce(const absl::Status& status) {
    {
      MutexLock lock(mu_);
      if (!ClaimFinish()) return;
    }
    FinishWith(status);
  }

  void OnDone() final {
    std::shared_ptr<Call> self;  // let go of last
    {
      MutexLock lock(mu_);
      self = std::move(grpc_reference_);
    }
    OnOver();
  }

 protected:
  /// `memory` outlives the call.
  OpenCall(const CallCount& count, CallMemory& memory) : held_(memory), count_(count) {}
  ~OpenCall() override = default;

  /// Lets gRPC hold the call. REQUIRES: called first of all, once.
  void Share() {
    MutexLock lock(mu_);
    grpc_reference_ = this->shared_from_this();
  }

  /// Counts what an open call holds, and `bytes` beside that. RESOURCE_EXHAUSTED:
  /// there is no memory for it.
  absl::Status HoldOpen(int64_t bytes = 0) {
    MutexLock lock(mu_);
    return held_.Take(CallMemory::kOpenCallBytes + bytes);
  }

  /// Gives back what HoldOpen has counted beside the open call.
  void HoldOnlyOpen() {
    MutexLock lock(mu_);
    if (finished_) return;  // it goes soon, or holds its answer
    held_.Release();
    held_.Take(CallMemory::kOpenCallBytes).IgnoreError();  // less than what it gave back
  }

  /// For who has something to do under the same lock: returns whether it is the one
  /// that finishes the call, which must then call FinishWith.
  bool ClaimFinish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !std::exchange(finished_, true); }

  /// REQUIRES: ClaimFinish has returned true; no lock is held.
  void FinishWith(const absl::Status& status) {
    count_.Done(status);
    this->Finish(ToGrpcStatus(status));
  }

  /// gRPC has let go of it. Called without locks.
  virtual void OnOver() {}

  Mutex mu_;
  HeldMemory held_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;

 private:
  const CallCount count_;
  std::shared_ptr<Call> grpc_reference_ ABSL_GUARDED_BY(mu_);  // until OnDone
};

}  // namespace jobpool
