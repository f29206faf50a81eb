// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"
#include "tests/lib/prometheus.h"

// The dashboards that are shipped, asked of a real Prometheus as Grafana would ask.
namespace firedrill::test {

/// One expression of a dashboard. The title of an annotation's is "annotation: " and its name.
struct Asked {
  std::string title;
  std::string ref;
  std::string expression;
  bool instant = true;
};
/// All of controller/grafana/dashboards/NAME.json, in its order.
std::vector<Asked> ReadDashboard(const std::string& name);

/// What is shown: the time range and the step, in seconds. All variables stand on All.
struct View {
  double from = 0;
  double to = 0;
  int step = 1;
};

using Samples = std::vector<std::pair<double, double>>;  // seconds since 1970, value
using Series = std::map<std::string, Samples>;           // by labels: "experiment=a,fault=b"

/// What Prometheus answers. An error fails the test.
Series Ask(const Prometheus& prometheus, const Asked& asked, const View& view);

/// What must come, and how exactly.
struct Expected {
  Series series;
  double tolerance = 1e-6;  ///< Of values.
  double late = 0;          ///< A sample may come so many seconds after its time.
  bool last_only = false;   ///< Of a line: only its last sample is looked at, and not its time.
  View view;                ///< Instead of the dashboard's, if `to` is set.
};
/// A single number without labels, or with these.
Expected Number(double value, double tolerance = 1e-6);
Expected Numbers(const std::map<std::string, double>& values, double tolerance = 1e-6);
/// By "title" or "title/B".
using Expectations = std::map<std::string, Expected>;

/// Asks everything of the dashboard and compares. What has no expectation fails. Where the variable
/// FIREDRILL_DASHBOARD_ANSWERS names a folder the answers are kept there for tests/grafana/draw.
void ExpectDashboard(const Prometheus& prometheus, const std::string& name, const View& view,
                     const Expectations& expectations);

/// What the dashboard "detection and recovery" must show of runs, oldest first, of which `counted`
/// were finished in the range shown. Dots come up to `late` seconds after a run's end.
Expectations DetectionExpectations(const std::vector<v1::Run>& runs,
                                   const std::function<bool(const v1::Run&)>& counted,
                                   const View& view, double late);

}  // namespace firedrill::test
