// A kind as a subclass of Handler: counts the words of its payload, one a millisecond, so that it takes its
// time, says how far it is, and ends when it is asked to.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <jobpool/plugin.h>
#include <memory>
#include <string>
#include <string_view>

namespace {

using jobpool::plugin::Context;
using jobpool::plugin::Handler;
using jobpool::plugin::Level;
using jobpool::plugin::Result;

class WordCount final : public Handler {
 public:
  Result Run(std::string_view payload, Context& context) override {
    context.Log(Level::kInfo, "counts for " + context.CurrentThread().display_name);
    const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
    size_t words = 0;
    for (auto at = payload.begin(); at != payload.end();) {
      at = std::find_if_not(at, payload.end(), is_space);
      if (at == payload.end()) break;
      ++words;
      at = std::find_if(at, payload.end(), is_space);
      context.SetProgress(static_cast<double>(at - payload.begin()) / static_cast<double>(payload.size()),
                          std::to_string(words) + " words");
      if (context.WaitCancelled(std::chrono::milliseconds(1))) return Result::Cancelled();
    }
    context.SetProgress(1, std::to_string(words) + " words");
    return std::to_string(words);
  }
};

}  // namespace

JOBPOOL_PLUGIN(registrar) { registrar.Add("word-count", std::make_unique<WordCount>()); }
