#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "server/query/job_filter.h"
#include "server/query/job_order.h"
#include "tests/support/job_builder.h"

namespace jobpool {

// Jobs and queries by chance, over few values, so that they often meet; and what a list says by looking at
// every job.

using Random = std::mt19937;

inline size_t Below(Random& random, size_t n) { return random() % n; }

template <typename T>
const T& OneOf(Random& random, const std::vector<T>& from) {
  return from[Below(random, from.size())];
}

inline std::string RandomTime(Random& random) {
  return absl::FormatTime(absl::RFC3339_full, absl::FromUnixSeconds(static_cast<int64_t>(Below(random, 12))),
                          absl::UTCTimeZone());
}

inline std::shared_ptr<const JobOptions> RandomOptions(Random& random) {
  if (Below(random, 3) == 0) return nullptr;
  auto options = std::make_shared<JobOptions>();
  if (Below(random, 2) == 0) {
    options->display_name =
        OneOf<std::string>(random, {"nightly", "nightly-1", "nightly-2", "day", "Job-1", "Job"});
  }
  for (const char* key : {"a", "b", "team"}) {
    if (Below(random, 2) == 0) options->labels.emplace_back(key, OneOf<std::string>(random, {"", "1", "2"}));
  }
  const auto time = [&] { return absl::FromUnixSeconds(static_cast<int64_t>(Below(random, 12))); };
  if (Below(random, 2) == 0) options->schedule_time = time();
  if (Below(random, 2) == 0) options->deadline_time = time();
  if (Below(random, 3) == 0) options->retry_of = "first";
  return options;
}

inline std::string RandomComparison(Random& random) {
  const auto equality = [&] { return OneOf<std::string>(random, {"=", "!="}); };
  const auto any = [&] { return OneOf<std::string>(random, {"=", "!=", "<", "<=", ">", ">="}); };
  switch (Below(random, 12)) {
    case 0:
      return absl::StrCat("state ", equality(), OneOf<std::string>(random, {"QUEUED", "RUNNING", "FAILED"}));
    case 1:
      return absl::StrCat("kind ", equality(), OneOf<std::string>(random, {"noop", "sleep", "hash"}));
    case 2:
      return absl::StrCat("pool ", equality(), OneOf<std::string>(random, {"x", "y", "z"}));
    case 3:
      return absl::StrCat("priority ", any(), Below(random, 6));
    case 4:
    case 5:
      return absl::StrCat("labels.", OneOf<std::string>(random, {"a", "b", "team"}), " ",
                          OneOf<std::string>(random, {"=", "!=", ":"}), "\"",
                          OneOf<std::string>(random, {"", "1", "2", "3"}), "\"");
    case 6:
      return absl::StrCat("labels:", OneOf<std::string>(random, {"a", "b", "team", "c"}));
    case 7:
    case 8:
      return absl::StrCat("display_name ", equality(),
                          OneOf<std::string>(random, {"nightly", "nightly*", "nightly-*", "Job-1", "Job-*",
                                                      "J*", "day", "*", "Job", "zz*"}));
    case 9:
      return OneOf<std::string>(
          random, {"retry_of:*", "end_time:*", "schedule_time:*", "daemon=false", "daemon=true"});
    default:
      return absl::StrCat(OneOf<std::string>(random, {"create_time", "start_time", "end_time", "expire_time",
                                                      "schedule_time", "deadline_time"}),
                          any(), RandomTime(random));
  }
}

/// In the syntax of ListJobsRequest.
inline std::string RandomFilter(Random& random) {
  std::string filter;
  for (size_t n = Below(random, 4); n > 0; --n) {
    if (!filter.empty()) absl::StrAppend(&filter, OneOf<std::string>(random, {" AND ", " ", " OR "}));
    if (Below(random, 6) == 0) absl::StrAppend(&filter, "NOT ");
    absl::StrAppend(&filter, RandomComparison(random));
  }
  return filter;
}

inline std::string RandomOrder(Random& random) {
  const auto direction = [&] { return OneOf<std::string>(random, {"", " desc"}); };
  if (Below(random, 3) == 0) return "";
  if (Below(random, 2) == 0) {
    return absl::StrCat(OneOf<std::string>(random, {"create_time", "start_time", "end_time", "schedule_time",
                                                    "deadline_time"}),
                        direction());
  }
  std::vector<std::string> fields = {"state", "kind", "pool", "priority"};
  std::shuffle(fields.begin(), fields.end(), random);
  fields.resize(1 + Below(random, 3));
  for (std::string& field : fields) absl::StrAppend(&field, direction());
  if (Below(random, 2) == 0) fields.push_back(absl::StrCat("create_time", direction()));
  return absl::StrJoin(fields, ",");
}

/// A queued job, created within 8 seconds.
inline JobRecord RandomJob(Random& random, absl::string_view id) {
  JobRecord job = MakeRecord(id, static_cast<int64_t>(Below(random, 8)));
  job.priority = static_cast<uint8_t>(Below(random, 5));
  job.work = OneOf<Work>(random, {NoopWork{}, SleepWork{}});
  job.pool = std::make_shared<const std::string>(OneOf<std::string>(random, {"x", "y"}));
  job.daemon = Below(random, 4) == 0;
  job.options = RandomOptions(random);
  return job;
}

/// The ids of those of `jobs`, pointers, that a list has, in its order.
template <typename Jobs>
std::vector<std::string> ExpectedIds(const Jobs& jobs, const JobFilter& filter, const JobOrder& order) {
  std::vector<JobPosition> positions;
  for (const auto& job : jobs) {
    if (order.Has(*job) && filter.Matches(*job)) positions.push_back(order.PositionOf(*job));
  }
  std::sort(positions.begin(), positions.end(),
            [&](const JobPosition& a, const JobPosition& b) { return order.Before(a, b); });
  std::vector<std::string> ids;
  for (const JobPosition& position : positions) ids.push_back(position.id);
  return ids;
}

}  // namespace jobpool
