#pragma once

#include "jobpool/process/v1/process.pb.h"
#include "server/base/resource_usage.h"

namespace jobpool {

void EncodeUsage(const ResourceUsage& usage, process::v1::Usage* to);
/// Values out of any bounds are brought into them.
ResourceUsage DecodeUsage(const process::v1::Usage& usage);

}  // namespace jobpool
