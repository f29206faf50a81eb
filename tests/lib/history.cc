// SPDX-License-Identifier: Apache-2.0
#include "tests/lib/history.h"

#include <fmt/format.h>

namespace firedrill::test {

void History::Add(const std::string& series, std::int64_t at_ms, double value) {
  series_[series].push_back({at_ms, value});
}

std::string History::OpenMetrics() const {
  std::string text;
  for (const auto& [series, samples] : series_) {
    for (const Sample& sample : samples) {
      text += fmt::format("{} {} {}.{:03}\n", series, sample.value, sample.at_ms / 1000,
                          sample.at_ms % 1000);
    }
  }
  return text + "# EOF\n";
}

std::int64_t RuleModel::EvaluationAfter(std::int64_t at_ms) const {
  const std::int64_t since = (at_ms - phase_ms) % interval_ms;
  return since == 0 ? at_ms : at_ms + interval_ms - since;
}

void RuleModel::WriteSample(History& history, std::int64_t at_ms, bool firing) const {
  history.Add(fmt::format("ALERTS{{alertname=\"{}\",alertstate=\"{}\"{}}}", alert,
                          firing ? "firing" : "pending", labels.empty() ? "" : "," + labels),
              at_ms, 1);
}

}  // namespace firedrill::test
