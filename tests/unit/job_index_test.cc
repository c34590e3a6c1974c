// The index against a model that looks at every job.

#include "server/query/job_index.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/query/index_sets.h"
#include "tests/support/job_builder.h"
#include "tests/support/query_model.h"

namespace jobpool {
namespace {

// Jobs in an index, and how they come and change.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  Random& random() { return random_; }
  const std::vector<std::unique_ptr<JobRecord>>& jobs() const { return jobs_; }
  const JobIndex& index() const { return index_; }

  void Add() {
    JobRecord job = RandomJob(random_, absl::StrCat("j", next_id_++));
    job.number = Below(random_, 3);
    jobs_.push_back(std::make_unique<JobRecord>(std::move(job)));
    index_.Insert(jobs_.back().get());
  }

  void ChangeOne() {
    if (jobs_.empty()) return;
    const size_t place = Below(random_, jobs_.size());
    JobRecord& job = *jobs_[place];
    const JobIndex::Keys before(job);
    const absl::Time time = absl::FromUnixSeconds(static_cast<int64_t>(Below(random_, 12)));
    switch (Below(random_, 7)) {
      case 0: {
        Attempt attempt;
        attempt.start_time = time;
        job.Start(attempt);
        break;
      }
      case 1:
        job.Retry(time, {}, absl::InternalError("x"), time);
        break;
      case 2:
        job.MakeReady();
        break;
      case 3:
        job.End(OneOf<JobState>(random_, {JobState::kFailed, JobState::kCancelled}), {}, MakeOutcome(time));
        break;
      case 4:
        job.options = RandomOptions(random_);
        break;
      case 5:
        job.priority = static_cast<uint8_t>(Below(random_, 5));
        break;
      default:
        index_.Erase(&job);
        jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(place));
        return;
    }
    index_.Update(&job, before);
  }

  // What the model says.
  std::vector<std::string> Expected(const JobFilter& filter, const JobOrder& order) const {
    return ExpectedIds(jobs_, filter, order);
  }

  // What pages of the index say, of `limit` jobs each, for each of which `most` are looked at.
  std::vector<std::string> Listed(const JobFilter& filter, const JobOrder& order, size_t limit,
                                  size_t most) const {
    std::vector<std::string> ids;
    JobQuery query{filter, order, std::nullopt, limit, most};
    for (;;) {
      const JobIndex::Found found = index_.List(query);
      EXPECT_LE(found.jobs.size(), limit);
      EXPECT_LE(found.looked_at, most);
      for (const JobRecord* job : found.jobs) ids.push_back(job->id);
      if (!found.looked_up_to.has_value()) return ids;
      if (query.after.has_value() && !order.Before(*query.after, *found.looked_up_to)) {
        ADD_FAILURE() << "does not go on";
        return ids;
      }
      // As it travels in a token.
      query.after = order.Decode(order.Encode(*found.looked_up_to));
    }
  }

 private:
  Random random_;
  int next_id_ = 0;
  std::vector<std::unique_ptr<JobRecord>> jobs_;
  JobIndex index_;
};

TEST(JobIndexTest, ListsWhatTheModelLists) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    World world(seed);
    for (size_t n = Below(world.random(), 60); n > 0; --n) {
      world.Add();
      for (size_t changes = Below(world.random(), 4); changes > 0; --changes) world.ChangeOne();
    }
    for (int i = 0; i < 6; ++i) {
      const std::string filter = RandomFilter(world.random());
      const std::string order = RandomOrder(world.random());
      const JobFilter parsed_filter = *JobFilter::Parse(filter);
      const JobOrder parsed_order = *JobOrder::Parse(order);
      const size_t limit = 1 + Below(world.random(), 20);
      const size_t most = OneOf<size_t>(world.random(), {1, 2, 3, 10, 1000});
      ASSERT_EQ(world.Listed(parsed_filter, parsed_order, limit, most),
                world.Expected(parsed_filter, parsed_order))
          << "seed " << seed << ", filter \"" << filter << "\", order \"" << order << "\", limit " << limit
          << ", most " << most;
    }
  }
}

// What pages say while jobs come, change and go: a job that stays, whose place does not
// change and which matches all the while, comes exactly once.
TEST(JobIndexTest, PagesNeitherSkipNorRepeatWhatStays) {
  for (unsigned seed = 0; seed < 1000; ++seed) {
    World world(seed);
    for (int i = 0; i < 40; ++i) {
      world.Add();
      world.ChangeOne();
    }
    const std::string filter = RandomFilter(world.random());
    const std::string order_text = RandomOrder(world.random());
    const JobOrder order = *JobOrder::Parse(order_text);
    JobQuery query{*JobFilter::Parse(filter), order, std::nullopt, 1 + Below(world.random(), 5),
                   1 + Below(world.random(), 30)};
    // How each job that stays stands; left out: its place has changed, or it did not match once.
    std::map<std::string, JobPosition> staying;
    for (const auto& job : world.jobs()) {
      if (order.Has(*job) && query.filter.Matches(*job)) staying[job->id] = order.PositionOf(*job);
    }
    std::map<std::string, int> seen;
    for (int pages = 0;; ++pages) {
      ASSERT_LT(pages, 500);
      const JobIndex::Found found = world.index().List(query);
      for (const JobRecord* job : found.jobs) ++seen[job->id];
      if (!found.looked_up_to.has_value()) break;
      query.after = found.looked_up_to;
      world.ChangeOne();
      if (pages < 40) world.Add();
      std::map<std::string, JobPosition> still;
      for (const auto& job : world.jobs()) {
        const auto known = staying.find(job->id);
        if (known == staying.end() || !order.Has(*job) || !query.filter.Matches(*job)) continue;
        const JobPosition now = order.PositionOf(*job);
        if (!order.Before(now, known->second) && !order.Before(known->second, now)) still[job->id] = now;
      }
      staying = std::move(still);
    }
    for (const auto& [id, position] : staying) {
      ASSERT_EQ(seen[id], 1) << id << ", seed " << seed << ", filter \"" << filter << "\", order \""
                             << order_text << "\"";
    }
  }
}

// However many jobs there are, few are looked at where few match.
class SparseTest : public ::testing::Test {
 protected:
  static constexpr int kJobs = 20'000;

  SparseTest() {
    for (int i = 0; i < kJobs; ++i) {
      JobRecord job = MakeRecord(absl::StrCat("j", i), i);
      job.number = static_cast<uint64_t>(i) + 1;
      auto options = std::make_shared<JobOptions>();
      options->labels = {{"all", "x"}};
      if (i % 2000 == 7) {
        options->display_name = absl::StrCat("nightly-", i);
        options->labels.emplace_back("team", "a");
        options->schedule_time = absl::FromUnixSeconds(i);
      }
      job.options = std::move(options);
      if (i % 4000 == 9) job.End(JobState::kFailed, {}, MakeOutcome(absl::FromUnixSeconds(kJobs - i)));
      jobs_.push_back(std::move(job));
    }
    for (const JobRecord& job : jobs_) index_.Insert(&job);
  }

  JobIndex::Found List(absl::string_view filter, absl::string_view order = "") {
    JobQuery query;
    query.filter = *JobFilter::Parse(filter);
    query.order = *JobOrder::Parse(order);
    query.limit = 100;
    query.max_looked_at = 600;
    return index_.List(query);
  }

  std::vector<JobRecord> jobs_;
  JobIndex index_;
};

TEST_F(SparseTest, LooksAtFew) {
  const struct {
    absl::string_view filter;
    absl::string_view order;
    size_t jobs;
    size_t looked_at;
  } cases[] = {
      {"", "", 100, 100},
      {"", "create_time", 100, 100},
      {"", "priority", 100, 100},
      {"", "schedule_time desc", 10, 10},
      {"", "end_time", 5, 5},
      {"state = FAILED", "", 5, 5},
      {"state = FAILED", "create_time", 5, 5},
      {"state = FAILED", "schedule_time", 0, 5},
      {"state = RUNNING", "", 0, 0},
      {"pool = other", "", 0, 0},
      {"labels.team = a", "", 10, 10},
      {"labels.team = a AND labels.all = x", "", 10, 10},
      {"labels.all = x AND labels.team = a", "", 10, 10},
      {"labels.team = a AND state = QUEUED", "priority desc", 10, 10},
      {"labels.all = x AND state = FAILED", "", 5, 5},
      {"labels:team", "", 10, 10},
      {"labels.team = b", "", 0, 0},
      {"daemon = true", "", 0, 0},
      {"display_name = nightly-7", "", 1, 1},
      {"display_name = nightly*", "", 10, 10},
      {"display_name = nightly* labels.all = x", "end_time", 0, 5},
      {"schedule_time > 1970-01-01T01:00:00Z schedule_time < 1970-01-01T02:00:00Z", "", 2, 2},
      {"end_time:*", "create_time", 5, 5},
      {"create_time >= 1970-01-01T01:00:00Z create_time <= 1970-01-01T01:00:09Z", "", 10, 10},
      {"create_time >= 1970-01-01T01:00:00Z create_time <= 1970-01-01T01:00:09Z", "create_time", 10, 10},
      {"create_time <= 1970-01-01T01:00:00Z labels.all = x", "", 100, 100},
      {"create_time > 1970-01-01T01:00:00Z create_time < 1970-01-01T00:00:00Z", "", 0, 0},
  };
  for (const auto& expected : cases) {
    const JobIndex::Found found = List(expected.filter, expected.order);
    EXPECT_EQ(found.jobs.size(), expected.jobs) << expected.filter << ", " << expected.order;
    EXPECT_LE(found.looked_at, expected.looked_at) << expected.filter << ", " << expected.order;
  }
}

TEST_F(SparseTest, GivesUpWhereItHasLookedAtManyInVain) {
  const JobIndex::Found found = List("retry_of:*");
  EXPECT_TRUE(found.jobs.empty());
  EXPECT_EQ(found.looked_at, 600u);
  ASSERT_TRUE(found.looked_up_to.has_value());
  EXPECT_EQ(found.looked_up_to->id, absl::StrCat("j", kJobs - 600));
}

TEST(JobIndexKeysTest, FollowsOptionsThatAreReplaced) {
  JobIndex index;
  JobRecord job = MakeRecord("a");
  const auto with_label = [](absl::string_view value) {
    JobOptions options;
    options.labels = {{"team", std::string(value)}};
    return std::make_shared<const JobOptions>(std::move(options));
  };
  const auto listed = [&](absl::string_view filter) {
    JobQuery query;
    query.filter = *JobFilter::Parse(filter);
    return index.List(query).jobs.size();
  };
  job.options = with_label("a");
  index.Insert(&job);
  {
    const JobIndex::Keys before(job);
    job.options = with_label("b");
    index.Update(&job, before);
  }
  EXPECT_EQ(listed("labels.team = a"), 0u);
  EXPECT_EQ(listed("labels.team = b"), 1u);
  index.Erase(&job);
  EXPECT_EQ(listed("labels.team = b"), 0u);
  EXPECT_EQ(listed(""), 0u);
}

// Two keys of one job whose hashes begin alike: it is found by both, once.
TEST(JobIndexKeysTest, KeysOfOneHashAreOneJob) {
  std::map<uint64_t, std::string> keys;
  std::string twin;
  std::string other;
  for (int i = 0; twin.empty(); ++i) {
    const std::string key = absl::StrCat("k", i);
    const auto [found, is_new] = keys.emplace(LabelEntry::FirstOf(key), key);
    if (!is_new) {
      twin = key;
      other = found->second;
    }
  }
  JobIndex index;
  JobRecord job = MakeRecord("a");
  JobOptions options;
  options.labels = {{other, "x"}, {twin, "x"}};
  std::sort(options.labels.begin(), options.labels.end());
  job.options = std::make_shared<const JobOptions>(std::move(options));
  index.Insert(&job);
  std::vector<std::unique_ptr<JobRecord>> without;  // so many that to go by the key is less to look at
  for (int i = 0; i < 100; ++i) {
    without.push_back(std::make_unique<JobRecord>(MakeRecord(absl::StrCat("without-", i))));
    index.Insert(without.back().get());
  }
  for (const std::string& key : {twin, other}) {
    JobQuery query;
    query.filter = *JobFilter::Parse(absl::StrCat("labels.", key, ":*"));
    const JobIndex::Found found = index.List(query);
    ASSERT_EQ(found.jobs.size(), 1u) << key;
    EXPECT_EQ(found.jobs[0], &job);
  }
}

}  // namespace
}  // namespace jobpool
