// SPDX-License-Identifier: Apache-2.0
#include "controller/statistics/survival.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <tuple>

#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr double kZ = 1.959963984540054;  // of the standard normal distribution, two-sided 95 %
constexpr double kSame = 1e-12;           // shares that differ by less are the same
constexpr std::array kProbabilities = {0.5, 0.9};

struct Step {
  Nanoseconds at{0};
  double remaining = 1;
  double low = 1;
  double high = 1;
  bool bounded = false;  // low and high are Greenwood's; they are not where nothing remains
  std::uint32_t at_risk = 0;
};

// S(t) = Π (1 - d/n). On the scale of log(-log S), where its error is nearest to normal, the
// variance is Greenwood's Σ d/(n(n-d)) over (log S)²; back on S the bounds are S^exp(±θ).
std::vector<Step> CurveOf(const std::vector<Observation>& sorted) {
  std::vector<Step> curve;
  double remaining = 1;
  double greenwood = 0;
  double high = 1;
  for (std::size_t i = 0; i < sorted.size();) {
    const Nanoseconds at = sorted[i].time;
    const double at_risk = static_cast<double>(sorted.size() - i);
    double events = 0;
    for (; i < sorted.size() && sorted[i].time == at; ++i) events += sorted[i].censored ? 0 : 1;
    if (events == 0) continue;
    Step step{at, 0, 0, high, false, static_cast<std::uint32_t>(at_risk)};
    if (events < at_risk) {
      remaining *= 1 - events / at_risk;
      greenwood += events / (at_risk * (at_risk - events));
      const double theta = kZ * std::sqrt(greenwood) / -std::log(remaining);
      step.remaining = remaining;
      step.low = std::pow(remaining, std::exp(theta));
      step.high = high = std::pow(remaining, std::exp(-theta));
      step.bounded = true;
    }
    curve.push_back(step);
  }
  return curve;
}

// The first instant at which `share` is at most `left`. Where the curve lies exactly on it, the
// middle until the next step: the median of four values is between the second and the third.
template <typename Share>
std::optional<Nanoseconds> Crossing(const std::vector<Step>& curve, double left,
                                    const Share& share) {
  for (std::size_t i = 0; i < curve.size(); ++i) {
    const std::optional<double> value = share(curve[i]);
    if (!value || *value > left + kSame) continue;
    const bool flat = *value >= left - kSame && i + 1 < curve.size();
    return flat ? curve[i].at + (curve[i + 1].at - curve[i].at) / 2 : curve[i].at;
  }
  return std::nullopt;
}

// Brookmeyer and Crowley: the interval holds every time at which the curve's own interval holds the
// share, so its ends are where the curve's bounds cross it.
v1::Quantile QuantileOf(const std::vector<Step>& curve, double probability) {
  using Share = std::optional<double>;
  v1::Quantile quantile;
  quantile.set_probability(probability);
  const double left = 1 - probability;
  const auto value =
      Crossing(curve, left, [](const Step& step) -> Share { return step.remaining; });
  const auto low = Crossing(
      curve, left, [](const Step& step) { return step.bounded ? Share(step.low) : std::nullopt; });
  const auto high = Crossing(
      curve, left, [](const Step& step) { return step.bounded ? Share(step.high) : std::nullopt; });
  if (value) *quantile.mutable_value() = ToProto(*value);
  if (low) *quantile.mutable_low() = ToProto(*low);
  if (high) *quantile.mutable_high() = ToProto(*high);
  return quantile;
}

void SetRate(double events, double runs, v1::Survival& survival) {
  survival.set_rate_high(1);
  if (runs == 0) return;
  const double rate = events / runs;
  const double scale = 1 + kZ * kZ / runs;
  const double centre = (rate + kZ * kZ / (2 * runs)) / scale;
  const double half =
      kZ / scale * std::sqrt(rate * (1 - rate) / runs + kZ * kZ / (4 * runs * runs));
  survival.set_rate(rate);
  survival.set_rate_low(std::max(0.0, centre - half));
  survival.set_rate_high(std::min(1.0, centre + half));
}

}  // namespace

v1::Survival Estimate(std::vector<Observation> observations, std::uint32_t aborted) {
  for (Observation& observation : observations) {
    observation.time = std::max(observation.time, Nanoseconds(0));
  }
  std::sort(observations.begin(), observations.end(),
            [](const Observation& left, const Observation& right) {
              return std::tie(left.time, left.censored) < std::tie(right.time, right.censored);
            });
  const auto runs = static_cast<std::uint32_t>(observations.size());
  const auto events = static_cast<std::uint32_t>(
      std::count_if(observations.begin(), observations.end(),
                    [](const Observation& observation) { return !observation.censored; }));
  v1::Survival survival;
  survival.set_runs(runs);
  survival.set_events(events);
  survival.set_censored(runs - events);
  survival.set_aborted(aborted);
  SetRate(events, runs, survival);
  const std::vector<Step> curve = CurveOf(observations);
  for (const double probability : kProbabilities) {
    *survival.add_quantiles() = QuantileOf(curve, probability);
  }
  for (const Step& step : curve) {
    v1::Survival::Step& told = *survival.add_curve();
    *told.mutable_at() = ToProto(step.at);
    told.set_remaining(step.remaining);
    told.set_low(step.low);
    told.set_high(step.high);
    told.set_at_risk(step.at_risk);
  }
  return survival;
}

}  // namespace firedrill::controller
