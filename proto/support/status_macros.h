// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expression` from the enclosing function if it is not OK.
#define RETURN_IF_ERROR(expression)                                           \
  do {                                                                        \
    if (absl::Status firedrill_status = (expression); !firedrill_status.ok()) \
      return firedrill_status;                                                \
  } while (false)

// Assigns the value of a StatusOr to `left` (a declaration or an lvalue), or returns its status.
#define ASSIGN_OR_RETURN(left, expression) \
  FIREDRILL_ASSIGN_OR_RETURN_(FIREDRILL_CONCAT_(firedrill_or_, __LINE__), left, expression)
#define FIREDRILL_ASSIGN_OR_RETURN_(result, left, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  left = *std::move(result)
#define FIREDRILL_CONCAT_(a, b) FIREDRILL_CONCAT_INNER_(a, b)
#define FIREDRILL_CONCAT_INNER_(a, b) a##b
