#include "server/app/worker_main.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unistd.h>

#include "server/base/allocator.h"
#include "server/base/resource_usage.h"
#include "server/handlers/custom.h"
#include "server/handlers/plugins.h"
#include "server/handlers/registry.h"
#include "server/pipeline/process_task.h"
#include "server/process/worker.h"

namespace jobpool {
namespace {

// 4 MiB.
constexpr int64_t kManyPages = 1024;

/// Loads the plug-ins when the first job of a kind of theirs comes: other jobs need not wait for that. One
/// thread calls it.
class LateCustomHandler final : public Handler {
 public:
  explicit LateCustomHandler(const std::vector<std::string>& files) : files_(files) {}

  absl::StatusOr<Result> Run(const Work& work, HandlerContext& context) const override {
    if (!loaded_) Load();
    loaded_ = true;
    return custom_->Run(work, context);
  }

 private:
  // What could not be loaded now may be another time: this process is of no use, and says why.
  void Load() const {
    for (const std::string& file : files_) {
      const absl::Status loaded = plugins_.Load(file);
      if (loaded.ok()) continue;
      std::fprintf(stderr, "%s\n", std::string(loaded.message()).c_str());
      std::fflush(stderr);
      _exit(EXIT_FAILURE);
    }
  }

  const std::vector<std::string>& files_;
  mutable bool loaded_ = false;
  mutable Plugins plugins_;
  const std::unique_ptr<const Handler> custom_ = MakeCustomHandler(&plugins_);
};

}  // namespace

int RunJobWorker(int socket, const std::vector<std::string>& plugins) {
  HandlerRegistry handlers;
  handlers.Replace(Kind::kCustom, std::make_unique<LateCustomHandler>(plugins));
  return RunWorker(socket, [&handlers](absl::string_view task, WorkerContext& context) {
    const int64_t faults = ResourceUsage::OfProcess().minor_page_faults;
    std::string result = RunTask(handlers, task, context);
    // The next task may need the addresses, which are limited, for something else than memory: for a thread.
    if (ResourceUsage::OfProcess().minor_page_faults - faults > kManyPages) ReturnFreeMemory();
    return result;
  });
}

}  // namespace jobpool
