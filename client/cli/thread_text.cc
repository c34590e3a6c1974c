#include "client/cli/thread_text.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cli/table.h"
#include "client/cli/time_text.h"

namespace jobpool::cli {
namespace {

std::string PoolText(const v1::Thread& thread) {
  return std::string(absl::StripPrefix(thread.pool(), "pools/"));
}

// A number where the server is newer than this.
std::string RoleText(v1::Thread::Role role) {
  const std::string& name = v1::Thread::Role_Name(role);
  return name.empty() ? absl::StrCat(static_cast<int>(role)) : name;
}

std::string StateText(v1::Thread::State state) {
  const std::string& name = v1::Thread::State_Name(state);
  return name.empty() ? absl::StrCat(static_cast<int>(state)) : name;
}

}  // namespace

std::string ThreadsTable(const v1::ListThreadsResponse& response, absl::Time now) {
  Table table({"NAME", "DISPLAY NAME", "ROLE", "STATE", "POOL", "JOB", "TID", "NATIVE NAME", "CPU TIME",
               "JOBS RUN", "AGE"});
  table.SetStateColumn(3);
  for (const v1::Thread& thread : response.threads()) {
    table.AddRow({thread.name(), thread.display_name(), RoleText(thread.role()), StateText(thread.state()),
                  PoolText(thread), thread.job(), absl::StrCat(thread.os_thread_id()), thread.native_name(),
                  DurationText(FromProto(thread.cpu_time())), absl::StrCat(thread.jobs_run()),
                  AgeText(now - FromProto(thread.start_time()))});
  }
  std::string text = table.ToString();
  if (response.os_threads_size() > 0) {
    Table os_table({"OS THREAD", "NATIVE NAME", "CPU TIME"});
    for (const v1::OsThread& thread : response.os_threads()) {
      os_table.AddRow({absl::StrCat(thread.os_thread_id()), thread.native_name(),
                       DurationText(FromProto(thread.cpu_time()))});
    }
    absl::StrAppend(&text, "\n", os_table.ToString());
  }
  return text;
}

std::string ThreadDetails(const v1::Thread& thread) {
  Table table;
  const auto add = [&table](std::string field, std::string value) {
    if (!value.empty()) table.AddRow({std::move(field), std::move(value)});
  };
  add("name", thread.name());
  add("display name", thread.display_name());
  add("role", RoleText(thread.role()));
  add("state", StateText(thread.state()));
  add("pool", PoolText(thread));
  add("job", thread.job());
  add("job display name", thread.job_display_name());
  add("process id", absl::StrCat(thread.process_id()));
  add("os thread id", absl::StrCat(thread.os_thread_id()));
  add("native name", thread.native_name());
  add("daemon", thread.daemon() ? "true" : "false");
  if (thread.has_start_time()) add("started", TimeText(FromProto(thread.start_time())));
  add("cpu time", DurationText(FromProto(thread.cpu_time())));
  add("jobs run", absl::StrCat(thread.jobs_run()));
  return table.ToString();
}

}  // namespace jobpool::cli
