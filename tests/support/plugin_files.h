#pragma once

#include <filesystem>
#include <string>

#include "absl/strings/string_view.h"

namespace jobpool {

/// The path of a plug-in that tests/plugins/CMakeLists.txt has made, `NAME.so`: beside the folder of the
/// programs.
inline std::string PluginFile(absl::string_view name) {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  return (program.parent_path().parent_path() / "test_plugins" / (std::string(name) + ".so")).string();
}

}  // namespace jobpool
