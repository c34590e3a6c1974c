#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>

#include "absl/strings/string_view.h"
#include "server/telemetry/log.h"

namespace jobpool {

// Tests are quiet: what they want of the log they take through a LogHook.
inline const bool log_silenced = InitLog("off").ok();

/// While it lives, each line of the server's log goes to a function instead of
/// stderr: on the thread that logs, between what it did before and what it does
/// next. Made before, and destroyed after, the threads that log.
class LogHook {
 public:
  using OnLine = std::function<void(const std::string& line)>;

  LogHook(absl::string_view level, OnLine on_line) {
    sinks_before_ = std::exchange(Log().sinks(), {std::make_shared<Sink>(std::move(on_line))});
    Log().set_level(spdlog::level::from_str(std::string(level)));
  }
  ~LogHook() {
    Log().set_level(spdlog::level::off);
    Log().sinks() = std::move(sinks_before_);
  }
  LogHook(const LogHook&) = delete;
  LogHook& operator=(const LogHook&) = delete;

 private:
  class Sink final : public spdlog::sinks::sink {
   public:
    explicit Sink(OnLine on_line) : on_line_(std::move(on_line)) {}
    void log(const spdlog::details::log_msg& msg) override {
      on_line_(std::string(msg.payload.data(), msg.payload.size()));
    }
    void flush() override {}
    void set_pattern(const std::string&) override {}
    void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

   private:
    const OnLine on_line_;
  };

  std::vector<spdlog::sink_ptr> sinks_before_;
};

}  // namespace jobpool
