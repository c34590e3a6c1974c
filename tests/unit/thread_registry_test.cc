#include "server/workers/thread_registry.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/workers/os_threads.h"
#include "tests/support/eventually.h"
#include "tests/support/watchdog.h"

namespace jobpool {
namespace {

// A thread of ours that does nothing, from the end of its construction to the
// beginning of its destruction at least.
class IdleThread {
 public:
  explicit IdleThread(ThreadRegistry& registry, ThreadRole role = ThreadRole::kWorker,
                      absl::string_view pool = "p")
      : thread_([this, &registry, role, pool = std::string(pool)] {
          RegisteredThread self(registry, role, pool);
          id_ = self.id();
          registered_.Open();
          leave_.Await();
        }) {
    registered_.Await();
  }
  ~IdleThread() {
    leave_.Open();
    thread_.join();
  }

  uint64_t id() const { return id_; }

 private:
  uint64_t id_ = 0;
  Gate registered_;
  Gate leave_;
  std::thread thread_;
};

std::string NativeNameOf(pid_t os_thread_id) {
  for (const OsThreadInfo& thread : ForeignThreads(ThreadRegistry())) {
    if (thread.os_thread_id == os_thread_id) return thread.native_name;
  }
  return "";
}

TEST(ThreadRegistryTest, IsEmptyAtFirst) {
  const ThreadRegistry registry;
  EXPECT_EQ(registry.Count().total(), 0);
  EXPECT_TRUE(registry.Snapshot().threads.empty());
  EXPECT_EQ(registry.Count().version, registry.Snapshot().version);
}

TEST(ThreadRegistryTest, CountsByRoleAndVersionsGrow) {
  ThreadRegistry registry;
  uint64_t version = registry.Count().version;
  const auto grown = [&] {
    return registry.Count().version > std::exchange(version, registry.Count().version);
  };
  const RegisteredThread main(registry, ThreadRole::kMain, "");
  EXPECT_TRUE(grown());
  {
    const IdleThread worker(registry);
    EXPECT_TRUE(grown());
    const IdleThread other(registry);
    EXPECT_TRUE(grown());
    const IdleThread service(registry, ThreadRole::kService, "");
    EXPECT_TRUE(grown());
    const ActiveCount count = registry.Count();
    EXPECT_EQ(count.by_role[static_cast<size_t>(ThreadRole::kMain)], 1);
    EXPECT_EQ(count.by_role[static_cast<size_t>(ThreadRole::kWorker)], 2);
    EXPECT_EQ(count.by_role[static_cast<size_t>(ThreadRole::kService)], 1);
    EXPECT_EQ(count.total(), 4);
  }
  EXPECT_TRUE(grown());
  EXPECT_EQ(registry.Count().total(), 1);
  EXPECT_FALSE(grown());
}

TEST(ThreadRegistryTest, ShowsWhatAThreadIs) {
  ThreadRegistry registry;
  const RegisteredThread main(registry, ThreadRole::kMain, "");
  const IdleThread worker(registry, ThreadRole::kWorker, "blocking");
  const IdleThread service(registry, ThreadRole::kService, "");
  const RollCall roll_call = registry.Snapshot();
  ASSERT_EQ(roll_call.threads.size(), 3u);
  EXPECT_EQ(roll_call.threads[0].display_name, "MainThread");
  EXPECT_TRUE(roll_call.threads[0].running());
  EXPECT_EQ(roll_call.threads[0].os_thread_id, getpid());
  EXPECT_EQ(roll_call.threads[0].native_name, NativeNameOf(getpid()));  // the program's
  const ThreadInfo& shown = roll_call.threads[1];
  EXPECT_EQ(shown.id, worker.id());
  EXPECT_EQ(shown.role, ThreadRole::kWorker);
  EXPECT_EQ(shown.pool, "blocking");
  EXPECT_EQ(shown.display_name, "Thread-1");
  EXPECT_EQ(shown.native_name, "Thread-1");
  EXPECT_EQ(NativeNameOf(shown.os_thread_id), "Thread-1");
  EXPECT_FALSE(shown.running());
  EXPECT_EQ(shown.process_id, getpid());
  EXPECT_EQ(shown.jobs_run, 0u);
  EXPECT_EQ(roll_call.threads[2].display_name, "Service-1");
}

TEST(ThreadRegistryTest, NumbersAreNotUsedAgain) {
  ThreadRegistry registry;
  uint64_t first = 0;
  {
    const IdleThread thread(registry);
    first = thread.id();
  }
  const IdleThread thread(registry);
  EXPECT_GT(thread.id(), first);
  EXPECT_EQ(registry.Find(thread.id())->display_name, "Thread-2");
}

TEST(ThreadRegistryTest, AThreadThatEndedIsNotFound) {
  ThreadRegistry registry;
  uint64_t id = 0;
  {
    const IdleThread thread(registry);
    id = thread.id();
    EXPECT_TRUE(registry.Find(id).has_value());
  }
  EXPECT_FALSE(registry.Find(id).has_value());
  EXPECT_FALSE(registry.Rename(id, "x"));
  registry.RenameJob(id, "j", [] { return std::string("x"); });  // does nothing
  EXPECT_FALSE(registry.Find(id + 1).has_value());
  EXPECT_FALSE(registry.Find(0).has_value());
}

TEST(ThreadRegistryTest, RenamesHereAndInTheSystem) {
  ThreadRegistry registry;
  const IdleThread thread(registry);
  const auto renamed = [&](absl::string_view name) {
    EXPECT_TRUE(registry.Rename(thread.id(), name));
    const ThreadInfo info = *registry.Find(thread.id());
    EXPECT_EQ(info.display_name, name);
    EXPECT_EQ(NativeNameOf(info.os_thread_id), info.native_name);
    return info.native_name;
  };
  EXPECT_EQ(renamed("monitor"), "monitor");
  EXPECT_EQ(renamed("123456789012345"), "123456789012345");
  EXPECT_EQ(renamed("1234567890123456"), "123456789012345");
  // Byte 15 is in the middle of the last character: that goes as a whole.
  EXPECT_EQ(renamed("12345678901234\xc3\xa4"), "12345678901234");
  EXPECT_EQ(renamed("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"),
            "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac");
  EXPECT_EQ(renamed("a) R 1 (b"), "a) R 1 (b");  // /proc/*/stat puts it in parentheses
}

TEST(ThreadRegistryTest, ShowsJobsBesideTheThread) {
  ThreadRegistry registry;
  RegisteredThread thread(registry, ThreadRole::kWorker, "p");
  thread.BeginJob({"job-a", "Job A", true, absl::FromUnixSeconds(7)});
  ThreadInfo info = *registry.Find(thread.id());
  EXPECT_TRUE(info.running());
  EXPECT_EQ(info.job.id, "job-a");
  EXPECT_EQ(info.job.display_name, "Job A");
  EXPECT_TRUE(info.job.daemon);
  EXPECT_EQ(info.job.start_time, absl::FromUnixSeconds(7));
  EXPECT_EQ(info.display_name, "Thread-1");

  registry.RenameJob(thread.id(), "job-b", [] { return std::string("not this one"); });
  EXPECT_EQ(registry.Find(thread.id())->job.display_name, "Job A");
  registry.RenameJob(thread.id(), "job-a", [] { return std::string("new"); });
  EXPECT_EQ(registry.Find(thread.id())->job.display_name, "new");

  thread.EndJob(/*ran=*/true);
  info = *registry.Find(thread.id());
  EXPECT_FALSE(info.running());
  EXPECT_TRUE(info.job.id.empty());
  EXPECT_EQ(info.jobs_run, 1u);
  thread.BeginJob({"job-b", "", false, absl::UnixEpoch()});
  thread.EndJob(/*ran=*/false);
  EXPECT_EQ(registry.Find(thread.id())->jobs_run, 1u);
  thread.SetRunning(true);
  EXPECT_TRUE(registry.Find(thread.id())->running());
}

TEST(ThreadRegistryTest, KnowsTheCallingThread) {
  ThreadRegistry registry;
  EXPECT_EQ(RegisteredThread::Current(), nullptr);
  {
    const RegisteredThread self(registry, ThreadRole::kMain, "");
    EXPECT_EQ(RegisteredThread::Current(), &self);
    std::thread([] { EXPECT_EQ(RegisteredThread::Current(), nullptr); }).join();
  }
  EXPECT_EQ(RegisteredThread::Current(), nullptr);
}

TEST(ThreadRegistryTest, SeesTheCpuTimeOfAnotherThreadGrow) {
  ThreadRegistry registry;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> id{0};
  std::thread burner([&] {
    RegisteredThread self(registry, ThreadRole::kWorker, "p");
    id = self.id();
    while (!stop) {
    }
  });
  ASSERT_TRUE(Eventually([&] { return id != 0; }));
  const IdleThread idle(registry);
  const absl::Duration before = registry.Find(id)->cpu_time;
  EXPECT_TRUE(Eventually([&] { return registry.Find(id)->cpu_time > before + absl::Milliseconds(20); }));
  EXPECT_LT(registry.Find(idle.id())->cpu_time, absl::Milliseconds(20));
  stop = true;
  burner.join();
}

TEST(ThreadRegistryTest, ForeignThreadsAreThoseThatAreNotOurs) {
  ThreadRegistry registry;
  const IdleThread ours(registry);
  Gate started;
  Gate leave;
  pid_t foreign_id = 0;
  std::thread foreign([&] {
    foreign_id = gettid();
    started.Open();
    leave.Await();
  });
  started.Await();
  const std::vector<OsThreadInfo> threads = ForeignThreads(registry);
  const auto listed = [&](pid_t id) {
    return std::any_of(threads.begin(), threads.end(), [&](const auto& t) { return t.os_thread_id == id; });
  };
  EXPECT_TRUE(listed(foreign_id));
  EXPECT_FALSE(listed(registry.Snapshot().threads[0].os_thread_id));
  leave.Open();
  foreign.join();
}

TEST(ThreadRegistryTest, EqualVersionsMeanEqualCountsWhileThreadsComeAndGo) {
  ThreadRegistry registry;
  std::atomic<int> going{3};
  std::vector<std::thread> churners;
  for (int t = 0; t < 3; ++t) {
    churners.emplace_back([&] {
      for (int i = 0; i < 150; ++i) {
        std::thread([&] { RegisteredThread self(registry, ThreadRole::kWorker, "p"); }).join();
        RegisteredThread self(registry, ThreadRole::kService, "");
      }
      --going;
    });
  }
  int compared = 0;
  uint64_t last_version = 0;
  do {
    const ActiveCount count = registry.Count();
    const RollCall roll_call = registry.Snapshot();
    EXPECT_GE(count.version, last_version);
    EXPECT_GE(roll_call.version, count.version);
    last_version = roll_call.version;
    EXPECT_TRUE(std::is_sorted(roll_call.threads.begin(), roll_call.threads.end(),
                               [](const auto& a, const auto& b) { return a.id < b.id; }));
    if (count.version != roll_call.version) continue;
    ++compared;
    ActiveCount counted;
    for (const ThreadInfo& thread : roll_call.threads) ++counted.by_role[static_cast<size_t>(thread.role)];
    EXPECT_EQ(count.by_role, counted.by_role);
  } while (going > 0);
  for (std::thread& churner : churners) churner.join();
  EXPECT_GT(compared, 0);
  EXPECT_EQ(registry.Count().total(), 0);
  EXPECT_EQ(registry.Count().version, 3u * 150 * 4);  // each start and each end is one
}

}  // namespace
}  // namespace jobpool
