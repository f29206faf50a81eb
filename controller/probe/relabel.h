// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

// What Prometheus' configuration does to an alert's labels on their way to Alertmanager: a
// notification carries what comes out, ALERTS carries what goes in. Pure functions.
namespace firedrill::controller {

/// One entry of `alert_relabel_configs`, with Prometheus' defaults.
struct RelabelStep {
  std::string action = "replace";  ///< In lower case.
  std::vector<std::string> source_labels;
  std::string separator = ";";
  std::string regex = "(.*)";
  std::string target_label;
  std::string replacement = "$1";
};

struct AlertPath {
  std::map<std::string, std::string> external_labels;  ///< Added where the alert has no such label.
  std::vector<RelabelStep> steps;                      ///< Then these, in their order.
  /// There are more that are not followed here: those of one of several Alertmanagers alone.
  bool known = true;
};

/// What became of an alert.
struct SentAlert {
  bool sent = true;  ///< Else a step drops it: nobody is told.
  std::map<std::string, std::string> labels;
  /// The labels are all that there are, with their values. Else a label that a step makes in a
  /// manner that is not followed here (hashmod, a pattern that RE2 refuses) is left out of them.
  bool known = true;
};

/// As Prometheus' notifier does it to an alert with these labels, alertname among them.
SentAlert SentAs(const AlertPath& path, std::map<std::string, std::string> labels);

}  // namespace firedrill::controller
