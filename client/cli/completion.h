#pragma once

#include <string>

#include <CLI/App.hpp>

namespace jobpool::cli {

/// A bash script that completes commands, options, values that are known, and
/// names, for which it asks the server. Made from the commands of `app`, so that
/// it fits them; needs nothing but bash and `timeout`. What an option or argument
/// takes is told by its type name: `FILE`, `KIND`, `COMMAND`, `jobs`, `threads`,
/// `pools` or the words themselves, `a|b|c`.
std::string BashCompletion(const CLI::App& app);

}  // namespace jobpool::cli
