// What a page of 100 jobs takes by how many there are: from the table of live jobs, from the memory store,
// and from a store's file, in the working directory; found, merged and encoded as ListJobs does it, without
// gRPC. A query's time must not grow with the number of jobs.
//
//   list_jobs_bench [SMALL [LARGE [ROUNDS [live|ended|file]]]]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <unistd.h>
#include <vector>

#include "absl/strings/str_cat.h"
#include "jobpool/v1/job_service.pb.h"
#include "server/pipeline/job_reader.h"
#include "server/service/job_codec.h"
#include "server/store/memory_store.h"
#include "server/store/sqlite_store.h"
#include "tests/bench/report.h"

namespace jobpool {
namespace {

struct Case {
  const char* filter;
  const char* order;
  bool anywhere = false;  // from a place of its own in each round: those jobs are in no cache
};

constexpr Case kCases[] = {
    {"", ""},
    {"", "", true},
    {"", "create_time", true},
    {"", "priority desc"},
    {"pool = compute", "", true},
    {"state != FAILED AND priority >= 2", "", true},
    {"create_time >= 1970-01-01T00:16:00Z create_time < 1970-01-01T00:16:40Z", ""},
    {"labels.env = prod", "", true},
    {"labels.team = a", ""},
    {"display_name = nightly*", ""},
    {"display_name = nightly-7 AND kind = noop", ""},
    {"state = RUNNING OR state = FAILED", ""},
    {"end_time:* AND state = FAILED", "end_time desc"},
    {"", "end_time desc"},
    {"", "start_time", true},
    {"start_time >= 1970-01-01T00:16:00Z start_time < 1970-01-01T00:16:40Z", "start_time desc"},
    {"daemon = true", "", true},
};

/// Ten jobs of each size have a team and a name of their own, one in ten an environment; three have begun, or
/// failed.
JobRecord MakeJob(int number, int count) {
  static const auto* const pools = new std::vector<std::shared_ptr<const std::string>>{
      std::make_shared<const std::string>("blocking"), std::make_shared<const std::string>("compute")};
  JobRecord job;
  job.id = absl::StrCat("j", number);
  job.number = static_cast<uint64_t>(number) + 1;
  job.work = NoopWork{};
  job.pool = (*pools)[static_cast<size_t>(number % 2)];
  job.priority = static_cast<uint8_t>(number % 3 + 3);
  job.create_time = absl::FromUnixSeconds(0) + absl::Milliseconds(100 * int64_t{number});
  JobOptions options;
  if (number % 10 == 3) options.labels.emplace_back("env", "prod");
  if (number % (count / 10) == 7) {
    options.display_name = absl::StrCat("nightly-", number);
    options.labels.emplace_back("team", "a");
  }
  if (!options.labels.empty()) job.options = std::make_shared<const JobOptions>(std::move(options));
  return job;
}

enum class Where { kTable, kMemory, kFile };

constexpr const char* kNames[] = {"live", "ended", "file"};

class Jobs {
 public:
  Jobs(int count, Where where) : count_(count), span_(absl::Milliseconds(100 * int64_t{count})) {
    if (where == Where::kFile) {
      file_ = absl::StrCat("list_jobs_bench.", getpid(), ".", count);
      auto store = SqliteStore::Open(file_);
      if (!store.ok()) std::abort();
      store_ = *std::move(store);
    } else {
      store_ = std::make_unique<MemoryStore>(static_cast<size_t>(count), SIZE_MAX);
    }
    reader_ = std::make_unique<JobReader>(table_, *store_);
    std::vector<JobWrite> ended;
    for (int i = 0; i < count; ++i) {
      JobRecord job = MakeJob(i, count);
      const bool is_odd_one = i % (count / 3) == 5;
      if (where != Where::kTable) {
        Outcome outcome;
        outcome.end_time = job.create_time + absl::Seconds(1);
        Attempt attempt;
        attempt.start_time = job.create_time + absl::Milliseconds(500);
        job.Start(std::move(attempt));
        job.End(is_odd_one ? JobState::kFailed : JobState::kSucceeded, {}, std::move(outcome));
        ended.push_back({std::make_shared<const JobRecord>(std::move(job))});
        if (ended.size() < 1000 && i + 1 < count) continue;
        if (!store_->Commit(ended).ok()) std::abort();
        ended.clear();
      } else {
        const auto live = std::make_shared<LiveJob>(std::move(job));
        if (!table_.Insert(live).ok()) std::abort();
        const auto start = [&] { return live->Start({}, std::make_shared<RunControl>()); };
        if (is_odd_one && !table_.Change(*live, start)) std::abort();
      }
    }
  }
  ~Jobs() {
    if (file_.empty()) return;
    reader_ = nullptr;
    store_ = nullptr;
    for (const char* suffix : {"", ".lock"}) std::filesystem::remove(file_ + suffix);
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  int count() const { return count_; }
  absl::Duration Span() const { return span_; }

  /// Microseconds of one page; `*found`: how many jobs it has.
  double Page(const JobQuery& query, size_t* found) const {
    const auto began = std::chrono::steady_clock::now();
    const absl::StatusOr<JobPage> page = reader_->List(query);
    if (!page.ok()) std::abort();
    v1::ListJobsResponse response;
    for (const ListedJob& job : page->jobs) {
      EncodeJob(job.Snapshot(), JobView::kWithoutResult, response.add_jobs());
    }
    const std::string encoded = response.SerializeAsString();
    *found = page->jobs.size();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count();
  }

 private:
  const int count_;
  const absl::Duration span_;  // from the first to the last
  JobTable table_{INT64_MAX};
  std::string file_;  // of the store, if it has one
  std::unique_ptr<JobStore> store_;
  std::unique_ptr<JobReader> reader_;
};

// The ratios of one kind of page, round by round.
struct Ratios {
  std::string what;
  std::vector<double> values;
};

void Compare(const char* what, const Jobs& small, const Jobs& large, int rounds, Ratios* worst) {
  for (const Case& each : kCases) {
    JobQuery query;
    query.filter = *JobFilter::Parse(each.filter);
    query.order = *JobOrder::Parse(each.order);
    query.limit = 100;
    std::vector<double> times[2];
    size_t found[2] = {0, 0};
    std::mt19937 random(42);
    for (int i = 0; i < rounds; ++i) {  // taking turns, so that what else runs meets both
      const double place = std::uniform_real_distribution<double>(0.2, 0.8)(random);
      for (const size_t which : {0, 1}) {
        const Jobs& jobs = which == 0 ? small : large;
        if (each.anywhere) {
          const absl::Time time = absl::UnixEpoch() + jobs.Span() * place;
          query.after = JobPosition{time, "j", NanosOf(time)};
        }
        times[which].push_back(jobs.Page(query, &found[which]));
      }
    }
    const double medians[2] = {bench::Median(times[0]), bench::Median(times[1])};
    std::printf("%-5s %-70s %-14s %-8s %7.0f us (%3zu jobs) %7.0f us (%3zu jobs), ratio %.2f\n", what,
                each.filter, each.order, each.anywhere ? "anywhere" : "begin", medians[0], found[0],
                medians[1], found[1], medians[1] / medians[0]);
    Ratios ratios;
    for (size_t i = 0; i < times[0].size(); ++i) ratios.values.push_back(times[1][i] / times[0][i]);
    if (*each.filter == 0 && *each.order == 0 && each.anywhere) {
      bench::Report({absl::StrCat("list_", what),
                     absl::StrCat("`ListJobs` page of 100 of ", large.count(), " jobs, ", what),
                     absl::StrCat("of ", small.count()), "ratio", bench::AtMost(1.5)},
                    ratios.values);
    }
    if (!worst->values.empty() && bench::Median(worst->values) >= bench::Median(ratios.values)) continue;
    ratios.what = absl::StrCat(what, ", `", each.filter, "`");
    *worst = std::move(ratios);
  }
}

}  // namespace
}  // namespace jobpool

int main(int argc, char** argv) {
  using jobpool::Jobs;
  using jobpool::Where;
  const int small = argc > 1 ? std::atoi(argv[1]) : 10'000;
  const int large = argc > 2 ? std::atoi(argv[2]) : 1'000'000;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 101;
  std::printf("a page of 100 jobs of %d and of %d\n", small, large);
  const std::string only = argc > 4 ? argv[4] : "";
  jobpool::Ratios worst;
  for (const Where where : {Where::kTable, Where::kMemory, Where::kFile}) {
    const char* const name = jobpool::kNames[static_cast<int>(where)];
    if (!only.empty() && only != name) continue;
    const Jobs few(small, where);
    const Jobs many(large, where);
    jobpool::Compare(name, few, many, rounds, &worst);
  }
  jobpool::bench::Report(
      {"list_worst",
       absl::StrCat("the worst of ", std::size(jobpool::kCases), " filters and orders: ", worst.what),
       absl::StrCat("of ", small), "ratio", jobpool::bench::AtMost(1.5)},
      worst.values);
  std::_Exit(0);  // rather than free them
}
