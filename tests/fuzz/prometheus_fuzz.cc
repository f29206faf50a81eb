// SPDX-License-Identifier: Apache-2.0
// Whatever Prometheus, an Alertmanager, or what stands in their place, answers: a value or a status
// with words, never more. The first byte chooses which answer it is taken for.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "controller/probe/answer.h"
#include "controller/probe/promql.h"
#include "controller/probe/promql_ranges.h"
#include "controller/probe/route.h"
#include "controller/probe/rules.h"

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
    case 'c':
      Check(ParsePrometheusConfig(text).status());
      break;
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
    default:
      Check(ParsePrometheusAnswer(text).status());
  }
  return 0;
}
