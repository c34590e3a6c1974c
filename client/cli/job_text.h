#pragma once

#include <string>

#include <google/protobuf/repeated_ptr_field.h>

#include "absl/time/time.h"
#include "jobpool/v1/job.pb.h"

// Jobs as people read them. `now` is what ages are counted from.

namespace jobpool::cli {

using Jobs = google::protobuf::RepeatedPtrField<v1::Job>;

bool HasEnded(const v1::Job& job);

/// `SCHEDULED`, `QUEUED`, `RUNNING`, …; a number where the server is newer than this.
std::string StateText(v1::Job::State state);

/// The kind of the job's work as `jobpool run` takes it; empty if unknown.
std::string KindText(const v1::Job& job);

/// The kind and its arguments, as after `jobpool run`: `hash 1000 --seed 7`.
std::string WorkText(const v1::Job& job);

/// What the work gave, bytes escaped; empty if there is no result.
std::string ResultText(const v1::Job& job);

/// A line for each job; below a header, unless these are further ones.
std::string JobsTable(const Jobs& jobs, absl::Time now, bool header = true);

/// A line for each job that was waited for, with the beginning of its result or
/// of its error.
std::string JoinedJobsTable(const Jobs& jobs, absl::Time now);

/// All there is to say about one job, a line for each field.
std::string JobDetails(const v1::Job& job);

/// What `run` says when the job has ended; `elapsed` since it was submitted.
std::string RunSummary(const v1::Job& job, absl::Duration elapsed);

}  // namespace jobpool::cli
