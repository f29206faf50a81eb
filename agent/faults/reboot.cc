// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/reboot.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/abilities.h"
#include "agent/host/agent_clock.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

constexpr int kBeforeMs = 500;  // for the word "applied" to reach the controller
// Hardware clocks count seconds, and a kernel begins with what one of them says.
constexpr Nanoseconds kHardwareClock = std::chrono::seconds(2);
// Init systems, by their short names, whose package brings a reboot(8) that asks them.
constexpr const char* kInits[] = {"init", "busybox", "openrc-init", "runit", "s6-svscan", "dinit"};

std::string Find(const char* program) {
  for (const char* folder : {"/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    std::string path = fmt::format("{}/{}", folder, program);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return "";
}

// Runs it to its end.
absl::Status Call(const std::vector<std::string>& words) {
  std::vector<std::string> copy = words;
  std::vector<char*> argv;
  for (std::string& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) return absl::ErrnoToStatus(error, "start " + words[0]);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("`{}` failed with {} {}: its message is in the agent's log",
                  absl::StrJoin(words, " "), WIFEXITED(status) ? "exit code" : "signal",
                  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status)));
}

Nanoseconds Wall() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::chrono::seconds(now.tv_sec) + Nanoseconds(now.tv_nsec);
}

class RebootFault : public ActiveFault {
 public:
  RebootFault(std::string injection, std::vector<std::string> command, WorkerContext& context,
              Descriptor wake)
      : injection_(std::move(injection)),
        command_(std::move(command)),
        host_(context.host),
        journal_(context.journal),
        wake_(std::move(wake)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~RebootFault() override { RebootFault::Revert().IgnoreError(); }

  absl::StatusOr<Impact> Observe() const override {
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(failed_);
    return impact_;
  }
  // Calls off what has not begun; of what has begun the record tells.
  absl::Status Revert() override {
    eventfd_write(wake_.get(), 1);
    if (thread_.joinable()) thread_.join();
    return absl::OkStatus();
  }

 private:
  void Run() {
    pollfd fd{wake_.get(), POLLIN, 0};
    if (poll(&fd, 1, kBeforeMs) != 0) return;
    const SystemTime now = host_.clock().System();
    absl::StatusOr<std::string> record = journal_.Record(
        kRebootRecord,
        {{kInjectionOfRecord, injection_}, {"wall_ns", std::to_string(Wall().count())}});
    absl::Status status = record.status();
    if (status.ok()) {
      {
        absl::MutexLock lock(&mutex_);
        impact_.first = now;
        impact_.uncertainty = std::chrono::milliseconds(1);
      }
      // Nothing is written before: as when power fails.
      status = command_.empty() ? Sudden() : Call(command_);
      if (!status.ok()) journal_.Forget(*record).IgnoreError();
    }
    absl::MutexLock lock(&mutex_);
    failed_ = status;
  }
  static absl::Status Sudden() {
    reboot(RB_AUTOBOOT);
    return absl::ErrnoToStatus(errno, "restart the host");
  }

  const std::string injection_;
  const std::vector<std::string> command_;  // empty: sudden
  const Host& host_;
  Journal& journal_;
  const Descriptor wake_;
  mutable absl::Mutex mutex_;
  Impact impact_ ABSL_GUARDED_BY(mutex_);
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> OrderlyRebootCommand(const Host& host) {
  const auto read = Host::Read(host.proc() + "/1/comm", 64);
  const std::string first = read.ok() ? std::string(absl::StripAsciiWhitespace(*read)) : "";
  if (first == "systemd") {
    const std::string program = Find("systemctl");
    if (!program.empty()) return std::vector<std::string>{program, "--no-wall", "reboot"};
    return absl::UnimplementedError("the first process is systemd, but there is no systemctl");
  }
  const bool known = std::any_of(std::begin(kInits), std::end(kInits),
                                 [&](const char* name) { return first == name; });
  const std::string program = Find("reboot");
  if (known && !program.empty()) return std::vector<std::string>{program};
  return absl::UnimplementedError(fmt::format(
      "the host's first process is '{}', of which nobody knows how it restarts a host in good "
      "order; `how: sudden` needs none",
      first));
}

absl::Status RebootSupported(const Host& host) {
  if (!HasCapability(host, CAP_SYS_BOOT)) {
    return absl::UnimplementedError(
        "the agent lacks CAP_SYS_BOOT: run it as root, or give its systemd unit "
        "AmbientCapabilities=CAP_SYS_BOOT");
  }
  // In another pid namespace the call would only end that namespace.
  const absl::Status first = CheckFirstNamespace(host, "pid");
  return first.ok() ? first : absl::UnimplementedError(first.message());
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyReboot(const InjectionRequest& request,
                                                         WorkerContext& context) {
  if (context.host.BootId().empty()) {
    return absl::UnimplementedError(
        "the kernel does not say which boot this is (/proc/sys/kernel/random/boot_id), so nobody "
        "could prove the restart");
  }
  std::vector<std::string> command;
  if (request.fault.reboot().how() != v1::REBOOT_HOW_SUDDEN) {
    ASSIGN_OR_RETURN(command, OrderlyRebootCommand(context.host));
  }
  Descriptor wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return absl::ErrnoToStatus(errno, "make an eventfd");
  return std::make_unique<RebootFault>(request.id, std::move(command), context, std::move(wake));
}

absl::Status VerifyRebootGone(const InjectionRequest&, const Host&) { return absl::OkStatus(); }

absl::Status UndoReboot(const UndoRecord& record, const Host&) {
  if (!record.same_boot) return absl::OkStatus();
  return absl::FailedPreconditionError("the host has not restarted yet");
}

Impact AfterReboot(const UndoRecord& record, const Host& host) {
  // Instants of the boot before are on its wall clock; this boot's began with the hardware clock.
  const SystemTime now = host.clock().System();
  const Nanoseconds wall = Wall();
  Impact impact;
  std::int64_t then = 0;
  const auto found = record.values.find("wall_ns");
  if (found != record.values.end() && absl::SimpleAtoi(found->second, &then)) {
    impact.first = now - (wall - Nanoseconds(then));
    impact.uncertainty = kHardwareClock;
  }
  ImpactEvent event;
  event.name = "rebooted";
  event.at = now - SinceBoot();
  event.from_kernel = true;
  event.uncertainty = std::chrono::milliseconds(1);
  event.detail = "the kernel started, boot " + host.BootId();
  if (impact.first) {
    impact.counters["down_seconds"] = Seconds(now - *impact.first);
    event.at = std::max(event.at, *impact.first);
  }
  impact.counters["boot_to_agent_seconds"] = Seconds(SinceBoot());
  impact.events.push_back(std::move(event));
  impact.completed = true;
  return impact;
}

}  // namespace firedrill::agent
