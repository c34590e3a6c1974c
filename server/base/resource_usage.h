#pragma once

#include <cstdint>
#include <sys/resource.h>

#include "absl/time/time.h"

namespace jobpool {

/// What a thread or a process has used, as getrusage(2) counts it.
struct ResourceUsage {
  absl::Duration user_cpu_time = absl::ZeroDuration();
  absl::Duration system_cpu_time = absl::ZeroDuration();
  int64_t voluntary_context_switches = 0;
  int64_t involuntary_context_switches = 0;
  int64_t minor_page_faults = 0;
  int64_t major_page_faults = 0;
  int64_t peak_memory_bytes = 0;  // resident, of a process; 0: of a thread

  /// Of the calling thread so far.
  static ResourceUsage OfThread();
  /// Of the calling process so far.
  static ResourceUsage OfProcess();
  /// As `usage`, of a process, says it.
  static ResourceUsage Of(const rusage& usage);

  /// The peak is the greater one.
  ResourceUsage& operator+=(const ResourceUsage& other);
  /// What came since `before`: none of it is negative. The peak stays.
  ResourceUsage Since(const ResourceUsage& before) const;

  bool operator==(const ResourceUsage&) const = default;
};

}  // namespace jobpool
