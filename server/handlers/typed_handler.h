#pragma once

#include <exception>
#include <new>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "server/handlers/handler.h"

namespace jobpool {

/// Base of the handler of the kind whose alternative of Work is `W`: takes it
/// out of the variant, and lets no exception of a library out.
template <typename W>
class TypedHandler : public Handler {
 public:
  absl::StatusOr<Result> Run(const Work& work, HandlerContext& context) const final {
    try {
      return RunTyped(std::get<W>(work), context);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError("out of memory");
    } catch (const std::exception& e) {
      return absl::InternalError(absl::StrCat("the work failed: ", e.what()));
    }
  }

 private:
  /// As Handler::Run. May throw what its libraries throw.
  virtual absl::StatusOr<Result> RunTyped(const W& work, HandlerContext& context) const = 0;
};

}  // namespace jobpool
