#include "client/cli/explanation_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/job_text.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

// A number where the server is newer than this.
std::string WaitText(v1::ExplainJobResponse::Wait wait) {
  const std::string& name = v1::ExplainJobResponse::Wait_Name(wait);
  return name.empty() ? absl::StrCat(static_cast<int>(wait)) : name;
}

}  // namespace

std::string ExplanationText(const v1::ExplainJobResponse& explanation, absl::Time now) {
  Table table;
  table.SetStateColumn(1);
  table.AddRow({"name", explanation.name()});
  table.AddRow({"state", StateText(explanation.state())});
  if (explanation.wait() != v1::ExplainJobResponse::WAIT_UNSPECIFIED) {
    table.AddRow({"waits for", WaitText(explanation.wait())});
  }
  if (!explanation.explanation().empty()) table.AddRow({"explanation", explanation.explanation()});
  if (explanation.place() > 0) table.AddRow({"place", absl::StrCat(explanation.place())});
  if (explanation.has_estimated_start_time()) {
    const absl::Time start = FromProto(explanation.estimated_start_time());
    table.AddRow({"should start", absl::StrCat(TimeText(start), " (in ", AgeText(start - now), ")")});
  }
  if (!explanation.basis().empty()) table.AddRow({"basis", explanation.basis()});
  if (explanation.drain_rate() > 0) {
    table.AddRow({"measured", absl::StrFormat("%.3g starts per second", explanation.drain_rate())});
  }
  return table.ToString();
}

}  // namespace jobpool::cli
