#pragma once

#include <string>

#include "absl/time/time.h"
#include "jobpool/v1/thread_service.pb.h"

// Threads as people read them. `now` is what ages are counted from.

namespace jobpool::cli {

/// A line for each thread; below it, where there are any, one for each of the
/// libraries' threads.
std::string ThreadsTable(const v1::ListThreadsResponse& response, absl::Time now);

/// All there is to say about one thread, a line for each field.
std::string ThreadDetails(const v1::Thread& thread);

}  // namespace jobpool::cli
