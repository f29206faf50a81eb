// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/supervisor_loop.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

// Longer than the kernel lets an orphaned worker live.
constexpr Nanoseconds kToRecover = std::chrono::seconds(4);
constexpr int kRecoverAgainMs = 100;
constexpr int kLookForIdleMs = 5;

}  // namespace

absl::StatusOr<std::unique_ptr<SupervisorLoop>> SupervisorLoop::Start(
    std::function<std::unique_ptr<Supervisor>()> make, const Clock& clock,
    absl::Status* recovered) {
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "make an eventfd");
  std::unique_ptr<SupervisorLoop> loop(new SupervisorLoop(std::move(wake), clock));
  loop->thread_ = std::thread([loop = loop.get(), make, recovered] { loop->Run(make, recovered); });
  absl::MutexLock lock(&loop->mutex_);
  loop->mutex_.Await(absl::Condition(&loop->started_));
  return loop;
}

SupervisorLoop::~SupervisorLoop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  Post([](Supervisor&) {});
  thread_.join();
}

void SupervisorLoop::Post(Job job) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back(std::move(job));
  eventfd_write(wake_.get(), 1);
}

void SupervisorLoop::Call(const Job& job) {
  struct {
    absl::Mutex mutex;
    bool done = false;
  } call;
  Post([&](Supervisor& supervisor) {
    job(supervisor);
    absl::MutexLock lock(&call.mutex);
    call.done = true;
  });
  absl::MutexLock lock(&call.mutex);
  call.mutex.Await(absl::Condition(&call.done));
}

bool SupervisorLoop::Drain(Nanoseconds within) {
  Call([](Supervisor& supervisor) { supervisor.Drain(); });
  // Not by the mutex: its waits are measured on the wall clock, which the end of a fault may step.
  const SteadyTime end = clock_.Steady() + within;
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (idle_) return true;
    }
    if (clock_.Steady() >= end) return false;
    poll(nullptr, 0, kLookForIdleMs);
  }
}

void SupervisorLoop::Run(const std::function<std::unique_ptr<Supervisor>()>& make,
                         absl::Status* recovered) {
  const std::unique_ptr<Supervisor> supervisor = make();
  const SteadyTime deadline = clock_.Steady() + kToRecover;
  const absl::Status damaged = supervisor->SetAsideDamagedRecords();
  *recovered = supervisor->Recover();
  while (!recovered->ok() && clock_.Steady() < deadline) {
    poll(nullptr, 0, kRecoverAgainMs);
    *recovered = supervisor->Recover();
  }
  if (!damaged.ok()) {
    *recovered = absl::DataLossError(
        absl::StrCat(damaged.message(), recovered->ok() ? "" : "; ", recovered->message()));
  }
  {
    absl::MutexLock lock(&mutex_);
    started_ = true;
  }
  for (;;) {
    std::deque<Job> jobs;
    {
      absl::MutexLock lock(&mutex_);
      jobs.swap(jobs_);
      if (stop_) return;
    }
    for (const Job& job : jobs) job(*supervisor);
    supervisor->Tick();
    {
      absl::MutexLock lock(&mutex_);
      idle_ = supervisor->draining() && supervisor->idle();
    }
    Wait(*supervisor);
  }
}

void SupervisorLoop::Wait(const Supervisor& supervisor) {
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  for (const int fd : supervisor.fds()) fds.push_back({fd, POLLIN, 0});
  const auto left = std::chrono::ceil<milliseconds>(supervisor.NextWake() - clock_.Steady());
  poll(fds.data(), fds.size(), static_cast<int>(std::max(milliseconds(0), left).count()));
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
}

}  // namespace firedrill::agent
