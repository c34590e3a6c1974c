#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

/// Returns from the function with the status of `expr` unless it is OK.
#define JOBPOOL_RETURN_IF_ERROR(expr)                   \
  do {                                                  \
    if (absl::Status status_ = (expr); !status_.ok()) { \
      return status_;                                   \
    }                                                   \
  } while (false)

#define JOBPOOL_STATUS_CONCAT_INNER(a, b) a##b
#define JOBPOOL_STATUS_CONCAT(a, b) JOBPOOL_STATUS_CONCAT_INNER(a, b)

/// Evaluates an absl::StatusOr: returns its status if it is an error, else
/// moves the value into `lhs`, which may declare a variable.
#define JOBPOOL_ASSIGN_OR_RETURN(lhs, expr)                                 \
  auto JOBPOOL_STATUS_CONCAT(status_or_, __LINE__) = (expr);                \
  if (!JOBPOOL_STATUS_CONCAT(status_or_, __LINE__).ok()) {                  \
    return std::move(JOBPOOL_STATUS_CONCAT(status_or_, __LINE__)).status(); \
  }                                                                         \
  lhs = *std::move(JOBPOOL_STATUS_CONCAT(status_or_, __LINE__))
