// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "controller/run/engine.h"
#include "proto/support/time.h"

// What comes from outside: people, schedules, agents, webhooks. Each call becomes a task of the
// engine's thread.
namespace firedrill::controller {
namespace {

std::string Text(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// Whether the host has, or is about to have, something of it.
bool Present(v1::InjectionState state) {
  return state == v1::INJECTION_STATE_APPLYING || state == v1::INJECTION_STATE_ACTIVE ||
         state == v1::INJECTION_STATE_ENDING;
}

}  // namespace

void RunEngine::StartRun(RunOrder order, Done done) {
  Post([this, order = std::move(order), done = std::move(done)] { StartNow(order, done); });
}

void RunEngine::StartNow(const RunOrder& order, const Done& done) {
  if (!order.run_id.empty()) {
    const auto live = live_.find(order.run_id);
    const absl::StatusOr<v1::Run> known =
        live != live_.end() ? live->second.machine->run() : store_.GetRun(order.run_id);
    // NOT_FOUND, or several that begin so: it is new. What cannot be read may be there.
    if (!known.ok() && !absl::IsNotFound(known.status()) &&
        !absl::IsInvalidArgument(known.status())) {
      done(known.status());
      return;
    }
    if (known.ok() && known->id() == order.run_id) {
      // Not by their bytes: maps have no order.
      if (google::protobuf::util::MessageDifferencer::Equals(known->experiment(),
                                                             order.experiment)) {
        done(known);
      } else {
        done(absl::AlreadyExistsError(fmt::format("run {} exists already, of experiment {}",
                                                  order.run_id, known->experiment().name())));
      }
      return;
    }
  }
  if (refuse_) {
    done(absl::UnavailableError("the controller is stopping and takes no new runs"));
    return;
  }
  v1::Run run = NewRun(order);
  if (!live_.empty()) {
    const v1::Run& other = live_.begin()->second.machine->run();
    Refuse(order, std::move(run),
           fmt::format("run {} of {} is under way, asked for by {}; one runs at a time: wait for "
                       "it, or end it with: firedrill abort {}",
                       other.id(), other.experiment().name(), other.operator_(), other.id()),
           done);
    return;
  }
  PlanResult plan = Plan(order.experiment);
  if (const std::string problems = FatalProblems(plan.plan); !problems.empty()) {
    Refuse(order, std::move(run), problems, done);
    return;
  }
  for (std::size_t i = 0; i < plan.injections.size(); ++i) {
    v1::Injection* injection = run.add_injections();
    *injection = std::move(plan.injections[i]);
    injection->set_id(fmt::format("{}.{}", run.id(), i + 1));
  }
  Take(std::move(run), done);
}

v1::Run RunEngine::NewRun(const RunOrder& order) {
  v1::Run run;
  run.set_id(order.run_id.empty() ? NewRunId() : order.run_id);
  *run.mutable_experiment() = order.experiment;
  run.set_state(v1::RUN_STATE_PLANNED);
  *run.mutable_created_at() = ToProto(clock_.System());
  run.set_operator_(order.who);
  return run;
}

std::string RunEngine::NewRunId() {
  absl::MutexLock lock(&mutex_);
  return fmt::format(
      "{}-{:06x}",
      absl::FormatTime("%Y%m%d-%H%M%S",
                       absl::FromUnixNanos(clock_.System().time_since_epoch().count()),
                       absl::UTCTimeZone()),
      random_() & 0xffffff);
}

// A person sees the error; a schedule's refusal would be seen by nobody, so it becomes a run.
void RunEngine::Refuse(const RunOrder& order, v1::Run run, const std::string& why,
                       const Done& done) {
  spdlog::warn("experiment={} not begun, asked for by {}: {}", order.experiment.name(), order.who,
               why);
  if (order.scheduled) {
    run.set_state(v1::RUN_STATE_FINISHED);
    *run.mutable_finished_at() = run.created_at();
    run.mutable_verdict()->set_verdict(v1::VERDICT_ABORTED);
    run.mutable_verdict()->add_reasons("not begun: " + why);
    if (absl::Status saved = store_.SaveRun(run, {}); !saved.ok()) {
      done(saved);
      return;
    }
    if (finished_) finished_(run);
  }
  done(absl::FailedPreconditionError(why));
}

void RunEngine::Take(v1::Run run, const Done& done) {
  const std::string id = run.id();
  const std::string experiment = run.experiment().name();
  auto machine = std::make_unique<RunMachine>(std::move(run), options_.run, has_probe_, clock_);
  if (absl::Status saved = store_.SaveRun(machine->run(), {}); !saved.ok()) {
    done(saved);
    return;
  }
  if (absl::Status saved = store_.SetLastRun(experiment, id); !saved.ok()) {
    spdlog::error("run={} not noted as the last of its experiment: {}", id, Text(saved));
  }
  Live& live = live_[id];
  live.machine = std::move(machine);
  Publish(live);
  done(live.machine->run());
  MeetAgents(live);
  live.machine->Tick();
  Settle(id, live);
}

// Tells a new run which of its hosts are there.
void RunEngine::MeetAgents(Live& live) {
  for (const v1::Agent& agent : registry_.Agents()) {
    if (agent.state() == v1::AGENT_STATE_GONE) continue;
    live.machine->AgentHolds(agent.hello().agent_id(), agent.hello().instance(), {});
    live.machine->AgentHere(agent);
  }
}

void RunEngine::AbortRun(std::string run_id, std::string who, std::string reason, Done done) {
  Post([this, run_id = std::move(run_id), who = std::move(who), reason = std::move(reason),
        done = std::move(done)] {
    const auto found = live_.find(run_id);
    if (found == live_.end()) {
      done(absl::NotFoundError(fmt::format("no run {} is under way", run_id)));
      return;
    }
    spdlog::warn("run={} abort by {}: {}", run_id, who, reason);
    found->second.machine->Abort(fmt::format("by {}{}", who, reason.empty() ? "" : ": " + reason));
    found->second.on_saved.push_back(done);
    Settle(run_id, found->second);
  });
}

void RunEngine::Halt(std::string who, std::string reason,
                     std::function<void(absl::StatusOr<Halted>)> done) {
  Post([this, who = std::move(who), reason = std::move(reason), done = std::move(done)] {
    Halted halted;
    spdlog::warn("halt by {}: {}", who, reason);
    for (auto& [id, live] : live_) {
      if (!live.machine->finished()) halted.runs.push_back(id);
      live.machine->Abort(fmt::format("halt by {}{}", who, reason.empty() ? "" : ": " + reason));
      Settle(id, live);
    }
    v1::ConnectResponse end_all;
    end_all.mutable_end();
    for (const v1::Agent& agent : registry_.Agents()) {
      if (agent.state() == v1::AGENT_STATE_GONE) continue;
      if (registry_.Send(agent.hello().agent_id(), end_all).ok()) ++halted.hosts;
    }
    done(halted);
  });
}

PlanResult RunEngine::Plan(const v1::Experiment& experiment) {
  PlanContext context;
  context.agents = registry_.Agents();
  context.has_probe = has_probe_;
  context.busy_hosts = BusyHosts();
  context.random = [this](std::uint64_t below) {
    absl::MutexLock lock(&mutex_);
    return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_);
  };
  return MakePlan(experiment, context);
}

std::map<std::string, std::string> RunEngine::BusyHosts() const {
  std::map<std::string, std::string> busy;
  for (const std::shared_ptr<const v1::Run>& run : LiveRuns()) {
    for (const v1::Injection& injection : run->injections()) {
      if (Lives(injection)) busy[injection.host()] = run->id();
    }
  }
  return busy;
}

void RunEngine::AgentConnected(const std::string& id) {
  Post([this, id] {
    const std::optional<v1::Agent> agent = registry_.Find(id);
    if (!agent || agent->state() == v1::AGENT_STATE_GONE) return;
    std::map<std::string, std::vector<ClockedUpdate>> by_run;
    for (const v1::InjectionUpdate& update : agent->hello().live()) {
      by_run[update.run_id()].push_back(registry_.OnControllerClock(id, update));
      EndUnknown(id, update);
    }
    for (auto& [run_id, live] : live_) {
      live.machine->AgentHolds(id, agent->hello().instance(), by_run[run_id]);
      live.machine->AgentHere(*agent);
      Settle(run_id, live);
    }
  });
}

void RunEngine::AgentGone(const std::string& id) {
  Post([this, id] {
    // It may be back by now, on a newer stream.
    const std::optional<v1::Agent> agent = registry_.Find(id);
    if (agent && agent->state() != v1::AGENT_STATE_GONE) return;
    for (auto& [run_id, live] : live_) {
      live.machine->AgentGone(id);
      Settle(run_id, live);
    }
  });
}

void RunEngine::AgentDraining(const std::string& id) {
  Post([this, id] {
    const std::optional<v1::Agent> agent = registry_.Find(id);
    if (!agent) return;
    for (auto& [run_id, live] : live_) {
      live.machine->AgentHere(*agent);
      Settle(run_id, live);
    }
  });
}

void RunEngine::AgentUpdate(const std::string& id, v1::InjectionUpdate update) {
  Post([this, id, update = std::move(update)] {
    EndUnknown(id, update);
    const auto found = live_.find(update.run_id());
    if (found == live_.end()) return;
    found->second.machine->Update(id, registry_.OnControllerClock(id, update));
    Settle(update.run_id(), found->second);
  });
}

// What lives on a host though no run wants it: a run that has given it up, or was forgotten.
void RunEngine::EndUnknown(const std::string& host, const v1::InjectionUpdate& update) {
  if (!Present(update.state())) return;
  if (const auto found = live_.find(update.run_id()); found != live_.end()) {
    const v1::Run& run = found->second.machine->run();
    const bool wanted = std::any_of(
        run.injections().begin(), run.injections().end(), [&](const v1::Injection& injection) {
          return injection.id() == update.injection_id() && Lives(injection);
        });
    if (wanted) return;
  }
  spdlog::warn("run={} fault={} host={} is not known here or has been given up: ending it",
               update.run_id(), update.injection_id(), host);
  v1::ConnectResponse message;
  message.mutable_end()->set_injection_id(update.injection_id());
  if (absl::Status sent = registry_.Send(host, message); !sent.ok()) {
    spdlog::warn("host={} not sent: {}", host, Text(sent));
  }
}

void RunEngine::Notice(std::vector<AlertNotice> notices) {
  Post([this, notices = std::move(notices)] {
    for (auto& [id, live] : live_) {
      live.machine->Notice(notices);
      Settle(id, live);
    }
  });
}

void RunEngine::Watch(const std::string& run_id, const std::shared_ptr<RunWatcher>& watcher) {
  Post([this, run_id, watcher] {
    if (const auto found = live_.find(run_id); found != live_.end()) {
      found->second.watchers.push_back(watcher);
      std::shared_ptr<const v1::Run> run;
      {
        absl::MutexLock lock(&mutex_);
        run = snapshots_[run_id];
      }
      watcher->OnRun(run);
      return;
    }
    // Finished, perhaps this very moment.
    absl::StatusOr<v1::Run> stored = store_.GetRun(run_id);
    if (!stored.ok()) {
      watcher->OnLost(stored.status());
    } else if (stored->state() != v1::RUN_STATE_FINISHED) {
      watcher->OnLost(absl::UnavailableError(fmt::format("run {} is not under way", run_id)));
    } else {
      watcher->OnRun(std::make_shared<const v1::Run>(*std::move(stored)));
    }
  });
}

std::vector<std::shared_ptr<const v1::Run>> RunEngine::LiveRuns() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::shared_ptr<const v1::Run>> runs;
  for (const auto& [id, run] : snapshots_) runs.push_back(run);
  return runs;
}

}  // namespace firedrill::controller
