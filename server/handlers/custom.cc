#include "server/handlers/custom.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/handlers/plugin_call.h"
#include "server/handlers/typed_handler.h"
#include "server/job/errors.h"
#include "server/job/resource_name.h"

namespace jobpool {
namespace {

// Of the kinds that a refusal names.
constexpr size_t kMaxNamed = 20;

class CustomHandler final : public TypedHandler<CustomWork> {
 public:
  explicit CustomHandler(const Plugins* plugins) : plugins_(plugins) {}

  void Check(const Work& work, absl::string_view prefix, Violations& violations) const override {
    const absl::string_view kind = std::get<CustomWork>(work).kind();
    if (!IsResourceId(kind) || Find(kind) != nullptr) return;  // the former is out of its bounds
    violations.Add(absl::StrCat(prefix, "job.custom.kind"),
                   absl::StrCat("there is no kind \"", kind, "\"; ", WhatThereIs()));
  }

  absl::StatusOr<ProcessUse> UseOf(const Work& work) const override {
    const absl::string_view name = std::get<CustomWork>(work).kind();
    const plugin::abi::Kind* const kind = Find(name);
    if (kind == nullptr) return KindNotLoadedError(name);
    return (kind->flags & JOBPOOL_PLUGIN_KIND_REUSES_PROCESSES) != 0 ? ProcessUse::kReused
                                                                     : ProcessUse::kFresh;
  }

 private:
  absl::StatusOr<Result> RunTyped(const CustomWork& work, HandlerContext& context) const override {
    const plugin::abi::Kind* const kind = Find(work.kind());
    if (kind == nullptr) return KindNotLoadedError(work.kind());
    return PluginCall(context).Run(*kind, work.payload());
  }

  const plugin::abi::Kind* Find(absl::string_view kind) const {
    return plugins_ != nullptr ? plugins_->Find(kind) : nullptr;
  }

  std::string WhatThereIs() const {
    std::vector<absl::string_view> kinds;
    if (plugins_ != nullptr) kinds = plugins_->Kinds();
    if (kinds.empty()) return "the server has loaded no plug-in";
    const size_t named = std::min(kinds.size(), kMaxNamed);
    std::string text = absl::StrCat("there is ", absl::StrJoin(kinds.begin(), kinds.begin() + named, ", "));
    if (named < kinds.size()) absl::StrAppend(&text, " and ", kinds.size() - named, " more");
    return text;
  }

  const Plugins* const plugins_;
};

}  // namespace

std::unique_ptr<const Handler> MakeCustomHandler(const Plugins* plugins) {
  return std::make_unique<CustomHandler>(plugins);
}

}  // namespace jobpool
