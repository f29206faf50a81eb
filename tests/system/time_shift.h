// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "tests/lib/http_peer.h"

namespace firedrill::test {

/// A Prometheus whose clock is `ahead_ms` ahead of ours: stands before a real one, and moves every
/// instant in questions and answers.
class TimeShift {
 public:
  TimeShift(int prometheus_port, std::int64_t ahead_ms);
  std::string url() const { return peer_.url(); }

 private:
  std::string Answer(const std::string& request) const;
  const int port_;
  const std::int64_t ahead_ms_;
  HttpPeer peer_;
};

}  // namespace firedrill::test
