#include "server/process/confine.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/sanitizers.h"

namespace jobpool {
namespace {

constexpr int kAllowed[] = {
    // Memory; for pages see below.
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    // Threads of its own, their waiting and ending.
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(restart_syscall),
    // Time.
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    // Descriptors that are open.
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(readv),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(eventfd2),
    // What is known of itself.
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrandom),
    SCMP_SYS(sysinfo),
    // Signals to itself: abort() and its like.
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
};

// Libraries look at files if they may, and do without. glibc makes threads by clone3, whose flags cannot be
// looked at here, and, where there is none, by clone.
constexpr std::pair<int, int> kRefused[] = {
    {SCMP_SYS(openat), EACCES},     {SCMP_SYS(open), EACCES},     {SCMP_SYS(access), EACCES},
    {SCMP_SYS(faccessat2), EACCES}, {SCMP_SYS(readlink), EACCES}, {SCMP_SYS(clone3), ENOSYS},
};

// Of the argument of that number, counted from 0, the bits of `mask` are `bits`.
scmp_arg_cmp HasBits(unsigned argument, scmp_datum_t mask, scmp_datum_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, bits};
}

// 0, or minus an error.
int AddRules(scmp_filter_ctx filter) {
  for (const int call : kAllowed) {
    if (const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0); error != 0) return error;
  }
  for (const auto& [call, error_number] : kRefused) {
    const auto refuse = SCMP_ACT_ERRNO(static_cast<uint32_t>(error_number));
    if (const int error = seccomp_rule_add(filter, refuse, call, 0); error != 0) return error;
  }
  const std::pair<int, scmp_arg_cmp> if_allowed[] = {
      // What is code stays what it was.
      {SCMP_SYS(mmap), HasBits(2, PROT_EXEC, 0)},
      {SCMP_SYS(mprotect), HasBits(2, PROT_EXEC, 0)},
      // abort() and its like.
      {SCMP_SYS(tgkill), scmp_arg_cmp{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid()), 0}},
      // Threads, and no processes.
      {SCMP_SYS(clone), HasBits(0, CLONE_THREAD, CLONE_THREAD)},
  };
  for (const auto& [call, condition] : if_allowed) {
    if (const int error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, condition); error != 0)
      return error;
  }
  return 0;
}

}  // namespace

std::string Confine() {
  static bool confined = false;
  if (confined || kSanitized) return "";
  void* const filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
  if (filter == nullptr) return "cannot make a filter of system calls";
  // Calls of another architecture (int 0x80) end the process too, not the thread alone.
  int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (error == 0) error = AddRules(filter);
  // Of the thread that listens to the server, too.
  if (error == 0) error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
  if (error == 0) error = seccomp_load(filter);
  seccomp_release(filter);
  if (error != 0) return absl::StrCat("cannot filter system calls: ", std::strerror(-error));
  confined = true;
  return "";
}

}  // namespace jobpool
