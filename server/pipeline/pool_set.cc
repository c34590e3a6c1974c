#include "server/pipeline/pool_set.h"

#include <algorithm>

namespace jobpool {

PoolSet::PoolSet(const std::vector<PoolOptions>& pools, const Dispatcher::Dependencies& dependencies) {
  for (size_t i = 0; i < pools.size(); ++i) {
    pools_.push_back(std::make_unique<Dispatcher>(pools[i], i, dependencies));
  }
  std::sort(pools_.begin(), pools_.end(),
            [](const auto& a, const auto& b) { return *a->name() < *b->name(); });
}

Dispatcher* PoolSet::Find(absl::string_view name) const {
  for (const auto& pool : pools_) {
    if (*pool->name() == name) return pool.get();
  }
  return nullptr;
}

std::string PoolSet::DefaultPool(Kind kind) {
  return kind == Kind::kSleep || kind == Kind::kCommand || kind == Kind::kCustom ? "blocking" : "compute";
}

void PoolSet::Reconfigure(const std::vector<PoolOptions>& pools) {
  for (const PoolOptions& options : pools) Find(options.name)->Reconfigure(options);
}

void PoolSet::Stop() {
  for (const auto& pool : pools_) pool->StopWorkers();
}

}  // namespace jobpool
