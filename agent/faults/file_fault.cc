// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/file_fault.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/faults/callers.h"
#include "agent/faults/marks.h"
#include "agent/files/file_gate.h"
#include "agent/files/file_hooks.h"
#include "agent/files/open_plain_file.h"
#include "agent/host/host.h"
#include "bpf/file.h"
#include "proto/support/errno_names.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr absl::Duration kRenewEvery = absl::Milliseconds(200);
constexpr int kRefreshEvery = 3;  // renewals: the chosen processes are looked for

std::string Mark(const InjectionRequest& request) { return MarkOf("fdfile", request.id); }

// What is asked, resolved.
struct Wanted {
  std::string path;  // without symbolic links
  std::uint32_t operations = 0;
  Nanoseconds delay{0};
  int error = 0;
  double share = 1;
};

absl::StatusOr<Wanted> Resolve(const v1::FileFault& fault) {
  Wanted wanted;
  char* const real = realpath(fault.path().c_str(), nullptr);
  if (real == nullptr) return absl::ErrnoToStatus(errno, fault.path());
  wanted.path = real;
  std::free(real);
  RETURN_IF_ERROR(PlainFile::Find(wanted.path).status());
  if (wanted.path == "/" && !fault.has_processes()) {
    return absl::InvalidArgumentError(
        "file_fault.path: / is every file of the host, also for who should mend it: give "
        "processes, or a path below");
  }
  for (const int operation : fault.operations()) {
    if (operation == v1::FILE_OPERATION_OPEN) wanted.operations |= FD_FILE_OPEN;
    if (operation == v1::FILE_OPERATION_READ) wanted.operations |= FD_FILE_READ;
    if (operation == v1::FILE_OPERATION_WRITE) wanted.operations |= FD_FILE_WRITE;
  }
  if (wanted.operations == 0) wanted.operations = FD_FILE_OPEN;
  if (fault.has_delay()) wanted.delay = FromProto(fault.delay());
  if (!fault.error().empty()) {
    const auto number = ErrnoByName(fault.error());
    if (!number) return absl::InvalidArgumentError("file_fault.error: no such error");
    wanted.error = *number;
  }
  if (fault.percent() > 0) wanted.share = fault.percent() / 100;
  return wanted;
}

// One of the two engines behind it, and what keeps it going.
class FileFaultActive : public ActiveFault {
 public:
  FileFaultActive(const Clock& clock, std::unique_ptr<Callers> callers)
      : clock_(clock), callers_(std::move(callers)) {}
  ~FileFaultActive() override { FileFaultActive::Revert().IgnoreError(); }

  absl::Status BeginGate(const Wanted& wanted, const std::string& mark) {
    FileGateOptions options;
    options.path = wanted.path;
    options.open = (wanted.operations & FD_FILE_OPEN) != 0;
    options.read = (wanted.operations & FD_FILE_READ) != 0;
    options.write = (wanted.operations & FD_FILE_WRITE) != 0;
    options.delay = wanted.delay;
    options.error = wanted.error;
    options.share = wanted.share;
    options.meant = [callers = callers_.get()](int tid) { return callers->Include(tid); };
    options.thread_mark = mark;
    ASSIGN_OR_RETURN(gate_, FileGate::Start(clock_, std::move(options)));
    return absl::OkStatus();
  }

  absl::Status BeginHooks(const Wanted& wanted) {
    FileHooksOptions options;
    options.path = wanted.path;
    options.operations = wanted.operations;
    options.error = wanted.error;
    options.share = wanted.share;
    options.chosen_only = callers_->chooses();
    ASSIGN_OR_RETURN(hooks_, FileHooks::Start(options));
    absl::MutexLock lock(&hooks_mutex_);
    RETURN_IF_ERROR(hooks_->SetProcesses(callers_->chosen(), callers_->family()));
    hooks_->Renew();
    return absl::OkStatus();
  }

  // The thread that renews the programs' lease and looks for processes that come later.
  void Keep(const std::string& mark) {
    thread_ = std::thread([this, mark] {
      MarkThread(mark);
      int round = 0;
      while (!Wait()) {
        if (++round % kRefreshEvery == 0 && callers_->chooses()) callers_->Refresh().IgnoreError();
        absl::MutexLock lock(&hooks_mutex_);
        if (!hooks_) continue;
        hooks_->SetProcesses(callers_->chosen(), callers_->family()).IgnoreError();
        hooks_->Renew();
      }
    });
  }

  absl::StatusOr<Impact> Observe() const override {
    if (last_) return *last_;
    Impact impact;
    if (gate_) {
      const FileGate::Figures figures = gate_->figures();
      if (!figures.error.ok()) return figures.error;
      impact.first = figures.first;
      impact.uncertainty = figures.first_uncertainty;
      impact.counters = {{"operations_matched", static_cast<double>(figures.matched)},
                         {"operations_delayed", static_cast<double>(figures.delayed)},
                         {"operations_failed", static_cast<double>(figures.failed)},
                         {"operations_passed_over", static_cast<double>(figures.passed_over)},
                         {"folders_watched", static_cast<double>(figures.folders)}};
    }
    absl::MutexLock lock(&hooks_mutex_);
    if (!hooks_) return impact;
    const FileHooks::Figures figures = hooks_->figures();
    impact.counters = {{"operations_matched", static_cast<double>(figures.matched)},
                       {"operations_delayed", 0.0},
                       {"operations_failed", static_cast<double>(figures.failed)}};
    if (figures.first_after_boot) {
      impact.first = clock_.System() -
                     (clock_.Steady().time_since_epoch() -
                      std::chrono::duration_cast<SteadyTime::duration>(*figures.first_after_boot));
      impact.from_kernel = true;
      impact.uncertainty = std::chrono::microseconds(100);  // between two readings of the clocks
    }
    return impact;
  }

  absl::Status Revert() override {
    {
      absl::MutexLock lock(&stop_mutex_);
      stop_ = true;
    }
    if (thread_.joinable()) thread_.join();
    if (!last_) last_ = Observe().value_or(Impact());
    absl::MutexLock lock(&hooks_mutex_);
    hooks_.reset();
    gate_.reset();
    return absl::OkStatus();
  }

  void Protect(const Protected& protect) override { callers_->Protect(protect); }

 private:
  // True: it is over.
  bool Wait() {
    absl::MutexLock lock(&stop_mutex_);
    return stop_mutex_.AwaitWithTimeout(absl::Condition(&stop_), kRenewEvery);
  }

  const Clock& clock_;
  const std::unique_ptr<Callers> callers_;
  std::unique_ptr<FileGate> gate_;
  mutable absl::Mutex hooks_mutex_;
  std::unique_ptr<FileHooks> hooks_;
  absl::Mutex stop_mutex_;
  bool stop_ ABSL_GUARDED_BY(stop_mutex_) = false;
  std::thread thread_;
  std::optional<Impact> last_;  // what was seen until the end
};

// UNIMPLEMENTED if fanotify cannot do what is wanted, however the path's file system is.
absl::Status GateCan(const Wanted& wanted) {
  if (wanted.error != 0 && !FileGate::CanAnswer(wanted.error)) {
    return absl::UnimplementedError(
        fmt::format("fanotify cannot answer {}: only EPERM, EIO, EBUSY, ETXTBSY, EAGAIN, ENOSPC "
                    "and EDQUOT",
                    ErrnoName(wanted.error)));
  }
  const bool more =
      (wanted.operations & FD_FILE_WRITE) != 0 || (wanted.error != 0 && wanted.error != EPERM);
  return more ? FileGate::TryPreContent() : FileGate::Try();
}

}  // namespace

absl::Status FileFaultSupported(const Host&) { return FileGate::Try(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyFileFault(const InjectionRequest& request,
                                                            WorkerContext& context) {
  const v1::FileFault& fault = request.fault.file_fault();
  ASSIGN_OR_RETURN(const Wanted wanted, Resolve(fault));
  std::optional<v1::ProcessSelector> selector;
  if (fault.has_processes()) selector = fault.processes();
  auto callers = std::make_unique<Callers>(context.host, selector, request.protect);
  RETURN_IF_ERROR(callers->Refresh());
  auto active = std::make_unique<FileFaultActive>(context.host.clock(), std::move(callers));
  // Decided in the kernel where that is possible: nobody waits for this process then.
  absl::Status hooks = absl::UnimplementedError("a delay needs fanotify");
  if (wanted.delay <= Nanoseconds(0)) hooks = active->BeginHooks(wanted);
  if (!hooks.ok()) {
    if (!absl::IsUnimplemented(hooks)) return hooks;
    absl::Status gate = GateCan(wanted);
    if (gate.ok()) gate = active->BeginGate(wanted, Mark(request));
    if (absl::IsUnimplemented(gate)) {
      return absl::UnimplementedError(fmt::format("{}; and without fanotify: {}",
                                                  std::string(gate.message()),
                                                  std::string(hooks.message())));
    }
    RETURN_IF_ERROR(gate);
  }
  active->Keep(Mark(request));
  return active;
}

absl::Status VerifyFileFaultGone(const InjectionRequest& request, const Host& host) {
  return VerifyNoMark(host, Mark(request));
}

}  // namespace firedrill::agent
