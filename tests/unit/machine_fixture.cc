// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/machine_fixture.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "proto/support/time.h"

namespace firedrill::controller {

using std::chrono::milliseconds;
using std::chrono::seconds;

v1::Step MakeStep(const std::string& name, Nanoseconds duration) {
  v1::Step step;
  step.set_name(name);
  step.set_target("cache");
  *step.mutable_duration() = ToProto(duration);
  step.mutable_fault()->mutable_packet_loss()->set_percent(33);
  return step;
}

MachineTest::MachineTest() {
  options_.random_wait_most = Nanoseconds(0);
  experiment_.set_name("cache-loss");
  experiment_.set_environment("staging");
  (*experiment_.mutable_targets())["cache"].mutable_pick()->set_all(true);
  *experiment_.add_method() = MakeStep("lose packets", seconds(60));
}

void MachineTest::WatchRatio() {
  v1::Indicator* indicator = experiment_.add_steady_state();
  indicator->set_name("ratio");
  indicator->set_query("ratio");
  indicator->mutable_expect()->set_operator_(v1::OPERATOR_GREATER_OR_EQUAL);
  indicator->mutable_expect()->set_value(0.99);
  *indicator->mutable_hold() = ToProto(seconds(5));
}

void MachineTest::ExpectAlert() {
  v1::Detection* detection = experiment_.add_detection();
  detection->set_alert("ShopSlow");
  *detection->mutable_within() = ToProto(seconds(30));
}

AlertNotice MachineTest::Firing(const std::string& alert, SystemTime starts_at) const {
  AlertNotice notice;
  notice.alert = alert;
  notice.firing = true;
  notice.starts_at = starts_at;
  notice.received_at = clock_.System();
  return notice;
}

void MachineTest::Make(const std::vector<std::string>& hosts) {
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

void MachineTest::MakeApplied(const std::vector<std::string>& hosts) {
  Make(hosts);
  Pass(seconds(1));
  Applied("r1.1");
}

void MachineTest::MakeKillApplied(Nanoseconds within, std::optional<Nanoseconds> grace) {
  v1::Step& step = *experiment_.mutable_method(0);
  step.clear_duration();
  v1::ProcessKill& kill = *step.mutable_fault()->mutable_process_kill();
  kill.mutable_processes()->set_name("redis-server");
  if (grace) *kill.mutable_grace() = ToProto(*grace);
  *kill.mutable_restart()->mutable_within() = ToProto(within);
  MakeApplied();
}

void MachineTest::Resume(const v1::Run& run) {
  machine_.emplace(run, options_, asks_probe_, clock_);
  outstanding_.reset();
  Collect();
}

void MachineTest::Here(const std::string& host, v1::AgentState state) {
  v1::Agent agent;
  agent.mutable_hello()->set_agent_id(host);
  agent.set_state(state);
  machine_->AgentHere(agent);
  Collect();
}

void MachineTest::Gone(const std::string& host) {
  machine_->AgentGone(host);
  Collect();
}

void MachineTest::Collect() {
  RunActions actions = machine_->TakeActions();
  changed_ |= actions.changed;
  for (RunActions::Message& message : actions.messages) sent_.push_back(std::move(message));
  for (const v1::Series& series : actions.new_samples) {
    new_samples_[series.name()] += series.samples_size();
  }
  if (actions.ask) outstanding_ = std::move(actions.ask);
}

void MachineTest::Pass(Nanoseconds time) {
  for (Nanoseconds passed{0}; passed < time; passed += milliseconds(500)) {
    clock_.Advance(milliseconds(500));
    machine_->Tick();
    Collect();
    if (prometheus_answers_ && outstanding_) Answer();
  }
}

void MachineTest::AnswerNext() {
  prometheus_answers_ = false;
  while (!outstanding_) Pass(milliseconds(500));
  prometheus_answers_ = true;
  Answer();
}

void MachineTest::Answer() {
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

v1::InjectionUpdate MachineTest::UpdateOf(const std::string& id, v1::InjectionState state) {
  v1::InjectionUpdate update;
  update.set_injection_id(id);
  update.set_run_id("r1");
  update.set_state(state);
  return update;
}

const v1::Injection& MachineTest::Injection(const std::string& id) {
  for (const v1::Injection& injection : machine_->run().injections()) {
    if (injection.id() == id) return injection;
  }
  throw std::out_of_range(id);
}

void MachineTest::Tell(const v1::InjectionUpdate& update) {
  machine_->Update(Injection(update.injection_id()).host(), {update, milliseconds(1)});
  Collect();
}

void MachineTest::Applied(const std::string& id) {
  v1::InjectionUpdate update = UpdateOf(id, v1::INJECTION_STATE_ACTIVE);
  *update.mutable_applied_at() = ToProto(clock_.System());
  *update.mutable_first_impact_at() = ToProto(clock_.System() + milliseconds(1));
  update.set_impact_from_kernel(true);
  Tell(update);
}

void MachineTest::Ended(const std::string& id, v1::EndReason reason, bool proven) {
  v1::InjectionUpdate update = UpdateOf(id, v1::INJECTION_STATE_ENDED);
  *update.mutable_ended_at() = ToProto(clock_.System());
  update.set_end_reason(reason);
  update.set_end_proven(proven);
  if (!proven) update.set_error("the filter is still there");
  Tell(update);
}

std::vector<std::string> MachineTest::Sent(
    const std::function<std::string(const v1::ConnectResponse&)>& what) {
  std::vector<std::string> found;
  for (const RunActions::Message& message : sent_) {
    if (const std::string text = what(message.message); !text.empty()) {
      found.push_back(message.host + " " + text);
    }
  }
  return found;
}

std::vector<std::string> MachineTest::Applies() {
  return Sent([](const v1::ConnectResponse& m) {
    return m.has_apply() ? m.apply().injection_id() : std::string();
  });
}

std::vector<std::string> MachineTest::Ends() {
  return Sent([](const v1::ConnectResponse& m) {
    return m.has_end() ? m.end().injection_id() : std::string();
  });
}

std::vector<std::string> MachineTest::Renewals() {
  return Sent([](const v1::ConnectResponse& m) {
    return m.has_renew() ? m.renew().injection_ids(0) : std::string();
  });
}

std::vector<v1::MarkKind> MachineTest::Marks() {
  std::vector<v1::MarkKind> kinds;
  for (const v1::Mark& mark : machine_->run().marks()) kinds.push_back(mark.kind());
  return kinds;
}

}  // namespace firedrill::controller
