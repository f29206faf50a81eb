// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

// Errors of system calls by the names that errno(3) lists. All functions are thread-safe.
namespace firedrill {

/// The largest number that a system call's error can have: MAX_ERRNO of linux/err.h.
inline constexpr int kLargestErrno = 4095;

/// The error's number on this platform: 111 for "ECONNREFUSED". Capital letters, as programs spell
/// them; a second name of the same error (EWOULDBLOCK, ENOTSUP, EDEADLOCK) is known too.
std::optional<int> ErrnoByName(std::string_view name);

/// The error's name; empty for a number that has none.
std::string_view ErrnoName(int number);

}  // namespace firedrill
