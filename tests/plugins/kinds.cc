// Kinds for the tests, each good or bad in one way.

#include <chrono>
#include <jobpool/plugin.h>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

using jobpool::plugin::Code;
using jobpool::plugin::Context;
using jobpool::plugin::Level;
using jobpool::plugin::Registrar;
using jobpool::plugin::Result;
using jobpool::plugin::Thread;

Result Waits(Context& context) {
  return context.WaitCancelled(std::chrono::hours(24)) ? Result::Cancelled() : Result("");
}

// Asks in an inner loop.
Result Spins(std::string_view, Context& context) {
  while (!context.cancelled()) std::this_thread::yield();
  return Result::Cancelled();
}

Result Deaf(std::string_view, Context&) {
  for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
}

Result Progress(std::string_view payload, Context& context) {
  const int count = std::stoi(std::string(payload));
  for (int i = 1; i <= count; ++i) {
    context.SetProgress(static_cast<double>(i) / count, std::to_string(i) + std::string(500, 'x'));
  }
  return "";
}

// All that it is told, a line each.
Result Tells(std::string_view, Context& context) {
  const Thread self = context.CurrentThread();
  std::string text = "job " + std::string(context.job_name()) + "\nname " +
                     std::string(context.display_name()) + "\nattempt " + std::to_string(context.attempt()) +
                     "\ndeadline ";
  text += context.deadline().has_value()
              ? std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   context.deadline()->time_since_epoch())
                                   .count())
              : "none";
  text += "\nself " + self.name + " " + self.display_name + " " + self.role + " " + self.state + " " +
          self.pool + " " + self.job + " " + std::to_string(self.process_id) + " " +
          std::to_string(self.os_thread_id) + "\ncount " + std::to_string(context.ActiveCount());
  for (const Thread& thread : context.Threads()) text += "\nthread " + thread.name + " " + thread.role;
  return text;
}

}  // namespace

JOBPOOL_PLUGIN(registrar) {
  registrar.Add("echo", [](std::string_view payload, Context&) -> Result { return payload; });
  registrar.Add("throws", [](std::string_view payload, Context&) -> Result {
    throw std::runtime_error(std::string(payload));
  });
  registrar.Add("throws-int", [](std::string_view, Context&) -> Result { throw 7; });
  registrar.Add("throws-bad-alloc", [](std::string_view, Context&) -> Result { throw std::bad_alloc(); });
  registrar.Add("fails", [](std::string_view payload, Context&) {
    return Result::Failed(Code::kUnavailable, std::string(payload));
  });
  // Fails the first attempt.
  registrar.Add("fails-once", [](std::string_view, Context& context) {
    return context.attempt() == 1 ? Result::Failed(Code::kUnavailable, "once") : Result("again");
  });
  registrar.Add("gives-up", [](std::string_view, Context&) { return Result::Cancelled(); });
  registrar.Add("bytes", [](std::string_view payload, Context&) -> Result {
    return std::string(std::stoul(std::string(payload)), 'x');
  });
  registrar.Add("waits", [](std::string_view, Context& context) { return Waits(context); });
  registrar.Add("spins", Spins);
  registrar.Add("deaf", Deaf);
  registrar.Add("progress", Progress);
  registrar.Add("progress-and-waits", [](std::string_view, Context& context) {
    context.SetProgress(0.25, "first");
    context.SetProgress(0.5, "second");
    return Waits(context);
  });
  registrar.Add("tells", Tells);
  registrar.Add("logs", [](std::string_view payload, Context& context) -> Result {
    context.Log(Level::kDebug, "a trifle");
    context.Log(Level::kWarning, payload);
    return "";
  });
}
