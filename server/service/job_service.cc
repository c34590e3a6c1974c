#include "server/service/job_service.h"

#include <functional>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/base/status_macros.h"
#include "server/job/resource_name.h"
#include "server/service/call.h"
#include "server/service/field_mask.h"
#include "server/service/job_codec.h"
#include "server/service/page_size.h"
#include "server/service/page_token.h"
#include "server/service/run_job_call.h"
#include "server/service/submission.h"
#include "server/service/wait_jobs_call.h"
#include "server/service/watch_jobs_call.h"

namespace jobpool {
namespace {

constexpr char kListJobs[] = "ListJobs";

// What a token is bound to: it goes on in the same list alone.
std::string ListOf(const v1::ListJobsRequest& request) {
  return absl::StrCat(kListJobs, " ", request.filter().size(), " ", request.filter(), " ",
                      request.order_by());
}

JobQuery DecodeQuery(const v1::ListJobsRequest& request, Violations& violations) {
  JobQuery query;
  query.limit = DecodePageSize(request.page_size(), kDefaultPageSize, kMaxPageSize, violations);
  absl::StatusOr<JobFilter> filter = JobFilter::Parse(request.filter());
  if (filter.ok()) {
    query.filter = *std::move(filter);
  } else {
    violations.Add("filter", filter.status().message());
  }
  absl::StatusOr<JobOrder> order = JobOrder::Parse(request.order_by());
  if (order.ok()) {
    query.order = *std::move(order);
  } else {
    violations.Add("order_by", order.status().message());
  }
  if (!request.page_token().empty()) {
    const std::optional<std::string> position = ReadPageToken(ListOf(request), request.page_token());
    if (position.has_value()) query.after = query.order.Decode(*position);
    if (!query.after.has_value()) violations.Add("page_token", "is not the next_page_token of such a call");
  }
  return query;
}

std::function<uint64_t()> ConnectionOf(const grpc::CallbackServerContext& context) {
  return [&context] { return uint64_t{absl::HashOf(context.peer())}; };
}

// Tells the resume tokens of this start of the server from those of others.
uint64_t RandomEpoch() {
  std::random_device random;
  return (uint64_t{random()} << 32) | random();
}

}  // namespace

JobService::JobService(Pipeline& pipeline, const CallResources& resources, RpcMetrics& metrics)
    : pipeline_(pipeline),
      resources_(resources),
      watch_epoch_(RandomEpoch()),
      submit_job_(metrics.Method("jobpool.v1.JobService", "SubmitJob")),
      batch_submit_jobs_(metrics.Method("jobpool.v1.JobService", "BatchSubmitJobs")),
      stream_jobs_(metrics.Method("jobpool.v1.JobService", "StreamJobs", "bidi_stream")),
      run_job_(metrics.Method("jobpool.v1.JobService", "RunJob")),
      get_job_(metrics.Method("jobpool.v1.JobService", "GetJob")),
      list_jobs_(metrics.Method("jobpool.v1.JobService", "ListJobs")),
      update_job_(metrics.Method("jobpool.v1.JobService", "UpdateJob")),
      wait_jobs_(metrics.Method("jobpool.v1.JobService", "WaitJobs")),
      cancel_job_(metrics.Method("jobpool.v1.JobService", "CancelJob")),
      retry_job_(metrics.Method("jobpool.v1.JobService", "RetryJob")),
      explain_job_(metrics.Method("jobpool.v1.JobService", "ExplainJob")),
      delete_job_(metrics.Method("jobpool.v1.JobService", "DeleteJob")),
      watch_jobs_(metrics.Method("jobpool.v1.JobService", "WatchJobs", "server_stream")) {
  SetMessageAllocatorFor_SubmitJob(&submit_job_messages_);
  SetMessageAllocatorFor_RunJob(&run_job_messages_);
  SetMessageAllocatorFor_WaitJobs(&wait_jobs_messages_);
}

template <typename Request>
absl::StatusOr<JobSpec> JobService::Decode(const grpc::CallbackServerContext& context,
                                           const Request& request) {
  Violations violations;
  JobSpec spec = DecodeSubmission(request, "", pipeline_.clock().Now(), violations);
  CheckOffered(pipeline_, spec, "", violations);
  JOBPOOL_RETURN_IF_ERROR(Refuse(violations.ToStatus(), 1));
  SetCaller(ConnectionOf(context), spec);
  return spec;
}

absl::Status JobService::Refuse(absl::Status status, size_t jobs) {
  if (!status.ok()) pipeline_.metrics().Rejected(RejectReason::kInvalidField, jobs);
  return status;
}

absl::Status JobService::Validate(JobSpec spec, v1::Job* response) {
  std::vector<JobSpec> specs;
  specs.push_back(std::move(spec));
  JOBPOOL_ASSIGN_OR_RETURN(const std::vector<JobRecord> records,
                           pipeline_.admission().Validate(std::move(specs), /*batch=*/false));
  EncodeValidatedJob(records.front(), JobView::kFull, response);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::SubmitJob(grpc::CallbackServerContext* context,
                                                const v1::SubmitJobRequest* request, v1::Job* response) {
  auto* const call = new UnaryCall(*submit_job_, resources_.memory, response, WhenFull::kShrink);
  // One that is named may have to wait for a thread, with all that it holds.
  const bool named = !request->job_id().empty() || !request->request_id().empty();
  const absl::Status begun = call->Begin(named ? request : nullptr);
  absl::StatusOr<JobSpec> spec = begun.ok() ? Decode(*context, *request) : begun;
  const bool validate_only = request->validate_only();
  context->GetRpcAllocatorState()->FreeRequest();
  Answer(call, std::move(spec), [=, this](JobSpec submitted) {
    FinishWhenKept(call, AnswerSubmitJob(std::move(submitted), validate_only, response));
  });
  return call;
}

template <typename Fn>
void JobService::Answer(UnaryCall* call, absl::StatusOr<JobSpec> spec, Fn answer) {
  if (!spec.ok()) {
    call->FinishWith(spec.status());
  } else if (!pipeline_.admission().MayBlock(*spec)) {
    answer(*std::move(spec));
  } else if (!resources_.pool.Run([answer, spec = *std::move(spec)]() mutable { answer(std::move(spec)); })) {
    call->FinishWith(TooManyCallsError("calls wait for a thread", resources_.pool.max_tasks()));
  }
}

absl::StatusOr<std::vector<JobHandle>> JobService::AnswerSubmitJob(JobSpec spec, bool validate_only,
                                                                   v1::Job* response) {
  if (validate_only) {
    JOBPOOL_RETURN_IF_ERROR(Validate(std::move(spec), response));
    return std::vector<JobHandle>();
  }
  JOBPOOL_ASSIGN_OR_RETURN(Submission submission, pipeline_.admission().Submit(std::move(spec)));
  EncodeJob(submission.job.Snapshot(), JobView::kFull, response);
  return std::vector<JobHandle>{std::move(submission.job)};
}

void JobService::FinishWhenKept(UnaryCall* call, absl::StatusOr<std::vector<JobHandle>> jobs) {
  if (!jobs.ok()) {
    call->FinishWith(jobs.status());
    return;
  }
  pipeline_.admission().AwaitKept(*std::move(jobs),
                                  [call](const absl::Status& status) { call->FinishWith(status); });
}

grpc::ServerUnaryReactor* JobService::BatchSubmitJobs(grpc::CallbackServerContext* context,
                                                      const v1::BatchSubmitJobsRequest* request,
                                                      v1::BatchSubmitJobsResponse* response) {
  return AnswerLater(
      *batch_submit_jobs_, resources_, *request, response,
      [=, this](UnaryCall* call) {
        FinishWhenKept(call, AnswerBatchSubmitJobs(*context, *request, response));
      },
      WhenFull::kShrink);
}

absl::StatusOr<std::vector<JobHandle>> JobService::AnswerBatchSubmitJobs(
    const grpc::CallbackServerContext& context, const v1::BatchSubmitJobsRequest& request,
    v1::BatchSubmitJobsResponse* response) {
  const int count = request.requests_size();
  Violations violations;
  std::vector<JobSpec> specs;
  if (count < 1 || count > kMaxBatchRequests) {
    violations.Add("requests", absl::StrCat("must be 1 to ", kMaxBatchRequests, " requests, are ", count));
  } else {
    specs.reserve(static_cast<size_t>(count));
    const absl::Time now = pipeline_.clock().Now();
    for (int i = 0; i < count; ++i) {
      const std::string prefix = absl::StrCat("requests[", i, "].");
      specs.push_back(DecodeSubmission(request.requests(i), prefix, now, violations));
      CheckOffered(pipeline_, specs.back(), prefix, violations);
      if (request.requests(i).validate_only()) {
        violations.Add(absl::StrCat(prefix, "validate_only"), "must be said of the batch");
      }
    }
  }
  JOBPOOL_RETURN_IF_ERROR(Refuse(violations.ToStatus(), static_cast<size_t>(count)));
  if (!specs.empty()) SetCaller(ConnectionOf(context), specs.front());
  if (request.validate_only()) {
    JOBPOOL_ASSIGN_OR_RETURN(const std::vector<JobRecord> records,
                             pipeline_.admission().Validate(std::move(specs), /*batch=*/true));
    EncodeValidatedJobs(records, response->mutable_jobs());
    return std::vector<JobHandle>();
  }
  JOBPOOL_ASSIGN_OR_RETURN(std::vector<JobHandle> jobs, pipeline_.admission().SubmitAll(std::move(specs)));
  EncodeJobs(jobs, response->mutable_jobs());
  return jobs;
}

grpc::ServerUnaryReactor* JobService::RunJob(grpc::CallbackServerContext* context,
                                             const v1::RunJobRequest* request, v1::Job* response) {
  absl::StatusOr<JobSpec> spec = Decode(*context, *request);
  const bool validate_only = request->validate_only();
  const bool detach = request->detach();
  context->GetRpcAllocatorState()->FreeRequest();
  if (spec.ok() && !validate_only) {
    return RunJobCall::Start(pipeline_, resources_, CallCount(*run_job_), *std::move(spec), detach, response);
  }
  auto* const call = new UnaryCall(*run_job_, resources_.memory, response, WhenFull::kRefuse);
  if (const absl::Status begun = call->Begin(nullptr); spec.ok() && !begun.ok()) spec = begun;
  Answer(call, std::move(spec),
         [=, this](JobSpec asked) { call->FinishWith(Validate(std::move(asked), response)); });
  return call;
}

grpc::ServerBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse>* JobService::StreamJobs(
    grpc::CallbackServerContext* context) {
  return StreamJobsCall::Start(pipeline_, resources_, CallCount(*stream_jobs_), stream_jobs_calls_,
                               ConnectionOf(*context)());
}

grpc::ServerUnaryReactor* JobService::GetJob(grpc::CallbackServerContext*, const v1::GetJobRequest* request,
                                             v1::Job* response) {
  return AnswerPooled(*get_job_, resources_, *request, response, [=, this]() -> absl::Status {
    Violations violations;
    const std::string id = DecodeJobName(request->name(), "name", violations);
    JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
    JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, pipeline_.reader().Find(id));
    EncodeJob(job.Snapshot(), JobView::kFull, response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::ListJobs(grpc::CallbackServerContext*,
                                               const v1::ListJobsRequest* request,
                                               v1::ListJobsResponse* response) {
  return AnswerPooled(*list_jobs_, resources_, *request, response,
                      [=, this] { return AnswerListJobs(*request, response); });
}

absl::Status JobService::AnswerListJobs(const v1::ListJobsRequest& request, v1::ListJobsResponse* response) {
  Violations violations;
  const JobQuery query = DecodeQuery(request, violations);
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  JOBPOOL_ASSIGN_OR_RETURN(const JobPage page, pipeline_.reader().List(query));
  const JobPosition* next = page.next.has_value() ? &*page.next : nullptr;
  size_t bytes = 0;
  for (size_t i = 0; i < page.jobs.size(); ++i) {
    v1::Job* const job = response->add_jobs();
    EncodeJob(page.jobs[i].Snapshot(), JobView::kWithoutResult, job);
    bytes += job->ByteSizeLong() + 8;  // 8: more than its tag and length
    if (bytes > kMaxAnswerBytes && i > 0) {
      response->mutable_jobs()->RemoveLast();
      next = &page.jobs[i - 1].position;
      break;
    }
  }
  if (next != nullptr) {
    response->set_next_page_token(MakePageToken(ListOf(request), query.order.Encode(*next)));
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* JobService::UpdateJob(grpc::CallbackServerContext*,
                                                const v1::UpdateJobRequest* request, v1::Job* response) {
  return AnswerLater(
      *update_job_, resources_, *request, response,
      [=, this](UnaryCall* call) {
        std::string id;
        const absl::StatusOr<JobUpdate> update = DecodeUpdate(*request, &id);
        if (!update.ok()) return call->FinishWith(update.status());
        pipeline_.control().Update(id, *update, [=](const absl::StatusOr<JobSnapshot>& updated) {
          if (updated.ok()) EncodeJob(*updated, JobView::kFull, response);
          call->FinishWith(updated.status());
        });
      },
      WhenFull::kShrink);
}

absl::StatusOr<JobUpdate> JobService::DecodeUpdate(const v1::UpdateJobRequest& request,
                                                   std::string* id) const {
  const v1::Job& job = request.job();
  Violations violations;
  *id = DecodeJobName(job.name(), "job.name", violations);
  const FieldMask mask(request.has_update_mask(), request.update_mask(),
                       {"display_name", "labels", "priority", "schedule_time", "deadline_time"}, violations);
  const absl::Time now = pipeline_.clock().Now();
  JobUpdate update;
  update.etag = job.etag();
  if (mask.Has("display_name", !job.display_name().empty())) {
    CheckDisplayName(job.display_name(), kMaxDisplayNameCharacters, "job.display_name", violations);
    update.display_name = job.display_name();
  }
  if (mask.Has("labels", !job.labels().empty())) {
    update.labels = DecodeLabels(job.labels(), "job.labels", violations);
  }
  if (mask.Has("priority", job.has_priority())) {
    update.priority = job.has_priority() ? DecodePriority(job.priority(), "job.priority", violations)
                                         : uint8_t{kDefaultPriority};
  }
  if (mask.Has("schedule_time", job.has_schedule_time())) {
    update.schedule_time = job.has_schedule_time()
                               ? DecodeScheduleTime(job.schedule_time(), now, "job.schedule_time", violations)
                               : absl::InfinitePast();
  }
  if (mask.Has("deadline_time", job.has_deadline_time())) {
    update.deadline_time = job.has_deadline_time()
                               ? DecodeDeadlineTime(job.deadline_time(), now, "job.deadline_time", violations)
                               : absl::InfiniteFuture();
  }
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  return update;
}

grpc::ServerUnaryReactor* JobService::WaitJobs(grpc::CallbackServerContext* context,
                                               const v1::WaitJobsRequest* request,
                                               v1::WaitJobsResponse* response) {
  return WaitJobsCall::Start(pipeline_.notifier(), resources_, CallCount(*wait_jobs_), *context, *request,
                             response);
}

grpc::ServerUnaryReactor* JobService::CancelJob(grpc::CallbackServerContext*,
                                                const v1::CancelJobRequest* request, v1::Job* response) {
  return AnswerLater(
      *cancel_job_, resources_, *request, response,
      [=, this](UnaryCall* call) {
        const absl::StatusOr<std::shared_ptr<LiveJob>> job = AnswerCancelJob(*request);
        if (!job.ok()) return call->FinishWith(job.status());
        pipeline_.control().AwaitKept(*job, [call, job = *job, response](const absl::Status& status) {
          if (status.ok()) EncodeJob(job->Snapshot(), JobView::kFull, response);
          call->FinishWith(status);
        });
      },
      WhenFull::kShrink);
}

absl::StatusOr<std::shared_ptr<LiveJob>> JobService::AnswerCancelJob(const v1::CancelJobRequest& request) {
  Violations violations;
  const std::string id = DecodeJobName(request.name(), "name", violations);
  JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
  return pipeline_.control().Cancel(id);
}

grpc::ServerUnaryReactor* JobService::RetryJob(grpc::CallbackServerContext*,
                                               const v1::RetryJobRequest* request, v1::Job* response) {
  return AnswerLater(
      *retry_job_, resources_, *request, response,
      [=, this](UnaryCall* call) { FinishWhenKept(call, AnswerRetryJob(*request, response)); },
      WhenFull::kShrink);
}

absl::StatusOr<std::vector<JobHandle>> JobService::AnswerRetryJob(const v1::RetryJobRequest& request,
                                                                  v1::Job* response) {
  Violations violations;
  const std::string id = DecodeJobName(request.name(), "name", violations);
  const std::optional<RequestKey> key = DecodeRequestKey(request, violations);
  if (!request.job_id().empty()) CheckJobId(request.job_id(), "job_id", violations);
  JOBPOOL_RETURN_IF_ERROR(Refuse(violations.ToStatus(), 1));
  Admission& admission = pipeline_.admission();
  if (key.has_value()) {  // the job that it was made from may be gone by now
    JOBPOOL_ASSIGN_OR_RETURN(const std::optional<JobHandle> made, admission.FindMade(*key));
    if (made.has_value()) {
      EncodeJob(made->Snapshot(), JobView::kFull, response);
      return std::vector<JobHandle>{*made};
    }
  }
  JOBPOOL_ASSIGN_OR_RETURN(JobSpec spec, pipeline_.control().SpecOfRetry(id));
  spec.id = request.job_id();
  spec.request = key;
  JOBPOOL_ASSIGN_OR_RETURN(Submission submission, admission.Submit(std::move(spec)));
  EncodeJob(submission.job.Snapshot(), JobView::kFull, response);
  return std::vector<JobHandle>{std::move(submission.job)};
}

grpc::ServerUnaryReactor* JobService::ExplainJob(grpc::CallbackServerContext*,
                                                 const v1::ExplainJobRequest* request,
                                                 v1::ExplainJobResponse* response) {
  return AnswerPooled(*explain_job_, resources_, *request, response, [=, this]() -> absl::Status {
    Violations violations;
    const std::string id = DecodeJobName(request->name(), "name", violations);
    JOBPOOL_RETURN_IF_ERROR(violations.ToStatus());
    JOBPOOL_ASSIGN_OR_RETURN(const JobHandle job, pipeline_.reader().Find(id));
    response->set_name(request->name());
    EncodeExplanation(Explain(job, pipeline_.pools(), pipeline_.clock().Now()), response);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* JobService::DeleteJob(grpc::CallbackServerContext*,
                                                const v1::DeleteJobRequest* request,
                                                google::protobuf::Empty* response) {
  return AnswerLater(*delete_job_, resources_, *request, response, [=, this](UnaryCall* call) {
    Violations violations;
    const std::string id = DecodeJobName(request->name(), "name", violations);
    if (const absl::Status status = violations.ToStatus(); !status.ok()) return call->FinishWith(status);
    pipeline_.control().Delete(id, [call](const absl::Status& status) { call->FinishWith(status); });
  });
}

grpc::ServerWriteReactor<v1::WatchJobsResponse>* JobService::WatchJobs(grpc::CallbackServerContext*,
                                                                       const v1::WatchJobsRequest* request) {
  return WatchJobsCall::Start(pipeline_.watches(), watch_epoch_, resources_, CallCount(*watch_jobs_),
                              *request);
}

void JobService::Shutdown() {
  pipeline_.watches().Shutdown();
  stream_jobs_calls_.Shutdown();
}

}  // namespace jobpool
