#include "server/handlers/run_handler.h"

#include <exception>
#include <new>

#include "absl/strings/str_cat.h"

namespace jobpool {

absl::StatusOr<Result> RunHandler(const Handler& handler, const Work& work, HandlerContext& context) {
  try {
    return handler.Run(work, context);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("exception: ", e.what()));
  } catch (...) {
    return absl::InternalError("unknown exception");
  }
}

}  // namespace jobpool
