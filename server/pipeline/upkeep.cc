#include "server/pipeline/upkeep.h"

#include <string>

#include <spdlog/spdlog.h>

#include "server/telemetry/log.h"

namespace jobpool {
namespace {

constexpr absl::Duration kPeriod = absl::Seconds(1);
constexpr absl::Duration kPause = absl::Milliseconds(10);  // between two batches
constexpr size_t kBatch = 1000;

}  // namespace

Upkeep::Upkeep(Timer& timer, JobStore& store, PoolSet& pools, RequestIds& request_ids, JobEvents& events)
    : timer_(timer), store_(store), pools_(pools), request_ids_(request_ids), events_(events) {
  timer_.At(Later(timer_.Now(), kPeriod), [this] { Tick(); });
}

void Upkeep::Tick() {
  if (StoreWriter* const writer = events_.writer(); writer != nullptr) {
    writer->CheckHealth();  // first: what hangs with the disk may hold up the rest
    writer->DeleteExpired(timer_.clock().Now());
  }
  for (const auto& pool : pools_.all()) pool->Kick();
  request_ids_.ForgetExpired();
  events_.ForgetUnwatched();
  const absl::StatusOr<size_t> deleted = store_.DeleteExpired(timer_.clock().Now(), kBatch);
  if (!deleted.ok())
    Log().error("expired jobs not deleted error=\"{}\"", std::string(deleted.status().message()));
  const bool more = deleted.ok() && *deleted == kBatch;
  timer_.At(Later(timer_.Now(), more ? kPause : kPeriod), [this] { Tick(); });
}

}  // namespace jobpool
