#include "server/process/remove_folder.h"

#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/process/fd.h"

namespace jobpool {
namespace {

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// The names in it, but for itself and the one that it is in.
std::vector<std::string> NamesIn(int folder) {
  std::vector<std::string> names;
  const int copy = openat(folder, ".", kFolder);  // which closedir() closes
  DIR* const entries = copy >= 0 ? fdopendir(copy) : nullptr;
  if (entries == nullptr) {
    if (copy >= 0) close(copy);
    return names;
  }
  while (const dirent* const entry = readdir(entries)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
      names.emplace_back(entry->d_name);
    }
  }
  closedir(entries);
  return names;
}

}  // namespace

// Folders in folders are taken out into the outermost one, so that none is deeper than that.
bool RemoveFolder(const std::string& folder) {
  if (chmod(folder.c_str(), S_IRWXU) != 0) return false;
  const Fd top(open(folder.c_str(), kFolder));
  if (!top) return false;
  uint64_t taken_out = 0;
  for (bool more = true; more;) {
    more = false;
    for (const std::string& name : NamesIn(top.get())) {
      if (unlinkat(top.get(), name.c_str(), 0) == 0) {
        more = true;
        continue;
      }
      (void)fchmodat(top.get(), name.c_str(), S_IRWXU, AT_SYMLINK_NOFOLLOW);
      const Fd inner(openat(top.get(), name.c_str(), kFolder));
      if (!inner) continue;
      for (const std::string& inner_name : NamesIn(inner.get())) {
        if (unlinkat(inner.get(), inner_name.c_str(), 0) == 0) {
          more = true;
          continue;
        }
        // One that is closed to its owner cannot be moved either.
        (void)fchmodat(inner.get(), inner_name.c_str(), S_IRWXU, AT_SYMLINK_NOFOLLOW);
        const std::string place = absl::StrCat("jobpool-", ++taken_out);
        more = renameat(inner.get(), inner_name.c_str(), top.get(), place.c_str()) == 0 || more;
      }
      more = unlinkat(top.get(), name.c_str(), AT_REMOVEDIR) == 0 || more;
    }
  }
  return rmdir(folder.c_str()) == 0;
}

}  // namespace jobpool
