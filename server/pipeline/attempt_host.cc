#include "server/pipeline/attempt_host.h"

#include <optional>

#include "server/job/resource_name.h"

namespace jobpool {
namespace {

void Show(const ThreadInfo& thread, HandlerHost::TakeThread take) {
  const std::string name = ThreadName(thread.id);
  const std::string pool = thread.pool.empty() ? "" : PoolName(thread.pool);
  const std::string job = thread.job.id.empty() ? "" : JobName(thread.job.id);
  take({name, thread.display_name, ThreadRoleName(thread.role), ThreadStateName(thread.state), pool, job,
        thread.process_id, thread.os_thread_id});
}

}  // namespace

void AttemptHost::Log(WorkLogLevel level, absl::string_view text) const { log_.Said(job_id_, level, text); }

void AttemptHost::CurrentThread(TakeThread take) const {
  if (const std::optional<ThreadInfo> thread = registry_.Find(thread_id_); thread.has_value()) {
    Show(*thread, take);
  }
}

uint64_t AttemptHost::ActiveCount() const { return static_cast<uint64_t>(registry_.Count().total()); }

void AttemptHost::ForEachThread(TakeThread take) const {
  const RollCall roll_call = registry_.Snapshot();
  for (const ThreadInfo& thread : roll_call.threads) Show(thread, take);
}

}  // namespace jobpool
