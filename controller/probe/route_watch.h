// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/probe/fetch.h"
#include "controller/probe/route.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Keeps what the Alertmanagers of a Prometheus tell of their routes. Asks at most once a minute,
/// and every five seconds until something is known: on a thread of its own, so that one that cannot
/// be reached is in nobody's way. The Alertmanagers are asked without Prometheus' credentials.
/// Thread-safe.
class RouteWatch {
 public:
  explicit RouteWatch(const Clock& clock) : clock_(clock) {}
  /// Returns after the question that is under way, at most two seconds.
  ~RouteWatch();

  /// Asks again, unless that was done of late. `prometheus` is how it is asked which
  /// Alertmanagers it has. Returns at once.
  void Refresh(const FetchOptions& prometheus) ABSL_LOCKS_EXCLUDED(mutex_);

  /// The trees of all that could be asked; empty: Prometheus has no Alertmanager; nullptr: not
  /// known. What was told stays while nobody can be reached, and while a Prometheus that has just
  /// started may not have found its Alertmanagers yet: until it has told three times that it has
  /// none.
  std::shared_ptr<const std::vector<AlertRoutes>> Known() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() ABSL_LOCKS_EXCLUDED(mutex_);
  std::shared_ptr<const std::vector<AlertRoutes>> Learn(Fetcher& fetcher,
                                                        const FetchOptions& prometheus) const;
  bool Woken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopping_ || wanted_; }

  const Clock& clock_;
  mutable absl::Mutex mutex_;
  std::optional<FetchOptions> wanted_ ABSL_GUARDED_BY(mutex_);
  std::optional<SteadyTime> asked_at_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const std::vector<AlertRoutes>> known_ ABSL_GUARDED_BY(mutex_);
  int none_told_ ABSL_GUARDED_BY(mutex_) = 0;  // in a row: that there is no Alertmanager
  bool soon_ ABSL_GUARDED_BY(mutex_) = false;  // ask again soon: it is not known yet
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);  // since the first Refresh
};

}  // namespace firedrill::controller
