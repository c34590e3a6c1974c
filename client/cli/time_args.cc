#include "client/cli/time_args.h"

#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace jobpool::cli {
namespace {

/// The most that google.protobuf.Duration holds: 10,000 years.
constexpr absl::Duration kMaxProtoDuration = absl::Seconds(315'576'000'000);

/// The times that google.protobuf.Timestamp holds, the last one excluded.
constexpr absl::Time kFirstProtoTime = absl::FromUnixSeconds(-62'135'596'800);
constexpr absl::Time kEndOfProtoTime = absl::FromUnixSeconds(253'402'300'800);

absl::Status InOption(absl::string_view option, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(option, ": ", status.message()));
}

absl::Status SetTime(absl::string_view option, absl::Time time, google::protobuf::Timestamp& proto) {
  if (time < kFirstProtoTime || time >= kEndOfProtoTime) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": must be a time of the years 1 to 9999"));
  }
  const absl::Time second = absl::FromUnixSeconds(absl::ToUnixSeconds(time));
  proto.set_seconds(absl::ToUnixSeconds(second));
  proto.set_nanos(static_cast<int32_t>((time - second) / absl::Nanoseconds(1)));
  return absl::OkStatus();
}

}  // namespace

absl::Status SetTimes(const TimeArgs& args, absl::Time now, v1::Job& job) {
  if (args.at) {
    const absl::StatusOr<absl::Time> at = ParseTimeArg(*args.at, absl::LocalTimeZone());
    if (!at.ok()) return InOption("--at", at.status());
    const absl::Status status = SetTime("--at", *at, *job.mutable_schedule_time());
    if (!status.ok()) return status;
  }
  if (args.in) {
    const absl::StatusOr<absl::Duration> in = ParseDurationArg(*args.in);
    if (!in.ok()) return InOption("--in", in.status());
    const absl::Status status = SetTime("--in", now + *in, *job.mutable_schedule_time());
    if (!status.ok()) return status;
  }
  if (!args.deadline) return absl::OkStatus();
  absl::StatusOr<absl::Time> deadline = ParseTimeArg(*args.deadline, absl::LocalTimeZone());
  if (!deadline.ok()) {
    const absl::StatusOr<absl::Duration> left = ParseDurationArg(*args.deadline);
    if (!left.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--deadline: '", *args.deadline,
          "' is neither a duration such as 90s, 1h30m, 2d nor a time such as 2030-01-31T08:00:00Z"));
    }
    deadline = now + *left;
  }
  return SetTime("--deadline", *deadline, *job.mutable_deadline_time());
}

bool DependsOnNow(const TimeArgs& args) {
  return args.in.has_value() || (args.deadline.has_value() && ParseDurationArg(*args.deadline).ok());
}

absl::StatusOr<absl::Time> ParseTimeArg(absl::string_view text, absl::TimeZone local) {
  absl::Time time;
  // Digits first: absl also knows words for the infinite ones, and skips blanks.
  const bool digits = !text.empty() && absl::ascii_isdigit(text.front()) && absl::ascii_isgraph(text.back());
  for (const char* format :
       {"%Y-%m-%d%ET%H:%M:%E*S%Ez", "%Y-%m-%d%ET%H:%M%Ez", "%Y-%m-%d%ET%H:%M:%E*S", "%Y-%m-%d%ET%H:%M"}) {
    if (digits && absl::ParseTime(format, text, local, &time, nullptr)) return time;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not a time such as 2030-01-31T08:00:00Z or 2030-01-31T08:00"));
}

absl::StatusOr<absl::Duration> ParseDurationArg(absl::string_view text) {
  const auto bad = absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not a duration such as 2s, 1m30s, 100ms, 2d or a number of seconds"));
  absl::Duration days;
  absl::string_view rest = text;
  if (const size_t d = text.find('d'); d != absl::string_view::npos) {
    const absl::string_view number = text.substr(0, d);
    rest = text.substr(d + 1);
    if (number.find_first_not_of("+-.0123456789") != absl::string_view::npos ||
        !absl::ParseDuration(absl::StrCat(number, "h"), &days)) {
      return bad;
    }
    days *= 24;
    if (rest.empty()) rest = "0";
    if (!absl::ascii_isdigit(rest.front()) && rest.front() != '.') return bad;
  }
  const bool bare_number =
      rest.size() == text.size() && !text.empty() && (absl::ascii_isdigit(text.back()) || text.back() == '.');
  absl::Duration duration;
  if (!absl::ParseDuration(bare_number ? absl::StrCat(text, "s") : std::string(rest), &duration)) return bad;
  duration = absl::StartsWith(text, "-") ? days - absl::AbsDuration(duration) : days + duration;
  if (absl::AbsDuration(duration) > kMaxProtoDuration) return bad;
  return duration;
}

absl::Status SetDuration(absl::string_view option, absl::string_view text,
                         google::protobuf::Duration& duration) {
  const absl::StatusOr<absl::Duration> parsed = ParseDurationArg(text);
  if (!parsed.ok()) return InOption(option, parsed.status());
  duration = ToProto(*parsed);
  return absl::OkStatus();
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int32_t>(duration / absl::Nanoseconds(1)));
  return proto;
}

}  // namespace jobpool::cli
