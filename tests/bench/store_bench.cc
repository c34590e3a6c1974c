// What the store's file costs.
//
//   store_bench life [JOBS [ROUNDS [DIR]]]   jobs through their whole life, in batches of 1,000, against what
//                                            SQLite alone inserts and then updates, taking turns: rows of 100
//                                            bytes, and a table of jobs with the same indexes
//   store_bench start [JOBS [DIR]]           opening a store with so many live jobs, and reading them
//   store_bench space [JOBS [DIR]]           bytes of a job; all of the file checked, copied, given back
//
// DIR: where the files go, on the disk that is meant; the default is the working directory.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/job/job_id.h"
#include "server/store/sqlite_backup.h"
#include "server/store/sqlite_store.h"
#include "tests/bench/folder.h"
#include "tests/bench/report.h"
#include "tests/bench/sqlite_alone.h"

namespace jobpool {
namespace {

constexpr int kBatch = 1000;
// A batch ends when so many others have come: jobs live for a while.
constexpr int kBatchesBetween = 4;

// Of all threads of this process.
double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// What something took.
struct Cost {
  double seconds;
  double cpu_seconds;
};

class Meter {
 public:
  Cost Read() const { return {watch_.Seconds(), CpuSeconds() - cpu_began_}; }

 private:
  const bench::Stopwatch watch_;
  const double cpu_began_ = CpuSeconds();
};

void Check(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

// Where the file goes.
std::string FolderIn(const std::string& dir) { return absl::StrCat(dir, "/store_bench.", getpid()); }
std::string FileIn(const bench::Folder& folder) { return folder.path() + "/jobs"; }

std::shared_ptr<const JobRecord> MakeLive(JobIdMaker& ids, int number) {
  static const auto* const pool = new std::shared_ptr<const std::string>(new std::string("blocking"));
  JobRecord job;
  job.create_time = absl::FromUnixSeconds(1'800'000'000) + absl::Microseconds(20 * int64_t{number});
  job.id = ids.Next(job.create_time);
  job.number = static_cast<uint64_t>(number) + 1;
  job.work = SleepWork{absl::Milliseconds(1)};
  job.pool = *pool;
  job.durability = Durability::kDisk;
  return std::make_shared<const JobRecord>(std::move(job));
}

std::shared_ptr<const JobRecord> MakeEnded(const JobRecord& live) {
  JobRecord job = live;
  Attempt attempt;
  attempt.thread_id = 1000 + live.number % 256;
  attempt.thread_display_name = absl::StrCat("blocking-", attempt.thread_id);
  attempt.os_thread_id = 123'456;
  attempt.process_id = 12'345;
  attempt.start_time = job.create_time + absl::Milliseconds(80);
  job.Start(std::move(attempt));
  Outcome outcome;
  outcome.end_time = job.create_time + absl::Milliseconds(82);
  outcome.result = SleepResult{absl::Milliseconds(1)};
  job.End(JobState::kSucceeded, {absl::Microseconds(30), absl::Microseconds(20)}, std::move(outcome));
  return std::make_shared<const JobRecord>(std::move(job));
}

/// What SQLite alone takes.
Cost RunAlone(void (*run)(const std::string& path, int rows), int count, const std::string& dir) {
  const bench::Folder folder(FolderIn(dir));
  const Meter meter;
  run(FileIn(folder), count);
  return meter.Read();
}

/// What the store takes.
Cost RunJobs(const std::vector<JobWrite>& live, const std::vector<JobWrite>& ended, const std::string& dir) {
  const bench::Folder folder(FolderIn(dir));
  auto store = SqliteStore::Open(FileIn(folder));
  Check(store.status());
  const Meter meter;
  const int batches = static_cast<int>(live.size()) / kBatch;
  for (int batch = 0; batch < batches + kBatchesBetween; ++batch) {
    if (batch < batches) Check((*store)->Commit(absl::MakeConstSpan(&live[batch * kBatch], kBatch)));
    const int ends = batch - kBatchesBetween;
    if (ends >= 0) Check((*store)->Commit(absl::MakeConstSpan(&ended[ends * kBatch], kBatch)));
  }
  return meter.Read();
}

void BenchLife(int count, int rounds, const std::string& dir) {
  count -= count % kBatch;
  JobIdMaker ids(42);
  std::vector<JobWrite> live;
  std::vector<JobWrite> ended;
  for (int i = 0; i < count; ++i) {
    live.push_back({MakeLive(ids, i)});
    ended.push_back({MakeEnded(*live.back().job)});
  }
  struct Ratios {
    std::vector<double> time, cpu;
    void Add(const Cost& alone, const Cost& store) {
      time.push_back(alone.seconds / store.seconds);
      cpu.push_back(alone.cpu_seconds / store.cpu_seconds);
    }
  };
  Ratios to_rows;
  Ratios to_table;
  std::vector<double> rows_rate, table_rate, jobs_rate, jobs_cpu;
  for (int round = 0; round < rounds; ++round) {
    const Cost rows = RunAlone(bench::InsertAndUpdate, count, dir);
    const Cost jobs = RunJobs(live, ended, dir);
    const Cost table = RunAlone(bench::InsertAndUpdateJobs, count, dir);
    to_rows.Add(rows, jobs);
    to_table.Add(table, jobs);
    rows_rate.push_back(count / rows.seconds);
    table_rate.push_back(count / table.seconds);
    jobs_rate.push_back(count / jobs.seconds);
    jobs_cpu.push_back(1e6 * jobs.cpu_seconds / count);
  }
  using bench::Report;
  Report({"store_rows", "bare rows by SQLite alone, inserted and updated", "", "/s"}, rows_rate);
  Report({"store_table", "jobs by SQLite alone, in a table with our indexes", "", "/s"}, table_rate);
  Report({"store_jobs", "jobs by the store alone, through their whole life in batches of 1,000", "", "/s"},
         jobs_rate);
  Report({"store_cpu", "CPU of a job in the store", "", "us"}, jobs_cpu);
  Report({"store_to_table", "the store alone, jobs through their whole life",
          "SQLite alone: a table of jobs with our indexes", "ratio"},
         to_table.time);
  Report(
      {"store_to_rows", "the store alone, jobs through their whole life", "SQLite alone: bare rows", "ratio"},
      to_rows.time);
  Report({"store_to_rows_cpu", "the same by CPU time", "SQLite alone: bare rows", "ratio"}, to_rows.cpu);
}

void BenchStart(int count, const std::string& dir) {
  count -= count % kBatch;
  const bench::Folder folder(FolderIn(dir));
  {
    auto store = SqliteStore::Open(FileIn(folder));
    Check(store.status());
    JobIdMaker ids(42);
    for (int i = 0; i < count; i += kBatch) {
      std::vector<JobWrite> live;
      for (int j = i; j < i + kBatch; ++j) live.push_back({MakeLive(ids, j)});
      Check((*store)->Commit(live));
    }
  }
  for (int round = 0; round < 3; ++round) {
    bench::Stopwatch watch;
    auto store = SqliteStore::Open(FileIn(folder));
    Check(store.status());
    const double open = watch.Seconds();
    watch = {};
    size_t jobs = 0;
    for (uint64_t after = 0;;) {
      const auto page = (*store)->ListLive(after, 10'000);
      Check(page.status());
      if (page->empty()) break;
      jobs += page->size();
      after = page->back().number;
    }
    const double read = watch.Seconds();
    watch = {};
    Check((*store)->CheckIntegrity());
    std::printf(
        "%zu live jobs, %.0f MB: opened in %.3f s, read in %.3f s; all of the file checked in %.3f s\n", jobs,
        static_cast<double>((*store)->Stats().file_bytes) / 1e6, open, read, watch.Seconds());
  }
}

/// What jobs take of the disk, and what is done with all of the file.
void BenchSpace(int count, const std::string& dir) {
  count -= count % kBatch;
  const bench::Folder folder(FolderIn(dir));
  auto opened = SqliteStore::Open(FileIn(folder));
  Check(opened.status());
  SqliteStore& store = **opened;
  JobIdMaker ids(42);
  std::vector<JobWrite> live;
  for (int i = 0; i < count; ++i) live.push_back({MakeLive(ids, i)});
  for (int i = 0; i < count; i += kBatch) Check(store.Commit(absl::MakeConstSpan(&live[i], kBatch)));
  const auto bytes_each = [&] { return static_cast<double>(store.Stats().file_bytes) / count; };
  std::printf("%d live jobs: %.0f bytes each\n", count, bytes_each());
  for (int i = 0; i < count; i += kBatch) {
    std::vector<JobWrite> ended;
    for (int j = i; j < i + kBatch; ++j) ended.push_back({MakeEnded(*live[j].job)});
    Check(store.Commit(ended));
  }
  const SqliteStats full = store.Stats();
  std::printf("ended: %.0f bytes each, of which free %.0f; the log %.0f MB\n", bytes_each(),
              static_cast<double>(full.free_bytes) / count, static_cast<double>(full.wal_bytes) / 1e6);
  bench::Stopwatch watch;
  Check(store.CheckIntegrity());
  std::printf("checked in %.2f s\n", watch.Seconds());
  watch = {};
  Check(BackUpSqlite(FileIn(folder), FileIn(folder) + ".backup").status());
  std::printf("copied and checked in %.2f s\n", watch.Seconds());

  const auto print = [](const char* what, const std::vector<double>& seconds) {
    if (seconds.empty()) return;
    std::printf("%s: %zu times, median %.1f ms, longest %.1f ms\n", what, seconds.size(),
                1e3 * bench::Median(seconds), 1e3 * *std::max_element(seconds.begin(), seconds.end()));
  };
  // Of each three two expire, so that others lie between them.
  std::vector<double> deletions;
  for (int i = 0; i < count; ++i) {
    if (i % 3 == 0) continue;
    watch = {};
    Check(store.Delete(live[i].job->id).status());
    deletions.push_back(watch.Seconds());
    if (deletions.size() == 1000) break;
  }
  print("one job deleted", deletions);
  deletions.clear();
  const absl::Time middle = live[static_cast<size_t>(count) * 2 / 3].job->create_time + absl::Hours(24);
  for (size_t deleted = 200; deleted == 200;) {
    watch = {};
    const auto some = store.DeleteExpired(middle, 200);
    Check(some.status());
    deleted = *some;
    deletions.push_back(watch.Seconds());
  }
  print("200 expired jobs deleted", deletions);
  const SqliteStats before = store.Stats();
  std::vector<double> given;
  for (int64_t bytes = 0; bytes != store.Stats().file_bytes;) {
    bytes = store.Stats().file_bytes;
    watch = {};
    Check(store.GiveBackSpace());
    given.push_back(watch.Seconds());
  }
  print("space given back", given);
  std::printf("%.0f MB of %.0f free, then %.0f of %.0f\n", static_cast<double>(before.free_bytes) / 1e6,
              static_cast<double>(before.file_bytes) / 1e6,
              static_cast<double>(store.Stats().free_bytes) / 1e6,
              static_cast<double>(store.Stats().file_bytes) / 1e6);
}

}  // namespace
}  // namespace jobpool

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "life";
  if (what == "space") {
    jobpool::BenchSpace(argc > 2 ? std::atoi(argv[2]) : 1'000'000, argc > 3 ? argv[3] : ".");
  } else if (what == "start") {
    jobpool::BenchStart(argc > 2 ? std::atoi(argv[2]) : 1'000'000, argc > 3 ? argv[3] : ".");
  } else {
    jobpool::BenchLife(argc > 2 ? std::atoi(argv[2]) : 100'000, argc > 3 ? std::atoi(argv[3]) : 5,
                       argc > 4 ? argv[4] : ".");
  }
}
