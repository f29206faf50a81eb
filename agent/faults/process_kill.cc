// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_kill.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
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

// A bit of one of the signal masks in /proc/PID/status.
bool InMask(const Host& host, int pid, const char* mask, int signal) {
  const auto status = Host::Read(fmt::format("{}/{}/status", host.proc(), pid), 16 << 10);
  if (!status.ok()) return false;
  const std::string label = fmt::format("{}:\t", mask);
  const std::size_t at = status->find(label);
  std::uint64_t bits = 0;
  return at != std::string::npos &&
         absl::SimpleHexAtoi(absl::string_view(*status).substr(at + label.size(), 16), &bits) &&
         (bits >> (signal - 1) & 1) != 0;
}

// How long this thread has waited for a processor so far: how late it may have noticed something.
Nanoseconds RunDelay(const Host& host) {
  const auto text = Host::Read(host.proc() + "/thread-self/schedstat", 128);
  long long ran = 0, waited = 0;
  if (!text.ok() || std::sscanf(text->c_str(), "%lld %lld", &ran, &waited) != 2) {
    return Nanoseconds(0);
  }
  return Nanoseconds(waited);
}

bool IsSame(const Process& left, const Process& right) {
  return left.pid == right.pid && left.start_time == right.start_time;
}

struct Victim {
  ProcessHandle handle;
  SteadyTime sent_at;
  bool watch_delivery = false;  // it handles the signal: that it was taken is all there is to see
  bool delivered = false;
  bool ended = false;
  bool killed = false;  // grace is over, SIGKILL was sent
};

class ProcessKill : public ActiveFault {
 public:
  ProcessKill(const Host& host, InjectionRequest request, int signal, Descriptor wake)
      : host_(host),
        request_(std::move(request)),
        kill_(request_.fault.process_kill()),
        signal_(signal),
        wake_(std::move(wake)),
        random_(std::random_device{}()),
        protect_(request_.protect) {}
  ~ProcessKill() override { ProcessKill::Revert().IgnoreError(); }

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
  void Run();
  bool Look(Nanoseconds delay_before);
  void Escalate();
  // Whether the victim's end, or that it took its signal, may still come.
  bool Awaited(const Victim& victim) const {
    return !victim.ended &&
           (kill_.has_grace() ||
            (!victim.delivered && host_.clock().Steady() - victim.sent_at < kToExit));
  }
  void SawImpact(const Victim& victim, Nanoseconds delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Nanoseconds Wait(std::optional<SteadyTime> next_round) const;
  void Count(const char* counter, double by) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    impact_.counters[counter] += by;
  }

  const Host& host_;
  const InjectionRequest request_;
  const v1::ProcessKill& kill_;
  const int signal_;
  const Descriptor wake_;
  std::mt19937_64 random_;
  std::vector<Victim> victims_;  // the thread's, once it runs
  mutable absl::Mutex mutex_;
  Protected protect_ ABSL_GUARDED_BY(mutex_);
  Impact impact_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

absl::Status ProcessKill::Round() {
  std::set<int> spared = {getpid()};
  {
    absl::MutexLock lock(&mutex_);
    spared.insert(protect_.family_pids.begin(), protect_.family_pids.end());
  }
  ASSIGN_OR_RETURN(std::vector<Process> found, SelectProcesses(host_, kill_.processes(), spared));
  Count("processes_found", static_cast<double>(found.size()));
  // All are held before the first is signalled: a handle cannot reach a process that came later.
  std::vector<Victim> chosen;
  absl::Status problem = absl::NotFoundError("every process chosen had ended meanwhile");
  for (const Process& process : Pick(std::move(found), kill_.pick(), random_)) {
    absl::StatusOr<ProcessHandle> handle = ProcessHandle::Open(host_, process);
    if (handle.ok()) {
      chosen.push_back({*std::move(handle), {}});
    } else if (!absl::IsNotFound(handle.status())) {
      problem = handle.status();
    }
  }
  int signalled = 0;
  const bool usually_ends =
      signal_ == SIGKILL || signal_ == SIGTERM || signal_ == SIGINT || signal_ == SIGQUIT;
  for (Victim& victim : chosen) {
    const int pid = victim.handle.process().pid;
    victim.watch_delivery = !usually_ends && (signal_ == SIGSTOP || signal_ == SIGCONT ||
                                              InMask(host_, pid, "SigCgt", signal_));
    victim.sent_at = host_.clock().Steady();
    const absl::Status sent = victim.handle.Signal(signal_);
    if (!sent.ok() && !absl::IsNotFound(sent)) problem = sent;
    if (!sent.ok()) continue;
    ++signalled;
    // One that is waited for already, since an earlier round, stays as it is.
    const bool held = std::any_of(victims_.begin(), victims_.end(), [&](const Victim& known) {
      return IsSame(known.handle.process(), victim.handle.process());
    });
    if (!held) victims_.push_back(std::move(victim));
  }
  if (signalled == 0) return problem;
  Count("processes_signalled", signalled);
  Count("processes_exited", 0);
  return absl::OkStatus();
}

void ProcessKill::SawImpact(const Victim& victim, Nanoseconds delay) {
  if (impact_.first) return;
  const Nanoseconds since_sent = host_.clock().Steady() - victim.sent_at;
  impact_.first = host_.clock().System();
  // It was after the signal, and we saw it as soon as we were given a processor.
  impact_.uncertainty = std::min(since_sent, delay + milliseconds(1));
}

// True if anything is left to wait for.
bool ProcessKill::Look(Nanoseconds delay_before) {
  const Nanoseconds delay = RunDelay(host_) - delay_before;
  bool waiting = false;
  for (Victim& victim : victims_) {
    if (victim.ended || (victim.delivered && !kill_.has_grace())) continue;
    const int pid = victim.handle.process().pid;
    if (victim.handle.Ended()) {
      victim.ended = true;
      absl::MutexLock lock(&mutex_);
      impact_.counters["processes_exited"] += 1;
      SawImpact(victim, delay);
      continue;
    }
    if (victim.watch_delivery && !victim.delivered && !InMask(host_, pid, "ShdPnd", signal_) &&
        !InMask(host_, pid, "SigPnd", signal_)) {
      victim.delivered = true;
      absl::MutexLock lock(&mutex_);
      SawImpact(victim, delay + kLookForDelivery);
      if (!kill_.has_grace()) continue;
    }
    waiting |= Awaited(victim);
  }
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

Nanoseconds ProcessKill::Wait(std::optional<SteadyTime> next_round) const {
  const SteadyTime now = host_.clock().Steady();
  Nanoseconds wait = seconds(1);
  if (next_round) wait = std::min(wait, Nanoseconds(*next_round - now));
  for (const Victim& victim : victims_) {
    if (victim.ended) continue;
    if (victim.watch_delivery && !victim.delivered) wait = std::min(wait, kLookForDelivery);
    if (kill_.has_grace() && !victim.killed) {
      wait = std::min(wait, Nanoseconds(victim.sent_at + FromProto(kill_.grace()) - now));
    }
  }
  return std::max(wait, Nanoseconds(0));
}

void ProcessKill::Run() {
  std::optional<SteadyTime> next_round;
  if (kill_.has_repeat_every()) {
    next_round = host_.clock().Steady() + FromProto(kill_.repeat_every());
  }
  for (;;) {
    std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
    for (const Victim& victim : victims_) {
      if (!victim.ended) fds.push_back({victim.handle.fd(), POLLIN, 0});
    }
    const Nanoseconds delay = RunDelay(host_);
    const Nanoseconds wait = Wait(next_round);
    const timespec timeout{wait.count() / 1'000'000'000, wait.count() % 1'000'000'000};
    ppoll(fds.data(), fds.size(), &timeout, nullptr);
    if (fds[0].revents != 0) return;
    const bool waiting = Look(delay);
    Escalate();
    if (!waiting && !next_round) {
      absl::MutexLock lock(&mutex_);
      impact_.completed = true;
      return;
    }
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
  RETURN_IF_ERROR(fault->Round());
  fault->Watch();
  return fault;
}

absl::Status VerifyProcessKillGone(const InjectionRequest&, const Host&) {
  return absl::OkStatus();
}

}  // namespace firedrill::agent
