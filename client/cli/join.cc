#include "client/cli/join.h"

#include <algorithm>
#include <optional>

#include <google/rpc/error_details.pb.h>

#include "absl/time/clock.h"
#include "client/cli/command.h"
#include "client/cli/time_text.h"
#include "client/cli/work_args.h"
#include "jobpool/errors.h"

namespace jobpool::cli {
namespace {

/// How long to leave the server alone that refused a wait; unset where it did
/// not say that it may be asked again.
std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto retry = FindDetail<google::rpc::RetryInfo>(status);
  if (!absl::IsResourceExhausted(status) || !retry) return std::nullopt;
  return std::clamp(FromProto(retry->retry_delay()), absl::Milliseconds(100), absl::Seconds(1));
}

}  // namespace

absl::StatusOr<v1::WaitJobsResponse> Join(Client& client, const std::vector<std::string>& names,
                                          const JoinOptions& options, const KeepWaiting& keep_waiting) {
  v1::WaitJobsRequest request;
  for (const std::string& name : names) request.add_names(name);
  request.set_mode(options.mode);
  while (true) {
    const absl::Duration left = options.deadline - absl::Now();
    const absl::Duration slice = std::clamp(left, absl::ZeroDuration(), options.slice);
    *request.mutable_timeout() = ToProto(slice);
    absl::StatusOr<v1::WaitJobsResponse> response =
        client.WaitJobs(request, {.deadline = absl::Now() + slice + kCallTimeout});
    if (const auto delay = RetryDelay(response.status()); delay && *delay < left) {
      if (!keep_waiting(nullptr)) return response;
      absl::SleepFor(*delay);
      continue;
    }
    if (response.ok() && response->jobs_size() != request.names_size()) {
      return absl::InternalError("the server answered for other jobs than it was asked for");
    }
    const bool last = left <= options.slice;
    if (!response.ok() || !response->timed_out() || last || !keep_waiting(&*response)) return response;
  }
}

}  // namespace jobpool::cli
