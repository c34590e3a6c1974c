#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace jobpool {

// The bounds that callers are promised; proto/jobpool/v1 states each beside its
// field. Sizes in characters count Unicode code points.

inline constexpr size_t kMaxDisplayNameCharacters = 128;
inline constexpr size_t kMaxThreadNameCharacters = 64;
inline constexpr size_t kMaxLabels = 32;
inline constexpr size_t kMaxLabelKeyBytes = 63;
inline constexpr size_t kMaxLabelValueCharacters = 63;
inline constexpr size_t kMaxIdBytes = 63;

inline constexpr absl::Duration kMaxRetention = absl::Hours(30 * 24);
inline constexpr absl::Duration kDefaultRetention = absl::Hours(24);
inline constexpr absl::Duration kMaxTimeout = absl::Hours(30 * 24);

/// How far ahead a job's times may be.
inline constexpr absl::Duration kMaxAhead = absl::Hours(30 * 24);
inline constexpr int kPriorities = 10;
inline constexpr int kDefaultPriority = 4;
inline constexpr int32_t kMaxAttempts = 100;
inline constexpr absl::Duration kMaxBackoff = absl::Hours(24);
inline constexpr double kMaxBackoffMultiplier = 100;

inline constexpr absl::Duration kMaxSleep = absl::Hours(7 * 24);
inline constexpr int64_t kMaxPrimesLimit = 1'000'000'000'000;
inline constexpr int64_t kMaxFibonacciIndex = 1'000'000;
inline constexpr int32_t kMinPiDigits = 1;
inline constexpr int32_t kMaxPiDigits = 200'000;
inline constexpr int64_t kMaxHashBytes = int64_t{1} << 40;
inline constexpr absl::Duration kMaxSpin = absl::Hours(24);
inline constexpr size_t kMaxPayloadBytes = size_t{1} << 20;
inline constexpr size_t kMaxCommandArguments = 32;
inline constexpr size_t kMaxCommandEnvironment = 32;
inline constexpr size_t kMaxEnvironmentValueBytes = 4096;
/// Of the names and values of arguments and environment together.
inline constexpr size_t kMaxCommandBytes = size_t{256} << 10;
/// Of all that a program is given as its arguments; Linux takes 128 KiB for one.
inline constexpr size_t kMaxArgvBytes = (size_t{128} << 10) - 1;
/// Of each of the two streams that are kept of a program, so that a result stays below kMaxAnswerBytes.
inline constexpr size_t kMaxOutputBytes = size_t{1} << 20;
/// Of a plug-in's words: why work failed, or a line for the log; and how far it is.
inline constexpr size_t kMaxPluginTextBytes = 1024;
inline constexpr size_t kMaxPluginProgressBytes = 256;

inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;
inline constexpr int kDefaultThreadPageSize = 1000;
inline constexpr int kMaxThreadPageSize = 10'000;
inline constexpr int kMaxWaitNames = 10'000;
inline constexpr int kMaxBatchRequests = 10'000;
inline constexpr int kMaxWatchedJobs = 10'000;
/// Of one message of StreamJobs, either way: few enough that no thread is long at it, enough that what a
/// message costs by itself is nothing beside them.
inline constexpr int kMaxStreamEntries = 1'000;
/// Of one call of StreamJobs: jobs on their way beyond which no further message is read. Enough for as many
/// as a pool ends in some hundredths of a second; it is also by how many another's job can be held up by one
/// that floods the queue.
inline constexpr int kMaxStreamJobs = 10'000;
/// Likewise, bytes of what they carry: the largest message that a server takes by default.
inline constexpr int64_t kMaxStreamBytes = int64_t{16} << 20;
inline constexpr size_t kMaxFilterCharacters = 2'000;
inline constexpr int kMaxFilterComparisons = 64;

/// How long a request_id is remembered.
inline constexpr absl::Duration kRequestIdLifetime = absl::Hours(24);

/// No answer is larger: gRPC's clients receive 4 MiB by default.
inline constexpr size_t kMaxAnswerBytes = size_t{3} << 20;

}  // namespace jobpool
