// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/faults/comebacks.h"
#include "agent/faults/fault.h"
#include "agent/host/descriptor.h"
#include "agent/host/listening.h"
#include "agent/host/processes.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

class Host;

/// When what was killed had ended, was there again and answered again: the first of each.
/// Not thread-safe.
class RestartWatch {
 public:
  struct Sink {
    std::function<void(ImpactEvent)> event;
    std::function<void(const char* counter, double value)> counter;
  };

  /// `host` must outlive it.
  RestartWatch(const Host& host, const v1::RestartWatch& watch, Sink sink);

  /// Before a kill: remembers where the victims listen. Begins anew.
  void Begin(const std::vector<Process>& victims);

  /// A victim has ended at `at`, and its sockets are closed.
  void Exited(const Process& process, SteadyTime at, bool from_kernel, Nanoseconds uncertainty);
  void CameBack(const Comeback& comeback);
  /// Asks the port, if it is time to.
  void Tick();

  /// Nothing more will be seen, or looked for.
  bool over() const;
  /// When Tick has something to do.
  SteadyTime NextTick() const;

 private:
  void Answered(SteadyTime at, Nanoseconds uncertainty);
  double SinceExit(SteadyTime at) const;

  const Host& host_;
  const Nanoseconds within_;
  const int port_;  // 0: the lowest on which a victim listened
  const Sink sink_;
  SteadyTime begun_;
  std::optional<ListeningAddress> where_;
  bool elsewhere_ = false;  // the victims live in another network namespace
  Descriptor netns_;        // the one in which what came back lives, if another
  std::optional<SteadyTime> exited_;
  bool respawned_ = false;
  bool answered_ = false;
  bool cannot_ask_ = false;
  SteadyTime asked_at_;
};

}  // namespace firedrill::agent
