#pragma once

#include <string>

namespace jobpool::bench {

/// What SQLite alone can do with the file `path`, which is made: rows of 100 bytes, inserted
/// and then updated, each in transactions of 1,000, with a write-ahead log and FULL. A
/// row is updated when four other transactions have come. Ends the program if it fails.
void InsertAndUpdate(const std::string& path, int rows);

/// Likewise what a program pays that keeps its jobs in a table of its own and can list them
/// by what ListJobs serves from indexes: jobs with an id, 60 bytes as they come and 170 more
/// as they end; by id, and as they have ended by state and kind, start and end.
void InsertAndUpdateJobs(const std::string& path, int jobs);

}  // namespace jobpool::bench
