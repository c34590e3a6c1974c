#include "server/handlers/registry.h"

#include <utility>

#include "server/handlers/command.h"
#include "server/handlers/custom.h"
#include "server/handlers/fibonacci.h"
#include "server/handlers/hash.h"
#include "server/handlers/noop.h"
#include "server/handlers/pi.h"
#include "server/handlers/primes.h"
#include "server/handlers/sleep.h"
#include "server/handlers/spin.h"

namespace jobpool {

HandlerRegistry::HandlerRegistry(const Plugins* plugins) {
  const auto add = [this](Kind kind, std::unique_ptr<const Handler> handler) {
    handlers_[static_cast<size_t>(kind)] = std::move(handler);
  };
  add(Kind::kSleep, MakeSleepHandler());
  add(Kind::kPrimes, MakePrimesHandler());
  add(Kind::kFibonacci, MakeFibonacciHandler());
  add(Kind::kPi, MakePiHandler());
  add(Kind::kHash, MakeHashHandler());
  add(Kind::kSpin, MakeSpinHandler());
  add(Kind::kNoop, MakeNoopHandler());
  add(Kind::kCommand, MakeCommandHandler(std::make_shared<const CommandList>(), nullptr));
  add(Kind::kCustom, MakeCustomHandler(plugins));
}

}  // namespace jobpool
