#include "server/process/descendants.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <map>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/process/fd.h"

namespace jobpool {
namespace {

// By their parents.
std::multimap<pid_t, pid_t> AllProcesses() {
  std::multimap<pid_t, pid_t> children;
  DIR* const proc = opendir("/proc");
  if (proc == nullptr) return children;
  while (const dirent* const entry = readdir(proc)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    const Fd stat(open(absl::StrCat("/proc/", pid, "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 512> text{};
    if (!stat || read(stat.get(), text.data(), text.size() - 1) <= 0) continue;
    // Behind the name, which may hold anything, are its state and its parent (proc(5)).
    const char* const name_end = std::strrchr(text.data(), ')');
    pid_t parent = 0;
    if (name_end != nullptr && std::sscanf(name_end + 1, " %*c %d", &parent) == 1)
      children.emplace(parent, pid);
  }
  closedir(proc);
  return children;
}

std::vector<pid_t> Of(const std::multimap<pid_t, pid_t>& all, pid_t parent) {
  std::vector<pid_t> children;
  const auto [begin, end] = all.equal_range(parent);
  for (auto child = begin; child != end; ++child) children.push_back(child->second);
  return children;
}

}  // namespace

std::vector<pid_t> ChildrenOf(pid_t pid) { return Of(AllProcesses(), pid); }

std::vector<pid_t> DescendantsOf(pid_t pid) {
  const std::multimap<pid_t, pid_t> all = AllProcesses();
  std::vector<pid_t> descendants = Of(all, pid);
  for (size_t i = 0; i < descendants.size(); ++i) {
    for (const pid_t child : Of(all, descendants[i])) descendants.push_back(child);
  }
  return descendants;
}

}  // namespace jobpool
