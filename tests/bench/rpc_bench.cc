// RunJob of a no-op against an empty unary call on the same gRPC: the same client code, in turns in one run,
// each server a process of its own on loopback. Prints both rates and their ratio, pair by pair.
//
//   rpc_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "bare.grpc.pb.h"
#include "jobpool/v1/job_service.grpc.pb.h"
#include "tests/bench/child.h"
#include "tests/bench/closed_loop.h"

namespace jobpool::bench {
namespace {

struct BareCall {
  grpc::ClientContext context;
  google::protobuf::Empty request;
  google::protobuf::Empty response;
};

struct RunJobCall {
  grpc::ClientContext context;
  v1::RunJobRequest request;
  v1::Job response;
};

StartCall BareCalls(BareService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* call = new BareCall;
    stub.async()->Call(&call->context, &call->request, &call->response,
                       [call, done = std::move(done)](const grpc::Status& status) {
                         const std::unique_ptr<BareCall> owned(call);
                         done(status.ok());
                       });
  };
}

StartCall RunJobCalls(v1::JobService::Stub& stub) {
  return [&stub](std::function<void(bool)> done) {
    auto* call = new RunJobCall;
    call->request.mutable_job()->mutable_noop();
    stub.async()->RunJob(&call->context, &call->request, &call->response,
                         [call, done = std::move(done)](const grpc::Status& status) {
                           const std::unique_ptr<RunJobCall> owned(call);
                           done(status.ok() && call->response.state() == v1::Job::SUCCEEDED);
                         });
  };
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string Range(const std::vector<double>& values) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.3f (%.3f to %.3f)", Median(values),
                *std::min_element(values.begin(), values.end()),
                *std::max_element(values.begin(), values.end()));
  return text;
}

void Compare(const StartCall& bare, const StartCall& run_job, int in_flight, double seconds, int rounds) {
  std::vector<double> bare_rate;
  std::vector<double> run_job_rate;
  std::vector<double> rate_ratio;
  std::vector<double> median_ratio;
  double bare_median = 0;
  for (int round = 0; round <= rounds; ++round) {
    const LoopResult a = RunClosedLoop(bare, in_flight, seconds);
    const LoopResult b = RunClosedLoop(run_job, in_flight, seconds);
    if (round == 0) continue;  // warm-up
    bare_rate.push_back(a.per_second);
    run_job_rate.push_back(b.per_second);
    rate_ratio.push_back(b.per_second / a.per_second);
    median_ratio.push_back(b.median_seconds / a.median_seconds);
    bare_median = a.median_seconds;
  }
  std::printf("%3d in flight: empty call %.0f/s (median %.0f us), RunJob of noop %.0f/s\n", in_flight,
              Median(bare_rate), bare_median * 1e6, Median(run_job_rate));
  std::printf("               ratio of rates %s, of median times %s\n", Range(rate_ratio).c_str(),
              Range(median_ratio).c_str());
}

}  // namespace
}  // namespace jobpool::bench

int main(int argc, char** argv) {
  using namespace jobpool::bench;
  if (argc < 3) {
    std::fprintf(stderr, "usage: rpc_bench BARE_SERVER JOBPOOLD [SECONDS_PER_ROUND [ROUNDS]]\n");
    return 2;
  }
  const double seconds = argc > 3 ? std::atof(argv[3]) : 2;
  const int rounds = argc > 4 ? std::atoi(argv[4]) : 5;
  const Child bare_server({argv[1]}, 1, "");
  const Child jobpoold({argv[2], "--store=memory", "--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0"},
                       2, "serving grpc=");
  const auto bare_stub =
      BareService::NewStub(grpc::CreateChannel(bare_server.address(), grpc::InsecureChannelCredentials()));
  const auto job_stub = jobpool::v1::JobService::NewStub(
      grpc::CreateChannel(jobpoold.address(), grpc::InsecureChannelCredentials()));
  const StartCall bare = BareCalls(*bare_stub);
  const StartCall run_job = RunJobCalls(*job_stub);
  Compare(bare, run_job, 64, seconds, rounds);
  Compare(bare, run_job, 1, seconds, rounds);
  return 0;
}
