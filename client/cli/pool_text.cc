#include "client/cli/pool_text.h"

#include "absl/strings/str_cat.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

std::string IdleTimeoutText(const v1::Pool& pool) {
  return pool.has_idle_timeout() ? absl::FormatDuration(FromProto(pool.idle_timeout())) : "";
}

}  // namespace

std::string PoolsTable(const v1::ListPoolsResponse& response) {
  Table table({"NAME", "THREADS", "IDLE", "MIN", "MAX", "RUNNING", "QUEUED", "MAX QUEUED", "IDLE TIMEOUT"});
  for (const v1::Pool& pool : response.pools()) {
    table.AddRow({pool.name(), absl::StrCat(pool.threads()), absl::StrCat(pool.idle_threads()),
                  absl::StrCat(pool.min_threads()), absl::StrCat(pool.max_threads()),
                  absl::StrCat(pool.running_jobs()), absl::StrCat(pool.queued_jobs()),
                  absl::StrCat(pool.max_queued_jobs()), IdleTimeoutText(pool)});
  }
  return table.ToString();
}

std::string PoolDetails(const v1::Pool& pool) {
  Table table;
  table.AddRow({"name", pool.name()});
  table.AddRow({"threads", absl::StrCat(pool.threads(), " (", pool.idle_threads(), " idle), ",
                                        pool.min_threads(), " to ", pool.max_threads())});
  table.AddRow({"idle timeout", IdleTimeoutText(pool)});
  table.AddRow({"running jobs", absl::StrCat(pool.running_jobs())});
  table.AddRow({"queued jobs", absl::StrCat(pool.queued_jobs(), " of at most ", pool.max_queued_jobs())});
  return table.ToString();
}

}  // namespace jobpool::cli
