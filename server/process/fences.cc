#include "server/process/fences.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <iterator>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/base/sanitizers.h"

namespace jobpool {
namespace {

std::string Failed(absl::string_view what) {
  return absl::StrCat("cannot ", what, ": ", std::strerror(errno));
}

// Never above what the server has itself.
bool Limit(int resource, int64_t soft, int64_t hard) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return false;
  limit.rlim_max = std::min(limit.rlim_max, static_cast<rlim_t>(hard));
  limit.rlim_cur = std::min(limit.rlim_max, static_cast<rlim_t>(soft));
  return setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
}

bool Limit(int resource, int64_t most) { return Limit(resource, most, most); }

// What root may, root may; nobody else keeps more than others have. What is ambient would survive an exec.
// (Where there is nothing to give up, it is not tried: a filter of system calls may be around us.)
bool DropCapabilities() {
  if (geteuid() == 0) return true;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return false;
  const bool none = std::all_of(std::begin(sets), std::end(sets), [](const __user_cap_data_struct& set) {
    return set.effective == 0 && set.permitted == 0 && set.inheritable == 0;
  });
  if (none) return true;  // nor any that is ambient: those are permitted ones
  std::fill(std::begin(sets), std::end(sets), __user_cap_data_struct{});
  return syscall(SYS_capset, &header, sets) == 0;
}

}  // namespace

bool IsUser(const std::string& name) { return getpwnam(name.c_str()) != nullptr; }

std::string MakeProgramFolder(const Fences& fences) {
  std::string folder = "/tmp/jobpool-XXXXXX";
  if (const char* const temporary = std::getenv("TMPDIR"); temporary != nullptr && temporary[0] == '/') {
    folder = absl::StrCat(temporary, "/jobpool-XXXXXX");
  }
  if (mkdtemp(folder.data()) == nullptr) return "";
  if (!fences.user.empty()) {
    const passwd* const entry = getpwnam(fences.user.c_str());
    if (entry != nullptr && entry->pw_uid != geteuid() &&
        chown(folder.c_str(), entry->pw_uid, entry->pw_gid) != 0) {
      rmdir(folder.c_str());
      return "";
    }
  }
  return folder;
}

std::string ApplyFences(const Fences& fences, const std::string& folder) {
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) std::signal(signal, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  umask(077);
  // Where memory runs out, this goes before the server (proc(5)).
  if (const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    (void)!write(score, "500", 3);
    close(score);
  }
  // The user is looked up while there are descriptors and memory for it.
  const std::string& user = fences.user;
  if (!user.empty()) {
    errno = 0;
    const passwd* const entry = getpwnam(user.c_str());
    if (entry == nullptr) {
      return errno == 0 || errno == ENOENT ? absl::StrCat("there is no user ", user)
                                           : Failed(absl::StrCat("look for the user ", user));
    }
    const uid_t uid = entry->pw_uid;
    const gid_t gid = entry->pw_gid;
    if (uid != geteuid() && (initgroups(user.c_str(), gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0)) {
      return Failed(absl::StrCat("become user ", user));
    }
  }
  if (!DropCapabilities()) return Failed("give up capabilities");
  const std::string& directory = fences.working_directory.empty() ? folder : fences.working_directory;
  // As its user, who may be allowed less.
  if (chdir(directory.c_str()) != 0) return Failed(absl::StrCat("change to the folder ", directory));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("give up new privileges");
  // A change of user clears it. The one that has started it may have ended already.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return Failed("end with the server");
  if (!Limit(RLIMIT_CORE, 0) ||
      (fences.cpu_seconds > 0 && !Limit(RLIMIT_CPU, fences.cpu_seconds, fences.cpu_seconds + 1)) ||
      (fences.file_bytes > 0 && !Limit(RLIMIT_FSIZE, fences.file_bytes)) ||
      (fences.processes > 0 && !Limit(RLIMIT_NPROC, fences.processes)) ||
      (fences.open_files > 0 && !Limit(RLIMIT_NOFILE, fences.open_files)) ||
      (fences.memory_bytes > 0 && !kSanitized && !Limit(RLIMIT_AS, fences.memory_bytes))) {
    return Failed("set a limit");
  }
  return "";
}

}  // namespace jobpool
