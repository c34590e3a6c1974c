#include "client/cli/pool_text.h"

#include "absl/strings/str_cat.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

// A number where the server is newer than this.
std::string StateText(v1::Pool::State state) {
  const std::string& name = v1::Pool::State_Name(state);
  return name.empty() ? absl::StrCat(static_cast<int>(state)) : name;
}

std::string IdleTimeoutText(const v1::Pool& pool) {
  return pool.has_idle_timeout() ? absl::FormatDuration(FromProto(pool.idle_timeout())) : "";
}

std::string RateText(double rate) { return rate == 0 ? "any number" : absl::StrCat("at most ", rate); }

}  // namespace

std::string PoolsTable(const v1::ListPoolsResponse& response) {
  Table table({"NAME", "STATE", "THREADS", "IDLE", "RETIRING", "MIN", "MAX", "RUNNING", "QUEUED", "SCHEDULED",
               "MAX QUEUED", "IDLE TIMEOUT"});
  table.SetStateColumn(1);
  for (const v1::Pool& pool : response.pools()) {
    table.AddRow({pool.name(), StateText(pool.state()), absl::StrCat(pool.threads()),
                  absl::StrCat(pool.idle_threads()), absl::StrCat(pool.retiring_threads()),
                  absl::StrCat(pool.min_threads()), absl::StrCat(pool.max_threads()),
                  absl::StrCat(pool.running_jobs()), absl::StrCat(pool.queued_jobs()),
                  absl::StrCat(pool.scheduled_jobs()), absl::StrCat(pool.max_queued_jobs()),
                  IdleTimeoutText(pool)});
  }
  return table.ToString();
}

std::string PoolDetails(const v1::Pool& pool) {
  Table table;
  table.SetStateColumn(1);
  table.AddRow({"name", pool.name()});
  table.AddRow({"state", StateText(pool.state())});
  table.AddRow(
      {"threads", absl::StrCat(pool.threads(), " (", pool.idle_threads(), " idle, ", pool.retiring_threads(),
                               " retiring), ", pool.min_threads(), " to ", pool.max_threads())});
  table.AddRow({"idle timeout", IdleTimeoutText(pool)});
  table.AddRow({"running jobs", absl::StrCat(pool.running_jobs())});
  table.AddRow({"queued jobs", absl::StrCat(pool.queued_jobs(), " and ", pool.scheduled_jobs(),
                                            " scheduled, of at most ", pool.max_queued_jobs())});
  table.AddRow({"starts per second", RateText(pool.max_starts_per_second())});
  table.AddRow({"submits per second", RateText(pool.max_submits_per_second())});
  if (pool.has_stop_grace()) {
    table.AddRow({"stop grace", absl::FormatDuration(FromProto(pool.stop_grace()))});
  }
  return table.ToString();
}

}  // namespace jobpool::cli
