// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

namespace firedrill::agent {

class Host;

/// Threads of a worker bear their injection's name, so that any process can see whether one is
/// left. `kind` has at most 6 bytes: the name, as /proc/PID/task/TID/comm shows it, has 15.
std::string MarkOf(const std::string& kind, const std::string& injection_id);

/// Names the calling thread.
void MarkThread(const std::string& mark);

/// OK if no worker on this host has a thread of that name; otherwise says which process has.
absl::Status VerifyNoMark(const Host& host, const std::string& mark);

}  // namespace firedrill::agent
