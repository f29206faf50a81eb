// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace re2 {
class RE2;
}

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
  std::shared_ptr<const re2::RE2> pattern;  ///< `regex` as Compiled reads it; else not followed.
};

/// With its pattern, which stays away where RE2 refuses it. Costly: once for a configuration.
RelabelStep Compiled(RelabelStep step);

struct AlertPath {
  std::map<std::string, std::string> external_labels;  ///< Added where the alert has no such label.
  std::vector<RelabelStep> steps;                      ///< Then these, in their order.
  /// There are more that are not followed here: those of one of several Alertmanagers alone, or
  /// too many.
  bool known = true;
};

/// What became of an alert.
struct SentAlert {
  bool sent = true;  ///< Else a step drops it for certain: nobody is told.
  /// A label whose value is not known is left out: one that a step makes in a manner that is not
  /// followed here (hashmod, a pattern that RE2 refuses), or out of such a one. Empty: none is
  /// known, also because there came out too many.
  std::map<std::string, std::string> labels;
  bool known = true;  ///< The labels are all that there are, and it is sent if `sent`.
};

/// As Prometheus' notifier does it to an alert with these labels, alertname among them. Not
/// `complete`: it has others too, so that no step is known to drop it.
SentAlert SentAs(const AlertPath& path, const std::map<std::string, std::string>& labels,
                 bool complete = true);

}  // namespace firedrill::controller
