#include "server/store/state_folder.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <system_error>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace jobpool {
namespace {

absl::Status Failed(absl::string_view what, const std::filesystem::path& path, int error) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot ", what, " the folder ", path.string(), ": ", std::strerror(error)));
}

// A name is in the folder above, which is opened first: then nothing is made that cannot be synchronized.
absl::Status MakeOne(const std::filesystem::path& path, absl::FunctionRef<int(int)> sync) {
  const std::filesystem::path above = path.parent_path();
  const int descriptor = open(above.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return Failed("open", above, errno);
  const auto closed = absl::MakeCleanup([&] { close(descriptor); });
  if (mkdir(path.c_str(), 0700) != 0) {
    std::error_code error;
    if (errno == EEXIST && std::filesystem::is_directory(path, error)) return absl::OkStatus();
    return Failed("make", path, errno);
  }
  if (sync(descriptor) == 0) return absl::OkStatus();
  const int error = errno;
  rmdir(path.c_str());
  return Failed("synchronize", above, error);
}

}  // namespace

absl::Status MakeStateFolder(const std::string& path, absl::FunctionRef<int(int)> sync) {
  std::error_code error;
  std::filesystem::path folder = std::filesystem::absolute(path, error).lexically_normal();
  if (error) return Failed("find", path, error.value());
  if (!folder.has_filename()) folder = folder.parent_path();  // `/` at the end
  std::vector<std::filesystem::path> missing;
  for (; !std::filesystem::is_directory(folder, error) && folder.has_relative_path();
       folder = folder.parent_path()) {
    missing.push_back(folder);
  }
  for (; !missing.empty(); missing.pop_back()) JOBPOOL_RETURN_IF_ERROR(MakeOne(missing.back(), sync));
  return absl::OkStatus();
}

}  // namespace jobpool
