#pragma once

#include <string>

#include "jobpool/v1/pool_service.pb.h"

// Pools as people read them.

namespace jobpool::cli {

/// A line for each pool.
std::string PoolsTable(const v1::ListPoolsResponse& response);

/// All there is to say about one pool, a line for each field.
std::string PoolDetails(const v1::Pool& pool);

}  // namespace jobpool::cli
