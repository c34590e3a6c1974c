#include "server/telemetry/process_metrics.h"

#include <dirent.h>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

#include <prometheus/metric_family.h>

namespace jobpool {
namespace {

struct ProcStat {
  double cpu_seconds = 0;
  double threads = 0;
  double start_time_seconds = 0;  // since boot
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

// proc(5), /proc/pid/stat: fields are counted from 1; the second, the name, is in parentheses and may hold
// blanks, so reading begins behind the last of those, at field 3.
ProcStat ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  ProcStat stat;
  std::string field;
  for (int i = 3; i <= 24 && fields >> field; ++i) {
    if (i == 14 || i == 15) stat.cpu_seconds += std::stod(field) / ticks;
    if (i == 20) stat.threads = std::stod(field);
    if (i == 22) stat.start_time_seconds = std::stod(field) / ticks;
    if (i == 23) stat.virtual_bytes = std::stod(field);
    if (i == 24) stat.resident_bytes = std::stod(field) * page;
  }
  return stat;
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string key;
  double value = 0;
  while (file >> key) {
    if (key == "btime" && file >> value) return value;
    std::getline(file, key);
  }
  return 0;
}

double CountDescriptors() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  double count = 0;
  // On a stream of one's own readdir is thread-safe (readdir(3)). NOLINTNEXTLINE(concurrency-mt-unsafe)
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count - 1;  // the one for this directory
}

}  // namespace

prometheus::MetricFamily SingleMetric(const char* name, const char* help, prometheus::MetricType type,
                                      double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family.metric.push_back(metric);
  return family;
}

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  using prometheus::MetricType;
  static const double boot_time = BootTime();
  const ProcStat stat = ReadStat();
  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  return {
      SingleMetric("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
                   MetricType::Counter, stat.cpu_seconds),
      SingleMetric("process_open_fds", "Number of open file descriptors.", MetricType::Gauge,
                   CountDescriptors()),
      SingleMetric("process_max_fds", "Maximum number of open file descriptors.", MetricType::Gauge,
                   static_cast<double>(descriptors.rlim_cur)),
      SingleMetric("process_virtual_memory_bytes", "Virtual memory size in bytes.", MetricType::Gauge,
                   stat.virtual_bytes),
      SingleMetric("process_resident_memory_bytes", "Resident memory size in bytes.", MetricType::Gauge,
                   stat.resident_bytes),
      SingleMetric("process_threads", "Number of OS threads in the process.", MetricType::Gauge,
                   stat.threads),
      SingleMetric("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
                   MetricType::Gauge, boot_time + stat.start_time_seconds),
  };
}

}  // namespace jobpool
