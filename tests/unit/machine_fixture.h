// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controller/run/machine.h"

namespace firedrill::controller {

v1::Step MakeStep(const std::string& name, Nanoseconds duration);

/// A run, its hosts, an agent on each that answers when told to, and a Prometheus: all pretended.
class MachineTest : public ::testing::Test {
 protected:
  MachineTest();

  // What the experiment asks for, before the run is made.
  void WatchRatio();
  void ExpectAlert();
  /// A webhook's word, now, that the alert fires.
  AlertNotice Firing(const std::string& alert, SystemTime starts_at) const;
  void StopWhenDown() { experiment_.add_stop_when()->set_query("up == 0"); }

  void Make(const std::vector<std::string>& hosts = {"cache1"});
  /// Makes the run, and a second later its first step is applied, on the first host.
  void MakeApplied(const std::vector<std::string>& hosts = {"cache1"});
  /// Likewise, with a kill whose restart is looked for.
  void MakeKillApplied(Nanoseconds within, std::optional<Nanoseconds> grace = std::nullopt);
  void Resume(const v1::Run& run);

  void Here(const std::string& host, v1::AgentState state = v1::AGENT_STATE_CONNECTED);
  void Gone(const std::string& host);

  /// Takes what the machine wants; messages pile up in `sent_`, a question waits for its answer.
  void Collect();
  /// Lets time pass in steps; Prometheus answers at each step if it answers at all.
  void Pass(Nanoseconds time);
  /// The next question, and no other, is answered.
  void AnswerNext();
  void Answer();

  static v1::InjectionUpdate UpdateOf(const std::string& id, v1::InjectionState state);
  const v1::Injection& Injection(const std::string& id);
  void Tell(const v1::InjectionUpdate& update);
  void Applied(const std::string& id);
  void Ended(const std::string& id, v1::EndReason reason = v1::END_REASON_DURATION,
             bool proven = true);

  // "HOST INJECTION", as it was sent.
  std::vector<std::string> Applies();
  std::vector<std::string> Ends();
  std::vector<std::string> Renewals();

  std::vector<v1::MarkKind> Marks();
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
  Nanoseconds evaluation_interval_ = std::chrono::seconds(1);
  int truth_asked_ = 0;
  SystemTime truth_since_;    // of the latest such question
  std::string rule_hint_;     // not empty: there is no rule for the alert
  bool clock_jumps_ = false;  // Prometheus', before the next answer
  bool stop_holds_ = false;
  Nanoseconds alignment_{0};  // how far this answer's clock alignment is off

 private:
  std::vector<std::string> Sent(const std::function<std::string(const v1::ConnectResponse&)>& what);
};

}  // namespace firedrill::controller
