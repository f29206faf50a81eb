// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "agent/faults/fault.h"
#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::agent {

/// What the supervisor knows of one injection.
struct Injection {
  /// How far its end has come.
  enum class Ending { kNot, kReverting, kWorkerLeaving, kVerifying };

  InjectionRequest request;
  std::string run_id;
  bool traffic = false;
  bool preview = false;  ///< Touches nothing: counts what it would touch.
  v1::InjectionState state = v1::INJECTION_STATE_APPLYING;
  Ending ending = Ending::kNot;
  int worker = 0;        ///< Its worker's pid.
  std::string record;    ///< Its id in the journal.
  bool refused = false;  ///< It was never applied.
  std::optional<SystemTime> applied_at;
  std::optional<SystemTime> ended_at;
  Impact impact;
  v1::EndReason reason = v1::END_REASON_UNSPECIFIED;
  bool end_proven = false;
  std::string error;
  SteadyTime deadline;  ///< Of the present step of its end; when it is forgotten, once it is over.
  SteadyTime verified_at;  ///< When it was last looked for.

  bool over() const {
    return state == v1::INJECTION_STATE_ENDED || state == v1::INJECTION_STATE_FAILED;
  }
  void AddError(const std::string& text);
  v1::InjectionUpdate ToUpdate() const;
};

/// An injection's record in the journal, and back: so that a restarted agent can prove the end of
/// what its predecessor held.
std::map<std::string, std::string> ToRecord(const Injection& injection,
                                            const std::string& worker_start_time);
absl::StatusOr<Injection> FromRecord(const UndoRecord& record);

inline constexpr const char* kInjectionRecord = "injection";
inline constexpr const char* kWorkerPid = "worker_pid";
inline constexpr const char* kWorkerStartTime = "worker_start_time";

}  // namespace firedrill::agent
