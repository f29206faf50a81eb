// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/probe/answer.h"
#include "controller/probe/probe.h"

// Where Alertmanager sends an alert. The texts come from the network: any text gives a value or a
// status. Of a configuration only the tree of routes is kept, no address and no secret.
namespace firedrill::controller {

/// The tree of routes of one Alertmanager. Copies share it; immutable.
class AlertRoutes {
 public:
  struct Node;
  explicit AlertRoutes(std::shared_ptr<const Node> root) : root_(std::move(root)) {}

  /// The routes that an alert with these labels takes, in their order: Alertmanager's own walk,
  /// with `continue`. None: the tree is not the one of an Alertmanager.
  std::vector<AlertRoute> For(const std::map<std::string, std::string>& labels) const;

 private:
  std::shared_ptr<const Node> root_;
};

/// Reads the answer of Alertmanager's /api/v2/status, whose `config.original` is YAML. DATA_LOSS:
/// it is none, or a matcher in it cannot be understood: a tree with a hole would send alerts
/// elsewhere.
absl::StatusOr<AlertRoutes> ParseAlertmanagerStatus(std::string_view body);

/// Reads the active Alertmanagers' addresses from Prometheus' /api/v1/alertmanagers:
/// http://127.0.0.1:9093, with a path prefix if there is one. At most eight.
absl::StatusOr<std::vector<std::string>> ParseAlertmanagers(std::string_view body);

/// How Prometheus sends an alert of `rule` to Alertmanager: with the labels of `series`, which is
/// LeadOf's (nullptr: those that are asked for, and it has others that nobody knows), of the rule
/// where they are no template, and what its configuration makes of them on the way.
SentAlert SentLabels(const PrometheusRule& rule, const ProbeQuestion::Alert& alert,
                     const AlertSeries* series, const AlertPath& path);

}  // namespace firedrill::controller
