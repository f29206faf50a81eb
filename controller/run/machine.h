// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "controller/experiment/steps.h"
#include "controller/measure/measure.h"
#include "controller/measure/record.h"
#include "controller/probe/probe.h"
#include "controller/registry/registry.h"
#include "firedrill/v1/agent_link.pb.h"
#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// How patient a run is.
struct RunOptions {
  Nanoseconds lease = std::chrono::seconds(15);  ///< A fault ends so long after the last Renew.
  Nanoseconds renew_every = std::chrono::seconds(5);  ///< Well under the lease.
  /// So long, and the longest `hold` on top, the preflight waits for what it demands.
  Nanoseconds preflight_patience = std::chrono::seconds(15);
  Nanoseconds apply_patience = std::chrono::seconds(20);  ///< For an agent's answer to Apply.
  Nanoseconds end_patience = std::chrono::seconds(30);    ///< For the proof of an end.
  /// The phases of scrapes and evaluations are hashes of names, so a run that always began at the
  /// same place in them would measure that place: it waits at random, for at most an interval and
  /// this.
  Nanoseconds random_wait_most = std::chrono::seconds(15);
  /// So long a controller that was started anew waits for Prometheus before it decides that what
  /// happened meanwhile is not known.
  Nanoseconds answer_patience = std::chrono::seconds(30);
  /// Within it the probe answers each of its questions, or says that it could not.
  Nanoseconds probe_deadline = std::chrono::seconds(3);
};

/// What the probe is to be asked: samples and stop conditions of late, and alerts from the start.
struct ProbeQuestions {
  ProbeQuestion recent;  ///< Indicators and stop conditions.
  ProbeQuestion alerts;
};
struct ProbeAnswers {
  ProbeAnswer recent;
  ProbeAnswer alerts;
  std::optional<Nanoseconds> scrape_interval;
};

/// What is to be done after events were handled, in this order: the run and the samples are stored,
/// the messages are sent, the probe is asked.
struct RunActions {
  struct Message {
    std::string host;
    v1::ConnectResponse message;
  };
  bool changed = false;                 ///< The run is to be stored and shown.
  std::vector<v1::Series> new_samples;  ///< To be stored with it.
  std::vector<Message> messages;
  std::optional<ProbeQuestions> ask;
};

/// What a person has said of a run that is under way, as its mark will say it.
struct ResponderWord {
  v1::MarkKind kind = v1::MARK_KIND_ACKNOWLEDGED;    ///< Or MITIGATED.
  v1::MarkSource source = v1::MARK_SOURCE_OPERATOR;  ///< Or PAGER.
  SystemTime at;                                     ///< When the controller heard it.
  std::string subject;                               ///< The alert, where it is known.
  std::string detail;                                ///< Who, and what was noted.
};

/// One run as a state machine over the graph of its steps. No threads, no I/O: events in, actions
/// out; everything that must survive a restart is in the v1::Run. Its states are drawn at the top
/// of machine.cc. Not thread-safe.
class RunMachine {
 public:
  /// A new run (PLANNED, with its injections), or one that an earlier process left unfinished: then
  /// its hosts count as away until they are heard of, and what it watches gets a caveat that names
  /// the time in which nobody did. The experiment must be valid. `asks_probe`:
  /// there is a probe to ask.
  RunMachine(v1::Run run, RunOptions options, bool asks_probe, const Clock& clock);
  RunMachine(const RunMachine&) = delete;
  RunMachine& operator=(const RunMachine&) = delete;

  // Events. Each may change the state and leave actions.
  void AgentHere(const v1::Agent& agent);
  void AgentGone(const std::string& host);
  /// How the host's clock stands to the controller's now.
  void AgentClock(const std::string& host, const ClockReading& reading);
  /// What a Hello says of this run's injections on the host; instants on the controller's clock.
  void AgentHolds(const std::string& host, const std::string& instance,
                  const std::vector<ClockedUpdate>& live);
  void Update(const std::string& host, const ClockedUpdate& update);
  void Answer(const ProbeAnswers& answers);
  /// The part of an answer that stop conditions are judged by, as soon as it is there; Answer()
  /// follows with all of it.
  void AnswerRecent(const ProbeAnswer& recent);
  void Notice(const std::vector<AlertNotice>& notices);
  /// Keeps what a person said as a mark; the first of its kind counts. A pager's word that came
  /// before does no harm. FAILED_PRECONDITION: finished, or nothing has had an impact yet.
  /// RESOURCE_EXHAUSTED: a hundred words are kept already.
  absl::Status Heard(const ResponderWord& word);
  /// The Apply that was among the actions has not left: nothing was begun by it.
  void NotSent(const std::string& injection_id);
  /// `reason` names who or what aborts: "operator ana: too loud".
  void Abort(const std::string& reason);
  /// Time has passed. To be called every 200 ms or so.
  void Tick();

  RunActions TakeActions();
  const v1::Run& run() const { return run_; }
  bool finished() const { return run_.state() == v1::RUN_STATE_FINISHED; }

 private:
  struct Host {
    bool here = false;
    bool draining = false;
    SteadyTime since;      // of `here`
    std::string instance;  // of the agent; empty: not heard of by this process
    std::optional<ClockReading> clock;
    SteadyTime clock_at;
  };
  // What need not survive a restart of one injection.
  struct Track {
    SteadyTime since;      // of its state
    SteadyTime applied;    // the local instant of its application
    bool overdue = false;  // it should have ended by itself
    bool renewed = true;   // its lease is kept up
    int applies = 0;       // sent by this process
    std::optional<SteadyTime> end_sent;
  };

  // machine.cc: states
  void Advance();
  void AdvancePreflight();
  bool PreflightIsHopeless() const;
  void AdvanceInjecting();
  void AdvanceRecovering();
  void AdvanceEnding();
  void Arm();
  Nanoseconds RandomWait() const;
  SteadyTime MethodStart() const;
  void BeginRecovering();
  void Finish(bool cut_short);
  void SetState(v1::RunState state, const std::string& detail);
  void SetDetail(const std::string& detail);
  void AddMark(v1::Mark mark);

  // machine_steps.cc: the steps of the method
  void StartDueSteps();
  bool StepEnded(int step) const;
  std::optional<SteadyTime> StepStart(int step) const;
  std::string StepsInWords() const;

  // machine_injections.cc: what lives on the hosts
  void SendApply(v1::Injection& injection);
  void SendEnd(v1::Injection& injection, Track& track);
  void Renew();
  void CheckInjections();
  void CheckHosts();
  // It is being restarted by a fault of this run: its agent's absence is meant.
  bool Restarts(const std::string& host) const;
  Nanoseconds AbsenceAllowed(const std::string& host) const;
  void ApplyUpdate(v1::Injection& injection, const ClockedUpdate& update);
  void NoteEvents(v1::Injection& injection, const ClockedUpdate& clocked);
  void NoteApplied(v1::Injection& injection, const ClockedUpdate& update);
  void NoteImpact(v1::Injection& injection, const ClockedUpdate& update);
  void NoteEnded(v1::Injection& injection, const ClockedUpdate& update);
  void GiveUp(v1::Injection& injection, const std::string& why);
  void MoveTo(v1::Injection& injection, v1::InjectionState state);
  v1::Injection* Find(const std::string& host, const std::string& id);
  Track& TrackOf(const v1::Injection& injection) { return tracks_[injection.id()]; }

  // machine_watch.cc: what the probe and the webhooks say
  void AskWhenDue();
  ProbeQuestions Questions() const;
  std::optional<SystemTime> TruthSince(std::size_t alert) const;
  void TakeEvidence();
  void CheckStopConditions(const ProbeAnswer& answer);
  void CheckOverdueAnswer();
  std::vector<std::string> PreflightProblems() const;
  void PreflightIndicators(std::vector<std::string>& problems) const;
  void Measure(bool final, bool cut_short = false);
  void NoteRestart();
  bool HasAnswer() const;  // to a question of this process
  void NoteNoAnswer();
  void AddCaveat(const std::string& caveat);
  const Evidence& evidence() const { return record_.evidence(); }
  Nanoseconds Interval() const;  // between scrapes, or a guess
  Nanoseconds LongestHold() const;

  v1::Run run_;
  const RunOptions options_;
  const bool asks_probe_;
  const Clock& clock_;
  std::vector<StepTiming> steps_;
  RunActions actions_;

  std::map<std::string, Host> hosts_;
  std::map<std::string, Track> tracks_;
  SteadyTime begun_;  // when this process took the run up
  SteadyTime state_since_;
  SteadyTime armed_;
  SteadyTime last_renew_;

  EvidenceRecord record_;  // of run_
  SystemTime watch_from_;
  bool asking_ = false;
  SteadyTime waiting_since_;                     // for the next part of the answer, while asking
  bool recent_judged_ = false;                   // of the answer that is under way
  ProbeQuestions asked_;                         // the latest
  std::optional<SystemTime> alerts_seen_until_;  // all of them, by this process
  std::vector<SystemTime> truth_seen_until_;     // of each alert, likewise
  std::optional<SteadyTime> last_asked_;
  std::optional<ProbeAnswers> last_answer_;
  std::optional<Nanoseconds> scrape_interval_;
  std::vector<std::optional<SteadyTime>> stop_unknown_since_;
  std::optional<Measures> measures_;
};

/// PLANNED, APPLYING, ACTIVE or ENDING: it may do, or may come to do, damage.
bool Lives(const v1::Injection& injection);

}  // namespace firedrill::controller
