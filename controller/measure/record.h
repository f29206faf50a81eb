// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "controller/measure/measure.h"

// A run's evidence as it is stored: raw samples as series, all else as v1::Evidence.
namespace firedrill::controller {

/// Collects what the probe and the webhooks say of one run, in memory and in the run's message, so
/// that measuring the stored run again gives the same. Not thread-safe.
class EvidenceRecord {
 public:
  /// Takes up what the run holds already. The run must outlive this object.
  explicit EvidenceRecord(v1::Run& run);

  /// Merges an answer: what was told once stays, also when Prometheus forgets it. Samples that are
  /// new are added to `new_samples` too. True if anything is new.
  bool Take(const ProbeAnswer& answer, std::vector<v1::Series>& new_samples);
  /// Adds notifications of the experiment's alerts; duplicates do no harm. True if any was new.
  bool Take(const std::vector<AlertNotice>& notices);

  const Evidence& evidence() const { return evidence_; }

  /// Measures up to `now`, and writes results, marks and summaries into the run.
  Measures Measure(SystemTime now, bool final);

 private:
  v1::Run& run_;
  Evidence evidence_;
};

/// The evidence of a stored run with its series.
Evidence EvidenceOf(const v1::Run& run);

/// Computes everything that is measured anew from the stored evidence: of a run that this version
/// of Firedrill finished, the same bytes. FAILED_PRECONDITION: the run holds no evidence (an older
/// version wrote it).
absl::Status MeasureAgain(v1::Run& run);

}  // namespace firedrill::controller
