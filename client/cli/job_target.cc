#include "client/cli/job_target.h"

#include <utility>

#include <google/rpc/error_details.pb.h>

#include "client/cli/job_text.h"
#include "jobpool/errors.h"
#include "jobpool/v1/error_reason.pb.h"

namespace jobpool::cli {
namespace {

/// Empty unless it is one that this client knows: so there is a bounded number of them.
std::string KnownReason(const std::string& reason) {
  v1::ErrorReason known{};
  return v1::ErrorReason_Parse(reason, &known) ? reason : "";
}

std::string ReasonOf(const v1::Job& job) {
  google::rpc::ErrorInfo info;
  for (const google::protobuf::Any& detail : job.error().details()) {
    if (detail.UnpackTo(&info)) return KnownReason(info.reason());
  }
  return "";
}

}  // namespace

JobTarget::JobTarget(std::vector<Client*> connections, const v1::SubmitJobRequest& request, bool submit,
                     size_t places)
    : connections_(std::move(connections)), submit_request_(request), submit_(submit), places_(places) {
  *run_request_.mutable_job() = request.job();
}

void JobTarget::Start(size_t place, Done done) {
  // In turns, and not by the place: of those few may be used.
  Client& client = *connections_[started_.fetch_add(1, std::memory_order_relaxed) % connections_.size()];
  Place& at = places_[place];
  JobDone told = [&at, submit = submit_, done = std::move(done)](const absl::StatusOr<v1::Job>& answer) {
    // A call can end before this function does, which may be the last that this object is there for.
    { const std::lock_guard started(at.mu); }
    done(ToCallEnd(answer, submit));
  };
  const std::lock_guard lock(at.mu);
  at.call = submit_ ? client.StartSubmitJob(submit_request_, CallOptions(), std::move(told))
                    : client.StartRunJob(run_request_, CallOptions(), std::move(told));
  if (cancelled_) at.call->Cancel();
}

void JobTarget::CancelAll() {
  cancelled_ = true;
  for (Place& place : places_) {
    const std::lock_guard lock(place.mu);
    if (place.call) place.call->Cancel();
  }
}

CallEnd ToCallEnd(const absl::StatusOr<v1::Job>& answer, bool submit) {
  CallEnd end;
  if (answer.ok()) {
    if (submit || answer->state() == v1::Job::SUCCEEDED) return end;
    end.failure.emplace();
    end.failure->of_job = true;
    end.failure->code = StateText(answer->state());
    end.failure->reason = ReasonOf(*answer);
    return end;
  }
  const auto info = FindDetail<google::rpc::ErrorInfo>(answer.status());
  end.failure.emplace();
  end.failure->code = absl::StatusCodeToString(answer.status().code());
  if (info) end.failure->reason = KnownReason(info->reason());
  // Every error of the server's own has details: this one is gRPC's, which did not reach it.
  if (absl::IsUnavailable(answer.status()) && !info) end.lost = answer.status();
  return end;
}

}  // namespace jobpool::cli
