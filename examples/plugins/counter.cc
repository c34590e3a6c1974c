// A global variable: "get" gives its value, "set N" sets it. It starts at 100, and lives as long as the
// process: jobs that run on threads of the server share it, and have to guard it.

#include <atomic>
#include <charconv>
#include <cstdint>
#include <jobpool/plugin.h>
#include <string>
#include <string_view>
#include <system_error>

namespace {

std::atomic<int64_t> counter{100};

jobpool::plugin::Result Counter(std::string_view payload, jobpool::plugin::Context&) {
  constexpr std::string_view kSet = "set ";
  if (payload.starts_with(kSet)) {
    const char* const end = payload.data() + payload.size();
    int64_t value = 0;
    const auto [parsed, error] = std::from_chars(payload.data() + kSet.size(), end, value);
    if (error != std::errc() || parsed != end) {
      return jobpool::plugin::Result::Failed(jobpool::plugin::Code::kInvalidArgument,
                                             "set needs a whole number");
    }
    counter = value;
  } else if (payload != "get") {
    return jobpool::plugin::Result::Failed(jobpool::plugin::Code::kInvalidArgument,
                                           "the payload must be \"get\" or \"set N\"");
  }
  return std::to_string(counter.load());
}

}  // namespace

JOBPOOL_PLUGIN(registrar) { registrar.Add("counter", Counter); }
