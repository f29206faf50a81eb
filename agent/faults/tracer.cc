// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/tracer.h"

#include <dirent.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr int kWake = SIGURG;  // interrupts the thread's waiting
// Threads are asked in this time slice; most stand still within the first.
constexpr timespec kSlice{0, 100'000};

// A number in /proc/PID/task/TID/status; -1 without one.
long StatusNumber(const Host& host, int pid, int thread, const char* label) {
  const auto text =
      Host::Read(fmt::format("{}/{}/task/{}/status", host.proc(), pid, thread), 16 << 10);
  if (!text.ok()) return -1;
  const std::string wanted = fmt::format("\n{}:\t", label);
  const std::size_t at = text->find(wanted);
  return at == std::string::npos ? -1
                                 : std::strtol(text->c_str() + at + wanted.size(), nullptr, 10);
}

char ThreadState(const Host& host, int pid, int thread) {
  const auto stat = Host::Read(fmt::format("{}/{}/task/{}/stat", host.proc(), pid, thread), 4096);
  const std::size_t close = stat.ok() ? stat->rfind(')') : std::string::npos;
  return close == std::string::npos || close + 2 >= stat->size() ? '?' : (*stat)[close + 2];
}

std::vector<int> Threads(const Host& host, int pid) {
  std::vector<int> threads;
  const std::string folder = fmt::format("{}/{}/task", host.proc(), pid);
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), &closedir);
  while (const dirent* entry = dir ? readdir(dir.get()) : nullptr) {
    if (const int thread = std::atoi(entry->d_name); thread > 0) threads.push_back(thread);
  }
  return threads;
}

std::string Describe(const Process& process) {
  return fmt::format("{} (pid {})", process.name, process.pid);
}

absl::Status NotAllowed(const std::string& what) {
  return absl::PermissionDeniedError(
      what +
      "; run the agent as root, or give its systemd unit AmbientCapabilities=CAP_SYS_PTRACE; "
      "kernel.yama.ptrace_scope must be below 3, and a seccomp filter must allow ptrace");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Stop(const Host& host,
                                                     std::vector<Process> processes,
                                                     Nanoseconds within) {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: it interrupts
  sigaction(kWake, &action, nullptr);
  std::unique_ptr<Tracer> tracer(new Tracer(host, std::move(processes)));
  tracer->thread_ = std::thread([&tracer = *tracer, within] { tracer.Run(within); });
  absl::Status result = absl::OkStatus();
  {
    absl::MutexLock lock(&tracer->mutex_);
    tracer->mutex_.Await(absl::Condition(&tracer->reported_));
    result = tracer->result_;
  }
  RETURN_IF_ERROR(result);
  return tracer;
}

Tracer::~Tracer() { Release(); }

void Tracer::Release() {
  release_ = true;
  // The signal may come just before the thread begins to wait: again until it has noticed.
  while (!released_) {
    if (id_ != 0) syscall(SYS_tgkill, getpid(), id_.load(), kWake);
    ppoll(nullptr, 0, &kSlice, nullptr);
  }
  if (thread_.joinable()) thread_.join();
}

void Tracer::Report(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  reported_ = true;
  result_ = std::move(status);
}

void Tracer::Run(Nanoseconds within) {
  sigset_t wake;
  sigemptyset(&wake);
  sigaddset(&wake, kWake);
  pthread_sigmask(SIG_UNBLOCK, &wake, nullptr);
  id_ = static_cast<int>(syscall(SYS_gettid));
  const absl::Status status = StopAll(host_.clock().Steady() + within);
  if (!status.ok()) DetachAll();
  Report(status);
  if (status.ok()) {
    Linger();
    DetachAll();
  }
  // What could not be let go, the kernel does when this thread ends.
  released_ = true;
}

absl::Status Tracer::StopAll(SteadyTime deadline) {
  stopped_.asked_at = host_.clock().Steady();
  for (const Process& process : processes_) RETURN_IF_ERROR(SeizeAll(process));
  RETURN_IF_ERROR(WaitUntilStill(deadline));
  std::set<int> alive;
  for (const auto& [thread, known] : threads_) alive.insert(known.process);
  ended_ = 0;  // of those that stand still
  stopped_.processes = static_cast<int>(alive.size());
  stopped_.threads = static_cast<int>(threads_.size());
  return alive.empty() ? absl::NotFoundError("every process chosen had ended meanwhile")
                       : absl::OkStatus();
}

// Until a whole pass finds nothing new: those that it has can bear further threads only until they
// stand still, and these are traced from the beginning.
absl::Status Tracer::SeizeAll(const Process& process) {
  for (bool news = true; news;) {
    news = false;
    const auto now = ReadProcess(host_, process.pid);
    if (!now.ok() || now->start_time != process.start_time) return absl::OkStatus();
    for (const int thread : Threads(host_, process.pid)) {
      if (threads_.contains(thread)) continue;
      RETURN_IF_ERROR(Seize(process, thread));
      news |= threads_.contains(thread);
    }
  }
  return absl::OkStatus();
}

absl::Status Tracer::Seize(const Process& process, int thread) {
  if (ptrace(PTRACE_SEIZE, thread, nullptr, PTRACE_O_TRACECLONE) == 0) {
    ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
    threads_[thread].process = process.pid;
    return absl::OkStatus();
  }
  const int error = errno;
  const char state = ThreadState(host_, process.pid, thread);
  if (error == ESRCH || state == 'Z' || state == 'X' || state == '?') return absl::OkStatus();
  const long tracer = StatusNumber(host_, process.pid, thread, "TracerPid");
  if (tracer == id_) {  // a new thread of one that is traced already
    threads_[thread].process = process.pid;
    return absl::OkStatus();
  }
  if (tracer > 0) {
    return absl::FailedPreconditionError(
        fmt::format("{} is traced already, by {} (pid {}), such as a debugger or strace: only one "
                    "can; nothing was stopped",
                    Describe(process), ReadName(host_, static_cast<int>(tracer)), tracer));
  }
  return NotAllowed(fmt::format("stop {}: {}", Describe(process), std::strerror(error)));
}

// The kernel tells of the stops of traced threads even who asks for ends alone.
bool Tracer::TakeNews(bool blocks) {
  constexpr int kAny = WEXITED | WSTOPPED | __WALL | __WNOTHREAD;
  siginfo_t info{};
  if (waitid(P_ALL, 0, &info, kAny | WNOWAIT | (blocks ? 0 : WNOHANG)) != 0 || info.si_pid == 0) {
    return false;
  }
  const int thread = info.si_pid;
  const bool stopped = info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED;
  if (stopped && info.si_status >> 8 == 0) {
    // It was about to take a signal. It takes it, and stops before it does anything about it. Never
    // taken from the kernel's hands: the signal would be lost if this process died here.
    ptrace(PTRACE_CONT, thread, nullptr, static_cast<std::intptr_t>(info.si_status));
    ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
    return true;
  }
  siginfo_t taken{};
  waitid(P_PID, static_cast<id_t>(thread), &taken, kAny | WNOHANG);
  if (stopped) {
    StoodStill(thread);
  } else {
    Ended(thread);
  }
  return true;
}

void Tracer::StoodStill(int thread) {
  auto known = threads_.find(thread);
  if (known == threads_.end()) {
    // Borne by one that was traced already, and so is it: a thread of its, or a child.
    const long process = StatusNumber(host_, thread, thread, "Tgid");
    const bool chosen = std::any_of(processes_.begin(), processes_.end(),
                                    [&](const Process& p) { return p.pid == process; });
    if (!chosen) {
      ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
      return;
    }
    known = threads_.emplace(thread, Thread{static_cast<int>(process)}).first;
  }
  known->second.still = true;
}

void Tracer::Ended(int thread) {
  const auto found = threads_.find(thread);
  if (found == threads_.end()) return;
  const int process = found->second.process;
  threads_.erase(found);
  const bool left = std::any_of(threads_.begin(), threads_.end(),
                                [&](const auto& t) { return t.second.process == process; });
  if (!left) ++ended_;
}

absl::Status Tracer::WaitUntilStill(SteadyTime deadline) {
  bool first = true;
  for (;;) {
    while (TakeNews(/*blocks=*/false)) {
    }
    std::map<int, bool> still;
    for (const auto& [thread, known] : threads_) {
      still.emplace(known.process, true).first->second &= known.still;
    }
    const auto moving =
        std::find_if(still.begin(), still.end(), [](const auto& p) { return !p.second; });
    const SteadyTime now = host_.clock().Steady();
    if (first && std::any_of(still.begin(), still.end(), [](const auto& p) { return p.second; })) {
      first = false;
      stopped_.stopped_at = now;
    }
    if (moving == still.end()) {
      // As the kernel shows it, and with what was born meanwhile.
      const std::size_t before = threads_.size();
      for (const Process& process : processes_) RETURN_IF_ERROR(SeizeAll(process));
      bool shown = threads_.size() == before;
      for (const auto& [thread, known] : threads_) {
        const char state = ThreadState(host_, known.process, thread);
        shown &= state == 't' || state == 'Z' || state == 'X' || state == '?';
      }
      if (shown) return absl::OkStatus();
    }
    if (now >= deadline) {
      for (const auto& [thread, known] : threads_) {
        if (known.still) continue;
        const char state = ThreadState(host_, known.process, thread);
        return absl::DeadlineExceededError(
            fmt::format("thread {} of {} (pid {}) does not stop (state {}){}; nothing was stopped",
                        thread, ReadName(host_, known.process), known.process, state,
                        state == 'D' ? ": it waits in the kernel, for a disk perhaps" : ""));
      }
      return absl::DeadlineExceededError(
          "new threads come faster than they can be stopped; nothing was stopped");
    }
    ppoll(nullptr, 0, &kSlice, nullptr);
  }
}

void Tracer::Linger() {
  // Until it is taken, the end of a traced process is hidden from its own parent.
  while (!release_ && !threads_.empty()) TakeNews(/*blocks=*/true);
}

void Tracer::DetachAll() {
  for (const auto& [thread, known] : threads_) {
    if (known.still) ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
  }
  threads_.clear();
}

std::optional<int> UntracedButStill(const Host& host, int pid) {
  for (const int thread : Threads(host, pid)) {
    if (ThreadState(host, pid, thread) == 't' &&
        StatusNumber(host, pid, thread, "TracerPid") == 0) {
      return thread;
    }
  }
  return std::nullopt;
}

absl::Status TryTracing(const Host& host) {
  // A child that only waits: no more is allowed in a child of a process with threads.
  const int child = static_cast<int>(syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr));
  if (child == 0) {
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);
  }
  if (child < 0) return absl::ErrnoToStatus(errno, "make a child to try ptrace on");
  int error = 0;
  if (ptrace(PTRACE_SEIZE, child, nullptr, nullptr) != 0 ||
      ptrace(PTRACE_INTERRUPT, child, nullptr, nullptr) != 0) {
    error = errno;
  }
  kill(child, SIGKILL);
  while (waitpid(child, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  if (error != 0) return NotAllowed(fmt::format("ptrace of a child: {}", std::strerror(error)));
  const auto scope = Host::Read(host.proc() + "/sys/kernel/yama/ptrace_scope", 16);
  if (scope.ok() && absl::StripAsciiWhitespace(*scope) == "3") {
    return NotAllowed("kernel.yama.ptrace_scope is 3: nobody may trace");
  }
  const auto status = Host::Read(host.proc() + "/self/status");
  const std::size_t at = status.ok() ? status->find("CapEff:\t") : std::string::npos;
  std::uint64_t bits = 0;
  if (at == std::string::npos ||
      !absl::SimpleHexAtoi(absl::string_view(*status).substr(at + 8, 16), &bits) ||
      (bits >> CAP_SYS_PTRACE & 1) == 0) {
    return NotAllowed("ptrace of a child works, of others' processes it needs CAP_SYS_PTRACE");
  }
  return absl::OkStatus();
}

}  // namespace firedrill::agent
