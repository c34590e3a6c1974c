// A kind as a function: gives back the payload's bytes in reverse order.

#include <jobpool/plugin.h>
#include <string>
#include <string_view>

namespace {

jobpool::plugin::Result Reverse(std::string_view payload, jobpool::plugin::Context&) {
  return std::string(payload.rbegin(), payload.rend());
}

}  // namespace

JOBPOOL_PLUGIN(registrar) { registrar.Add("reverse", Reverse); }
