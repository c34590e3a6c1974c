// The unit tests' main: also the program that a ForkServer of theirs starts.

#include <cstring>

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include "server/process/fork_server_main.h"
#include "tests/support/test_worker.h"

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], jobpool::kForkServerArgument) == 0) {
    return jobpool::RunForkServer(&jobpool::RunTestWorker);
  }
  // Made before there are threads: how Protobuf, which is not built with ThreadSanitizer, hands it from the
  // thread that made it to others is not seen.
  (void)google::protobuf::DescriptorPool::generated_pool();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
