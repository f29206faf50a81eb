// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/measure/measure.h"

// A run's evidence as it is stored: raw samples as series, all else as v1::Evidence.
namespace firedrill::controller {

/// Collects what the probe and the webhooks say of one run, in memory and in the run's message, so
/// that measuring the stored run again gives the same. Bounded: the first 200 notifications of an
/// alert (Alertmanager tells of the beginning first), of ALERTS 32 sets of labels that fired and
/// the pending ones that came first (evidence.h), 1000 blind times. Not thread-safe.
class EvidenceRecord {
 public:
  /// Takes up what the run holds already. The run must outlive this object.
  explicit EvidenceRecord(v1::Run& run);
  EvidenceRecord(const EvidenceRecord&) = delete;
  EvidenceRecord& operator=(const EvidenceRecord&) = delete;

  /// Merges an answer to a question that looked back to `since`: a sample that was told once stays
  /// where it was, also when Prometheus forgets it. Samples that are new are added to `new_samples`
  /// too. True if anything is new that must be stored.
  bool Take(const ProbeAnswer& answer, SystemTime since, std::vector<v1::Series>& new_samples);
  /// Adds notifications of the experiment's alerts; duplicates (fingerprint, startsAt, status) do
  /// no harm. One whose labels Prometheus' configuration has changed on the way is known by those
  /// of the alert's samples, so it may wait for them: a minute in which Prometheus answers. True if
  /// any was new.
  bool Take(const std::vector<AlertNotice>& notices);

  const Evidence& evidence() const { return evidence_; }

  /// Measures up to `now`, and writes results, marks and summaries into the run. `final`,
  /// `cut_short`: Evidence's.
  Measures Measure(SystemTime now, bool final, bool cut_short = false);

 private:
  bool SentAsTheyAre() const;  // Prometheus changes no label on the way
  bool IsNamed(std::size_t i, const AlertNotice& notice) const;
  std::vector<std::map<std::string, std::string>> SentSeries(std::size_t i) const;
  bool Place(const std::vector<const AlertNotice*>& notices, std::set<const AlertNotice*>& placed);
  bool TakeWaiting(const ProbeAnswer& answer);
  bool TakeAlert(const ProbeAnswer& answer, std::size_t i, std::vector<v1::Series>& new_samples);
  bool TakeIndicator(const ProbeAnswer& answer, std::size_t i,
                     std::vector<v1::Series>& new_samples);
  bool TakeBlind(const std::vector<TimeSpan>& blind, SystemTime since);
  bool TakeSamples(const std::string& name, const std::vector<RawSample>& fresh, Nanoseconds same,
                   std::vector<RawSample>& known, std::vector<v1::Series>& new_samples);
  v1::Series& SeriesNamed(const std::string& name);
  // Of the routes that the alert takes the one that brought its first notification to us: what was
  // measured is that one's grouping.
  void PickRoute(std::size_t i);
  void Write();  // all but samples

  v1::Run& run_;
  Evidence evidence_;
  std::vector<std::vector<AlertRoute>> routes_;  // of each alert, as the latest answer told
  std::shared_ptr<const AlertPath> path_;        // likewise; null: not known
  std::optional<SystemTime> answered_at_;  // when alerts were asked for; nullopt: without success
};

/// Puts into `known` what is new of `fresh`; both are in order of time. A fresh sample within
/// `same` of a known one is that one: the clocks are aligned anew for each answer. It stays where
/// it was told. Returns those that are new, and those whose value changed.
std::vector<RawSample> MergeSamples(const std::vector<RawSample>& fresh, Nanoseconds same,
                                    std::vector<RawSample>& known);

/// Computes everything that is measured anew from the stored evidence: of a run that this version
/// of Firedrill finished, the same bytes. FAILED_PRECONDITION: the run holds no evidence (an older
/// version wrote it).
absl::Status MeasureAgain(v1::Run& run);

}  // namespace firedrill::controller
