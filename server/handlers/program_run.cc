#include "server/handlers/program_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include <climits>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/event.h"

namespace jobpool {
namespace {

// How long is waited, once the program has ended, for the end of what it wrote. All who could write have been
// killed by then: it is there at once but where one of them takes its time to die.
constexpr absl::Duration kLastOutputTime = absl::Seconds(1);

// A program that never stops writing must not keep us from the other descriptors.
constexpr size_t kReadBytes = size_t{64} << 10;

// As seldom as a reader does not feel, so that a program that writes byte by byte is no burden.
constexpr absl::Duration kTellInterval = absl::Milliseconds(50);

// Raises an event while it lives.
class RaisedOnCancel {
 public:
  explicit RaisedOnCancel(CancelToken& cancel) : cancel_(cancel) { cancel_.set_event(&event_); }
  ~RaisedOnCancel() { cancel_.set_event(nullptr); }
  RaisedOnCancel(const RaisedOnCancel&) = delete;
  RaisedOnCancel& operator=(const RaisedOnCancel&) = delete;

  int descriptor() const { return event_.descriptor(); }

 private:
  CancelToken& cancel_;
  Event event_;
};

// Tells what is kept of a stream, in parts.
class Teller {
 public:
  Teller(OutputStream stream, const CapturedStream& captured, const ProgramRunOptions& options)
      : stream_(stream), captured_(captured), options_(options) {}

  bool has_more() const { return told_ < captured_.kept().size(); }

  // Returns when to be called again; unset: when more has come. `all`: the rest, now.
  std::optional<MonotonicTime> Tell(bool all) {
    if (!options_.on_output || !has_more()) return std::nullopt;
    const MonotonicTime now = Clock::Real().Monotonic();
    const size_t waiting = captured_.kept().size() - told_;
    if (!all && waiting < kReadBytes && now < next_) return next_;
    while (has_more()) {
      const absl::string_view part = captured_.kept().substr(told_, kReadBytes);
      options_.on_output(stream_, part);
      told_ += part.size();
    }
    next_ = Later(now, kTellInterval);
    return std::nullopt;
  }

 private:
  const OutputStream stream_;
  const CapturedStream& captured_;
  const ProgramRunOptions& options_;
  size_t told_ = 0;
  MonotonicTime next_ = MonotonicTime::min();
};

int PollTimeout(std::optional<MonotonicTime> deadline) {
  if (!deadline.has_value()) return -1;
  const absl::Duration left = absl::FromChrono(*deadline - Clock::Real().Monotonic());
  const int64_t milliseconds = absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)));
  return static_cast<int>(std::clamp<int64_t>(milliseconds, 0, INT_MAX));
}

std::optional<MonotonicTime> Earlier(std::optional<MonotonicTime> a, std::optional<MonotonicTime> b) {
  if (!a.has_value() || !b.has_value()) return a.has_value() ? a : b;
  return std::min(*a, *b);
}

bool IsDue(std::optional<MonotonicTime> deadline) {
  return deadline.has_value() && Clock::Real().Monotonic() >= *deadline;
}

class Running {
 public:
  Running(Program& program, const ProgramRunOptions& options, CancelToken& cancel, ProgramRun& run)
      : program_(program),
        options_(options),
        cancel_(cancel),
        raised_(cancel),
        run_(run),
        input_(options.input),
        out_teller_(OutputStream::kOut, run.out, options),
        err_teller_(OutputStream::kErr, run.err, options) {}

  ~Running() {
    if (!ended_) program_.Signal(SIGKILL);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  absl::Status Finish() {
    if (raised_.descriptor() < 0) return absl::UnavailableError("no descriptor is to be had");
    if (input_.empty()) program_.CloseStdin();
    while (!ended_ || out_open_ || err_open_) {
      // In order: stdin, stdout, stderr, the end, the wish that it ends. Negative: not waited for.
      std::array<pollfd, 5> wait = {{{program_.stdin_fd(), POLLOUT, 0},
                                     {out_open_ ? program_.stdout_fd() : -1, POLLIN, 0},
                                     {err_open_ ? program_.stderr_fd() : -1, POLLIN, 0},
                                     {ended_ ? -1 : program_.exit_fd(), POLLIN, 0},
                                     {run_.asked || ended_ ? -1 : raised_.descriptor(), POLLIN, 0}}};
      if (poll(wait.data(), wait.size(), PollTimeout(Earlier(deadline_, tell_at_))) < 0 && errno != EINTR) {
        return absl::UnavailableError(absl::StrCat("poll: ", std::strerror(errno)));
      }
      if (wait[0].revents != 0) Feed();
      if (wait[1].revents != 0) out_open_ = Take(program_.stdout_fd(), run_.out);
      if (wait[2].revents != 0) err_open_ = Take(program_.stderr_fd(), run_.err);
      if (wait[3].revents != 0) NoteEnd();
      if (!ended_ && !run_.asked && cancel_.cancelled()) Ask();
      tell_at_ = Earlier(out_teller_.Tell(false), err_teller_.Tell(false));
      if (IsDue(deadline_) && !OnDeadline()) break;
    }
    out_teller_.Tell(true);
    err_teller_.Tell(true);
    return absl::OkStatus();
  }

 private:
  void Feed() {
    const ssize_t written = write(program_.stdin_fd(), input_.data(), input_.size());
    if (written > 0) input_.remove_prefix(static_cast<size_t>(written));
    const bool gone = written < 0 && errno != EAGAIN && errno != EINTR;
    if (input_.empty() || gone) program_.CloseStdin();
  }

  // Returns false at its end.
  bool Take(int descriptor, CapturedStream& stream) {
    const ssize_t size = read(descriptor, buffer_.data(), buffer_.size());
    if (size > 0) stream.Append(absl::string_view(buffer_.data(), static_cast<size_t>(size)));
    return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
  }

  void NoteEnd() {
    std::optional<ProgramEnd> end = program_.End();
    if (!end.has_value()) return;
    ended_ = true;
    run_.end = *std::move(end);
    if (program_.stdin_fd() >= 0) program_.CloseStdin();
    deadline_ = Later(Clock::Real().Monotonic(), kLastOutputTime);
  }

  void Ask() {
    run_.asked = true;
    Signal(SIGTERM);
    deadline_ = Later(Clock::Real().Monotonic(), options_.kill_grace);
  }

  // Returns false if nothing more is waited for.
  bool OnDeadline() {
    if (ended_) return false;
    Signal(SIGKILL);
    deadline_.reset();
    return true;
  }

  void Signal(int signal) {
    if (options_.on_signal) options_.on_signal(signal);
    program_.Signal(signal);
  }

  Program& program_;
  const ProgramRunOptions& options_;
  CancelToken& cancel_;
  const RaisedOnCancel raised_;
  ProgramRun& run_;
  absl::string_view input_;  // what is left of it
  bool out_open_ = true;
  bool err_open_ = true;
  bool ended_ = false;
  Teller out_teller_;
  Teller err_teller_;
  std::optional<MonotonicTime> tell_at_;
  std::optional<MonotonicTime> deadline_;  // of SIGKILL, and after the end that of the last output
  std::string buffer_ = std::string(kReadBytes, '\0');
};

}  // namespace

void CapturedStream::Append(absl::string_view bytes) {
  const size_t room = max_bytes_ - kept_.size();
  const absl::string_view fits = bytes.substr(0, room);
  kept_.append(fits.data(), fits.size());
  if (fits.size() == bytes.size()) return;
  if (!truncated_) {
    truncated_ = true;
    end_ = kept_.substr(kept_.size() - std::min(kept_.size(), kEndBytes));
  }
  bytes.remove_prefix(fits.size());
  if (bytes.size() > kEndBytes) bytes.remove_prefix(bytes.size() - kEndBytes);
  end_.append(bytes.data(), bytes.size());
  if (end_.size() > kEndBytes) end_.erase(0, end_.size() - kEndBytes);
}

absl::string_view CapturedStream::End() const {
  const absl::string_view all = truncated_ ? end_ : kept_;
  return all.substr(all.size() - std::min(all.size(), kEndBytes));
}

absl::StatusOr<ProgramRun> RunToEnd(Program& program, const ProgramRunOptions& options, CancelToken& cancel) {
  ProgramRun run(options.max_output_bytes);
  const absl::Status status = Running(program, options, cancel, run).Finish();
  if (!status.ok()) return status;
  return run;
}

}  // namespace jobpool
