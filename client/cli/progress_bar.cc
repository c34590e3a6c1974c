#include "client/cli/progress_bar.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/job_text.h"
#include "client/cli/output.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"
#include "jobpool/printable.h"

namespace jobpool::cli {
namespace {

constexpr absl::Duration kPlainInterval = absl::Seconds(5);
constexpr size_t kBarWidth = 24;
constexpr size_t kBarNeedsColumns = 48;  // narrower: the percentage alone

double Ratio(const v1::Job& job) {
  const double ratio = job.progress().ratio();
  return std::isfinite(ratio) ? std::clamp(ratio, 0.0, 1.0) : 0.0;
}

}  // namespace

ProgressBar::ProgressBar(bool plain_lines) : plain_lines_(!line_.shows() && plain_lines) {}

void ProgressBar::Start(const v1::Job& job) {
  if (!plain_lines_) return;
  PrintError(absl::StrCat(Printable(job.name()), " (", Printable(job.display_name()),
                          "): ", StateText(job.state()), "\n"));
}

void ProgressBar::Update(const v1::Job& job, absl::Duration elapsed) {
  if (line_.shows()) {
    line_.Draw(BarLine(job, elapsed, line_.Columns()));
  } else if (plain_lines_ && elapsed - last_line_ >= kPlainInterval) {
    PrintError(absl::StrCat(PlainLine(job, elapsed), "\n"));
    last_line_ = elapsed;
  }
}

void ProgressBar::End(const v1::Job& job, absl::Duration elapsed) {
  Clear();
  if (plain_lines_) PrintError(absl::StrCat(PlainLine(job, elapsed), "\n"));
}

std::string BarLine(const v1::Job& job, absl::Duration elapsed, size_t columns) {
  std::string line;
  if (job.has_progress()) {
    const double ratio = Ratio(job);
    if (columns >= kBarNeedsColumns) {
      const auto full = static_cast<size_t>(ratio * kBarWidth);
      absl::StrAppend(&line, "[", std::string(full, '#'), std::string(kBarWidth - full, '-'), "] ");
    }
    absl::StrAppendFormat(&line, "%3d%%  %s", static_cast<int>(ratio * 100), ClockText(elapsed));
    if (!job.progress().message().empty()) absl::StrAppend(&line, "  ", Printable(job.progress().message()));
  } else {
    absl::StrAppend(&line, StateText(job.state()), "  ", ClockText(elapsed));
  }
  // In the last column some terminals begin a new line.
  return CutToWidth(line, columns > 0 ? columns - 1 : 0);
}

std::string PlainLine(const v1::Job& job, absl::Duration elapsed) {
  std::string line = absl::StrCat(Printable(job.name()), ": ", StateText(job.state()));
  const bool under_way = !HasEnded(job) && job.has_progress();
  if (under_way) absl::StrAppendFormat(&line, " %d%%", static_cast<int>(Ratio(job) * 100));
  absl::StrAppend(&line, " after ", HasEnded(job) ? DurationText(elapsed) : ClockText(elapsed));
  if (under_way && !job.progress().message().empty()) {
    absl::StrAppend(&line, ": ", Printable(job.progress().message()));
  }
  return line;
}

}  // namespace jobpool::cli
