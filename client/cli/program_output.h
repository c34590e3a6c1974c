#pragma once

#include "jobpool/v1/job.pb.h"

namespace jobpool::cli {

/// What the program of a `command` wrote: its stdout on standard output, its stderr on
/// standard error, as it is, but on a terminal without what is not printable. Says on
/// standard error where more was written than is kept.
void PrintProgramOutput(const v1::CommandResult& result);

}  // namespace jobpool::cli
