// SPDX-License-Identifier: Apache-2.0
// Notifications whose labels are not those of ALERTS: Prometheus' configuration changed them on the
// way; and alerts that were not active for one evaluation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "controller/measure/episodes.h"
#include "controller/measure/record.h"
#include "tests/unit/measure_evidence.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

class NoticesTest : public testing::Test {
 protected:
  NoticesTest() {
    run_.set_id("r1");
    *run_.mutable_experiment() = OneIndicator();
    run_.mutable_experiment()->add_detection()->set_alert("ShopSlow");
    v1::Mark& impact = *run_.add_marks();
    impact.set_kind(v1::MARK_KIND_FIRST_IMPACT);
    *impact.mutable_at() = ToProto(At(0));
    v1::Injection& injection = *run_.add_injections();
    injection.set_state(v1::INJECTION_STATE_ACTIVE);
    *injection.mutable_duration() = ToProto(seconds(20));
    answer_.asked_at = At(30);
    answer_.clock_uncertainty = milliseconds(2);
    answer_.indicators.resize(1);
    answer_.alerts.resize(1);
    answer_.alerts[0].rule = EverySecond();
    answer_.alert_path = std::make_shared<const AlertPath>();
  }

  void Expects(const std::map<std::string, std::string>& labels) {
    run_.mutable_experiment()->mutable_detection(0)->mutable_labels()->insert(labels.begin(),
                                                                              labels.end());
  }
  void Alerts(const std::vector<AlertEpisode>& episodes) {
    answer_.alerts[0].series = AlertsOf(episodes);
  }
  void Step(const RelabelStep& step) {
    AlertPath path = *answer_.alert_path;
    path.steps.push_back(Compiled(step));
    answer_.alert_path = std::make_shared<const AlertPath>(std::move(path));
  }
  void Drops(const std::string& labels) {
    RelabelStep step;
    step.action = "labeldrop";
    step.regex = labels;
    Step(step);
  }
  static AlertNotice Told(double starts, double received,
                          const std::map<std::string, std::string>& labels) {
    AlertNotice notice = Notice(starts, received);
    notice.labels = labels;
    notice.fingerprint.clear();
    for (const auto& [name, value] : labels) notice.fingerprint += name + value;
    return notice;
  }

  // First the notifications, then the samples, as it mostly comes; and once more from what is
  // stored.
  const v1::AlertResult& Measure(const std::vector<AlertNotice>& notices) {
    EvidenceRecord record(run_);
    std::vector<v1::Series> samples;
    ProbeAnswer early = answer_;
    early.alerts[0].series.clear();
    record.Take(early, At(-30), samples);
    record.Take(notices);
    record.Take(answer_, At(-30), samples);
    record.Measure(At(30), /*final=*/true);
    v1::Run again = run_;
    EXPECT_TRUE(MeasureAgain(again).ok());
    EXPECT_EQ(again.DebugString(), run_.DebugString());
    return run_.alerts(0);
  }

  v1::Run run_;
  ProbeAnswer answer_;
};

TEST_F(NoticesTest, ADroppedLabelIsNoOtherAlert) {
  AlertEpisode episode = Episode(4, 6, 20);
  episode.labels["instance"] = "a";
  Alerts({episode});
  Drops("instance|replica");
  const v1::AlertResult& alert =
      Measure({Told(6, 6.4, {{"alertname", "ShopSlow"}, {"severity", "page"}, {"region", "eu"}})});
  EXPECT_EQ(alert.episodes(), 1u) << "not one of the samples and one of the webhook";
  EXPECT_EQ(Length(alert.time_to_notify()), 6.4);
  EXPECT_TRUE(run_.caveats().empty());
}

TEST_F(NoticesTest, ALabelThatIsAskedForMayBeDropped) {
  Expects({{"instance", "a"}});
  AlertEpisode episode = Episode(4, 6, 20);
  episode.labels["instance"] = "a";
  Alerts({episode});
  Drops("instance");
  EXPECT_EQ(Length(Measure({Told(6, 6.4, {{"alertname", "ShopSlow"}, {"severity", "page"}})})
                       .time_to_notify()),
            6.4);
  // Nobody drops it: then it is another alert.
  run_.clear_evidence();
  answer_.alert_path = std::make_shared<const AlertPath>();
  EXPECT_FALSE(Measure({Told(6, 6.4, {{"alertname", "ShopSlow"}, {"severity", "page"}})})
                   .has_time_to_notify());
}

TEST_F(NoticesTest, AReplacedLabelAndNameAreFollowed) {
  Expects({{"severity", "page"}});
  Alerts({Episode(4, 6, 20)});
  RelabelStep step;
  step.source_labels = {"severity"};
  step.regex = "page";
  step.target_label = "severity";
  step.replacement = "critical";
  Step(step);
  step.source_labels = {"alertname"};
  step.regex = "(.*)";
  step.target_label = "alertname";
  step.replacement = "eu_$1";
  Step(step);
  AlertNotice notice = Told(6, 6.4, {{"alertname", "eu_ShopSlow"}, {"severity", "critical"}});
  notice.alert = "eu_ShopSlow";
  AlertNotice other = Told(6, 6.2, {{"alertname", "eu_ShopDown"}, {"severity", "critical"}});
  other.alert = "eu_ShopDown";
  const v1::AlertResult& alert = Measure({other, notice});
  EXPECT_EQ(alert.episodes(), 1u);
  EXPECT_EQ(Length(alert.time_to_notify()), 6.4);
  EXPECT_EQ(run_.evidence().alerts(0).notifications_size(), 1) << "the other is not ours";
}

TEST_F(NoticesTest, AfterARestartTheFirstAnswerTells) {
  Expects({{"severity", "page"}});
  Alerts({Episode(4, 6, 20)});
  Drops("severity");
  EvidenceRecord record(run_);
  EXPECT_TRUE(record.Take({Told(6, 6.4, {{"alertname", "ShopSlow"}})})) << "it waits";
  EXPECT_EQ(run_.evidence().alerts(0).notifications_size(), 0) << "nothing is known";
  std::vector<v1::Series> samples;
  EXPECT_TRUE(record.Take(answer_, At(-30), samples));
  EXPECT_EQ(run_.evidence().alerts(0).notifications_size(), 1);
  record.Take({Told(7, 7.4, {{"alertname", "Other"}})});
  answer_.asked_at = At(90);
  record.Take(answer_, At(-30), samples);
  EXPECT_EQ(run_.evidence().alerts(0).notifications_size(), 1);
}

// Which of a pair sends it is not known; its labels changed all the same.
TEST_F(NoticesTest, AShardThatIsKeptIsNoReasonToLoseANotification) {
  Expects({{"severity", "page"}});
  Alerts({Episode(4, 6, 20)});
  RelabelStep step;
  step.action = "hashmod";
  step.source_labels = {"alertname"};
  step.target_label = "shard";
  Step(step);
  step.action = "keep";
  step.source_labels = {"shard"};
  step.regex = "1";
  Step(step);
  Drops("severity");
  EXPECT_EQ(
      Length(Measure({Told(6, 6.4, {{"alertname", "ShopSlow"}, {"shard", "1"}})}).time_to_notify()),
      6.4);
}

// Of an unknown path its labels and name count as they are.
TEST_F(NoticesTest, AStepThatIsNotFollowedIsNoReasonEither) {
  Alerts({Episode(4, 6, 20)});
  RelabelStep step;
  step.action = "labelkeep";
  step.regex = "(";
  Step(step);
  EXPECT_EQ(Length(Measure({Told(6, 6.4, {{"alertname", "ShopSlow"}})}).time_to_notify()), 6.4);
}

class WaitingNoticesTest : public NoticesTest {
 protected:
  WaitingNoticesTest() {
    Expects({{"severity", "page"}});
    Drops("severity");
    record_ = std::make_unique<EvidenceRecord>(run_);
  }

  // How many notifications are known to be of the alert then.
  int Ask(double at) {
    answer_.asked_at = At(at);
    record_->Take(answer_, At(-30), samples_);
    return run_.evidence().alerts(0).notifications_size();
  }
  bool Tell() { return record_->Take({Told(6, 6.4, {{"alertname", "ShopSlow"}})}); }

  std::unique_ptr<EvidenceRecord> record_;
  std::vector<v1::Series> samples_;
};

TEST_F(WaitingNoticesTest, AnOutageOfPrometheusIsNoTimeOfWaiting) {
  Ask(5);
  EXPECT_TRUE(Tell());
  EXPECT_FALSE(Tell()) << "it waits already";
  const ProbeAnswer answering = answer_;
  answer_.status = absl::UnavailableError("connection refused");
  answer_.alerts[0] = {};
  answer_.alerts[0].status = answer_.status;
  for (int at = 10; at < 600; at += 5) EXPECT_EQ(Ask(at), 0);
  answer_ = answering;
  EXPECT_EQ(Ask(600), 0) << "the samples are not there yet";
  Alerts({Episode(4, 6, 20)});
  EXPECT_EQ(Ask(605), 1);
}

TEST_F(WaitingNoticesTest, WaitAMinuteInWhichPrometheusAnswers) {
  Ask(5);
  Tell();
  for (int at = 10; at <= 70; at += 5) Ask(at);
  EXPECT_EQ(run_.evidence().waiting_size(), 0);
  Alerts({Episode(4, 6, 20)});
  EXPECT_EQ(Ask(75), 0);
}

TEST_F(WaitingNoticesTest, OutliveTheController) {
  Ask(5);
  Tell();
  for (int at = 10; at <= 40; at += 5) Ask(at);
  const auto go_on = [this] {
    v1::Run stored;
    ASSERT_TRUE(stored.ParseFromString(run_.SerializeAsString()));
    record_.reset();
    run_ = std::move(stored);
    record_ = std::make_unique<EvidenceRecord>(run_);
  };
  go_on();
  v1::Run later = run_;
  Alerts({Episode(4, 6, 20)});
  EXPECT_EQ(Ask(45), 1);
  EXPECT_EQ(run_.evidence().waiting_size(), 0);

  run_ = std::move(later);
  answer_.alerts[0].series.clear();
  go_on();
  for (int at = 45; at <= 75; at += 5) Ask(at);
  EXPECT_EQ(run_.evidence().waiting_size(), 0) << "the time before counts, too";
}

TEST_F(WaitingNoticesTest, NothingWaitsWherePrometheusChangesNoLabel) {
  answer_.alert_path = std::make_shared<const AlertPath>();
  Ask(5);
  EXPECT_FALSE(Tell());
  EXPECT_EQ(run_.evidence().waiting_size(), 0);
}

TEST_F(WaitingNoticesTest, NoneIsKeptOnceTheWatchIsOver) {
  Ask(5);
  Tell();
  record_->Measure(At(20), false);
  EXPECT_EQ(run_.evidence().waiting_size(), 1);
  record_->Measure(At(20), true);
  EXPECT_EQ(run_.evidence().waiting_size(), 0);
}

TEST_F(NoticesTest, AnotherInstanceIsAnotherAlert) {
  AlertEpisode episode = Episode(4, 6, 20);
  episode.labels["instance"] = "a";
  Alerts({episode});
  const v1::AlertResult& alert =
      Measure({Told(8, 8.4, {{"alertname", "ShopSlow"}, {"severity", "page"}, {"instance", "b"}})});
  EXPECT_EQ(alert.episodes(), 2u) << "of which there are no samples";
}

// The rule was evaluated each second; at 10 s it did not hold.
TEST_F(NoticesTest, OneFalseEvaluationEndsAnEpisode) {
  Alerts({Episode(6, 6, 20)});
  std::vector<RawSample>& firing = answer_.alerts[0].series[1].samples;
  ASSERT_EQ(firing[4].at, At(10));
  const RawSample marker{At(10), 0};
  firing.erase(firing.begin() + 4);
  EXPECT_EQ(Measure({}).episodes(), 1u) << "nothing says that there was an evaluation";
  firing.insert(firing.begin() + 4, marker);
  run_.clear_evidence();
  run_.clear_series();
  EXPECT_EQ(Measure({}).episodes(), 2u);
  std::vector<double> resolved;
  for (const v1::Mark& mark : run_.marks()) {
    if (mark.kind() == v1::MARK_KIND_ALERT_RESOLVED) resolved.push_back(After(mark.at()));
  }
  EXPECT_THAT(resolved, ElementsAre(10, 20));
}

// A flapping alert whose webhooks Alertmanager groups: three episodes, two webhooks.
TEST_F(NoticesTest, FlappingByOneEvaluationHasMoreEpisodesThanWebhooks) {
  Alerts({Episode(6, 6, 20)});
  std::vector<RawSample>& firing = answer_.alerts[0].series[1].samples;
  firing[4].value = firing[9].value = 0;  // at 10 s and 15 s
  const v1::AlertResult& alert = Measure({Notice(6, 6.4), Notice(16, 16.4)});
  EXPECT_EQ(alert.episodes(), 3u);
  EXPECT_EQ(Length(alert.time_to_detect()), 6);
  EXPECT_TRUE(run_.caveats().empty());
}

}  // namespace
}  // namespace firedrill::controller
