#ifndef JOBPOOL_PLUGIN_H_
#define JOBPOOL_PLUGIN_H_

/// Kinds of work of one's own, for jobs of the kind `custom`: a plug-in is a shared library that jobpoold
/// loads with --plugin=FILE.so. This header is all that one needs, with C++20 and its standard library.
///
///     #include <jobpool/plugin.h>
///
///     static jobpool::plugin::Result Reverse(std::string_view payload, jobpool::plugin::Context&) {
///       return std::string(payload.rbegin(), payload.rend());
///     }
///
///     JOBPOOL_PLUGIN(registrar) { registrar.Add("reverse", Reverse); }
///
/// docs/plugins.md says how to build one, and what it may rely on.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What goes between server and plug-in, in plain C: a plug-in may be built by another compiler, or with
/// another standard library, than the server. Whoever writes C++ uses what comes after it.
///
/// Within a version, structs grow at their ends only; who reads a field that was added later looks at `size`
/// first. Whatever else changes is another version, and a server loads plug-ins of its own version alone.
namespace jobpool::plugin::abi {

#define JOBPOOL_PLUGIN_ABI_VERSION 1

/// A process that has run the kind may run another job; see ProcessUse below.
#define JOBPOOL_PLUGIN_KIND_REUSES_PROCESSES 1u

extern "C" {

/// Bytes, with no NUL at their end; `data` may be null if `size` is 0. Valid during the call that they are
/// given to, and where they are a field, as long as its struct.
struct Text {
  const char* data;
  uint64_t size;
};

/// A thread of the server as roll call shows it; see Thread below. Valid during the call that it is given to.
struct Thread {
  uint32_t size;  // of this struct, in bytes
  Text name;
  Text display_name;
  Text role;
  Text state;
  Text pool;
  Text job;
  int64_t process_id;
  int64_t os_thread_id;
};

/// Is told of a thread; `to` is what came with it.
typedef void (*TakeThread)(void* to, const Thread* thread);

/// One attempt of a job: what the server tells a plug-in, and does for it. The functions can be called by any
/// thread until the call of Kind::run has returned. `server` is the first argument of each.
struct Call {
  uint32_t version;  // JOBPOOL_PLUGIN_ABI_VERSION
  uint32_t size;     // of this struct, in bytes
  void* server;
  Text job;
  Text display_name;
  int32_t attempt;
  int64_t deadline_unix_nanos;  // INT64_MAX: none
  int32_t (*cancelled)(void* server);
  int32_t (*wait_cancelled)(void* server, int64_t nanos);
  void (*set_progress)(void* server, double ratio, Text message);
  void (*log)(void* server, int32_t level, Text text);
  void (*current_thread)(void* server, TakeThread take, void* to);
  uint64_t (*active_count)(void* server);
  void (*threads)(void* server, TakeThread take, void* to);
  /// The end of the attempt, said once; the first word counts. `code`: 1 to 16, as google.rpc.Code has them.
  void (*succeed)(void* server, Text payload);
  void (*fail)(void* server, int32_t code, Text message);
};

/// A kind of work. `run` is called by many threads at once, and lets no exception out.
struct Kind {
  uint32_t size;   // of this struct, in bytes
  uint32_t flags;  // sum of JOBPOOL_PLUGIN_KIND_…
  Text name;
  void* handler;  // the first argument of `run`
  void (*run)(void* handler, const Call* call, Text payload);
};

/// What a plug-in is; valid as long as the process.
struct Plugin {
  uint32_t version;  // JOBPOOL_PLUGIN_ABI_VERSION
  uint32_t size;     // of this struct, in bytes
  uint64_t kind_count;
  const Kind* const* kinds;
  Text error;  // not empty: why it cannot be used
};

/// Who loads a plug-in; valid as long as the process.
struct Server {
  uint32_t version;    // JOBPOOL_PLUGIN_ABI_VERSION
  uint32_t size;       // of this struct, in bytes
  uint32_t call_size;  // of Call
};

/// The one symbol that the server looks for, by the name `jobpool_plugin`. Never returns null.
typedef const Plugin* (*Entry)(const Server* server);

}  // extern "C"

}  // namespace jobpool::plugin::abi

namespace jobpool::plugin {

/// Why work failed: google.rpc.Code.
enum class Code : int32_t {
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// What work comes to: a payload of up to 1 MiB (more is a failure, RESOURCE_EXHAUSTED), or a failure.
class Result {
 public:
  Result(std::string payload) : text_(std::move(payload)) {}  // NOLINT(google-explicit-constructor)
  Result(std::string_view payload) : text_(payload) {}        // NOLINT(google-explicit-constructor)
  Result(const char* payload) : text_(payload) {}             // NOLINT(google-explicit-constructor)

  /// The job's `error`, with the reason WORK_FAILED. `message`: UTF-8; the first 1,024 bytes are kept.
  static Result Failed(Code code, std::string message) {
    Result result(std::move(message));
    result.failure_ = code;
    return result;
  }

  /// For work that has ended early since Context::cancelled() has become true. Where it has not, it is a
  /// failure.
  static Result Cancelled() { return Failed(Code::kCancelled, "cancelled before it was done"); }

  /// Nothing: it succeeded.
  std::optional<Code> failure() const { return failure_; }
  /// The payload, or the failure's message.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::optional<Code> failure_;
};

/// How important a line of the log is. --log_level decides which are written.
enum class Level : int32_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

/// A thread of the server, as `jobpool threads` shows it.
struct Thread {
  std::string name;          // `threads/…`
  std::string display_name;  // `Thread-7`, or what it was renamed to
  std::string role;   // MAIN, WORKER, CONNECTION, SERVICE or PROCESS_WORKER; later servers may have others
  std::string state;  // IDLE, RUNNING or RETIRING; later servers may have others
  std::string pool;   // `pools/…`; empty: of none
  std::string job;    // `jobs/…`; empty: on none
  int64_t process_id = 0;
  int64_t os_thread_id = 0;
};

/// The attempt that a kind runs for, and the server around it. Lives until the call of Handler::Run, or of
/// the function, has returned, and must not be used after that. Thread-safe.
class Context {
 public:
  explicit Context(const abi::Call& call) : call_(call) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// `jobs/…`.
  std::string_view job_name() const { return View(call_.job); }
  /// As it was when the attempt started.
  std::string_view display_name() const { return View(call_.display_name); }
  /// Of this attempt: 1 for the first. A job that a crash or a shutdown has interrupted runs again: at least
  /// once.
  int32_t attempt() const { return call_.attempt; }
  /// When the attempt is asked to end, for the job's `deadline_time` or `timeout`; nothing: never.
  std::optional<std::chrono::system_clock::time_point> deadline() const {
    if (call_.deadline_unix_nanos == INT64_MAX) return std::nullopt;
    const std::chrono::nanoseconds since_epoch(call_.deadline_unix_nanos);
    return std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(since_epoch));
  }

  /// Whether the attempt was asked to end: by a caller, for its deadline, or since the server shuts down. It
  /// should return Result::Cancelled() within 50 ms then; one that does not within the pool's `stop_grace`
  /// (default 5 s) is abandoned. Cheap enough for an inner loop.
  bool cancelled() const noexcept { return call_.cancelled(call_.server) != 0; }

  /// Sleeps for `duration`, by the monotonic clock; returns true at once when, or if, it is cancelled().
  bool WaitCancelled(std::chrono::nanoseconds duration) noexcept {
    return call_.wait_cancelled(call_.server, duration.count()) != 0;
  }

  /// How far the work is: `ratio` from 0 to 1, never less than before; `message`: for people, UTF-8, of which
  /// the first 256 bytes are kept. May be said as often as one likes: callers see at most 20 a second, and
  /// the last word when the work asks whether it is cancelled, waits or ends.
  void SetProgress(double ratio, std::string_view message = {}) noexcept {
    call_.set_progress(call_.server, ratio, abi::Text{message.data(), message.size()});
  }

  /// A line in the server's log, with the job's name. `text`: UTF-8; the first 1,024 bytes are kept. At most
  /// 100 lines a second of all plug-ins together are written, but at --log_level=debug, and then how many
  /// were left out.
  void Log(Level level, std::string_view text) noexcept {
    call_.log(call_.server, static_cast<int32_t>(level), abi::Text{text.data(), text.size()});
  }

  /// Who am I: the thread that runs the attempt, as it is now; in a process of its own, as it was when the
  /// attempt started.
  Thread CurrentThread() const {
    std::vector<Thread> threads = Collect(call_.current_thread);
    return threads.empty() ? Thread() : std::move(threads.front());
  }

  /// How many threads of the server there are; in a process of its own, 1.
  uint64_t ActiveCount() const noexcept { return call_.active_count(call_.server); }

  /// Roll call: all threads of the server at one moment, oldest first. About 2 us a thread. In a process of
  /// its own, CurrentThread() alone.
  std::vector<Thread> Threads() const { return Collect(call_.threads); }

 private:
  struct Collection {
    std::vector<Thread> threads;
    std::exception_ptr error;
  };

  static std::string_view View(const abi::Text& text) {
    return {text.data, static_cast<std::string_view::size_type>(text.size)};
  }
  static std::string Copy(const abi::Text& text) { return std::string(View(text)); }

  // No exception may go through the server.
  static void Take(void* to, const abi::Thread* thread) noexcept {
    auto& collection = *static_cast<Collection*>(to);
    if (collection.error != nullptr) return;
    try {
      collection.threads.push_back({Copy(thread->name), Copy(thread->display_name), Copy(thread->role),
                                    Copy(thread->state), Copy(thread->pool), Copy(thread->job),
                                    thread->process_id, thread->os_thread_id});
    } catch (...) {
      collection.error = std::current_exception();
    }
  }

  std::vector<Thread> Collect(void (*of)(void* server, abi::TakeThread take, void* to)) const {
    Collection collection;
    of(call_.server, &Take, &collection);
    if (collection.error != nullptr) std::rethrow_exception(collection.error);
    return std::move(collection.threads);
  }

  const abi::Call& call_;
};

/// Does one kind of work.
class Handler {
 public:
  virtual ~Handler() = default;

  /// Does the work of a job on the calling thread. There is one handler for all jobs of the kind, and many
  /// threads call it at once. `payload`: that of the job, up to 1 MiB; valid until it returns. What it throws
  /// is a failure: RESOURCE_EXHAUSTED for std::bad_alloc, else INTERNAL, with what() in the message.
  virtual Result Run(std::string_view payload, Context& context) = 0;
};

/// The same as a function.
using Function = std::function<Result(std::string_view payload, Context& context)>;

/// What becomes of the process that has run a job of isolation PROCESS.
enum class ProcessUse : uint32_t {
  /// It ends, and each attempt gets a process in which no other has run: no job sees another's globals. That
  /// costs about a millisecond or two.
  kFresh = 0,
  /// It runs more jobs, of this kind and of others that say so.
  kReused = JOBPOOL_PLUGIN_KIND_REUSES_PROCESSES,
};

/// Takes the kinds of a plug-in, while it is loaded. Not thread-safe.
class Registrar {
 public:
  /// `kind`: `[a-z]([a-z0-9-]{0,61}[a-z0-9])?`, that no other plug-in and no kind of the server's own has.
  /// The server refuses to start with any other.
  void Add(std::string_view kind, std::unique_ptr<Handler> handler, ProcessUse use = ProcessUse::kFresh) {
    if (handler == nullptr) throw std::invalid_argument("a kind without a handler");
    const std::shared_ptr<Handler> shared = std::move(handler);
    const auto run = [shared](std::string_view payload, Context& context) {
      return shared->Run(payload, context);
    };
    Add(kind, run, use);
  }
  void Add(std::string_view kind, Function function, ProcessUse use = ProcessUse::kFresh) {
    if (function == nullptr) throw std::invalid_argument("a kind without a function");
    entries_.push_back({std::string(kind), std::move(function), use, {}});
  }

  /// What JOBPOOL_PLUGIN gives the server: the kinds that `fill` adds, or what it threw.
  const abi::Plugin* Load(const abi::Server& server, void (*fill)(Registrar& registrar)) noexcept {
    if (plugin_.version != 0) return &plugin_;
    plugin_.version = JOBPOOL_PLUGIN_ABI_VERSION;
    plugin_.size = sizeof(abi::Plugin);
    if (server.version == JOBPOOL_PLUGIN_ABI_VERSION && server.call_size < sizeof(abi::Call)) {
      SetError("is built with the header of a later server");
      return &plugin_;
    }
    try {
      fill(*this);
      for (Entry& entry : entries_) {
        entry.kind = {sizeof(abi::Kind),
                      static_cast<uint32_t>(entry.use),
                      {entry.name.data(), entry.name.size()},
                      &entry,
                      &RunKind};
        kinds_.push_back(&entry.kind);
      }
      plugin_.kinds = kinds_.data();
      plugin_.kind_count = kinds_.size();
    } catch (const std::exception& e) {
      SetError(e.what());
    } catch (...) {
      SetError("unknown exception");
    }
    return &plugin_;
  }

 private:
  struct Entry {
    std::string name;
    Function function;
    ProcessUse use;
    abi::Kind kind;
  };

  void SetError(const char* what) noexcept {
    std::snprintf(error_, sizeof(error_), "%s", what);
    plugin_.error = TextOf(*error_ != '\0' ? error_ : "exception");
  }

  static abi::Text TextOf(const char* text) { return {text, std::string_view(text).size()}; }

  static void RunKind(void* handler, const abi::Call* call, abi::Text payload) noexcept {
    try {
      Context context(*call);
      const std::string_view bytes(payload.data, static_cast<std::string_view::size_type>(payload.size));
      const Result result = static_cast<Entry*>(handler)->function(bytes, context);
      const abi::Text text = {result.text().data(), result.text().size()};
      if (result.failure().has_value()) {
        call->fail(call->server, static_cast<int32_t>(*result.failure()), text);
      } else {
        call->succeed(call->server, text);
      }
    } catch (const std::bad_alloc&) {
      call->fail(call->server, static_cast<int32_t>(Code::kResourceExhausted), TextOf("out of memory"));
    } catch (const std::exception& e) {
      char text[1100];
      std::snprintf(text, sizeof(text), "exception: %s", e.what());
      call->fail(call->server, static_cast<int32_t>(Code::kInternal), TextOf(text));
    } catch (...) {
      call->fail(call->server, static_cast<int32_t>(Code::kInternal), TextOf("unknown exception"));
    }
  }

  std::deque<Entry> entries_;  // they stay where they are
  std::vector<const abi::Kind*> kinds_;
  abi::Plugin plugin_{};
  char error_[512] = "";
};

}  // namespace jobpool::plugin

/// Once in a plug-in, at namespace scope, followed by the body of a function that adds its kinds to
/// `registrar`, a jobpool::plugin::Registrar&. Called once in each process that loads it: the server, while
/// it starts, where what it throws is why the server does not; and the processes that run jobs of its kinds.
// The registrar is a local of a function that is not inline: what is static in an inline function, or in a
// template, all plug-ins of a process share. It is never destroyed, since jobs may run until the very end.
#define JOBPOOL_PLUGIN(registrar)                                                                         \
  static void JobpoolPluginFill(::jobpool::plugin::Registrar& registrar);                                 \
  extern "C" __attribute__((visibility("default"))) const ::jobpool::plugin::abi::Plugin* jobpool_plugin( \
      const ::jobpool::plugin::abi::Server* server);                                                      \
  extern "C" const ::jobpool::plugin::abi::Plugin* jobpool_plugin(                                        \
      const ::jobpool::plugin::abi::Server* server) {                                                     \
    static ::jobpool::plugin::Registrar& made = *new ::jobpool::plugin::Registrar;                        \
    return made.Load(*server, &JobpoolPluginFill);                                                        \
  }                                                                                                       \
  static void JobpoolPluginFill([[maybe_unused]] ::jobpool::plugin::Registrar& registrar)

#endif  // JOBPOOL_PLUGIN_H_
