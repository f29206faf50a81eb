// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/metrics/metrics.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

struct GrafanaOptions {
  std::string url;         ///< http://grafana:3000
  std::string token_file;  ///< A service account's token; read again for each request.
  Nanoseconds look_every = std::chrono::milliseconds(500);
  Nanoseconds deadline = std::chrono::seconds(5);    ///< Of one request.
  Nanoseconds first_wait = std::chrono::seconds(1);  ///< Before the second try; doubles each time.
  Nanoseconds longest_wait = std::chrono::minutes(1);
  Nanoseconds give_up_after = std::chrono::minutes(10);
  std::size_t most = 1000;  ///< Annotations that wait or belong to runs under way.
};

/// Writes each fault's window into Grafana as an annotation: at its first impact, and again with
/// its end. Works on a thread of its own from what the runs show, so it is never in a run's way:
/// what Grafana does not take is tried again, then given up with a log line. Each injection has one
/// annotation, also across a restart of the controller: its tag injection:ID is looked for where it
/// may have been written before. Thread-safe.
class GrafanaAnnotator {
 public:
  using LiveRuns = std::function<std::vector<std::shared_ptr<const v1::Run>>()>;

  /// `live` is asked on the annotator's thread until Stop. INVALID_ARGUMENT: the URL is none, or
  /// the token cannot be read.
  static absl::StatusOr<std::unique_ptr<GrafanaAnnotator>> Create(
      GrafanaOptions options, LiveRuns live, const Clock& clock = Clock::Real());
  ~GrafanaAnnotator();
  GrafanaAnnotator(const GrafanaAnnotator&) = delete;
  GrafanaAnnotator& operator=(const GrafanaAnnotator&) = delete;

  /// A run as it was in the end; it may never have been seen among the live ones. Does not block.
  void RunFinished(const v1::Run& run);
  /// Looks a last time, tries what waits once more, for two seconds at most, and asks no more.
  void Stop();
  AnnotationFigures figures() const;

 private:
  struct State;
  explicit GrafanaAnnotator(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace firedrill::controller
