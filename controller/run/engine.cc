// SPDX-License-Identifier: Apache-2.0
#include "controller/run/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/time/time.h"
#include "controller/run/verdict.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(200);
constexpr Nanoseconds kPruneEvery = std::chrono::hours(1);
constexpr Nanoseconds kStuckAfter = std::chrono::seconds(10);

std::string Text(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

RunEngine::RunEngine(Store& store, AgentRegistry& registry, Probe* probe, const Clock& clock,
                     EngineOptions options, std::function<void(const v1::Run&)> finished)
    : store_(store),
      registry_(registry),
      clock_(clock),
      options_(options),
      has_probe_(probe != nullptr),
      finished_(std::move(finished)),
      random_(std::random_device{}()) {
  if (probe != nullptr) prober_ = std::make_unique<Prober>(*probe);
}

RunEngine::~RunEngine() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
  prober_.reset();
}

absl::Status RunEngine::Recover() {
  ASSIGN_OR_RETURN(std::vector<v1::Run> runs, store_.UnfinishedRuns());
  for (v1::Run& run : runs) {
    spdlog::warn("run={} taken up again after a restart, state {}", run.id(),
                 v1::RunState_Name(run.state()));
    Live& live = live_[run.id()];
    live.machine = std::make_unique<RunMachine>(std::move(run), options_.run, has_probe_, clock_);
    Publish(live);
  }
  return absl::OkStatus();
}

absl::Status RunEngine::Health() const {
  absl::MutexLock lock(&mutex_);
  if (clock_.Steady() - last_round_ > kStuckAfter) {
    return absl::UnavailableError("the engine has not moved for " + FormatDuration(kStuckAfter));
  }
  return last_write_;
}

void RunEngine::Start() {
  last_prune_ = clock_.Steady() - kPruneEvery;
  {
    absl::MutexLock lock(&mutex_);
    last_round_ = clock_.Steady();
  }
  thread_ = std::thread([this] { Loop(); });
}

void RunEngine::Stop(const std::string& reason, Nanoseconds patience) {
  Post([this, reason] {
    refuse_ = true;
    for (auto& [id, live] : live_) {
      live.machine->Abort(reason);
      Settle(id, live);
    }
    DropFinished();
  });
  const auto none_left = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return tasks_.empty() && snapshots_.empty();
  };
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&none_left), absl::FromChrono(patience));
}

void RunEngine::Post(std::function<void()> task) {
  absl::MutexLock lock(&mutex_);
  tasks_.push_back(std::move(task));
}

void RunEngine::Loop() {
  while (true) {
    std::deque<std::function<void()>> tasks;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &RunEngine::HasTask), kTick);
      if (stopping_) return;
      last_round_ = clock_.Steady();
      tasks.swap(tasks_);
    }
    for (const std::function<void()>& task : tasks) task();
    TickAll();
  }
}

void RunEngine::TickAll() {
  for (auto& [id, live] : live_) {
    TellClocks(live);
    live.machine->Tick();
    Settle(id, live);
  }
  DropFinished();
  if (clock_.Steady() - last_prune_ >= kPruneEvery) Prune();
}

void RunEngine::TellClocks(Live& live) {
  std::set<std::string> hosts;
  for (const v1::Injection& injection : live.machine->run().injections()) {
    hosts.insert(injection.host());
  }
  for (const std::string& host : hosts) {
    if (const std::optional<ClockReading> clock = registry_.ClockOf(host)) {
      live.machine->AgentClock(host, *clock);
    }
  }
}

void RunEngine::Prune() {
  last_prune_ = clock_.Steady();
  if (!options_.retain_age && !options_.retain_runs) return;
  std::optional<SystemTime> before;
  if (options_.retain_age) before = clock_.System() - *options_.retain_age;
  const absl::StatusOr<std::size_t> dropped = store_.Prune(before, options_.retain_runs);
  if (!dropped.ok()) {
    spdlog::error("drop old runs: {}", Text(dropped.status()));
  } else if (*dropped > 0) {
    spdlog::info("dropped {} old runs", *dropped);
  }
}

// Stores, then sends, then tells: nobody hears of what is not on disk. When the store fails, faults
// are ended all the same, for that needs no record, and nothing new is begun.
void RunEngine::Settle(const std::string& run_id, Live& live) {
  // An abort after a failed write leaves actions of its own: a second round takes them.
  for (int round = 0; round < 2; ++round) {
    RunActions actions = live.machine->TakeActions();
    const bool saved = Save(live, actions);
    for (const RunActions::Message& message : actions.messages) {
      if (!saved && message.message.has_apply()) {
        live.machine->NotSent(message.message.apply().injection_id());
        continue;
      }
      if (absl::Status sent = registry_.Send(message.host, message.message); !sent.ok()) {
        spdlog::warn("run={} host={} not sent: {}", run_id, message.host, Text(sent));
      }
    }
    if (actions.ask && prober_ != nullptr) {
      const auto tell = [this, run_id](auto part, void (RunMachine::*take)(const decltype(part)&)) {
        Post([this, run_id, part = std::move(part), take] {
          const auto found = live_.find(run_id);
          if (found == live_.end()) return;
          ((*found->second.machine).*take)(part);
          Settle(run_id, found->second);
        });
      };
      prober_->Ask(
          *std::move(actions.ask),
          [tell](const ProbeAnswer& recent) { tell(recent, &RunMachine::AnswerRecent); },
          [tell](const ProbeAnswers& answers) { tell(answers, &RunMachine::Answer); });
    }
    if (saved) return;
    const v1::RunState state = live.machine->run().state();
    if (state == v1::RUN_STATE_ENDING || state == v1::RUN_STATE_FINISHED) return;
    live.machine->Abort("the controller's store cannot be written");
  }
}

bool RunEngine::Save(Live& live, RunActions& actions) {
  live.unsaved |= actions.changed;
  std::move(actions.new_samples.begin(), actions.new_samples.end(),
            std::back_inserter(live.new_samples));
  if (live.unsaved) {
    const v1::Run& run = live.machine->run();
    const absl::Status saved = store_.SaveRun(run, live.new_samples);
    absl::Status before = saved;
    {
      absl::MutexLock lock(&mutex_);
      std::swap(last_write_, before);
    }
    if (!saved.ok()) {
      // Tried again with each tick; said once.
      if (before.ok()) {
        spdlog::error("run={} not stored, will be tried again: {}", run.id(), Text(saved));
      }
      return false;
    }
    live.unsaved = false;
    live.new_samples.clear();
    Publish(live);
  }
  for (const Done& done : std::exchange(live.on_saved, {})) done(live.machine->run());
  return true;
}

void RunEngine::Publish(Live& live) {
  const auto run = std::make_shared<const v1::Run>(live.machine->run());
  std::shared_ptr<const v1::Run> before;
  {
    absl::MutexLock lock(&mutex_);
    before = std::exchange(snapshots_[run->id()], run);
  }
  if (before == nullptr || before->state() != run->state()) {
    spdlog::info("run={} experiment={} state={} {}", run->id(), run->experiment().name(),
                 v1::RunState_Name(run->state()), run->state_detail());
  }
  live.watchers.erase(std::remove_if(live.watchers.begin(), live.watchers.end(),
                                     [](const auto& weak) { return weak.expired(); }),
                      live.watchers.end());
  for (const std::weak_ptr<RunWatcher>& weak : live.watchers) {
    if (const std::shared_ptr<RunWatcher> watcher = weak.lock()) watcher->OnRun(run);
  }
}

void RunEngine::DropFinished() {
  for (auto it = live_.begin(); it != live_.end();) {
    const Live& live = it->second;
    if (!live.machine->finished() || live.unsaved) {
      ++it;
      continue;
    }
    const v1::Run run = live.machine->run();
    std::string reasons;
    for (const std::string& reason : run.verdict().reasons()) reasons += " (" + reason + ")";
    spdlog::info("run={} verdict={}{}", run.id(), VerdictName(run.verdict().verdict()), reasons);
    it = live_.erase(it);
    // Counted, then gone: who reads the live runs before the counts misses none in between.
    if (finished_) finished_(run);
    {
      absl::MutexLock lock(&mutex_);
      snapshots_.erase(run.id());
    }
    Prune();
  }
}

}  // namespace firedrill::controller
