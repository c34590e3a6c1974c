#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace jobpool {

namespace plugin::abi {
struct Kind;
}  // namespace plugin::abi

/// The plug-ins that were loaded, and their kinds of work (include/jobpool/plugin.h). Thread-safe once the
/// last is loaded. A library stays loaded as long as the process, also when this goes: a thread whose job was
/// abandoned may still be in it, and what it has registered to be called at the end of a thread or of the
/// process would be gone.
class Plugins {
 public:
  Plugins() = default;
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;

  /// Loads the library `file`, a path, and takes its kinds. The error is one line that names the file and its
  /// fault: it is no library, no plug-in, or one of another ABI version; it has failed to say its kinds; one
  /// of those has no valid name, or a name that there is already. Then none of its kinds is taken.
  absl::Status Load(const std::string& file);

  /// Null: there is none of that name.
  const plugin::abi::Kind* Find(absl::string_view kind) const;

  /// Their names, sorted.
  std::vector<absl::string_view> Kinds() const;

  /// The absolute paths of the libraries, in the order of loading.
  const std::vector<std::string>& files() const { return files_; }

 private:
  struct Loaded {
    const plugin::abi::Kind* kind;
    std::string file;
  };
  using KindMap = std::map<std::string, Loaded, std::less<>>;

  absl::Status CheckName(absl::string_view name, const KindMap& own) const;

  KindMap kinds_;
  std::vector<std::string> files_;
};

}  // namespace jobpool
