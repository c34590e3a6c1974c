#include "server/handlers/plugins.h"

#include <cstddef>
#include <cstdint>
#include <dlfcn.h>
#include <filesystem>
#include <jobpool/plugin.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"
#include "server/job/bounds.h"
#include "server/job/resource_name.h"
#include "server/job/validation.h"
#include "server/job/work.h"

namespace jobpool {
namespace {

namespace abi = plugin::abi;

constexpr abi::Server kServer = {JOBPOOL_PLUGIN_ABI_VERSION, sizeof(abi::Server), sizeof(abi::Call)};

// Of the structs as the first headers of this version had them. Fields that came later are there where the
// plug-in says so.
constexpr size_t kLeastPluginSize = offsetof(abi::Plugin, error) + sizeof(abi::Text);
constexpr size_t kLeastKindSize = offsetof(abi::Kind, run) + sizeof(abi::Kind::run);

absl::Status Fault(absl::string_view why) { return absl::FailedPreconditionError(why); }

// What dlerror says, without the file's name, which comes before it anyway.
std::string LinkerError(absl::string_view path) {
  const char* const said = dlerror();
  absl::string_view text = said != nullptr ? said : "cannot be loaded";
  if (absl::ConsumePrefix(&text, path)) absl::ConsumePrefix(&text, ": ");
  return PrintableText(text, kMaxPluginTextBytes);
}

absl::StatusOr<const abi::Plugin*> OpenPlugin(const std::string& file) {
  // One without a slash would be looked for where the system has its libraries.
  const std::string path = file.find('/') == std::string::npos ? absl::StrCat("./", file) : file;
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Fault(LinkerError(path));
  void* const symbol = dlsym(library, "jobpool_plugin");
  if (symbol == nullptr) return Fault("is no plug-in of jobpool: it has no symbol jobpool_plugin");
  const abi::Plugin* const made = reinterpret_cast<abi::Entry>(symbol)(&kServer);
  if (made == nullptr) return Fault("is no plug-in of jobpool: jobpool_plugin() gives nothing");
  if (made->version != JOBPOOL_PLUGIN_ABI_VERSION) {
    return Fault(absl::StrCat("is built for version ", made->version,
                              " of the interface for plug-ins; this server has version ",
                              JOBPOOL_PLUGIN_ABI_VERSION));
  }
  if (made->size < kLeastPluginSize) return Fault(absl::StrCat("says that its size is ", made->size));
  return made;
}

absl::string_view View(const abi::Text& text) { return {text.data, static_cast<size_t>(text.size)}; }

}  // namespace

absl::Status Plugins::Load(const std::string& file) {
  const auto named = [&](const absl::Status& fault) {
    return absl::Status(fault.code(), absl::StrCat("--plugin: ", file, ": ", fault.message()));
  };
  const absl::StatusOr<const abi::Plugin*> made = OpenPlugin(file);
  if (!made.ok()) return named(made.status());
  if (const absl::string_view error = View((*made)->error); !error.empty()) {
    return named(
        Fault(absl::StrCat("has failed to say its kinds: ", PrintableText(error, kMaxPluginTextBytes))));
  }
  KindMap kinds;
  for (uint64_t i = 0; i < (*made)->kind_count; ++i) {
    const abi::Kind* const kind = (*made)->kinds[i];
    if (kind == nullptr || kind->size < kLeastKindSize || kind->run == nullptr) {
      return named(Fault(absl::StrCat("its kind ", i, " is incomplete")));
    }
    const absl::string_view name = View(kind->name);
    if (const absl::Status status = CheckName(name, kinds); !status.ok()) return named(status);
    kinds.emplace(std::string(name), Loaded{kind, file});
  }
  if (kinds.empty()) return named(Fault("has no kinds"));
  kinds_.merge(kinds);
  files_.push_back(std::filesystem::absolute(file).lexically_normal().string());
  return absl::OkStatus();
}

absl::Status Plugins::CheckName(absl::string_view name, const KindMap& own) const {
  const std::string shown = absl::StrCat("\"", PrintableText(name, 80), "\"");
  if (!IsResourceId(name)) {
    return Fault(absl::StrCat("the kind ", shown, " must match [a-z]([a-z0-9-]{0,61}[a-z0-9])?"));
  }
  if (FindKind(name).has_value())
    return Fault(absl::StrCat("the kind ", shown, " is one of the server's own"));
  if (own.find(name) != own.end()) return Fault(absl::StrCat("the kind ", shown, " comes twice"));
  const auto other = kinds_.find(name);
  if (other == kinds_.end()) return absl::OkStatus();
  return Fault(absl::StrCat("the kind ", shown, " is that of ", other->second.file));
}

const abi::Kind* Plugins::Find(absl::string_view kind) const {
  const auto found = kinds_.find(kind);
  return found != kinds_.end() ? found->second.kind : nullptr;
}

std::vector<absl::string_view> Plugins::Kinds() const {
  std::vector<absl::string_view> names;
  names.reserve(kinds_.size());
  for (const auto& [name, loaded] : kinds_) names.push_back(name);
  return names;
}

}  // namespace jobpool
