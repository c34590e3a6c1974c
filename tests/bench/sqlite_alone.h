#pragma once

#include <string>

namespace jobpool::bench {

/// What SQLite alone can do with the file `path`, which is made: rows of 100 bytes, inserted
/// and then updated, each in transactions of 1,000, with a write-ahead log and FULL. A
/// row is updated when four other transactions have come. Ends the program if it fails.
void InsertAndUpdate(const std::string& path, int rows);

}  // namespace jobpool::bench
