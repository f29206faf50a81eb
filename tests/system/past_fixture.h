// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controller/measure/measure.h"
#include "controller/measure/record.h"
#include "controller/probe/prometheus.h"
#include "firedrill/v1/run.pb.h"
#include "tests/lib/history.h"
#include "tests/lib/prometheus.h"
#include "tests/system/time_shift.h"

// Runs of which the truth is known: what a Prometheus would have stored is computed, given to a
// real one as blocks, asked for by the real probe and measured. All instants here are milliseconds
// after the scenario's begin.
namespace firedrill::controller {

/// One monitored target, the rule over it and the fault.
struct Scenario {
  std::int64_t length = 180'000;
  std::int64_t scrape = 5'000;
  std::int64_t scrape_phase = 1'200;
  std::int64_t evaluation = 5'000;
  std::int64_t evaluation_phase = 3'400;
  std::int64_t pending_for = 12'000;
  std::int64_t impact = 100'000;
  std::optional<std::int64_t> ended = 140'000;
  std::string expression = "shop_ok == 0";
  std::string rules;                          ///< More groups, as YAML under `groups:`.
  std::vector<test::RuleModel::Blind> blind;  ///< Prometheus was down.
  std::optional<std::int64_t> vanishes;       ///< From then on the target tells nothing.
};

class PastTest : public testing::Test {
 protected:
  PastTest();

  /// Scrapes of shop_ok, 1 while `well` says so at the scrape's instant.
  void ScrapeShop(const std::function<bool(std::int64_t)>& well);
  /// Scrapes of shop_requests_total{code="200"} and {code="500"}: a hundred requests a second, of
  /// which `error_share` fail at that instant; a counter begins at zero again at each of `resets`.
  void ScrapeRequests(const std::function<double(std::int64_t)>& error_share,
                      const std::vector<std::int64_t>& resets = {});
  /// ALERTS of the alert of this name, as the rule writes them.
  void Alert(const std::string& name, const std::function<bool(std::int64_t)>& holds);
  /// The usual shop: scrapes of shop_ok, the alert ShopDown over them, and both expected of the
  /// run.
  void WatchShop(const std::function<bool(std::int64_t)>& well);
  /// The newest scrape at or before `at`.
  std::int64_t ScrapeBefore(std::int64_t at) const;

  /// An entry of the experiment. The indicator is good at `expect` or more.
  v1::Indicator& Expect(const std::string& query, double expect, std::int64_t hold = 10'000);
  v1::Detection& Detect(const std::string& alert);

  /// Starts Prometheus with all that was written and puts what the probe says into run_; with
  /// `skew`, by way of a Prometheus whose clock is so much ahead of ours.
  void Ask(std::int64_t skew = 0);
  /// Measures run_ as at the scenario's end (or `until`), then once more from the bytes that a
  /// store would hold, and demands that it is the same.
  void Measure(std::optional<std::int64_t> until = std::nullopt);
  void Notify(const std::string& alert, std::int64_t starts, std::int64_t received,
              bool firing = true, const std::string& fingerprint = "1");

  /// Milliseconds after the scenario's begin.
  double Ms(const google::protobuf::Timestamp& at) const;
  static double Ms(const google::protobuf::Duration& duration);
  SystemTime At(std::int64_t ms) const;
  /// The first mark of this kind; fails the test if there is none.
  v1::Mark Mark(v1::MarkKind kind) const;
  int Marks(v1::MarkKind kind) const;
  /// The stage's length in ms; 0: it has none.
  static double Stage(const v1::AlertResult& alert, v1::StageKind kind);
  /// That the stages add up exactly to time to detect, and with the last two to notify.
  static void ExpectStagesAddUp(const v1::AlertResult& alert);
  /// `measured` is `truth` within 20 ms, and within what is claimed.
  static void ExpectTruth(const v1::Mark& mark, double measured, double truth);
  void ExpectMark(v1::MarkKind kind, double truth) const {
    ExpectTruth(Mark(kind), Ms(Mark(kind).at()), truth);
  }

  Scenario scenario_;
  test::History history_;
  ProbeAnswer answer_;  // after Ask
  v1::Run run_;
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<PrometheusProbe> probe_;

 private:
  void ScrapeUp();
  // The scrapes' instants at which the target answered.
  std::vector<std::int64_t> Scrapes() const;
  std::string Rules() const;
  std::string Config() const;
  void WriteInstants();

  std::int64_t begin_ms_ = 0;  // since 1970
  bool begun_ = false;
  std::vector<std::string> alerts_;
  std::unique_ptr<test::TimeShift> shift_;
  std::vector<AlertNotice> notices_;
};

/// Whether the target is well that is bad from `from` until `to`.
inline auto BadBetween(std::int64_t from, std::int64_t to) {
  return [from, to](std::int64_t at) { return at < from || at >= to; };
}

}  // namespace firedrill::controller
