#include "server/config/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sched.h>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace jobpool {
namespace {

// Quota and period of a group in processors; without a limit, `none`.
double ReadQuotaV2(const std::string& dir, double none) {
  std::ifstream file(absl::StrCat(dir, "/cpu.max"));
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return none;
  return std::stod(quota) / period;
}

double ReadQuotaV1(const std::string& dir, double none) {
  double quota = 0;
  double period = 0;
  std::ifstream quota_file(absl::StrCat(dir, "/cpu.cfs_quota_us"));
  std::ifstream period_file(absl::StrCat(dir, "/cpu.cfs_period_us"));
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return none;
  return quota / period;
}

// The least of what the group and all those above it allow.
template <typename Read>
double LeastUpwards(const std::string& root, std::string group, double least, Read read) {
  for (;;) {
    least = std::min(least, read(root + group, least));
    if (group.empty() || group == "/") return least;
    group.resize(group.rfind('/'));
  }
}

}  // namespace

int CpuQuota() {
  cpu_set_t cpus;
  double quota = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
  // cgroups(7): lines of `id:controllers:path`; v2 has id 0 and no controllers.
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::pair<std::string, std::string> head = absl::StrSplit(line, absl::MaxSplits(':', 1));
    const std::pair<std::string, std::string> tail = absl::StrSplit(head.second, absl::MaxSplits(':', 1));
    if (tail.first.empty()) {
      quota = LeastUpwards("/sys/fs/cgroup", tail.second, quota, ReadQuotaV2);
    } else if (absl::StrContains(absl::StrCat(",", tail.first, ","), ",cpu,")) {
      quota = LeastUpwards("/sys/fs/cgroup/cpu", tail.second, quota, ReadQuotaV1);
    }
  }
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

}  // namespace jobpool
