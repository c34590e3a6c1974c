#include "server/workers/os_threads.h"

#include <dirent.h>
#include <fstream>
#include <set>
#include <sstream>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace jobpool {
namespace {

// proc(5), /proc/pid/task/tid/stat: `tid (name) state ...`; fields 14 and 15 are
// user and system time in clock ticks. The name may hold anything.
bool ReadTask(pid_t tid, OsThreadInfo* info) {
  std::ifstream file(absl::StrCat("/proc/self/task/", tid, "/stat"));
  std::string line;
  if (!std::getline(file, line)) return false;
  const size_t open = line.find('(');
  const size_t close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  info->os_thread_id = tid;
  info->native_name = line.substr(open + 1, close - open - 1);
  std::istringstream fields(line.substr(close + 1));
  std::string field;
  int64_t ticks = 0;
  for (int i = 3; i <= 15 && fields >> field; ++i) {
    int64_t value = 0;
    if (i >= 14 && absl::SimpleAtoi(field, &value)) ticks += value;
  }
  info->cpu_time = absl::Seconds(ticks) / sysconf(_SC_CLK_TCK);
  return true;
}

}  // namespace

std::vector<OsThreadInfo> ForeignThreads(const ThreadRegistry& registry) {
  std::vector<OsThreadInfo> threads;
  DIR* const dir = opendir("/proc/self/task");
  if (dir == nullptr) return threads;
  // On a stream of one's own readdir is thread-safe (readdir(3)). NOLINTNEXTLINE(concurrency-mt-unsafe)
  while (const dirent* entry = readdir(dir)) {
    pid_t tid = 0;
    OsThreadInfo info;
    if (absl::SimpleAtoi(entry->d_name, &tid) && ReadTask(tid, &info)) threads.push_back(info);
  }
  closedir(dir);
  // Only now, so that one of ours that starts meanwhile is not taken for a library's.
  std::set<pid_t> ours;
  for (const ThreadInfo& thread : registry.Snapshot().threads) ours.insert(thread.os_thread_id);
  std::erase_if(threads, [&](const OsThreadInfo& thread) { return ours.count(thread.os_thread_id) > 0; });
  return threads;
}

}  // namespace jobpool
