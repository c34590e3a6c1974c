#pragma once

#include <string>
#include <vector>

namespace jobpool {

/// The life of a worker process of the server: does the work of jobs. The plug-ins in the libraries `plugins`
/// are loaded with the first job of a kind of theirs. Returns the exit status.
int RunJobWorker(int socket, const std::vector<std::string>& plugins);

}  // namespace jobpool
