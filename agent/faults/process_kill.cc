// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_kill.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/comebacks.h"
#include "agent/faults/process_selection.h"
#include "agent/faults/restart_watch.h"
#include "agent/faults/victim.h"
#include "agent/host/host.h"
#include "agent/host/task_events.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Without grace a process may take a signal and live on: so long its end is waited for.
constexpr Nanoseconds kToExit = seconds(10);
constexpr Nanoseconds kLookForDelivery = milliseconds(1);
// Where the kernel does not tell of new processes they are looked for so often.
constexpr Nanoseconds kScanEvery = milliseconds(20);
constexpr std::size_t kMostEvents = 100;

class ProcessKill : public ActiveFault {
 public:
  ProcessKill(const Host& host, InjectionRequest request, int signal, Descriptor wake)
      : host_(host),
        request_(std::move(request)),
        kill_(request_.fault.process_kill()),
        signal_(signal),
        wake_(std::move(wake)),
        random_(std::random_device{}()),
        comebacks_(host_, kill_.processes(), kill_.exclude()),
        protect_(request_.protect) {
    if (!kill_.has_restart()) return;
    restart_.emplace(host_, kill_.restart(),
                     RestartWatch::Sink{[this](ImpactEvent event) { Tell(std::move(event)); },
                                        [this](const char* counter, double value) {
                                          absl::MutexLock lock(&mutex_);
                                          impact_.counters[counter] = value;
                                        }});
  }
  ~ProcessKill() override { ProcessKill::Revert().IgnoreError(); }

  // Opens the kernel's events; an error only if there is no doing without.
  absl::Status Prepare();
  // Finds, picks, signals. NOT_FOUND if nothing matched or everything had ended meanwhile.
  absl::Status Round();
  void Watch() {
    thread_ = std::thread([this] { Run(); });
  }

  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    return impact_;
  }
  absl::Status Revert() override {
    eventfd_write(wake_.get(), 1);
    if (thread_.joinable()) thread_.join();
    return absl::OkStatus();
  }
  void Protect(const Protected& protect) override {
    absl::MutexLock lock(&mutex_);
    protect_ = protect;
  }

 private:
  bool LooksForComebacks() const { return kill_.has_until_down() || restart_.has_value(); }
  std::set<int> Spared() const;
  absl::Status Send(std::vector<Process> processes);
  void Run();
  void WaitForNews(std::optional<SteadyTime> next_round);
  bool Look(Nanoseconds delay_before);
  void SawEnd(Victim& victim, Nanoseconds delay);
  void SawImpact(SteadyTime at, bool from_kernel, Nanoseconds uncertainty);
  void Escalate();
  void LookForComebacks();
  bool StaysDown();
  // Whether the victim's end, or that it took its signal, may still come.
  bool Awaited(const Victim& victim) const {
    return !victim.ended &&
           (kill_.has_grace() ||
            (!victim.delivered && host_.clock().Steady() - victim.sent_at < kToExit));
  }
  void Count(const char* counter, double by) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    impact_.counters[counter] += by;
  }
  void Tell(ImpactEvent event) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (impact_.events.size() < kMostEvents) impact_.events.push_back(std::move(event));
  }

  const Host& host_;
  const InjectionRequest request_;
  const v1::ProcessKill& kill_;
  const int signal_;
  const Descriptor wake_;
  std::unique_ptr<TaskEvents> events_;  // null: the kernel does not tell
  // The thread's, once it runs.
  std::mt19937_64 random_;
  std::vector<Victim> victims_;
  Comebacks comebacks_;
  std::optional<RestartWatch> restart_;
  SteadyTime last_sent_;
  SteadyTime scanned_at_;
  std::uint64_t lost_ = 0;
  mutable absl::Mutex mutex_;
  Protected protect_ ABSL_GUARDED_BY(mutex_);
  Impact impact_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

std::set<int> ProcessKill::Spared() const {
  std::set<int> spared = {getpid()};
  absl::MutexLock lock(&mutex_);
  spared.insert(protect_.family_pids.begin(), protect_.family_pids.end());
  return spared;
}

absl::Status ProcessKill::Prepare() {
  auto events = TaskEvents::Open(LooksForComebacks() ? TaskEvents::What::kExitsAndStarts
                                                     : TaskEvents::What::kExits);
  if (events.ok()) {
    events_ = *std::move(events);
  } else if (restart_) {
    return absl::UnimplementedError("restart: " + std::string(events.status().message()));
  }
  scanned_at_ = host_.clock().Steady();
  return LooksForComebacks() ? comebacks_.Begin(Spared()) : absl::OkStatus();
}

absl::Status ProcessKill::Round() {
  ASSIGN_OR_RETURN(std::vector<Process> found,
                   SelectProcesses(host_, kill_.processes(), Spared(), kill_.exclude()));
  Count("processes_found", static_cast<double>(found.size()));
  std::vector<Process> picked = Pick(std::move(found), kill_.pick(), random_, kill_.order());
  if (restart_) restart_->Begin(picked);
  return Send(std::move(picked));
}

absl::Status ProcessKill::Send(std::vector<Process> processes) {
  // All are held before the first is signalled: a handle cannot reach a process that came later.
  std::vector<Victim> chosen;
  absl::Status problem = absl::NotFoundError("every process chosen had ended meanwhile");
  for (const Process& process : processes) {
    absl::StatusOr<ProcessHandle> handle = ProcessHandle::Open(host_, process);
    if (handle.ok()) {
      chosen.emplace_back(*std::move(handle));
    } else if (!absl::IsNotFound(handle.status())) {
      problem = handle.status();
    }
  }
  int signalled = 0;
  for (Victim& victim : chosen) {
    const Process& process = victim.handle.process();
    victim.watch_delivery = OutlivesSignal(host_, process.pid, signal_);
    // Without the kernel's word its end is seen all the same, a little later.
    if (events_) events_->WatchExit(process.pid).IgnoreError();
    victim.sent_at = host_.clock().Steady();
    const absl::Status sent = victim.handle.Signal(signal_);
    if (!sent.ok() && !absl::IsNotFound(sent)) problem = sent;
    if (!sent.ok()) continue;
    ++signalled;
    last_sent_ = victim.sent_at;
    // One that is waited for already, since an earlier round, stays as it is.
    const bool held = std::any_of(victims_.begin(), victims_.end(), [&](const Victim& known) {
      return known.handle.process().pid == process.pid &&
             known.handle.process().start_time == process.start_time;
    });
    if (!held) victims_.push_back(std::move(victim));
  }
  if (signalled == 0) return problem;
  Count("processes_signalled", signalled);
  Count("processes_exited", 0);
  return absl::OkStatus();
}

void ProcessKill::SawImpact(SteadyTime at, bool from_kernel, Nanoseconds uncertainty) {
  const WallInstant wall = OnWallClock(host_.clock(), at);
  absl::MutexLock lock(&mutex_);
  if (impact_.first) return;
  impact_.first = wall.at;
  impact_.from_kernel = from_kernel;
  impact_.uncertainty = uncertainty + wall.uncertainty;
}

void ProcessKill::SawEnd(Victim& victim, Nanoseconds delay) {
  victim.ended = true;
  Count("processes_exited", 1);
  const SteadyTime now = host_.clock().Steady();
  // Without the kernel's instant: it was after the signal, and we saw it as soon as we were given a
  // processor.
  const Nanoseconds late = std::min(Nanoseconds(now - victim.sent_at), delay + milliseconds(1));
  const bool from_kernel = victim.exit_at.has_value();
  const SteadyTime at = from_kernel ? *victim.exit_at : now;
  const Nanoseconds uncertainty = from_kernel ? Nanoseconds(0) : late;
  SawImpact(at, from_kernel, uncertainty);
  if (restart_) restart_->Exited(victim.handle.process(), at, from_kernel, uncertainty);
}

// True if anything is left to wait for.
bool ProcessKill::Look(Nanoseconds delay_before) {
  const Nanoseconds delay = RunDelay(host_) - delay_before;
  std::vector<Victim*> ended;
  bool waiting = false;
  for (Victim& victim : victims_) {
    if (victim.ended) continue;
    // Also of one that has taken its signal in its own way: that may be by ending a little later.
    if (victim.handle.Ended()) {
      ended.push_back(&victim);
      continue;
    }
    if (victim.delivered && !kill_.has_grace()) continue;
    if (victim.watch_delivery && !victim.delivered &&
        !IsPending(host_, victim.handle.process().pid, signal_)) {
      victim.delivered = true;
      const SteadyTime now = host_.clock().Steady();
      SawImpact(
          now, /*from_kernel=*/false,
          std::min(Nanoseconds(now - victim.sent_at), delay + kLookForDelivery + milliseconds(1)));
      if (!kill_.has_grace()) continue;
    }
    waiting |= Awaited(victim);
  }
  // The kernel's word on an end comes before its handle tells: it is there by now.
  if (events_) {
    for (const TaskEvent& event : events_->Take()) {
      comebacks_.Saw(event);
      if (event.kind != TaskEvent::Kind::kExit) continue;
      for (Victim& victim : victims_) {
        if (!victim.ended && victim.handle.process().pid == event.pid) victim.exit_at = event.at;
      }
    }
  }
  for (Victim* victim : ended) SawEnd(*victim, delay);
  return waiting;
}

// SIGKILL for what outlived its grace.
void ProcessKill::Escalate() {
  if (!kill_.has_grace()) return;
  const SteadyTime now = host_.clock().Steady();
  for (Victim& victim : victims_) {
    if (victim.ended || victim.killed || now - victim.sent_at < FromProto(kill_.grace())) continue;
    victim.killed = true;
    if (victim.handle.Signal(SIGKILL).ok()) Count("processes_killed_after_grace", 1);
  }
}

void ProcessKill::LookForComebacks() {
  if (!LooksForComebacks()) return;
  std::vector<Comeback> found;
  const std::uint64_t lost = events_ ? events_->lost() : 0;
  if (events_) found = comebacks_.Look(Spared());
  const SteadyTime now = host_.clock().Steady();
  if ((!events_ || lost != lost_) && now - scanned_at_ >= kScanEvery) {
    scanned_at_ = now;
    if (lost != lost_) Count("task_events_lost", static_cast<double>(lost - lost_));
    lost_ = lost;
    const auto more = comebacks_.Scan(Spared());
    found.insert(found.end(), more.begin(), more.end());
  }
  for (const Comeback& comeback : found) {
    if (restart_) restart_->CameBack(comeback);
    if (!kill_.has_until_down()) continue;
    if (!restart_) {
      const WallInstant wall = OnWallClock(host_.clock(), comeback.at);
      Tell({"respawned", wall.at, comeback.from_kernel, comeback.uncertainty + wall.uncertainty,
            fmt::format("{} (pid {}), and was killed again", comeback.process.name,
                        comeback.process.pid)});
    }
    Count("processes_came_back", 1);
    last_sent_ = now;
    Send({comeback.process}).IgnoreError();  // it may have ended by itself
  }
}

// Nothing has come back for as long as was asked.
bool ProcessKill::StaysDown() {
  return kill_.has_until_down() &&
         host_.clock().Steady() - last_sent_ >= FromProto(kill_.until_down());
}

void ProcessKill::WaitForNews(std::optional<SteadyTime> next_round) {
  const SteadyTime now = host_.clock().Steady();
  SteadyTime until = now + seconds(1);
  const auto by = [&](SteadyTime when) { until = std::min(until, when); };
  if (next_round) by(*next_round);
  for (const Victim& victim : victims_) {
    if (victim.ended) continue;
    if (victim.watch_delivery && !victim.delivered) by(now + kLookForDelivery);
    if (kill_.has_grace() && !victim.killed) by(victim.sent_at + FromProto(kill_.grace()));
  }
  if (kill_.has_until_down()) by(last_sent_ + FromProto(kill_.until_down()));
  if (restart_ && !restart_->over()) by(restart_->NextTick());
  if (LooksForComebacks()) {
    if (!events_) by(scanned_at_ + kScanEvery);
    if (const auto look = comebacks_.NextLook()) by(*look);
  }
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  if (events_ && LooksForComebacks()) fds.push_back({events_->fd(), POLLIN, 0});
  for (const Victim& victim : victims_) {
    if (!victim.ended) fds.push_back({victim.handle.fd(), POLLIN, 0});
  }
  const Nanoseconds wait = std::max(Nanoseconds(until - now), Nanoseconds(0));
  const timespec timeout{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
  ppoll(fds.data(), fds.size(), &timeout, nullptr);
}

void ProcessKill::Run() {
  std::optional<SteadyTime> next_round;
  if (kill_.has_repeat_every()) {
    next_round = host_.clock().Steady() + FromProto(kill_.repeat_every());
  }
  for (;;) {
    const Nanoseconds delay = RunDelay(host_);
    WaitForNews(next_round);
    pollfd wake{wake_.get(), POLLIN, 0};
    const bool over = poll(&wake, 1, 0) == 1;
    const bool waiting = Look(delay);  // what has ended before the end is counted
    if (over) return;
    Escalate();
    LookForComebacks();
    if (restart_) restart_->Tick();
    const bool watching = restart_ && !restart_->over();
    if (!waiting && !watching && !next_round && (!kill_.has_until_down() || StaysDown())) {
      absl::MutexLock lock(&mutex_);
      if (kill_.has_until_down()) impact_.counters["stayed_down"] = 1;
      impact_.completed = true;
      return;
    }
    std::erase_if(victims_, [&](const Victim& victim) {
      return (next_round || kill_.has_until_down()) && victim.ended;
    });
    if (next_round && host_.clock().Steady() >= *next_round) {
      next_round = *next_round + FromProto(kill_.repeat_every());
      std::erase_if(victims_, [this](const Victim& victim) { return !Awaited(victim); });
      Count("rounds", 1);
      if (!Round().ok()) Count("rounds_without_process", 1);
    }
  }
}

}  // namespace

absl::Status ProcessKillSupported(const Host&) {
  const Descriptor fd(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (fd.valid()) return absl::OkStatus();
  return absl::UnimplementedError(
      "pidfd_open does not work here; it needs Linux 5.3 and a seccomp filter that allows it");
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyProcessKill(const InjectionRequest& request,
                                                              WorkerContext& context) {
  const v1::ProcessKill& kill = request.fault.process_kill();
  int signal = SIGKILL;
  if (!kill.signal().empty()) {
    ASSIGN_OR_RETURN(signal, ParseSignal(kill.signal()));
  }
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "make an eventfd");
  auto fault = std::make_unique<ProcessKill>(context.host, request, signal, std::move(wake));
  RETURN_IF_ERROR(fault->Prepare());
  RETURN_IF_ERROR(fault->Round());
  fault->Watch();
  return fault;
}

absl::Status VerifyProcessKillGone(const InjectionRequest&, const Host&) {
  return absl::OkStatus();
}

}  // namespace firedrill::agent
