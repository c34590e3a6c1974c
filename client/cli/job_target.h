#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "client/cli/load.h"
#include "jobpool/client.h"

namespace jobpool::cli {

/// Makes calls of RunJob or SubmitJob for a measurement, all with the same job. Those of RunJob
/// have their job cancelled with them.
class JobTarget final : public LoadTarget {
 public:
  /// With `submit` SubmitJob. `places`: LoadPlan::in_flight. Calls are spread over `connections`, which
  /// must outlive this and are not empty.
  JobTarget(std::vector<Client*> connections, const v1::SubmitJobRequest& request, bool submit,
            size_t places);

  void Start(size_t place, Done done) override;
  void CancelAll() override;

 private:
  struct Place {
    std::mutex mu;                      // held while a call is started
    std::unique_ptr<StartedCall> call;  // guarded by mu; the last one, also when it has ended
  };

  // Constant after construction.
  const std::vector<Client*> connections_;
  const v1::SubmitJobRequest submit_request_;
  v1::RunJobRequest run_request_;
  const bool submit_;

  std::vector<Place> places_;
  std::atomic<size_t> started_{0};
  std::atomic<bool> cancelled_{false};
};

/// What the answer to a call says of it. `submit`: that the job was accepted is all.
CallEnd ToCallEnd(const absl::StatusOr<v1::Job>& answer, bool submit);

}  // namespace jobpool::cli
