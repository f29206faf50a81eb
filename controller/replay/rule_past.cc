// SPDX-License-Identifier: Apache-2.0
#include "controller/replay/rule_past.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "controller/probe/fetch.h"
#include "controller/probe/fetch_options.h"
#include "controller/probe/inquiry.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kPointsAQuery = 11'000;  // Prometheus refuses more
constexpr std::int64_t kQueries = 64;
constexpr std::size_t kAtOnce = 2;  // Prometheus has others to serve
constexpr std::size_t kMostSeries = 500;
constexpr std::size_t kMostStretches = 200'000;
constexpr std::int64_t kHolePoints = 2'000;       // over the whole past
constexpr std::int64_t kShortestHoleMs = 60'000;  // below it is a late scrape
constexpr Nanoseconds kDeadline = seconds(90);    // for all
constexpr Nanoseconds kOneDeadline = seconds(15);

std::int64_t DivideUp(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }

std::string LabelsText(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, QuoteLabelValue(value));
  }
  return text;
}

absl::Status WithAdvice(const absl::Status& status) {
  if (!absl::IsResourceExhausted(status) && !absl::IsDeadlineExceeded(status)) return status;
  return {status.code(),
          fmt::format("{}; ask for less of the past", std::string(status.message()))};
}

// One Read on its way.
class Reading {
 public:
  Reading(const RulePastQuestion& question, const PrometheusOptions& options, const Clock& clock,
          const std::function<bool()>& stop)
      : question_(question),
        options_(options),
        clock_(clock),
        stop_(stop),
        fetcher_(clock),
        deadline_(clock.Steady() + kDeadline) {}

  absl::StatusOr<RulePast> Run() {
    ASSIGN_OR_RETURN(const Fetch fetch, Fetching());
    ASSIGN_OR_RETURN(const ToldTime told, AskTime(fetch, clock_));
    past_.clock_offset =
        told.sent + (told.received - told.sent) / 2 - SystemTime(milliseconds(told.now_ms));
    Place(told.now_ms);
    RETURN_IF_ERROR(AskHoles());
    RETURN_IF_ERROR(AskExpression());
    for (const auto& [labels, stretches] : past_.series) {
      past_.from_ms = std::min(past_.from_ms, stretches.front().first_ms);
    }
    past_.clipped = past_.from_ms > begin_ms_ + past_.step_ms;
    return std::move(past_);
  }

 private:
  // How to ask once more; not OK: it is time to end.
  absl::StatusOr<Fetch> Fetching() {
    if (stop_ && stop_()) return absl::CancelledError("nobody waits for the replay any more");
    const SteadyTime now = clock_.Steady();
    if (now >= deadline_) {
      return absl::DeadlineExceededError(
          fmt::format("replaying took over {} s", ToMs(kDeadline) / 1000));
    }
    ASSIGN_OR_RETURN(FetchOptions options, ReadFetchOptions(options_));
    return Fetch(
        [this, options = std::move(options), until = std::min(deadline_, now + kOneDeadline)](
            const std::vector<FetchRequest>& requests) {
          return fetcher_.Fetch(options, requests, until);
        });
  }

  absl::StatusOr<std::vector<absl::StatusOr<PrometheusAnswer>>> Ask(
      const std::vector<FetchRequest>& requests) {
    ASSIGN_OR_RETURN(const Fetch fetch, Fetching());
    std::vector<absl::StatusOr<PrometheusAnswer>> answers;
    for (const auto& fetched : fetch(requests)) answers.push_back(ParseFetched(fetched));
    return answers;
  }

  // Which evaluations are replayed.
  void Place(std::int64_t now_ms) {
    const std::int64_t interval_ms = std::max<std::int64_t>(1, ToMs(question_.evaluation_interval));
    const std::int64_t look_back_ms = ToMs(question_.look_back);
    const std::int64_t evaluations = look_back_ms / interval_ms + 1;
    past_.step_ms = interval_ms * DivideUp(evaluations, kPointsAQuery * kQueries);
    const std::int64_t anchor_ms = question_.evaluated_at_ms.value_or(0);
    const std::int64_t since = (now_ms - anchor_ms) % past_.step_ms;
    past_.to_ms = now_ms - (since < 0 ? since + past_.step_ms : since);
    begin_ms_ = past_.to_ms - look_back_ms / past_.step_ms * past_.step_ms;
    past_.from_ms = begin_ms_;
  }

  // Where the newest sample of any target was old, nothing was scraped.
  absl::Status AskHoles() {
    const std::int64_t step_ms = std::max(
        {past_.step_ms, kShortestHoleMs / 2, DivideUp(past_.to_ms - begin_ms_ + 1, kHolePoints)});
    ASSIGN_OR_RETURN(
        const auto answers,
        Ask({RangeQuery(kNewestScrapeQuery, {begin_ms_, past_.to_ms, step_ms}, kOneDeadline)}));
    if (!answers[0].ok()) {
      past_.holes_unknown = std::string(answers[0].status().message());
      return absl::OkStatus();
    }
    if (answers[0]->series.empty() || answers[0]->series[0].points.empty()) {
      past_.holes_unknown = "it has no series up";
      return absl::OkStatus();
    }
    const std::int64_t tolerated_ms =
        std::max(kShortestHoleMs, 3 * ToMs(question_.evaluation_interval));
    past_.from_ms = std::max(begin_ms_, answers[0]->series[0].points.front().at_ms);
    // Of the scrapes between two points only the newest one is seen.
    past_.holes = HolesOf(*answers[0], tolerated_ms + step_ms, past_.to_ms);
    for (Hole& hole : past_.holes) hole.from_ms = std::max(hole.from_ms, past_.from_ms);
    return absl::OkStatus();
  }

  absl::Status AskExpression() {
    const std::int64_t moved_ms = ToMs(question_.query_offset);
    const std::int64_t chunk_ms = (kPointsAQuery - 1) * past_.step_ms;
    std::vector<FetchRequest> requests;
    std::int64_t start_ms = begin_ms_;
    while (start_ms <= past_.to_ms) {
      requests.clear();
      while (start_ms <= past_.to_ms && requests.size() < kAtOnce) {
        const std::int64_t end_ms = std::min(start_ms + chunk_ms, past_.to_ms);
        requests.push_back(RangeQuery(question_.expression,
                                      {start_ms - moved_ms, end_ms - moved_ms, past_.step_ms},
                                      kOneDeadline));
        start_ms = end_ms + past_.step_ms;
      }
      ASSIGN_OR_RETURN(const auto answers, Ask(requests));
      for (const auto& answer : answers) {
        RETURN_IF_ERROR(WithAdvice(answer.status()));
        RETURN_IF_ERROR(Take(*answer, moved_ms));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Take(const PrometheusAnswer& answer, std::int64_t moved_ms) {
    std::size_t stretches = 0;
    for (const PrometheusSeries& series : answer.series) {
      past_.Add(LabelsText(series.labels), series.points, moved_ms);
    }
    for (const auto& [labels, of_series] : past_.series) stretches += of_series.size();
    if (past_.series.size() > kMostSeries || stretches > kMostStretches) {
      return WithAdvice(absl::ResourceExhaustedError(fmt::format(
          "the expression gave {} series that were true {} times; replayed are at most {} and {}",
          past_.series.size(), stretches, kMostSeries, kMostStretches)));
    }
    return absl::OkStatus();
  }

  const RulePastQuestion& question_;
  const PrometheusOptions& options_;
  const Clock& clock_;
  const std::function<bool()>& stop_;
  Fetcher fetcher_;
  const SteadyTime deadline_;
  std::int64_t begin_ms_ = 0;
  RulePast past_;
};

}  // namespace

void RulePast::Add(const std::string& labels, const std::vector<PrometheusPoint>& points,
                   std::int64_t moved_by_ms) {
  if (points.empty()) return;
  std::vector<Stretch>& stretches = series[labels];
  for (const PrometheusPoint& point : points) {
    const std::int64_t at_ms = point.at_ms + moved_by_ms;
    if (!stretches.empty() && at_ms - stretches.back().last_ms <= step_ms) {
      stretches.back().last_ms = std::max(stretches.back().last_ms, at_ms);
    } else {
      stretches.push_back({at_ms, at_ms});
    }
  }
}

absl::StatusOr<std::unique_ptr<PrometheusPast>> PrometheusPast::Create(PrometheusOptions options,
                                                                       const Clock& clock) {
  RETURN_IF_ERROR(ValidatePrometheusOptions(options));
  return std::unique_ptr<PrometheusPast>(new PrometheusPast(std::move(options), clock));
}

PrometheusPast::PrometheusPast(PrometheusOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

absl::StatusOr<RulePast> PrometheusPast::Read(const RulePastQuestion& question,
                                              const std::function<bool()>& stop) {
  return Reading(question, options_, clock_, stop).Run();
}

}  // namespace firedrill::controller
