#pragma once

namespace jobpool {

/// How many processors this process may keep busy: those it may run on
/// (sched_getaffinity(2)), or fewer where its cgroup, or one above it, has a
/// quota (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`); rounded up, at least 1.
int CpuQuota();

}  // namespace jobpool
