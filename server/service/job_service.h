#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "server/pipeline/pipeline.h"
#include "server/service/arena_messages.h"
#include "server/service/call.h"
#include "server/service/freeable_messages.h"
#include "server/service/stream_jobs_call.h"
#include "server/telemetry/rpc_metrics.h"

namespace jobpool {

/// jobpool.v1.JobService: decodes, calls the pipeline, encodes.
class JobService final : public v1::JobService::CallbackService {
 public:
  /// All outlive it and the server that it is registered with.
  JobService(Pipeline& pipeline, const CallResources& resources, RpcMetrics& metrics);

  grpc::ServerUnaryReactor* SubmitJob(grpc::CallbackServerContext* context,
                                      const v1::SubmitJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* BatchSubmitJobs(grpc::CallbackServerContext* context,
                                            const v1::BatchSubmitJobsRequest* request,
                                            v1::BatchSubmitJobsResponse* response) override;
  grpc::ServerUnaryReactor* RunJob(grpc::CallbackServerContext* context, const v1::RunJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerBidiReactor<v1::StreamJobsRequest, v1::StreamJobsResponse>* StreamJobs(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context, const v1::GetJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context, const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateJob(grpc::CallbackServerContext* context,
                                      const v1::UpdateJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* WaitJobs(grpc::CallbackServerContext* context, const v1::WaitJobsRequest* request,
                                     v1::WaitJobsResponse* response) override;
  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const v1::CancelJobRequest* request, v1::Job* response) override;
  grpc::ServerUnaryReactor* RetryJob(grpc::CallbackServerContext* context, const v1::RetryJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ExplainJob(grpc::CallbackServerContext* context,
                                       const v1::ExplainJobRequest* request,
                                       v1::ExplainJobResponse* response) override;
  grpc::ServerUnaryReactor* DeleteJob(grpc::CallbackServerContext* context,
                                      const v1::DeleteJobRequest* request,
                                      google::protobuf::Empty* response) override;
  grpc::ServerWriteReactor<v1::WatchJobsResponse>* WatchJobs(grpc::CallbackServerContext* context,
                                                             const v1::WatchJobsRequest* request) override;

  /// Ends every call of WatchJobs and StreamJobs when it has told what has happened so
  /// far, also those that are yet to come.
  void Shutdown();

 private:
  template <typename Request>
  absl::StatusOr<JobSpec> Decode(const grpc::CallbackServerContext& context, const Request& request);
  // Counts it where it is a refusal.
  absl::Status Refuse(absl::Status status, size_t jobs);
  absl::Status Validate(JobSpec spec, v1::Job* response);
  // The response is there; it is not sent before they are kept.
  void FinishWhenKept(UnaryCall* call, absl::StatusOr<std::vector<JobHandle>> jobs);
  // Calls `answer` with the spec, now or on a SERVICE thread where that may block.
  template <typename Fn>
  void Answer(UnaryCall* call, absl::StatusOr<JobSpec> spec, Fn answer);
  absl::StatusOr<std::vector<JobHandle>> AnswerSubmitJob(JobSpec spec, bool validate_only, v1::Job* response);
  absl::StatusOr<std::vector<JobHandle>> AnswerBatchSubmitJobs(const grpc::CallbackServerContext& context,
                                                               const v1::BatchSubmitJobsRequest& request,
                                                               v1::BatchSubmitJobsResponse* response);
  absl::Status AnswerListJobs(const v1::ListJobsRequest& request, v1::ListJobsResponse* response);
  absl::StatusOr<JobUpdate> DecodeUpdate(const v1::UpdateJobRequest& request, std::string* id) const;
  absl::StatusOr<std::shared_ptr<LiveJob>> AnswerCancelJob(const v1::CancelJobRequest& request);
  absl::StatusOr<std::vector<JobHandle>> AnswerRetryJob(const v1::RetryJobRequest& request,
                                                        v1::Job* response);

  Pipeline& pipeline_;
  const CallResources resources_;
  const uint64_t watch_epoch_;
  StreamJobsCalls stream_jobs_calls_;

  // Calls that can be open for long, or come in great number, do not keep their requests.
  FreeableMessages<v1::SubmitJobRequest, v1::Job> submit_job_messages_;
  ArenaMessages<v1::RunJobRequest, v1::Job> run_job_messages_;
  FreeableMessages<v1::WaitJobsRequest, v1::WaitJobsResponse> wait_jobs_messages_;

  const std::unique_ptr<MethodMetrics> submit_job_;
  const std::unique_ptr<MethodMetrics> batch_submit_jobs_;
  const std::unique_ptr<MethodMetrics> stream_jobs_;
  const std::unique_ptr<MethodMetrics> run_job_;
  const std::unique_ptr<MethodMetrics> get_job_;
  const std::unique_ptr<MethodMetrics> list_jobs_;
  const std::unique_ptr<MethodMetrics> update_job_;
  const std::unique_ptr<MethodMetrics> wait_jobs_;
  const std::unique_ptr<MethodMetrics> cancel_job_;
  const std::unique_ptr<MethodMetrics> retry_job_;
  const std::unique_ptr<MethodMetrics> explain_job_;
  const std::unique_ptr<MethodMetrics> delete_job_;
  const std::unique_ptr<MethodMetrics> watch_jobs_;
};

}  // namespace jobpool
