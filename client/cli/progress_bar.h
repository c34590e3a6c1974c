#pragma once

#include <string>

#include "absl/time/time.h"
#include "client/cli/status_line.h"
#include "jobpool/v1/job.pb.h"

namespace jobpool::cli {

/// Shows on standard error how far a job is: on a terminal a line that is drawn
/// again and again, elsewhere a line at the start, every few seconds and at the
/// end. Nothing that it writes has a colour. Failures to write are ignored. Not
/// thread-safe.
class ProgressBar {
 public:
  /// Looks at standard error and at TERM. `plain_lines`: false: nothing is shown where there is no terminal,
  /// since what comes there is somebody else's.
  explicit ProgressBar(bool plain_lines = true);
  /// Clears the line.
  ~ProgressBar() = default;
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// The job has been accepted.
  void Start(const v1::Job& job);
  /// It stands so, `elapsed` after its start. Call it as often as you like.
  void Update(const v1::Job& job, absl::Duration elapsed);
  /// It has ended.
  void End(const v1::Job& job, absl::Duration elapsed);
  /// Takes the line off the terminal, for something else to be written there.
  void Clear() { line_.Clear(); }

 private:
  StatusLine line_;
  const bool plain_lines_;      // constant after construction
  absl::Duration last_line_{};  // when the last plain line was written
};

/// `[######------]  50%  1.2s  second half`, in less than `columns` characters.
/// Without a progress to show, the state stands for it: `QUEUED  1.2s`.
std::string BarLine(const v1::Job& job, absl::Duration elapsed, size_t columns);

/// `jobs/x: RUNNING 50% after 1.2s: second half`, `jobs/x: SUCCEEDED after 2.401s`.
std::string PlainLine(const v1::Job& job, absl::Duration elapsed);

}  // namespace jobpool::cli
