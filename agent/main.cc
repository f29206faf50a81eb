// SPDX-License-Identifier: Apache-2.0
// firedrill-agent: flags and wiring.
#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>

#include "agent/config/config.h"
#include "agent/doctor/doctor.h"
#include "agent/faults/fault.h"
#include "agent/host/agent_clock.h"
#include "agent/host/descriptor.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "agent/link/link.h"
#include "agent/supervisor/supervisor_loop.h"
#include "agent/worker/worker.h"
#include "proto/support/status_macros.h"
#include "proto/support/version.h"

namespace firedrill::agent {
namespace {

constexpr int kUsage = 2;
// Above any other program, so that heartbeats survive a CPU fault, one with raised priority too.
constexpr int kPriority = -20;
constexpr Nanoseconds kToDrain = std::chrono::seconds(15);
// Bytes. A piece that is larger goes back to the kernel as soon as it is freed, and so does more
// than this at the end of a heap. Left alone malloc raises both with each large piece: libbpf reads
// the kernel's types, some ten megabytes, and drops them, here and on the supervisor's thread.
constexpr int kLargePiece = 512 << 10;
constexpr int kFreeAtEnd = 1 << 20;

std::string Text(absl::string_view text) { return std::string(text); }

// One agent a state folder: its journal is nobody else's. Held until the process ends.
absl::StatusOr<Descriptor> LockState(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::ErrnoToStatus(error.value(), "--state: make " + folder);
  const std::string path = folder + "/lock";
  Descriptor lock(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return absl::ErrnoToStatus(errno, "--state: open " + path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  return absl::FailedPreconditionError(
      fmt::format("--state: another agent uses {}; give each agent a folder of its own", folder));
}

std::string NewInstance() {
  std::random_device random;
  return fmt::format("{:08x}{:08x}", random(), random());
}

// Blocks until SIGTERM or SIGINT, which main has blocked in every thread.
void WaitForSignal(const sigset_t& signals) {
  int signal = 0;
  while (sigwait(&signals, &signal) != 0) {
  }
}

struct Supervision {
  explicit Supervision(const Clock& agent_clock) : clock(agent_clock), host({}, agent_clock) {}
  const Clock& clock;
  Host host;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Spawner> spawner;
  std::unique_ptr<SupervisorLoop> loop;
};

absl::Status StartSupervision(const Config& config, std::vector<v1::Ability> abilities,
                              Supervisor::OnUpdate on_update, Supervision& out) {
  ASSIGN_OR_RETURN(out.journal,
                   Journal::Open(config.state + "/journal", out.host.BootId(), out.clock));
  out.spawner = MakeSpawner(config.state);
  SupervisorOptions options;
  options.max_live_faults = config.max_live_faults;
  options.lease_cap = config.lease_cap;
  options.allowed = config.allowed;
  options.allowed_files = config.allowed_files;
  options.abilities = std::move(abilities);
  absl::Status recovered;
  ASSIGN_OR_RETURN(out.loop, SupervisorLoop::Start(
                                 [&out, options, on_update] {
                                   return std::make_unique<Supervisor>(
                                       out.host, *out.journal, FaultKinds(), UndoKinds(),
                                       *out.spawner, options, on_update);
                                 },
                                 out.clock, &recovered));
  // What no record names. Without the right to look, there was none to leave anything either.
  const absl::Status swept = SweepLeftovers();
  if (!absl::IsPermissionDenied(swept)) recovered.Update(swept);
  return recovered;
}

absl::Status Revert(const Config& config) {
  ASSIGN_OR_RETURN(const Descriptor lock, LockState(config.state));
  const auto clock = AgentClock::Open(config.state, Host().BootId());
  Supervision supervision(*clock);
  RETURN_IF_ERROR(StartSupervision(
      config, {}, [](const v1::InjectionUpdate&) {}, supervision));
  std::printf("Nothing of Firedrill is left on this host that its records in %s name.\n",
              config.state.c_str());
  return absl::OkStatus();
}

void Doctor(const Config& config) {
  v1::Hello hello;
  DescribeHost(Host(), FaultKinds(),
               Limits(config.max_live_faults, config.allowed, {}, config.allowed_files), hello);
  const std::string text = config.output == "json" ? DoctorJson(hello) : DoctorTable(hello);
  std::fputs(text.c_str(), stdout);
}

absl::Status Serve(const Config& config) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // a log that nobody reads any more is no reason to die
  mallopt(M_MMAP_THRESHOLD, kLargePiece);
  mallopt(M_TRIM_THRESHOLD, kFreeAtEnd);
  ASSIGN_OR_RETURN(const Descriptor lock, LockState(config.state));
  if (setpriority(PRIO_PROCESS, 0, kPriority) != 0) {
    spdlog::info("cannot raise the agent's priority; under a CPU fault it may be slow");
  }
  LinkOptions options;
  options.controllers = config.controllers;
  options.credentials = [&config] { return MakeChannelCredentials(config.credentials); };
  v1::Hello& hello = options.hello;
  *hello.mutable_version() = OwnProtocolVersion();
  hello.set_agent_id(config.id);
  hello.mutable_labels()->insert(config.labels.begin(), config.labels.end());
  hello.set_environment(config.environment);
  hello.set_software_version(SoftwareVersion());
  hello.set_instance(NewInstance());
  hello.set_live_fault_cap(static_cast<std::uint32_t>(config.max_live_faults));
  DescribeHost(Host(), FaultKinds(),
               Limits(config.max_live_faults, config.allowed, {}, config.allowed_files), hello);
  malloc_trim(0);  // Trying took tens of megabytes (types of the kernel) that are not needed again.

  const auto clock = AgentClock::Open(config.state, hello.boot_id());
  std::vector<v1::Ability> abilities(hello.abilities().begin(), hello.abilities().end());
  Link link(std::move(options), *clock);
  Supervision supervision(*clock);
  const absl::Status recovered = StartSupervision(
      config, std::move(abilities),
      [&link](const v1::InjectionUpdate& update) { link.OnUpdate(update); }, supervision);
  if (!supervision.loop) return recovered;
  if (!recovered.ok()) {
    spdlog::error("not all that a former agent left could be undone: {}",
                  Text(recovered.message()));
  }
  link.Start(*supervision.loop);
  spdlog::info("agent {} serves {} in {}", config.id, fmt::format("{}", config.controllers.front()),
               config.environment.empty() ? "no environment" : config.environment);

  WaitForSignal(signals);
  spdlog::info("stopping: ending every fault; a second signal ends them by force");
  link.SayDraining();
  std::thread([signals, loop = supervision.loop.get()] {
    WaitForSignal(signals);
    loop->Post([](Supervisor& supervisor) { supervisor.Hasten(); });
    WaitForSignal(signals);  // nothing is faster than that
  }).detach();
  const bool clean = supervision.loop->Drain(kToDrain);
  link.Stop();
  spdlog::info(clean ? "every fault has ended" : "not every fault's end was seen");
  spdlog::shutdown();
  // The detached thread may still use what lives here; the kernel ends it together with the rest.
  supervision.loop.release();
  std::_Exit(clean ? 0 : 1);
}

int Main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("agent"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  const absl::StatusOr<Config> config = ParseConfig(argc, argv);
  if (!config.ok()) {
    std::fprintf(stderr, "firedrill-agent: %s\n", Text(config.status().message()).c_str());
    return kUsage;
  }
  spdlog::set_level(spdlog::level::from_str(config->log_level));
  absl::Status status;
  switch (config->command) {
    case Command::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case Command::kVersion:
      std::printf("firedrill-agent %s\n", SoftwareVersion());
      return 0;
    case Command::kWorker:
      return RunWorker(config->worker_socket, config->state);
    case Command::kDoctor:
      Doctor(*config);
      return 0;
    case Command::kRevert:
      status = Revert(*config);
      break;
    case Command::kRun:
      status = Serve(*config);
      break;
  }
  if (status.ok()) return 0;
  std::fprintf(stderr, "firedrill-agent: %s\n", Text(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace firedrill::agent

int main(int argc, char** argv) { return firedrill::agent::Main(argc, argv); }
