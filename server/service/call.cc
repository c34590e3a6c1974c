#include "server/service/call.h"

#include "jobpool/v1/job_service.pb.h"
#include "server/service/job_codec.h"

namespace jobpool {
namespace {

void Shrink(google::protobuf::Message* response) {
  if (auto* const job = dynamic_cast<v1::Job*>(response); job != nullptr) {
    MakeBrief(job);
  } else if (auto* const batch = dynamic_cast<v1::BatchSubmitJobsResponse*>(response); batch != nullptr) {
    for (v1::Job& one : *batch->mutable_jobs()) MakeBrief(&one);
  }
}

}  // namespace

absl::Status UnaryCall::Begin(const google::protobuf::Message* request) {
  int64_t bytes = CallMemory::kOpenCallBytes;
  // Parsed it can be many times as large as on the wire.
  if (request != nullptr && request->ByteSizeLong() > 256)
    bytes += static_cast<int64_t>(request->SpaceUsedLong());
  return held_.Take(bytes);
}

void UnaryCall::FinishWith(absl::Status status) {
  if (status.ok()) {
    status = held_.TakeMessage(response_->ByteSizeLong());
    if (!status.ok() && when_full_ == WhenFull::kShrink) {
      Shrink(response_);
      status = absl::OkStatus();
    }
  }
  if (!status.ok()) response_->Clear();
  count_.Done(status);
  Finish(ToGrpcStatus(status));
}

}  // namespace jobpool
