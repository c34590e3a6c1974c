#include "server/handlers/noop.h"

#include "server/handlers/typed_handler.h"

namespace jobpool {
namespace {

class NoopHandler final : public TypedHandler<NoopWork> {
  absl::StatusOr<Result> RunTyped(const NoopWork& work, HandlerContext&) const override {
    return NoopResult{work.payload};
  }
};

}  // namespace

std::unique_ptr<const Handler> MakeNoopHandler() { return std::make_unique<NoopHandler>(); }

}  // namespace jobpool
