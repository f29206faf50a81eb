// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "firedrill/v1/run.pb.h"

namespace firedrill::controller {

/// What a pager's webhook told. Texts are on one line and bounded.
struct PagerMessage {
  bool pagerduty = false;            ///< PagerDuty's form; else the plain one.
  std::optional<v1::MarkKind> kind;  ///< ACKNOWLEDGED or MITIGATED; absent: it says neither.
  std::string why_not;               ///< Where `kind` is absent.
  std::string run;                   ///< The run that is meant, or the beginning of its id.
  std::string who;                   ///< Empty: not told.
  std::string note;
  std::string said_at;   ///< On the pager's clock, as it wrote it; empty: not told.
  std::string incident;  ///< The pager's id of it.
  std::string title;
  std::string key;  ///< PagerDuty's incident_key: what the alert's sender chose.
};

/// Reads a PagerDuty v3 webhook ({"event": {"event_type": …, "data": …}}), or the plain form:
/// {"action": "acknowledged"|"mitigated", "run", "by", "note", "at"}. INVALID_ARGUMENT says where
/// in the JSON something is wrong.
///
/// Of PagerDuty's events count, if a person did it: incident.acknowledged; incident.resolved (a
/// mitigation, unless it is a merge into another incident: what its sender resolves by itself,
/// because the alert is over, is nobody's act); incident.annotated with a note that begins with
/// "mitigated".
absl::StatusOr<PagerMessage> ParsePagerWebhook(std::string_view body);

/// The mark's detail: who, note, incident, and the instant on the pager's clock.
std::string DetailOf(const PagerMessage& message);

/// The run that a message is about, and its alert where the message names one.
struct PagerSubject {
  std::string run_id;
  std::string alert;
};

/// Which of the runs that are under way is meant: the one that is named; else the one whose
/// notified alert, or whose expected alert, stands as a word in the incident's title or key; else
/// the only one. FAILED_PRECONDITION says why it is none.
absl::StatusOr<PagerSubject> SubjectOf(const PagerMessage& message,
                                       const std::vector<std::shared_ptr<const v1::Run>>& runs);

}  // namespace firedrill::controller
