#include "server/base/resource_usage.h"

#include <algorithm>

namespace jobpool {
namespace {

ResourceUsage UsageOf(int who) {
  rusage usage{};
  getrusage(static_cast<__rusage_who>(who), &usage);
  return ResourceUsage::Of(usage);
}

}  // namespace

ResourceUsage ResourceUsage::OfThread() {
  ResourceUsage usage = UsageOf(RUSAGE_THREAD);
  usage.peak_memory_bytes = 0;  // the kernel gives that of the process
  return usage;
}

ResourceUsage ResourceUsage::OfProcess() { return UsageOf(RUSAGE_SELF); }

ResourceUsage ResourceUsage::Of(const rusage& usage) {
  return {absl::DurationFromTimeval(usage.ru_utime),
          absl::DurationFromTimeval(usage.ru_stime),
          usage.ru_nvcsw,
          usage.ru_nivcsw,
          usage.ru_minflt,
          usage.ru_majflt,
          int64_t{usage.ru_maxrss} << 10};
}

ResourceUsage& ResourceUsage::operator+=(const ResourceUsage& other) {
  user_cpu_time += other.user_cpu_time;
  system_cpu_time += other.system_cpu_time;
  voluntary_context_switches += other.voluntary_context_switches;
  involuntary_context_switches += other.involuntary_context_switches;
  minor_page_faults += other.minor_page_faults;
  major_page_faults += other.major_page_faults;
  peak_memory_bytes = std::max(peak_memory_bytes, other.peak_memory_bytes);
  return *this;
}

ResourceUsage ResourceUsage::Since(const ResourceUsage& before) const {
  const auto since = [](auto after, auto earlier) { return std::max(after - earlier, decltype(after){}); };
  return {since(user_cpu_time, before.user_cpu_time),
          since(system_cpu_time, before.system_cpu_time),
          since(voluntary_context_switches, before.voluntary_context_switches),
          since(involuntary_context_switches, before.involuntary_context_switches),
          since(minor_page_faults, before.minor_page_faults),
          since(major_page_faults, before.major_page_faults),
          peak_memory_bytes};
}

}  // namespace jobpool
