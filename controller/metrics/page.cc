// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/page.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <utility>
#include <vector>

namespace firedrill::controller {

void Distribution::Add(double seconds) {
  for (std::size_t i = 0; i < kBounds.size(); ++i) {
    if (seconds > kBounds[i]) continue;
    ++counts[i];
    break;
  }
  ++total;
  sum += seconds;
}

struct Page::State {
  struct Family {
    std::string help;
    prometheus::MetricType type = prometheus::MetricType::Untyped;
    std::map<Labels, prometheus::ClientMetric> series;
  };
  std::map<std::string, Family> families;

  prometheus::ClientMetric& Series(const std::string& name, const std::string& help,
                                   prometheus::MetricType type, const Labels& labels) {
    Family& family = families[name];
    family.help = help;
    family.type = type;
    prometheus::ClientMetric& series = family.series[labels];
    series = {};
    for (const auto& [label, value] : labels) series.label.push_back({label, value});
    return series;
  }
};

Page::Page() : state_(std::make_unique<State>()) {}
Page::~Page() = default;

void Page::Gauge(const std::string& name, const std::string& help, const Labels& labels,
                 double value) {
  state_->Series(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void Page::Counter(const std::string& name, const std::string& help, const Labels& labels,
                   double value) {
  state_->Series(name, help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void Page::Histogram(const std::string& name, const std::string& help, const Labels& labels,
                     const Distribution& distribution) {
  prometheus::ClientMetric::Histogram& histogram =
      state_->Series(name, help, prometheus::MetricType::Histogram, labels).histogram;
  histogram.sample_count = distribution.total;
  histogram.sample_sum = distribution.sum;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < Distribution::kBounds.size(); ++i) {
    cumulative += distribution.counts[i];
    histogram.bucket.push_back({cumulative, Distribution::kBounds[i]});
  }
}

void Page::Remove(const std::string& name, const Labels& labels) {
  const auto family = state_->families.find(name);
  if (family != state_->families.end()) family->second.series.erase(labels);
}

std::string Page::Text() const {
  std::vector<prometheus::MetricFamily> families;
  for (const auto& [name, family] : state_->families) {
    if (family.series.empty()) continue;
    prometheus::MetricFamily& whole = families.emplace_back();
    whole.name = name;
    whole.help = family.help;
    whole.type = family.type;
    for (const auto& [labels, series] : family.series) whole.metric.push_back(series);
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace firedrill::controller
