// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/probe/probe.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

// From raw samples and webhooks to marks, outcomes and measures. Pure functions:
// the same evidence always gives the same result, so a stored run can be measured again. The rules
// stand at the top of detection.cc and recovery.cc.
namespace firedrill::controller {

/// An instant and how far it may be off.
struct Instant {
  SystemTime at;
  Nanoseconds uncertainty{0};  ///< ±
};

/// The instants of a run that the probe does not see, all on the controller's clock.
struct RunInstants {
  std::optional<Instant> first_impact;  ///< The earliest of the injections'.
  std::optional<Instant> ended;         ///< The latest of the injections', once all have ended.
  std::optional<Instant> acknowledged;  ///< A person has taken notice.
  std::optional<Instant> responder;     ///< The first act of a person: mitigated.
  /// Every fault is an event without duration (a kill): recovering "while it lasts" means without
  /// anyone acting.
  bool event = false;
  /// All are over, and of one nobody told when.
  bool end_unknown = false;
};

/// Reads the instants from the run's marks and injections. `ended` is given once the run has
/// injections, all of them have ended or failed, and each that ended has a mark of it. The ± of the
/// earliest and of the latest spans all of which it may have been.
RunInstants InstantsOf(const v1::Run& run);

/// What is known of one entry of the experiment's `detection`.
struct AlertEvidence {
  absl::Status status;               ///< Of the latest question; not OK: the end is not known.
  std::vector<AlertSeries> series;   ///< Raw samples of ALERTS, all since the preflight.
  std::vector<AlertNotice> notices;  ///< All since the preflight, of this alert (others are
                                     ///< ignored); duplicates do no harm.
  Nanoseconds uncertainty{0};        ///< ± of the samples' instants: the clocks' alignment.
  Nanoseconds clock_offset{0};      ///< ProbeAnswer's: notices carry instants of Prometheus' clock.
  std::vector<TimeSpan> blind;      ///< ProbeAnswer's: in these it could not have fired.
  std::vector<RawSample> truth;     ///< ProbeAnswer's: when the rule's expression held.
  std::optional<AlertRule> rule;    ///< As the latest answer that had one told it.
  std::optional<AlertRoute> route;  ///< Likewise; the webhook's own, once it has told of the alert.
  bool series_left_out = false;     ///< There were more series than are kept: one may have fired.
};

/// What is known of one entry of the experiment's `steady_state`.
struct IndicatorEvidence {
  absl::Status status;                  ///< Of the latest question.
  std::vector<RawSample> samples;       ///< All since the preflight, in order of time.
  std::optional<Nanoseconds> interval;  ///< Between samples; unknown: the samples' median.
  Nanoseconds uncertainty{0};           ///< ± of the samples' instants.
  Nanoseconds window{0};                ///< ProbeAnswer's: how far back each value looks.
};

/// A notification of no alert that is known so far: its labels may have been changed on the way, so
/// it waits for the alert's samples.
struct WaitingNotice {
  AlertNotice notice;
  Nanoseconds waited{0};  ///< While Prometheus answered.
};

/// Everything that measures are computed from.
struct Evidence {
  RunInstants instants;
  std::vector<AlertEvidence> alerts;          ///< One for each `detection`, in its order.
  std::vector<IndicatorEvidence> indicators;  ///< One for each `steady_state`, in its order.
  std::vector<TimeSpan> blind;                ///< Prometheus scraped nothing; also each alert's.
  /// Why it is not known whether there were other such times; empty: it is known.
  std::string blind_unknown;
  std::vector<WaitingNotice> waiting;  ///< None once it is final.
  SystemTime now;                      ///< Up to when was watched.
  bool final = false;      ///< The watch is over: what has not happened is decided as not happened,
  bool cut_short = false;  ///< unless it was over before its time: then that is not known.
};

struct Measures {
  std::vector<v1::AlertResult> alerts;
  std::vector<v1::IndicatorResult> indicators;
  /// slo_breached, recovered, alert_pending, alert_firing, notified, alert_resolved; by time.
  std::vector<v1::Mark> marks;
  v1::DetectionOutcome detection = v1::DETECTION_OUTCOME_UNSPECIFIED;
  v1::RecoveryOutcome recovery = v1::RECOVERY_OUTCOME_UNSPECIFIED;
  std::optional<v1::Measure> time_to_detect;       ///< The earliest of the expected alerts.
  std::optional<v1::Measure> time_to_notify;       ///< Likewise.
  std::optional<v1::Measure> time_to_acknowledge;  ///< By a person; absent: nobody did.
  std::optional<v1::Measure> time_to_mitigate;     ///< Likewise.
  std::optional<v1::Measure> time_to_recover;      ///< The latest of the indicators.
  std::uint32_t false_alarms = 0;  ///< Firings of alerts that ought to have stayed silent.
  std::vector<v1::Advice> advice;
  /// Where sources disagree by more than they are uncertain, and where not all was kept.
  std::vector<std::string> caveats;
  /// True when watching longer can change nothing that is asked for: the faults have ended, every
  /// indicator is well and has held, every alert is decided.
  bool settled = false;
  /// An indicator is well again but has not held long enough yet; by then it will have. Watch at
  /// least until this instant (and two scrapes more) even past `recover_within`: it began in time.
  std::optional<SystemTime> holding_until;
};

/// Computes everything anew from all evidence. Alerts or indicators missing in the evidence count
/// as unknown. While `final` is false, outcomes that may still change are unspecified.
Measures MeasureRun(const v1::Experiment& experiment, const Evidence& evidence);

/// Replaces in `run` what `measures` speaks of: results, summaries, advice, its caveats, and the
/// marks of its kinds. The marks stay in the order of their instants. Series and other caveats are
/// not touched.
void WriteMeasures(const Measures& measures, v1::Run& run);

/// What WriteMeasures writes, and nothing else of the run.
v1::Run MeasuredPart(const v1::Run& run);

}  // namespace firedrill::controller
