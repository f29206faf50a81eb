// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/prometheus.h"

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/probe/alignment.h"
#include "controller/probe/answer.h"
#include "controller/probe/fetch.h"
#include "controller/probe/fetch_options.h"
#include "controller/probe/inquiry.h"
#include "controller/probe/route_watch.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kGridsKept = 256;

}  // namespace

class PrometheusProbe::Impl {
 public:
  Impl(PrometheusOptions options, const Clock& clock)
      : options_(std::move(options)), clock_(clock), route_watch_(clock) {}

  ProbeAnswer Ask(const ProbeQuestion& question);
  std::optional<Nanoseconds> ScrapeInterval();

 private:
  absl::Status AskWith(Fetcher& fetcher, const ProbeQuestion& question, ProbeAnswer& answer);
  std::optional<Nanoseconds> KnownScrapeInterval() ABSL_LOCKS_EXCLUDED(mutex_);
  std::unique_ptr<Fetcher> TakeFetcher() ABSL_LOCKS_EXCLUDED(mutex_);

  const PrometheusOptions options_;
  const Clock& clock_;
  RouteWatch route_watch_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Fetcher>> idle_ ABSL_GUARDED_BY(mutex_);
  ClockAligner aligner_ ABSL_GUARDED_BY(mutex_);
  PrometheusKnowledge known_ ABSL_GUARDED_BY(mutex_);
};

std::unique_ptr<Fetcher> PrometheusProbe::Impl::TakeFetcher() {
  absl::MutexLock lock(&mutex_);
  if (idle_.empty()) return std::make_unique<Fetcher>(clock_);
  std::unique_ptr<Fetcher> fetcher = std::move(idle_.back());
  idle_.pop_back();
  return fetcher;
}

absl::Status PrometheusProbe::Impl::AskWith(Fetcher& fetcher, const ProbeQuestion& question,
                                            ProbeAnswer& answer) {
  const SteadyTime begin = clock_.Steady();
  const SteadyTime deadline = begin + options_.deadline;
  ASSIGN_OR_RETURN(const FetchOptions fetch_options, ReadFetchOptions(options_));
  const auto fetch = [&](const std::vector<FetchRequest>& requests) {
    return fetcher.Fetch(fetch_options, requests, deadline);
  };
  ASSIGN_OR_RETURN(const ToldTime told, AskTime(fetch, clock_));
  PrometheusKnowledge known;
  ClockAligner::Result aligned;
  {
    absl::MutexLock lock(&mutex_);
    aligned = aligner_.Add(told.sent, told.received, told.now_ms, clock_.Steady());
    known = known_;
  }
  // The phases of scrapes were of another time.
  if (aligned.jumped) known.grids.clear();
  answer.clock_offset = aligned.alignment.offset;
  answer.clock_uncertainty = aligned.alignment.uncertainty;
  answer.clock_jumped = aligned.jumped;

  const GivenIntervals given{options_.scrape_interval, options_.evaluation_interval};
  Inquiry inquiry(question, given, told.now_ms, aligned.alignment, known, answer);
  inquiry.Run(fetch, begin);
  if (!question.alerts.empty()) {
    route_watch_.Refresh(fetch_options);
    if (const auto routes = route_watch_.Known()) inquiry.Route(*routes);
  }
  absl::MutexLock lock(&mutex_);
  known_ = std::move(known);
  if (known_.grids.size() > kGridsKept) known_.grids.clear();
  if (known_.numbers.size() > kGridsKept) known_.numbers.clear();
  return absl::OkStatus();
}

ProbeAnswer PrometheusProbe::Impl::Ask(const ProbeQuestion& question) {
  ProbeAnswer answer;
  answer.asked_at = clock_.System();
  answer.indicators.resize(question.indicators.size());
  answer.alerts.resize(question.alerts.size());
  answer.stop_conditions.resize(question.stop_conditions.size());
  std::unique_ptr<Fetcher> fetcher = TakeFetcher();
  answer.status = AskWith(*fetcher, question, answer);
  {
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(fetcher));
  }
  if (!answer.status.ok()) {
    for (auto& part : answer.indicators) part.status = answer.status;
    for (auto& part : answer.alerts) part.status = answer.status;
    for (auto& part : answer.stop_conditions) part.status = answer.status;
  }
  return answer;
}

std::optional<Nanoseconds> PrometheusProbe::Impl::KnownScrapeInterval() {
  absl::MutexLock lock(&mutex_);
  const auto intervals =
      IntervalsOf(known_, {options_.scrape_interval, options_.evaluation_interval});
  if (!intervals) return std::nullopt;
  return intervals->scrape_interval;
}

std::optional<Nanoseconds> PrometheusProbe::Impl::ScrapeInterval() {
  if (const auto known = KnownScrapeInterval()) return known;
  ProbeQuestion nothing;
  nothing.since = clock_.System();
  Ask(nothing);  // learns it
  return KnownScrapeInterval();
}

absl::StatusOr<std::unique_ptr<PrometheusProbe>> PrometheusProbe::Create(PrometheusOptions options,
                                                                         const Clock& clock) {
  RETURN_IF_ERROR(ValidatePrometheusOptions(options));
  auto impl = std::make_unique<Impl>(std::move(options), clock);
  return std::unique_ptr<PrometheusProbe>(new PrometheusProbe(std::move(impl)));
}

PrometheusProbe::PrometheusProbe(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PrometheusProbe::~PrometheusProbe() = default;

ProbeAnswer PrometheusProbe::Ask(const ProbeQuestion& question) { return impl_->Ask(question); }

std::optional<Nanoseconds> PrometheusProbe::ScrapeInterval() { return impl_->ScrapeInterval(); }

}  // namespace firedrill::controller
