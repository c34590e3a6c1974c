#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/job/errors.h"
#include "server/job/job_record.h"

namespace jobpool {

/// Collects what is wrong with a request, so that its caller learns all of it at
/// once. Not thread-safe.
class Violations {
 public:
  void Add(absl::string_view field, absl::string_view description);
  bool empty() const { return violations_.empty(); }

  /// OK, or INVALID_ARGUMENT with every violation (at most 100).
  absl::Status ToStatus() const;

 private:
  std::vector<FieldViolation> violations_;
};

// Each adds a violation of `field` to `violations` if the value is out of bounds.

/// 1 to `max_characters` characters of UTF-8 without control characters.
void CheckDisplayName(absl::string_view value, size_t max_characters, absl::string_view field,
                      Violations& violations);
void CheckJobId(absl::string_view value, absl::string_view field, Violations& violations);
void CheckLabels(const Labels& labels, absl::string_view field, Violations& violations);
void CheckRange(int64_t value, int64_t min, int64_t max, absl::string_view field, Violations& violations);
void CheckRange(absl::Duration value, absl::Duration max, absl::string_view field, Violations& violations);
/// Not a number is out of every range.
void CheckRealRange(double value, double min, double max, absl::string_view field, Violations& violations);
void CheckPayload(absl::string_view payload, absl::string_view field, Violations& violations);

/// `work`'s bounds; `prefix`: the path of the job in the request (`job`).
void CheckWork(const Work& work, absl::string_view prefix, Violations& violations);

/// How many characters; nothing if it is not UTF-8 (RFC 3629: no surrogates, no
/// overlong forms, nothing past U+10FFFF) or holds a control character (Unicode's
/// category Cc: C0, DEL, C1).
std::optional<size_t> CountPrintable(absl::string_view text);

/// For a message: `text` in quotes, cut to 80 bytes, or that it is not printable.
std::string Shown(absl::string_view text);

/// `text` for people: at most `max_bytes`, UTF-8, without control characters; those that are white space are
/// shown as spaces, the others, and what is malformed, as `?`.
std::string PrintableText(absl::string_view text, size_t max_bytes);

/// Whether `key` is `[a-z][a-z0-9_-]{0,62}`.
bool IsLabelKey(absl::string_view key);

/// Bytes of `text` up to a character's end, at most `max_bytes`.
absl::string_view CutAtCharacter(absl::string_view text, size_t max_bytes);

}  // namespace jobpool
