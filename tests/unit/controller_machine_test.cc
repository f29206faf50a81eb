// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/run/machine.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

v1::Step MakeStep(const std::string& name, Nanoseconds duration) {
  v1::Step step;
  step.set_name(name);
  step.set_target("cache");
  *step.mutable_duration() = ToProto(duration);
  step.mutable_fault()->mutable_packet_loss()->set_percent(33);
  return step;
}

// A run, its hosts, an agent on each that answers when told to, and a Prometheus: all pretended.
class MachineTest : public ::testing::Test {
 protected:
  MachineTest() {
    options_.random_wait_most = Nanoseconds(0);
    experiment_.set_name("cache-loss");
    experiment_.set_environment("staging");
    (*experiment_.mutable_targets())["cache"].mutable_pick()->set_all(true);
    *experiment_.add_method() = MakeStep("lose packets", seconds(60));
  }

  void WatchRatio() {
    v1::Indicator* indicator = experiment_.add_steady_state();
    indicator->set_name("ratio");
    indicator->set_query("ratio");
    indicator->mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
    indicator->mutable_expect()->set_value(0.99);
    *indicator->mutable_hold() = ToProto(seconds(5));
  }
  void ExpectAlert() {
    v1::Detection* detection = experiment_.add_detection();
    detection->set_alert("ShopSlow");
    *detection->mutable_within() = ToProto(seconds(30));
  }
  void StopWhenDown() { experiment_.add_stop_when()->set_query("up == 0"); }
  // The run's one step, applied: a kill whose restart is looked for.
  void KillAndWatch(seconds within, std::optional<seconds> grace = std::nullopt) {
    v1::Step& step = *experiment_.mutable_method(0);
    step.clear_duration();
    v1::ProcessKill& kill = *step.mutable_fault()->mutable_process_kill();
    kill.mutable_processes()->set_name("redis-server");
    if (grace) *kill.mutable_grace() = ToProto(*grace);
    *kill.mutable_restart()->mutable_within() = ToProto(within);
    Make();
    Pass(seconds(1));
    Applied("r1.1");
  }

  void Make(const std::vector<std::string>& hosts = {"cache1"}) {
    v1::Run run;
    run.set_id("r1");
    *run.mutable_experiment() = experiment_;
    run.set_state(v1::RUN_STATE_PLANNED);
    *run.mutable_created_at() = ToProto(clock_.System());
    for (const v1::Step& step : experiment_.method()) {
      for (const std::string& host : hosts) {
        v1::Injection* injection = run.add_injections();
        injection->set_id("r1." + std::to_string(run.injections_size()));
        injection->set_step(step.name());
        injection->set_host(host);
        *injection->mutable_fault() = step.fault();
        if (step.has_duration()) *injection->mutable_duration() = step.duration();
        injection->set_state(v1::INJECTION_STATE_PLANNED);
      }
    }
    Resume(run);
    for (const std::string& host : hosts) Here(host);
  }
  void Resume(const v1::Run& run) {
    machine_.emplace(run, options_, asks_probe_, clock_);
    outstanding_.reset();
    Collect();
  }

  void Here(const std::string& host, v1::AgentState state = v1::AGENT_STATE_CONNECTED) {
    v1::Agent agent;
    agent.mutable_hello()->set_agent_id(host);
    agent.set_state(state);
    machine_->AgentHere(agent);
    Collect();
  }
  void Gone(const std::string& host) {
    machine_->AgentGone(host);
    Collect();
  }

  // Takes what the machine wants; messages pile up in `sent_`, a question waits for its answer.
  void Collect() {
    RunActions actions = machine_->TakeActions();
    changed_ |= actions.changed;
    for (RunActions::Message& message : actions.messages) sent_.push_back(std::move(message));
    for (const v1::Series& series : actions.new_samples) {
      new_samples_[series.name()] += series.samples_size();
    }
    if (actions.ask) outstanding_ = std::move(actions.ask);
  }

  // Lets time pass in steps; Prometheus answers at each step if it answers at all.
  void Pass(Nanoseconds time) {
    for (Nanoseconds passed{0}; passed < time; passed += milliseconds(500)) {
      clock_.Advance(milliseconds(500));
      machine_->Tick();
      Collect();
      if (prometheus_answers_ && outstanding_) Answer();
    }
  }
  // The next question, and no other, is answered.
  void AnswerNext() {
    prometheus_answers_ = false;
    while (!outstanding_) Pass(milliseconds(500));
    prometheus_answers_ = true;
    Answer();
  }
  void Answer() {
    const ProbeQuestions questions = *std::exchange(outstanding_, std::nullopt);
    ProbeAnswers answers;
    answers.scrape_interval = seconds(1);
    answers.recent.clock_jumped = std::exchange(clock_jumps_, false);
    answers.recent.asked_at = answers.alerts.asked_at = clock_.System();
    answers.recent.status = answers.alerts.status = prometheus_;
    answers.recent.clock_uncertainty = answers.alerts.clock_uncertainty =
        milliseconds(1) + std::max(alignment_, -alignment_);
    for (std::size_t i = 0; i < questions.recent.indicators.size(); ++i) {
      ProbeAnswer::Indicator indicator;
      indicator.status = prometheus_;
      // A sample each whole second, as far back as is asked.
      for (SystemTime at = std::chrono::ceil<seconds>(questions.recent.since);
           prometheus_.ok() && at <= clock_.System(); at += seconds(1)) {
        indicator.samples.push_back({at + alignment_, ratio_(at)});
      }
      answers.recent.indicators.push_back(indicator);
    }
    for (std::size_t i = 0; i < questions.recent.stop_conditions.size(); ++i) {
      answers.recent.stop_conditions.push_back({prometheus_, stop_holds_});
    }
    for (std::size_t i = 0; i < questions.alerts.alerts.size(); ++i) {
      ProbeAnswer::Alert alert;
      alert.status = prometheus_;
      alert.rule_missing = !rule_hint_.empty();
      alert.rule_hint = rule_hint_;
      alert.rule.emplace().evaluation_interval = evaluation_interval_;
      if (const auto since = questions.alerts.alerts[i].truth_since) {
        ++truth_asked_;
        truth_since_ = *since;
        for (SystemTime at = std::chrono::ceil<seconds>(*since); at <= clock_.System();
             at += seconds(1)) {
          alert.truth.push_back({at, firing_at_ && at >= *firing_at_ ? 1.0 : 0.0});
        }
      }
      if (firing_at_) {
        AlertSeries& series = alert.series.emplace_back();
        series.labels = {{"alertname", questions.alerts.alerts[i].name}};
        series.firing = true;
        for (SystemTime at = *firing_at_; at <= clock_.System(); at += seconds(1)) {
          if (at >= questions.alerts.since) series.samples.push_back({at + alignment_, 1});
        }
        alert.firing_now = true;
      }
      answers.alerts.alerts.push_back(alert);
    }
    machine_->Answer(answers);
    Collect();
  }

  v1::InjectionUpdate UpdateOf(const std::string& id, v1::InjectionState state) {
    v1::InjectionUpdate update;
    update.set_injection_id(id);
    update.set_run_id("r1");
    update.set_state(state);
    return update;
  }
  const v1::Injection& Injection(const std::string& id) {
    for (const v1::Injection& injection : machine_->run().injections()) {
      if (injection.id() == id) return injection;
    }
    throw std::out_of_range(id);
  }
  void Tell(const v1::InjectionUpdate& update) {
    machine_->Update(Injection(update.injection_id()).host(), {update, milliseconds(1)});
    Collect();
  }
  void Applied(const std::string& id) {
    v1::InjectionUpdate update = UpdateOf(id, v1::INJECTION_STATE_ACTIVE);
    *update.mutable_applied_at() = ToProto(clock_.System());
    *update.mutable_first_impact_at() = ToProto(clock_.System() + milliseconds(1));
    update.set_impact_from_kernel(true);
    Tell(update);
  }
  void Ended(const std::string& id, v1::EndReason reason = v1::END_REASON_DURATION,
             bool proven = true) {
    v1::InjectionUpdate update = UpdateOf(id, v1::INJECTION_STATE_ENDED);
    *update.mutable_ended_at() = ToProto(clock_.System());
    update.set_end_reason(reason);
    update.set_end_proven(proven);
    if (!proven) update.set_error("the filter is still there");
    Tell(update);
  }

  std::vector<std::string> Sent(
      const std::function<std::string(const v1::ConnectResponse&)>& what) {
    std::vector<std::string> found;
    for (const RunActions::Message& message : sent_) {
      if (const std::string text = what(message.message); !text.empty()) {
        found.push_back(message.host + " " + text);
      }
    }
    return found;
  }
  std::vector<std::string> Applies() {
    return Sent([](const v1::ConnectResponse& m) {
      return m.has_apply() ? m.apply().injection_id() : std::string();
    });
  }
  std::vector<std::string> Ends() {
    return Sent([](const v1::ConnectResponse& m) {
      return m.has_end() ? m.end().injection_id() : std::string();
    });
  }
  std::vector<std::string> Renewals() {
    return Sent([](const v1::ConnectResponse& m) {
      return m.has_renew() ? m.renew().injection_ids(0) : std::string();
    });
  }
  std::vector<v1::MarkKind> Marks() {
    std::vector<v1::MarkKind> kinds;
    for (const v1::Mark& mark : machine_->run().marks()) kinds.push_back(mark.kind());
    return kinds;
  }
  v1::RunState State() { return machine_->run().state(); }
  v1::Verdict Verdict() { return machine_->run().verdict().verdict(); }
  std::string Reason() {
    return machine_->run().verdict().reasons().empty() ? "" : machine_->run().verdict().reasons(0);
  }

  FakeClock clock_;
  v1::Experiment experiment_;
  RunOptions options_;
  bool asks_probe_ = true;
  std::optional<RunMachine> machine_;
  std::vector<RunActions::Message> sent_;
  std::optional<ProbeQuestions> outstanding_;
  bool changed_ = false;
  std::map<std::string, int> new_samples_;  // by the series' name

  bool prometheus_answers_ = true;
  absl::Status prometheus_;
  std::function<double(SystemTime)> ratio_ = [](SystemTime) { return 1.0; };
  std::optional<SystemTime> firing_at_;
  Nanoseconds evaluation_interval_ = seconds(1);
  int truth_asked_ = 0;
  SystemTime truth_since_;    // of the latest such question
  std::string rule_hint_;     // not empty: there is no rule for the alert
  bool clock_jumps_ = false;  // Prometheus', before the next answer
  bool stop_holds_ = false;
  Nanoseconds alignment_{0};  // how far this answer's clock alignment is off
};

TEST_F(MachineTest, GoesFromPlanToVerdict) {
  WatchRatio();
  ExpectAlert();
  Make();
  Pass(seconds(1));
  ASSERT_EQ(State(), v1::RUN_STATE_INJECTING) << machine_->run().state_detail();
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(sent_[0].message.apply().run_id(), "r1");
  EXPECT_EQ(FromProto(sent_[0].message.apply().lease()), seconds(15));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(62) ? 0.5 : 1.0; };
  Pass(seconds(4));
  firing_at_ = clock_.System();
  Pass(seconds(56));
  Ended("r1.1");
  EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
  Pass(seconds(15));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED) << machine_->run().DebugString();
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED) << machine_->run().verdict().DebugString();
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_PLANNED, v1::MARK_KIND_ARMED,
                                     v1::MARK_KIND_APPLIED, v1::MARK_KIND_FIRST_IMPACT,
                                     v1::MARK_KIND_SLO_BREACHED, v1::MARK_KIND_ALERT_FIRING,
                                     v1::MARK_KIND_ENDED, v1::MARK_KIND_RECOVERED}));
  for (int i = 1; i < machine_->run().marks_size(); ++i) {
    EXPECT_LE(FromProto(machine_->run().marks(i - 1).at()),
              FromProto(machine_->run().marks(i).at()));
  }
  ASSERT_EQ(machine_->run().series_size(), 3) << "the indicator's, the alert's, its rule's";
  for (const v1::Series& series : machine_->run().series()) {
    EXPECT_EQ(new_samples_[series.name()], series.samples_size()) << "each sample stored once";
    EXPECT_GT(new_samples_[series.name()], series.name() == "ALERTS/0/rule" ? 10 : 60);
  }
  const v1::Run measured = machine_->run();
  v1::Run again = measured;
  ASSERT_TRUE(MeasureAgain(again).ok());
  EXPECT_EQ(again.SerializeAsString(), measured.SerializeAsString());
}

TEST_F(MachineTest, TheMomentOfInjectionIsVariedAtRandomAndRecorded) {
  ExpectAlert();
  options_.random_wait_most = seconds(15);
  evaluation_interval_ = seconds(10);
  std::set<std::int64_t> waits;
  for (int i = 0; i < 20; ++i) {
    sent_.clear();
    clock_.Advance(milliseconds(7));  // another instant of creation
    Make();
    while (State() == v1::RUN_STATE_PREFLIGHT) Pass(milliseconds(500));
    const SystemTime armed = clock_.System();
    const Nanoseconds wait = FromProto(machine_->run().random_wait());
    EXPECT_LE(wait, seconds(10)) << "of scrape and evaluation interval the longer one";
    waits.insert(wait.count());
    while (Applies().empty()) Pass(milliseconds(500));
    EXPECT_GE(clock_.System() - armed, wait);
    EXPECT_LE(clock_.System() - armed, wait + seconds(1));
  }
  EXPECT_GT(waits.size(), 15U);
  EXPECT_LT(*waits.begin(), 5'000'000'000);
  EXPECT_GT(*waits.rbegin(), 5'000'000'000);
}

TEST_F(MachineTest, ARestartedControllerDoesNotWaitAtRandomAgain) {
  ExpectAlert();
  options_.random_wait_most = seconds(15);
  evaluation_interval_ = seconds(15);
  Make();
  while (State() == v1::RUN_STATE_PREFLIGHT) Pass(milliseconds(500));
  const v1::Run before = machine_->run();
  ASSERT_GT(FromProto(before.random_wait()), seconds(1)) << "of this run's id";
  EXPECT_THAT(before.state_detail(), HasSubstr("at random"));
  sent_.clear();
  clock_.Advance(FromProto(before.random_wait()));
  Resume(before);
  Here("cache1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(FromProto(machine_->run().random_wait()), FromProto(before.random_wait()));
}

TEST_F(MachineTest, NothingIsWaitedForAtRandomWhereNothingIsDetected) {
  WatchRatio();
  options_.random_wait_most = seconds(15);
  Make();
  Pass(seconds(1));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(FromProto(machine_->run().random_wait()), Nanoseconds(0));
}

TEST_F(MachineTest, AnAgentsClockThatWasSetIsSaidOfTheRun) {
  Make();
  Applied("r1.1");
  machine_->AgentClock("cache1", {milliseconds(5), milliseconds(2)});
  Pass(seconds(2));
  machine_->AgentClock("cache1", {milliseconds(9), milliseconds(2)});
  EXPECT_THAT(machine_->run().caveats(), IsEmpty()) << "within both ±";
  machine_->AgentClock("cache1", {milliseconds(9) - seconds(30), milliseconds(2)});
  EXPECT_THAT(machine_->run().caveats(),
              ElementsAre(HasSubstr("the clock of cache1 was set forward by 30s")));
  machine_->AgentClock("other", {milliseconds(5), milliseconds(2)});
  machine_->AgentClock("cache1", {milliseconds(9) - seconds(30), milliseconds(2)});
  EXPECT_EQ(machine_->run().caveats_size(), 1);
}

TEST_F(MachineTest, TheRulesExpressionIsAskedForUntilTheAlertIsActive) {
  ExpectAlert();
  Make();
  Pass(seconds(3));
  EXPECT_EQ(truth_asked_, 0) << "not before there is anything to tell";
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  Pass(seconds(3));
  EXPECT_EQ(truth_asked_, 0);
  firing_at_ = clock_.System();
  Pass(seconds(2));
  EXPECT_GT(truth_asked_, 0);
  EXPECT_LT(truth_since_, impact - seconds(3));
  Pass(seconds(2));
  const int asked = truth_asked_;
  Pass(seconds(20));
  EXPECT_EQ(truth_asked_, asked) << "not at every question";
  ASSERT_EQ(machine_->run().evidence().alerts_size(), 1);
  EXPECT_EQ(machine_->run().evidence().alerts(0).truth_series(), "ALERTS/0/rule");
}

TEST_F(MachineTest, OfAnAlertThatNeverFiredTheRulesExpressionIsAskedForAtTheEnd) {
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(60));
  EXPECT_EQ(truth_asked_, 0);
  Ended("r1.1");
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_GT(truth_asked_, 0);
  EXPECT_FALSE(machine_->run().evidence().alerts(0).truth_series().empty());
}

// Preflight: each reason by itself keeps the run from beginning.

TEST_F(MachineTest, BeginsNothingWhileTheSteadyStateIsBroken) {
  WatchRatio();
  ratio_ = [](SystemTime) { return 0.5; };
  Make();
  Pass(seconds(10));
  EXPECT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("ratio is >= 0.99 (it is 0.5)"));
  Pass(seconds(15));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("preflight: waited in vain until ratio is >= 0.99"));
  EXPECT_THAT(Applies(), IsEmpty());
  EXPECT_EQ(Injection("r1.1").state(), v1::INJECTION_STATE_FAILED);
}

TEST_F(MachineTest, WaitsUntilTheSteadyStateHasHeldForLongEnough) {
  WatchRatio();
  const SystemTime good_from = clock_.System() + seconds(3);
  ratio_ = [good_from](SystemTime at) { return at >= good_from ? 1.0 : 0.5; };
  Make();
  Pass(seconds(6));
  EXPECT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("for 5s"));
  Pass(seconds(3));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, BeginsNothingWhileTheAlertIsFiring) {
  ExpectAlert();
  firing_at_ = clock_.System() - seconds(60);
  Make();
  Pass(seconds(16));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("alert ShopSlow is not firing already"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, BeginsNothingWhenNoRuleCouldRaiseTheAlert) {
  ExpectAlert();
  rule_hint_ = "did you mean ShopSlower?";
  Make();
  Pass(seconds(2));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("needed that Prometheus has a rule for alert ShopSlow (it has "
                                  "none; did you mean ShopSlower?)"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, DoesNotWaitForAQueryThatPrometheusRefuses) {
  WatchRatio();
  prometheus_ = absl::InvalidArgumentError("1:7: parse error: unclosed left parenthesis");
  Make();
  Pass(seconds(2));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("needed that ratio is >= 0.99 (unknown: "));
  EXPECT_THAT(Reason(), HasSubstr("unclosed left parenthesis"));
  EXPECT_THAT(Applies(), IsEmpty());
}

TEST_F(MachineTest, BeginsNothingWhileAStopConditionHoldsOrIsUnknown) {
  StopWhenDown();
  stop_holds_ = true;
  Make();
  Pass(seconds(5));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("\"up == 0\" does not hold"));
  prometheus_ = absl::UnavailableError("connection refused");
  Pass(seconds(11));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("connection refused"));
}

TEST_F(MachineTest, BeginsNothingWithoutPrometheus) {
  WatchRatio();
  prometheus_ = absl::UnavailableError("connection refused");
  Make();
  Pass(seconds(21));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("unknown: connection refused"));
}

TEST_F(MachineTest, BeginsNothingWhenPrometheusNeverAnswers) {
  WatchRatio();
  prometheus_answers_ = false;
  Make();
  Pass(seconds(21));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("until Prometheus answers"));
}

TEST_F(MachineTest, WaitsForAnAgentAndNotForever) {
  Make({"cache1", "cache2"});
  Gone("cache2");
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "both were there at the start";
  experiment_.set_name("again");
  Make({});
  v1::Run run = machine_->run();
  sent_.clear();
  Make({"cache1"});
  run = machine_->run();
  run.set_state(v1::RUN_STATE_PREFLIGHT);
  run.mutable_injections(0)->set_state(v1::INJECTION_STATE_PLANNED);
  sent_.clear();
  Resume(run);
  Pass(seconds(3));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("agent cache1 is connected"));
  Here("cache1", v1::AGENT_STATE_DRAINING);
  Pass(seconds(1));
  EXPECT_THAT(machine_->run().state_detail(), HasSubstr("agent cache1 is not stopping"));
  Pass(seconds(12));
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Applies(), IsEmpty());
}

// The graph of steps.

TEST_F(MachineTest, StepsFollowOneAnotherUnlessTheySayOtherwise) {
  *experiment_.add_method() = MakeStep("second", seconds(10));
  v1::Step* parallel = experiment_.add_method();
  *parallel = MakeStep("at ten", seconds(10));
  *parallel->mutable_at() = ToProto(seconds(10));
  v1::Step* after = experiment_.add_method();
  *after = MakeStep("after both", seconds(10));
  after->add_after("second");
  after->add_after("at ten");
  *after->mutable_at() = ToProto(seconds(3));
  Make();
  Pass(seconds(1));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
  Applied("r1.1");
  Pass(seconds(10));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1", "cache1 r1.3")) << "10 s after the start";
  Applied("r1.3");
  Pass(seconds(10));
  Ended("r1.3");
  Pass(seconds(40));
  EXPECT_EQ(Applies().size(), 2U);
  Ended("r1.1");
  EXPECT_THAT(Applies(), Contains("cache1 r1.2")) << "at once, after the step before it";
  Applied("r1.2");
  Pass(seconds(10));
  Ended("r1.2");
  Pass(seconds(2));
  EXPECT_EQ(Applies().size(), 3U);
  Pass(seconds(2));
  EXPECT_THAT(Applies(), Contains("cache1 r1.4")) << "3 s after both had ended";
  Applied("r1.4");
  Pass(seconds(10));
  Ended("r1.4");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

TEST_F(MachineTest, RenewsTheLeasesOfWhatLives) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  Applied("r1.2");
  Pass(seconds(6));
  EXPECT_THAT(Renewals(), ElementsAre("cache1 r1.1", "cache2 r1.2"));
  sent_.clear();
  Ended("r1.1", v1::END_REASON_DURATION);
  Pass(seconds(5));
  EXPECT_THAT(Renewals(), ElementsAre("cache2 r1.2"));
}

TEST_F(MachineTest, AnEventThatIsOverByItselfEndsItsStep) {
  experiment_.mutable_method(0)->clear_duration();
  experiment_.mutable_method(0)->mutable_fault()->mutable_process_kill();
  Make();
  Applied("r1.1");
  Ended("r1.1", v1::END_REASON_COMPLETED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

// What goes wrong on hosts.

TEST_F(MachineTest, AFaultThatFailsEndsTheOthersAndIsInconclusive) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  v1::InjectionUpdate failed = UpdateOf("r1.2", v1::INJECTION_STATE_FAILED);
  failed.set_error("no such device eth7");
  Tell(failed);
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_THAT(Reason(), HasSubstr("was not applied: no such device eth7"));
}

TEST_F(MachineTest, AFaultWithoutImpactIsInconclusive) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System());
  Tell(update);
  Pass(seconds(60));
  Ended("r1.1");
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_THAT(Reason(), HasSubstr("showed no impact"));
}

TEST_F(MachineTest, AnEarlyEndAborts) {
  for (const v1::EndReason reason :
       {v1::END_REASON_LEASE, v1::END_REASON_WORKER_DIED, v1::END_REASON_AGENT_STOPPING,
        v1::END_REASON_HOST_CHANGED, v1::END_REASON_REQUESTED}) {
    Make();
    Applied("r1.1");
    Ended("r1.1", reason);
    EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED) << v1::EndReason_Name(reason);
    EXPECT_THAT(Reason(), HasSubstr("ended early"));
  }
}

TEST_F(MachineTest, AnEndThatIsNotProvenStopsTheRunAndIsUnclean) {
  *experiment_.add_method() = MakeStep("second", seconds(10));
  Make();
  Applied("r1.1");
  Pass(seconds(60));
  Ended("r1.1", v1::END_REASON_DURATION, false);
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  EXPECT_THAT(Reason(), HasSubstr("the filter is still there"));
  EXPECT_EQ(Applies().size(), 1U) << "the second step never began";
}

TEST_F(MachineTest, AnAgentThatDoesNotAnswerToApplyAborts) {
  Make();
  Pass(seconds(19));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), Contains("cache1 r1.1"));
  Pass(seconds(31));
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN) << "nobody knows whether it was applied";
}

TEST_F(MachineTest, AnOverdueFaultIsEndedAndNoLongerRenewed) {
  Make();
  Applied("r1.1");
  Pass(seconds(63));
  EXPECT_THAT(Ends(), Contains("cache1 r1.1"));
  sent_.clear();
  Pass(seconds(10));
  EXPECT_THAT(Renewals(), IsEmpty());
  EXPECT_GT(Ends().size(), 2U) << "asked again and again";
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED);
}

TEST_F(MachineTest, AnOverdueFaultThatNeverEndsIsUnclean) {
  Make();
  Applied("r1.1");
  Pass(seconds(60 + 2 + 31));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
}

TEST_F(MachineTest, ALostAgentAbortsAfterItsLease) {
  Make({"cache1", "cache2"});
  Applied("r1.1");
  Applied("r1.2");
  Gone("cache1");
  Pass(seconds(14));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "the lease still lives";
  Pass(seconds(1));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Ends(), ElementsAre("cache2 r1.2"));
  Ended("r1.2", v1::END_REASON_REQUESTED);
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING) << "waits for the proof";
  Here("cache1");
  Ended("r1.1", v1::END_REASON_LEASE);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("agent cache1 was lost for 15s"));
}

TEST_F(MachineTest, AnAgentThatIsBackInTimeGoesOn) {
  Make();
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(10));
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  Pass(seconds(20));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, AHostThatIsRestartedByTheRunIsNotLost) {
  v1::Step* step = experiment_.mutable_method(0);
  step->clear_duration();
  step->mutable_fault()->mutable_reboot();
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(300));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << machine_->run().state_detail();
  v1::InjectionUpdate told = UpdateOf("r1.1", v1::INJECTION_STATE_ENDED);
  told.set_end_reason(v1::END_REASON_COMPLETED);
  told.set_end_proven(true);
  *told.mutable_ended_at() = ToProto(clock_.System());
  machine_->AgentHolds("cache1", "of the next boot", {{told, milliseconds(1)}});
  Here("cache1");
  Pass(seconds(1));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(machine_->run().verdict().verdict(), v1::VERDICT_PASSED)
      << machine_->run().verdict().ShortDebugString();
}

TEST_F(MachineTest, AHostThatDoesNotComeBackFromItsRestartAborts) {
  v1::Step* step = experiment_.mutable_method(0);
  step->clear_duration();
  step->mutable_fault()->mutable_reboot();
  Make();
  Applied("r1.1");
  Gone("cache1");
  Pass(seconds(601));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(machine_->run().verdict().reasons(),
              Contains(HasSubstr("did not come back within 10m of its host's restart")));
}

TEST_F(MachineTest, SendsAnApplyAgainThatWasLostWithTheStream) {
  Make();
  Gone("cache1");
  sent_.clear();
  machine_->AgentHolds("cache1", "same", {});
  Here("cache1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.1"));
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewAndKnowsNothingIsUnclean) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  EXPECT_THAT(Reason(), HasSubstr("was started anew and does not know it"));
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewWhileApplyingIsNotAskedAgain) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Collect();
  sent_.clear();
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  EXPECT_THAT(Applies(), IsEmpty()) << "it may have been applied by the agent that died";
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
}

TEST_F(MachineTest, AnAgentThatWasStartedAnewAndProvesTheEndIsAnAbort) {
  Make();
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  v1::InjectionUpdate ended = UpdateOf("r1.1", v1::INJECTION_STATE_ENDED);
  ended.set_end_reason(v1::END_REASON_WORKER_DIED);
  ended.set_end_proven(true);
  machine_->AgentHolds("cache1", "second", {{ended, {}}});
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_THAT(Reason(), HasSubstr("its worker died"));
}

TEST_F(MachineTest, TheImpactIsNeverMarkedBeforeTheApplication) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System() + milliseconds(5));
  *update.mutable_first_impact_at() = ToProto(clock_.System() + milliseconds(2));
  Tell(update);
  EXPECT_THAT(Marks(), ElementsAre(v1::MARK_KIND_PLANNED, v1::MARK_KIND_ARMED,
                                   v1::MARK_KIND_APPLIED, v1::MARK_KIND_FIRST_IMPACT));
  EXPECT_EQ(FromProto(Injection("r1.1").applied_at()), clock_.System() + milliseconds(2));
}

TEST_F(MachineTest, ImpactCarriesItsSourceAndUncertainty) {
  Make();
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System());
  *update.mutable_first_impact_at() = ToProto(clock_.System());
  *update.mutable_impact_uncertainty() = ToProto(milliseconds(2));
  update.set_impact_from_kernel(true);
  Tell(update);
  const v1::Mark& mark = machine_->run().marks(3);
  EXPECT_EQ(mark.source(), v1::MARK_SOURCE_KERNEL);
  EXPECT_EQ(FromProto(mark.uncertainty()), milliseconds(3)) << "the clock's and the impact's own";
  EXPECT_EQ(mark.host(), "cache1");
}

// Guards.

TEST_F(MachineTest, KeepsWhatHappenedToWhatTheFaultTouched) {
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  v1::InjectionEvent& respawned = *update.add_events();
  respawned.set_name("respawned");
  *respawned.mutable_at() = ToProto(clock_.System());
  respawned.set_from_kernel(true);
  *respawned.mutable_uncertainty() = ToProto(milliseconds(2));
  respawned.set_detail("redis-server, pid 4711 → 4802");
  changed_ = false;
  Tell(update);
  EXPECT_TRUE(changed_) << "what was told is stored";
  ASSERT_EQ(Injection("r1.1").events_size(), 1);
  const v1::InjectionEvent known = Injection("r1.1").events(0);
  EXPECT_EQ(known.name(), "respawned");
  EXPECT_EQ(FromProto(known.at()), clock_.System());
  EXPECT_EQ(FromProto(known.uncertainty()), milliseconds(3)) << "its own and the clocks'";
  // Told again, from a clock that is aligned anew, and with one more.
  *respawned.mutable_at() = ToProto(clock_.System() + seconds(1));
  update.add_events()->set_name("answered");
  Tell(update);
  ASSERT_EQ(Injection("r1.1").events_size(), 2);
  EXPECT_EQ(Injection("r1.1").events(0).SerializeAsString(), known.SerializeAsString());
  EXPECT_EQ(Injection("r1.1").events(1).name(), "answered");
  // An update without them takes none away, and nobody can flood a run with them.
  Ended("r1.1");
  EXPECT_EQ(Injection("r1.1").events_size(), 2);
}

TEST_F(MachineTest, AFloodOfEventsIsCut) {
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  v1::InjectionUpdate update = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  for (int i = 0; i < 5000; ++i) update.add_events()->set_name("respawned");
  Tell(update);
  EXPECT_EQ(Injection("r1.1").events_size(), 100);
}

TEST_F(MachineTest, AKillThatWatchesTheRestartIsNotOverdueMeanwhile) {
  KillAndWatch(seconds(40));
  Pass(seconds(85));
  EXPECT_THAT(Ends(), IsEmpty()) << "it looks for 40 s from an exit that may be 40 s late";
  Pass(seconds(10));
  EXPECT_THAT(Ends(), ::testing::Not(IsEmpty()));
}

TEST_F(MachineTest, AKillWithGraceWatchesTheRestartOnce) {
  KillAndWatch(seconds(40), /*grace=*/seconds(20));
  Pass(seconds(65));
  EXPECT_THAT(Ends(), IsEmpty()) << "it looks for 40 s from an exit after at most 20 s";
  Pass(seconds(10));
  EXPECT_THAT(Ends(), ::testing::Not(IsEmpty()));
}

TEST_F(MachineTest, AStopConditionAborts) {
  StopWhenDown();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(5));
  stop_holds_ = true;
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "stop condition \"up == 0\" holds");
}

TEST_F(MachineTest, AStopConditionThatIsUnknownForTwoScrapesAborts) {
  StopWhenDown();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(2));
  prometheus_ = absl::UnavailableError("connection refused");
  AnswerNext();
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING) << "once is not enough";
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  EXPECT_THAT(Reason(), HasSubstr("unknown for two scrapes: connection refused"));
}

TEST_F(MachineTest, AStopConditionIsUnknownWhereNoAnswerComes) {
  options_.probe_deadline = seconds(3);
  StopWhenDown();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(2));
  const SystemTime last = clock_.System();
  prometheus_answers_ = false;
  while (State() == v1::RUN_STATE_INJECTING && clock_.System() < last + seconds(20)) {
    Pass(milliseconds(500));
  }
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  // Asked within a second; the deadline and a scrape later it ought to be known.
  EXPECT_GE(clock_.System() - last, seconds(4));
  EXPECT_LE(clock_.System() - last, seconds(6));
  EXPECT_THAT(Reason(), HasSubstr("is unknown: no answer for 4"));
}

TEST_F(MachineTest, AStopConditionThatHoldsDoesNotWaitForTheAlerts) {
  StopWhenDown();
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  ProbeAnswer recent;
  recent.stop_conditions = {{absl::OkStatus(), true}};
  machine_->AnswerRecent(recent);
  Collect();
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
}

// The whole answer repeats it: that is no second one.
TEST_F(MachineTest, OneUnknownAnswerIsNotTwo) {
  StopWhenDown();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  ProbeAnswer recent;
  prometheus_ = absl::UnavailableError("connection refused");
  recent.stop_conditions = {{prometheus_, false}};
  machine_->AnswerRecent(recent);
  Pass(milliseconds(1500));
  Answer();
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

TEST_F(MachineTest, AStopConditionThatIsKnownAgainInTimeDoesNot) {
  StopWhenDown();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  for (int i = 0; i < 5; ++i) {
    prometheus_ = absl::UnavailableError("connection refused");
    AnswerNext();
    prometheus_ = absl::OkStatus();
    AnswerNext();
  }
  Pass(seconds(2));
  EXPECT_EQ(State(), v1::RUN_STATE_INJECTING);
}

// Aborts in every state.

TEST_F(MachineTest, AnAbortWhileThePreflightWaitsInjectsNothing) {
  WatchRatio();
  ratio_ = [](SystemTime) { return 0.5; };
  Make();
  Pass(seconds(2));
  ASSERT_EQ(State(), v1::RUN_STATE_PREFLIGHT);
  machine_->Abort("by ana");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, AnAbortWhileApplyingEndsWhatMayHaveBegun) {
  Make();
  ASSERT_EQ(Injection("r1.1").state(), v1::INJECTION_STATE_APPLYING);
  machine_->Abort("by ana");
  Collect();
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, AnAbortBetweenStepsBeginsNoFurtherOne) {
  v1::Step* step = experiment_.add_method();
  *step = MakeStep("second", seconds(10));
  step->add_after("lose packets");
  *step->mutable_at() = ToProto(seconds(30));
  Make();
  Applied("r1.1");
  Pass(seconds(60));
  Ended("r1.1");
  machine_->Abort("by ana");
  Pass(seconds(40));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Applies().size(), 1U);
}

TEST_F(MachineTest, AnAbortWhileRecoveringFinishesAtOnce) {
  WatchRatio();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(60));
  Ended("r1.1");
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  machine_->Abort("by ana");
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, ASecondAbortAndOneAfterTheEndChangeNothing) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  machine_->Abort("by bo");
  Ended("r1.1", v1::END_REASON_REQUESTED);
  machine_->Abort("by cy");
  EXPECT_EQ(machine_->run().verdict().reasons_size(), 1);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, AnAbortIsSentAgainUntilTheAgentAnswers) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  Pass(seconds(7));
  EXPECT_GE(Ends().size(), 3U);
}

// Recovery.

TEST_F(MachineTest, AMarkThatWasToldDoesNotMoveWithTheAlignmentOfClocks) {
  WatchRatio();
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  firing_at_ = clock_.System() + seconds(1);
  Pass(seconds(3));
  const v1::Run before = machine_->run();
  ASSERT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_SLO_BREACHED, v1::MARK_KIND_ALERT_FIRING}));
  for (const int moved : {1, -1, 3, -4}) {
    alignment_ = milliseconds(moved);
    Pass(seconds(2));
  }
  ASSERT_EQ(machine_->run().marks_size(), before.marks_size());
  for (int i = 0; i < before.marks_size(); ++i) {
    v1::Mark now = machine_->run().marks(i);
    EXPECT_GE(FromProto(now.uncertainty()), FromProto(before.marks(i).uncertainty()))
        << "no more precise than the worst of the answers that brought samples";
    *now.mutable_uncertainty() = before.marks(i).uncertainty();
    EXPECT_EQ(now.SerializeAsString(), before.marks(i).SerializeAsString());
  }
  for (int i = 1; i < machine_->run().series(0).samples_size(); ++i) {
    EXPECT_GT(FromProto(machine_->run().series(0).samples(i).at()) -
                  FromProto(machine_->run().series(0).samples(i - 1).at()),
              milliseconds(900))
        << "no sample twice";
  }
}

TEST_F(MachineTest, AMarkThatWasToldStaysThoughPrometheusLosesItsStorage) {
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(3));
  firing_at_ = clock_.System();
  Pass(seconds(3));
  ASSERT_THAT(Marks(), Contains(v1::MARK_KIND_ALERT_FIRING));
  firing_at_.reset();
  Pass(seconds(3));
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_ALERT_FIRING));
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
}

TEST_F(MachineTest, AClockThatWasSetIsSaidOfTheRun) {
  ExpectAlert();
  WatchRatio();
  Make();
  Pass(seconds(6));
  Applied("r1.1");
  Pass(seconds(3));
  clock_jumps_ = true;
  Pass(seconds(3));
  const v1::Run stored = machine_->run();
  Resume(stored);  // also by a controller that was started anew
  Here("cache1");
  Pass(seconds(55));
  Ended("r1.1");
  Pass(seconds(200));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("Prometheus' clock was set")));
}

TEST_F(MachineTest, WatchesNoLongerThanItWasTold) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(30));
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(29));
  EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
  Pass(seconds(5));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_FAILED);
  EXPECT_THAT(Reason(), HasSubstr("ratio did not recover"));
}

TEST_F(MachineTest, AWebhookMarksTheNotification) {
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(3));
  AlertNotice notice;
  notice.alert = "ShopSlow";
  notice.firing = true;
  notice.starts_at = clock_.System() - milliseconds(20);
  notice.received_at = clock_.System();
  notice.fingerprint = "f1";
  machine_->Notice({notice});
  Collect();
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_NOTIFIED));
  EXPECT_TRUE(outstanding_.has_value()) << "asks for the raw samples at once";
}

TEST_F(MachineTest, AFloodOfNoticesIsBounded) {
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  std::vector<AlertNotice> flood;
  for (int i = 0; i < 3000; ++i) {
    AlertNotice notice;
    notice.alert = "ShopSlow";
    notice.firing = true;
    notice.starts_at = notice.received_at = clock_.System() + milliseconds(5);
    notice.fingerprint = std::to_string(i);
    flood.push_back(notice);
  }
  machine_->Notice({flood.begin(), flood.begin() + 2000});
  Pass(seconds(1));
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_NOTIFIED));
  ASSERT_FALSE(outstanding_.has_value());
  machine_->Notice({flood.begin() + 2000, flood.end()});
  Collect();
  EXPECT_FALSE(outstanding_.has_value()) << "nothing more is taken";
}

TEST_F(MachineTest, ALateProofIsMarked) {
  Make({"cache1", "cache2"});
  machine_->AgentHolds("cache1", "first", {});
  Applied("r1.1");
  Applied("r1.2");
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  ASSERT_EQ(State(), v1::RUN_STATE_ENDING) << "cache2 is still to end";
  ASSERT_FALSE(Injection("r1.1").end_proven());
  Ended("r1.1", v1::END_REASON_WORKER_DIED);
  EXPECT_TRUE(Injection("r1.1").end_proven());
  EXPECT_TRUE(Injection("r1.1").has_ended_at());
  EXPECT_THAT(Marks(), Contains(v1::MARK_KIND_ENDED));
  Ended("r1.2", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
}

TEST_F(MachineTest, AWallClockThatIsSteppedBackDoesNotHoldTheRun) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(10));
  Make();
  Pass(seconds(6));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(67) ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(9));
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  prometheus_answers_ = false;
  clock_.StepSystem(-std::chrono::hours(1));
  Pass(seconds(20));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
}

TEST_F(MachineTest, PrometheusLostDuringTheRunIsInconclusiveNotPassed) {
  WatchRatio();
  *experiment_.mutable_recover_within() = ToProto(seconds(10));
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(5));
  prometheus_ = absl::UnavailableError("connection refused");
  Pass(seconds(55));
  Ended("r1.1");
  Pass(seconds(15));
  EXPECT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE) << machine_->run().verdict().DebugString();
}

// Seconds after the impact nobody knows yet what would have come.
TEST_F(MachineTest, ARunThatIsCutShortDecidesNothingThatItHasNotSeen) {
  WatchRatio();
  ExpectAlert();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
  Pass(seconds(3));
  machine_->Abort("by ana");
  Ended("r1.1", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  const v1::Run& run = machine_->run();
  EXPECT_TRUE(run.evidence().cut_short());
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_UNKNOWN);
  EXPECT_EQ(run.recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
  EXPECT_TRUE(run.time_to_detect().censored());
  EXPECT_TRUE(run.time_to_recover().censored());
  EXPECT_THAT(run.alerts(0).explanation(), HasSubstr("cut short"));
  EXPECT_THAT(run.indicators(0).explanation(), HasSubstr("cut short"));
}

TEST_F(MachineTest, AStepThatWasNotAppliedCutsTheRunShort) {
  ExpectAlert();
  Make({"cache1", "cache2"});
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(2));
  v1::InjectionUpdate failed = UpdateOf("r1.2", v1::INJECTION_STATE_FAILED);
  failed.set_error("no such device");
  Tell(failed);
  Ended("r1.1", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_INCONCLUSIVE);
  EXPECT_TRUE(machine_->run().evidence().cut_short());
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_UNKNOWN);
}

// Of cache1's the agent forgot all, so it is not known until when it was on.
TEST_F(MachineTest, RecoveryIsOnNoSideOfAnEndThatNobodyTold) {
  WatchRatio();
  Make({"cache1", "cache2"});
  machine_->AgentHolds("cache1", "first", {});
  Pass(seconds(1));
  Applied("r1.1");
  Applied("r1.2");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(5) ? 0.5 : 1.0; };
  Pass(seconds(20));
  machine_->AgentHolds("cache1", "second", {});
  Collect();
  Ended("r1.2", v1::END_REASON_REQUESTED);
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN);
  const v1::IndicatorResult& ratio = machine_->run().indicators(0);
  EXPECT_EQ(ratio.outcome(), v1::RECOVERY_OUTCOME_UNKNOWN) << ratio.explanation();
  EXPECT_THAT(ratio.explanation(), HasSubstr("nobody saw it end"));
  EXPECT_TRUE(ratio.has_time_to_recover());
}

// A restart of the controller: nothing but the v1::Run is left.

// Recovering when the controller goes; it is back when `recover_within` is long over.
TEST_F(MachineTest, ARestartWhileRecoveringAsksBeforeItDecides) {
  WatchRatio();
  ExpectAlert();
  experiment_.mutable_detection(0)->clear_within();
  *experiment_.mutable_recover_within() = ToProto(seconds(20));
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(64) ? 0.5 : 1.0; };
  Pass(seconds(60));
  Ended("r1.1");
  Pass(seconds(2));
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING);
  const v1::Run before = machine_->run();
  firing_at_ = clock_.System() + seconds(2);  // meanwhile
  clock_.Advance(seconds(60));
  Resume(before);
  machine_->Tick();
  Collect();
  ASSERT_EQ(State(), v1::RUN_STATE_RECOVERING) << "nobody was asked";
  Pass(seconds(1));
  ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
  EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_DETECTED);
  EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_AFTER_END);
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("nobody watched for up to 1m")));
}

TEST_F(MachineTest, ARestartWhileRecoveringDoesNotWaitForPrometheusForEver) {
  WatchRatio();
  ExpectAlert();
  *experiment_.mutable_recover_within() = ToProto(seconds(20));
  experiment_.mutable_detection(0)->clear_within();
  for (const bool refuses : {false, true}) {
    prometheus_answers_ = true;
    prometheus_ = absl::OkStatus();
    ratio_ = [](SystemTime) { return 1.0; };
    Make();
    Pass(seconds(1));
    Applied("r1.1");
    const SystemTime impact = clock_.System();
    ratio_ = [impact](SystemTime at) { return at > impact ? 0.5 : 1.0; };
    Pass(seconds(60));
    Ended("r1.1");
    Pass(seconds(2));
    const v1::Run before = machine_->run();
    clock_.Advance(seconds(60));
    Resume(before);
    prometheus_answers_ = refuses;
    prometheus_ = absl::UnavailableError("connection refused");
    Pass(seconds(29));
    EXPECT_EQ(State(), v1::RUN_STATE_RECOVERING);
    Pass(seconds(2));
    ASSERT_EQ(State(), v1::RUN_STATE_FINISHED);
    EXPECT_EQ(machine_->run().detection(), v1::DETECTION_OUTCOME_UNKNOWN);
    EXPECT_EQ(machine_->run().recovery(), v1::RECOVERY_OUTCOME_UNKNOWN);
    EXPECT_THAT(machine_->run().alerts(0).explanation(),
                HasSubstr(refuses ? "connection refused" : "Prometheus has not answered"));
  }
}

TEST_F(MachineTest, EachRestartIsSaidOfTheRun) {
  WatchRatio();
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  Pass(seconds(5));
  for (int restart = 0; restart < 2; ++restart) {
    const v1::Run before = machine_->run();
    clock_.Advance(seconds(7));
    Resume(before);
    Here("cache1");
    Pass(seconds(2));
  }
  EXPECT_THAT(machine_->run().caveats(), ElementsAre(HasSubstr("nobody watched for up to 7"),
                                                     HasSubstr("nobody watched for up to 7")));
}

TEST_F(MachineTest, ARestartInTheMiddleGoesOnWithEveryMark) {
  WatchRatio();
  ExpectAlert();
  *experiment_.add_method() = MakeStep("second", seconds(10));
  Make();
  Pass(seconds(1));
  Applied("r1.1");
  const SystemTime impact = clock_.System();
  ratio_ = [impact](SystemTime at) { return at > impact && at < impact + seconds(50) ? 0.5 : 1.0; };
  Pass(seconds(4));
  firing_at_ = clock_.System();
  Pass(seconds(2));
  AlertNotice notice;
  notice.alert = "ShopSlow";
  notice.firing = true;
  notice.starts_at = *firing_at_;
  notice.received_at = clock_.System();
  machine_->Notice({notice});
  const v1::Run before = machine_->run();
  ASSERT_THAT(Marks(), IsSupersetOf({v1::MARK_KIND_ALERT_FIRING, v1::MARK_KIND_NOTIFIED,
                                     v1::MARK_KIND_SLO_BREACHED}));
  clock_.Advance(seconds(5));
  sent_.clear();
  Resume(before);
  prometheus_ = absl::UnavailableError("connection refused");  // of no help for now
  v1::InjectionUpdate live = UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE);
  *live.mutable_applied_at() = ToProto(clock_.System());  // by a clock not aligned yet
  machine_->AgentHolds("cache1", "", {{live, seconds(1)}});
  Here("cache1");
  Pass(seconds(3));
  EXPECT_THAT(Applies(), IsEmpty()) << "not applied again";
  for (const v1::Mark& mark : before.marks()) {
    bool kept = false;
    for (const v1::Mark& now : machine_->run().marks()) {
      kept |= now.kind() == mark.kind() && now.subject() == mark.subject() &&
              FromProto(now.at()) == FromProto(mark.at());
    }
    EXPECT_TRUE(kept) << mark.DebugString();
  }
  prometheus_ = absl::OkStatus();
  Pass(seconds(46));
  Ended("r1.1");
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.2"));
  Applied("r1.2");
  Pass(seconds(10));
  Ended("r1.2");
  Pass(seconds(20));
  EXPECT_EQ(Verdict(), v1::VERDICT_PASSED) << machine_->run().verdict().DebugString();
}

TEST_F(MachineTest, ARestartKnowsWhenAFaultShouldHaveEnded) {
  Make();
  Applied("r1.1");
  Pass(seconds(30));
  const v1::Run before = machine_->run();
  Resume(before);
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  sent_.clear();
  Pass(seconds(30));
  EXPECT_THAT(Ends(), IsEmpty());
  Pass(seconds(4));
  EXPECT_THAT(Ends(), Contains("cache1 r1.1")) << "not another minute from the restart";
}

TEST_F(MachineTest, ARestartKeepsTheTimesOfStepsThatAreStillToCome) {
  v1::Step* step = experiment_.add_method();
  *step = MakeStep("at thirty", seconds(10));
  *step->mutable_at() = ToProto(seconds(30));
  Make();
  Applied("r1.1");
  Pass(seconds(20));
  const v1::Run before = machine_->run();
  Resume(before);
  machine_->AgentHolds("cache1", "", {{UpdateOf("r1.1", v1::INJECTION_STATE_ACTIVE), {}}});
  Here("cache1");
  sent_.clear();
  Pass(seconds(9));
  EXPECT_THAT(Applies(), IsEmpty());
  Pass(seconds(2));
  EXPECT_THAT(Applies(), ElementsAre("cache1 r1.2")) << "30 s after the method's start, as before";
}

TEST_F(MachineTest, ARestartWhileEndingGoesOnEnding) {
  Make();
  Applied("r1.1");
  machine_->Abort("by ana");
  const v1::Run before = machine_->run();
  sent_.clear();
  Resume(before);
  Here("cache1");
  EXPECT_THAT(Ends(), ElementsAre("cache1 r1.1"));
  Ended("r1.1", v1::END_REASON_REQUESTED);
  EXPECT_EQ(Verdict(), v1::VERDICT_ABORTED);
  EXPECT_EQ(Reason(), "by ana");
}

TEST_F(MachineTest, ARestartWithoutItsAgentsAbortsAfterALease) {
  Make();
  Applied("r1.1");
  const v1::Run before = machine_->run();
  Resume(before);
  Pass(seconds(16));
  EXPECT_EQ(State(), v1::RUN_STATE_ENDING);
  Pass(seconds(50));
  EXPECT_EQ(Verdict(), v1::VERDICT_UNCLEAN) << "its end was never proven";
}

TEST_F(MachineTest, EveryChangeIsReportedAndNothingElse) {
  Make();
  Applied("r1.1");
  Collect();
  changed_ = false;
  Pass(seconds(4));
  EXPECT_FALSE(changed_) << "a tick without news is not written to disk";
  machine_->Abort("by ana");
  Collect();
  EXPECT_TRUE(changed_);
}

}  // namespace
}  // namespace firedrill::controller
