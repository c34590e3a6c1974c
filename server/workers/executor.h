#pragma once

namespace jobpool {

class RegisteredThread;

/// Where an executor's workers get their work. Thread-safe; outlives the
/// executor's Stop.
class WorkSource {
 public:
  virtual ~WorkSource() = default;

  /// Takes one piece of work and does it on the calling thread, `worker`.
  /// Returns false at once if none is ready. Throws nothing. May leave the worker RUNNING:
  /// the executor makes it IDLE when no work follows.
  virtual bool RunOne(RegisteredThread& worker) = 0;

  /// Whether RunOne would find something. Reads and writes of what it rests on
  /// are sequentially consistent: a worker that goes to sleep and a source that
  /// gets work must not miss each other.
  virtual bool HasWork() const = 0;
};

/// Runs work on workers of its own. Thread-safe.
class Executor {
 public:
  virtual ~Executor() = default;

  /// One more piece of work is ready in the source: wakes or starts a worker
  /// where one is to be had. Never waits for one.
  virtual void Notify() = 0;

  /// Ends every worker when it has run out of work, and waits for that. What
  /// becomes ready afterwards is not run. Idempotent.
  virtual void Stop() = 0;
};

}  // namespace jobpool
