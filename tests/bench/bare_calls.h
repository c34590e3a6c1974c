#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <grpcpp/channel.h>

#include "bare.grpc.pb.h"
#include "tests/bench/closed_loop.h"

namespace jobpool::bench {

// Calls of a bare server for RunClosedLoop; `stub` outlives them.

/// An empty one.
StartCall BareCalls(BareService::Stub& stub);

/// As a RunJob of a no-op, whose answer is a copy of `answer`: nothing runs.
StartCall RunNothingCalls(BareService::Stub& stub, const v1::Job& answer);

/// One whose `count` messages of `payload` come back.
StartCall BatchEchoCalls(BareService::Stub& stub, int count, const std::string& payload);

/// One whose `count` submissions of no-ops come back, which are taken apart and put together as any message
/// is.
StartCall SubmissionEchoCalls(BareService::Stub& stub, int count);

/// Streams on which messages come back; each has one of them on its way at a time.
class EchoStreams {
 public:
  EchoStreams(BareService::Stub& stub, int streams, const std::string& payload);
  ~EchoStreams();

  /// A message there and back, on a stream that is free. REQUIRES: there is one.
  StartCall Calls();

 private:
  class Stream;

  std::mutex mu_;
  std::vector<Stream*> free_;  // guarded by mu_
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace jobpool::bench
