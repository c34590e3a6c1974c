#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/base/cancel_token.h"
#include "server/job/work.h"
#include "server/process/program.h"

namespace jobpool {

/// What a program wrote to one of its streams: the beginning, which is kept, and the end,
/// for the message of its failure. Not thread-safe.
class CapturedStream {
 public:
  /// `max_bytes`: how many are kept, from the first on.
  explicit CapturedStream(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Append(absl::string_view bytes);

  bool truncated() const { return truncated_; }
  absl::string_view kept() const { return kept_; }
  std::string TakeKept() { return std::move(kept_); }
  /// At most kEndBytes of what came last. To be called before TakeKept.
  absl::string_view End() const;

  static constexpr size_t kEndBytes = 2048;

 private:
  const size_t max_bytes_;
  std::string kept_;
  std::string end_;  // once it is truncated
  bool truncated_ = false;
};

struct ProgramRunOptions {
  /// What its stdin gives; outlives the run.
  absl::string_view input;
  /// Of each of its streams.
  size_t max_output_bytes = 0;
  /// Between SIGTERM and SIGKILL.
  absl::Duration kill_grace;
  /// Called with what is kept, 20 times a second at most but for the end and where much comes; may be
  /// null.
  std::function<void(OutputStream, absl::string_view)> on_output = {};
  /// Called before each signal that it is sent; may be null.
  std::function<void(int signal)> on_signal = {};
};

/// How a program ended that was run.
struct ProgramRun {
  explicit ProgramRun(size_t max_output_bytes) : out(max_output_bytes), err(max_output_bytes) {}

  ProgramEnd end;
  CapturedStream out;
  CapturedStream err;
  /// It was asked to end before it had.
  bool asked = false;
};

/// Runs `program` to its end on the calling thread: feeds it, takes what it writes, also
/// what is not kept, and ends it when `cancel` is cancelled. UNAVAILABLE: it cannot be
/// waited for, and was killed. REQUIRES: SIGPIPE is ignored.
absl::StatusOr<ProgramRun> RunToEnd(Program& program, const ProgramRunOptions& options, CancelToken& cancel);

}  // namespace jobpool
