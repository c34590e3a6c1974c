#include "client/cli/job_update_args.h"

#include "client/cli/work_args.h"

namespace jobpool::cli {

absl::StatusOr<v1::UpdateJobRequest> ToUpdateRequest(const JobUpdateArgs& args, absl::Time now) {
  v1::UpdateJobRequest request;
  v1::Job& job = *request.mutable_job();
  google::protobuf::FieldMask& mask = *request.mutable_update_mask();
  job.set_name(ResourceName("jobs", args.name));
  job.set_etag(args.etag);
  if (absl::Status status = AddLabels(args.labels, job); !status.ok()) return status;
  if (absl::Status status = SetTimes(args.times, now, job); !status.ok()) return status;
  if (!args.display_name.empty()) {
    job.set_display_name(args.display_name);
    mask.add_paths("display_name");
  }
  if (!args.labels.empty()) mask.add_paths("labels");
  if (args.priority) {
    job.set_priority(*args.priority);
    mask.add_paths("priority");
  }
  if (job.has_schedule_time() || args.now) mask.add_paths("schedule_time");
  if (job.has_deadline_time() || args.no_deadline) mask.add_paths("deadline_time");
  if (mask.paths().empty()) return absl::InvalidArgumentError("there is nothing to change");
  return request;
}

}  // namespace jobpool::cli
