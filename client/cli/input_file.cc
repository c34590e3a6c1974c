#include "client/cli/input_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"

namespace jobpool::cli {

absl::StatusOr<std::string> ReadInput(const std::string& path, size_t max_bytes) {
  const auto cannot_read = [&] {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' cannot be read: ", std::strerror(errno)));
  };
  const auto close = [](std::FILE* file) { std::fclose(file); };
  std::unique_ptr<std::FILE, decltype(close)> opened(nullptr, close);
  std::FILE* file = stdin;
  if (path != "-") {
    opened.reset(std::fopen(path.c_str(), "rb"));
    if (opened == nullptr) return cannot_read();
    file = opened.get();
  }
  std::string text(max_bytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  if (std::ferror(file) != 0) return cannot_read();
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' has more than ", max_bytes, " bytes"));
  }
  return text;
}

}  // namespace jobpool::cli
