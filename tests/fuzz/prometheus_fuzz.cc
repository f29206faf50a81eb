// SPDX-License-Identifier: Apache-2.0
// Whatever Prometheus, an Alertmanager, or what stands in their place, answers: a value or a status
// with words, never more. The first byte chooses which answer it is taken for.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "controller/probe/alerts.h"
#include "controller/probe/answer.h"
#include "controller/probe/promql.h"
#include "controller/probe/promql_ranges.h"
#include "controller/probe/relabel.h"
#include "controller/probe/route.h"
#include "controller/probe/rules.h"
#include "controller/probe/sampling.h"

namespace {

void Check(const absl::Status& status) {
  if (!status.ok() && status.message().empty()) std::abort();
}

// What is made of a rule's expression.
void LookAt(std::string_view expression) {
  using namespace firedrill::controller;
  const auto second = [](const std::string&) { return firedrill::Nanoseconds(1'000'000'000); };
  PerScrape(PerScrape(expression, second), second);
  for (const std::string& selector : ShapeOf(expression).selectors) MetricNameOf(selector);
  for (const PromqlReading& reading : ReadingsOf(expression)) {
    if (reading.range.count() < 0) std::abort();
  }
}

// What is made of all rules: each is looked for by its own name.
void LookAt(std::vector<firedrill::controller::PrometheusRule> rules) {
  using namespace firedrill::controller;
  const RuleBook book(std::move(rules));
  for (const PrometheusRule& rule : book.rules) {
    LookAt(rule.expression);
    if (AlertRuleOf(rule, book, PrometheusConfig(), std::nullopt).window.count() < 0) std::abort();
    const RuleChoice choice = ChooseRule(book, {rule.name, {}}, {});
    if (!rule.recording && choice.rule == nullptr) std::abort();
  }
}

// What is made of samples, whatever they were asked for.
void LookAt(firedrill::controller::PrometheusAnswer answer) {
  using namespace firedrill::controller;
  constexpr std::int64_t kNowMs = 1'800'000'000'000;
  constexpr firedrill::Nanoseconds kSecond = std::chrono::seconds(1);
  PrometheusConfig config;
  config.scrape_interval = config.evaluation_interval = kSecond;
  const ScrapeGrid grid = GridOf(answer, {"up"}, config);
  const std::vector<Hole> holes = HolesOf(answer, 2500, kNowMs);
  for (const Hole& hole : holes) {
    if (hole.from_ms >= hole.to_ms) std::abort();
  }
  PrometheusRule rule;
  rule.expression = "up == 0";
  rule.evaluation_interval = kSecond;
  const TruthPlan plan = PlanTruth(rule, {"Down", {}}, grid, kNowMs, kNowMs - 60'000, kNowMs);
  TruthOf(plan, answer, false, answer, holes, kNowMs, kSecond);
  KeepWithin(kNowMs - 60'000, kNowMs, 100, answer);
  for (const AlertSeries& series : AlertSeriesOf(answer, kSecond)) {
    if (series.samples.size() > 100) std::abort();
  }
}

// What becomes of an alert.
void LookAt(const firedrill::controller::AlertPath& path) {
  using namespace firedrill::controller;
  const std::map<std::string, std::string> labels = {
      {"alertname", "Down"}, {"severity", "page"}, {"instance", "a:1"}, {"b", "größe\n"}};
  for (const bool complete : {true, false}) {
    const SentAlert sent = SentAs(path, labels, complete);
    if (!sent.sent && !complete) std::abort();
    if (sent.labels.size() > 1000) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firedrill::controller;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'r': {
      const auto rules = ParsePrometheusRules(text);
      Check(rules.status());
      if (rules.ok() && rules->size() < 50) LookAt(*rules);
      break;
    }
    case 'q':
      LookAt(text);
      break;
    case 'a': {
      const auto routes = ParseAlertmanagerStatus(text);
      Check(routes.status());
      if (routes.ok() && routes->For({{"severity", "page"}}).size() > 10'000) std::abort();
      break;
    }
    case 'm':
      Check(ParseAlertmanagers(text).status());
      break;
    case 'c': {
      const auto config = ParsePrometheusConfig(text);
      Check(config.status());
      if (config.ok()) LookAt(*config->alert_path);
      break;
    }
    case 'd':
      if (const auto duration = ParsePrometheusDuration(text); duration && duration->count() < 0) {
        std::abort();
      }
      break;
    case 'e': {
      const absl::Status status = HttpStatusError(503, text);
      if (status.ok()) std::abort();
      Check(status);
      break;
    }
    default: {
      auto answer = ParsePrometheusAnswer(text);
      Check(answer.status());
      if (answer.ok()) LookAt(*std::move(answer));
    }
  }
  return 0;
}
