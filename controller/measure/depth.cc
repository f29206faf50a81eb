// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/depth.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kDefaultPeriod = std::chrono::hours(30 * 24);  // experiment.proto says so

enum class Better { kMore, kLess, kNeither };

Better BetterOf(const v1::Comparison& expect) {
  switch (expect.operator_()) {
    case v1::OPERATOR_GREATER:
    case v1::OPERATOR_GREATER_OR_EQUAL:
      return Better::kMore;
    case v1::OPERATOR_LESS:
    case v1::OPERATOR_LESS_OR_EQUAL:
      return Better::kLess;
    case v1::OPERATOR_EQUAL:
    case v1::OPERATOR_NOT_EQUAL:
    case v1::OPERATOR_UNSPECIFIED:
    case v1::Operator_INT_MIN_SENTINEL_DO_NOT_USE_:
    case v1::Operator_INT_MAX_SENTINEL_DO_NOT_USE_:
      return Better::kNeither;
  }
  return Better::kNeither;
}

std::optional<double> Median(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return values[middle - 1] + (values[middle] - values[middle - 1]) / 2;
}

// 0 to 1; `baseline` is positive.
double Quality(Better better, double baseline, double value) {
  if (better == Better::kMore) return std::clamp(value / baseline, 0.0, 1.0);
  return value <= baseline ? 1.0 : std::clamp(baseline / value, 0.0, 1.0);
}

// The integral of `loss` of the value over the time, in seconds; none where samples are missing.
std::optional<double> Integral(const DepthInput& input,
                               const std::function<double(double value)>& loss) {
  double sum = 0;
  std::optional<RawSample> last;
  const auto hold_until = [&](SystemTime end) {
    if (!last || end - last->at > input.longest_step) return false;
    const SystemTime from = std::max(last->at, input.impact);
    if (end > from) sum += loss(last->value) * Seconds(end - from);
    return true;
  };
  for (const RawSample& sample : input.samples) {
    if (std::isnan(sample.value)) continue;
    if (sample.at >= input.until) break;
    if (sample.at > input.impact && !hold_until(sample.at)) return std::nullopt;
    last = sample;
  }
  if (!hold_until(input.until)) return std::nullopt;
  return sum;
}

}  // namespace

void MeasureDepth(const DepthInput& input, v1::IndicatorResult& result) {
  std::vector<double> before;
  for (const RawSample& sample : input.samples) {
    if (sample.at < input.shows && std::isfinite(sample.value)) before.push_back(sample.value);
  }
  const std::optional<double> baseline = Median(std::move(before));
  if (baseline) result.set_baseline(*baseline);
  const Better better = BetterOf(input.indicator.expect());
  if (baseline && *baseline > 0 && better != Better::kNeither) {
    if (input.worst) result.set_lowest_quality(Quality(better, *baseline, *input.worst));
    const std::optional<double> lost =
        Integral(input, [&](double value) { return 1 - Quality(better, *baseline, value); });
    if (lost) *result.mutable_lost() = ToProto(Nanoseconds(std::llround(*lost * 1e9)));
  }
  if (!input.indicator.has_objective()) return;
  const v1::Objective& objective = input.indicator.objective();
  const Nanoseconds period =
      objective.has_period() ? FromProto(objective.period()) : kDefaultPeriod;
  const double budget = (1 - objective.percent() / 100) * Seconds(period);
  if (budget <= 0) return;
  const std::optional<double> bad =
      Integral(input, [](double value) { return 1 - std::clamp(value, 0.0, 1.0); });
  if (bad) result.set_budget_burned(*bad / budget);
}

}  // namespace firedrill::controller
