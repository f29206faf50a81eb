// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/traffic_fixture.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "agent/host/host.h"
#include "agent/traffic/attachment.h"
#include "agent/traffic/netlink.h"

namespace firedrill::testing {
namespace {

using agent::Descriptor;
using std::chrono::milliseconds;

constexpr char kHoldFlag[] = "--hold-engine";
constexpr milliseconds kRenewEvery(100);
constexpr milliseconds kLease(2000);
constexpr char kBoot[] = "boot";

}  // namespace

agent::TrafficRuleSpec Loss(double share, v1::Direction direction) {
  agent::TrafficRuleSpec spec;
  spec.injection_id = "loss";
  spec.effect = agent::LoseEffect{.share = share};
  spec.traffic.set_device("eth0");
  spec.traffic.set_direction(direction);
  return spec;
}

agent::TrafficRuleSpec Delay(int delay_ms, v1::Direction direction) {
  agent::TrafficRuleSpec spec = Loss(0, direction);
  spec.injection_id = "delay";
  spec.effect = agent::DelayEffect{.delay = milliseconds(delay_ms)};
  return spec;
}

agent::TrafficRuleSpec Spec(const agent::TrafficEffect& effect, v1::Direction direction,
                            std::uint32_t seed) {
  agent::TrafficRuleSpec spec = Loss(0, direction);
  spec.injection_id = "effect";
  spec.effect = effect;
  spec.seed = seed;
  return spec;
}

void TrafficTest::SetUp() {
  constexpr int kAttempts = 200;
  for (const char* address : {TwoHosts::kFar4, TwoHosts::kFar6}) {
    int attempt = 0;
    while (Ping(address, 1, 50) == 0) ASSERT_LT(++attempt, kAttempts) << "no way to " << address;
  }
}

void TrafficTest::StartEngine(agent::TrafficOptions options) {
  options.journal = &journal_.journal();
  auto engine = agent::TrafficEngine::Create(options);
  ASSERT_OK(engine.status());
  engine_ = *std::move(engine);
  renewing_ = true;
  renewals_ = std::thread([this] {
    while (renewing_) {
      engine_->Renew(Clock::Real().Steady() + kLease);
      std::this_thread::sleep_for(kRenewEvery);
    }
  });
}

void TrafficTest::StopRenewals() {
  renewing_ = false;
  if (renewals_.joinable()) renewals_.join();
}

void TrafficTest::StopEngine() {
  StopRenewals();
  engine_ = nullptr;
}

std::unique_ptr<agent::TrafficRule> TrafficTest::Add(const agent::TrafficRuleSpec& spec) {
  if (engine_ == nullptr) StartEngine();
  if (engine_ == nullptr) return nullptr;
  auto rule = engine_->AddRule(spec);
  EXPECT_OK(rule.status());
  return rule.ok() ? *std::move(rule) : nullptr;
}

TemporaryJournal::TemporaryJournal()
    : journal_(agent::Journal::Open(folder_.path(), kBoot).value()) {}

std::size_t TemporaryJournal::RecordCount() const { return journal_->Read()->records.size(); }

absl::Status TemporaryJournal::Replay() {
  const agent::Host host;
  return journal_->Replay(
      [&](const agent::UndoRecord& record) { return agent::UndoClsact(record, host); });
}

double LineLateMs(const agent::TrafficRule& rule) {
  const auto stats = rule.Stats();
  if (!stats.ok()) return 0;
  return std::chrono::duration<double, std::milli>(stats->line.worst_lateness).count();
}

int AttachedCount(const std::string& device) {
  const auto index = static_cast<int>(if_nametoindex(device.c_str()));
  int total = agent::Netlink::Open()->CountClsactFilters(index).value();
  for (const int hook : {46, 47}) {  // BPF_TCX_INGRESS, BPF_TCX_EGRESS
    __u32 ids[64] = {};
    __u32 count = 64;
    __u32 flags = 0;
    if (bpf_prog_query(index, static_cast<bpf_attach_type>(hook), 0, &flags, ids, &count) == 0)
      total += static_cast<int>(count);
  }
  return total;
}

bool HasTcx() {
  static const bool has = agent::BestAttachMode() == agent::AttachMode::kTcx;
  return has;
}

bool DeviceExists(const std::string& prefix) {
  bool found = false;
  struct if_nameindex* devices = if_nameindex();
  for (auto* device = devices; device->if_index != 0; ++device) {
    found |= std::string(device->if_name).starts_with(prefix);
  }
  if_freenameindex(devices);
  return found;
}

HolderProcess::HolderProcess(const Options& options) {
  int to_child[2];
  int from_child[2];
  if (pipe2(to_child, O_CLOEXEC) < 0 || pipe2(from_child, O_CLOEXEC) < 0) {
    throw std::runtime_error("pipe");
  }
  input_ = Descriptor(to_child[1]);
  const Descriptor child_input(to_child[0]), child_output(from_child[1]), output(from_child[0]);
  const std::string lease = std::to_string(options.lease_ms);
  const std::string owner = std::to_string(options.owner_pid);
  pid_ = fork();
  if (pid_ == 0) {
    dup2(child_input.get(), STDIN_FILENO);
    dup2(child_output.get(), STDOUT_FILENO);
    execl("/proc/self/exe", "traffic_test", kHoldFlag,
          options.delay   ? "delay"
          : options.exact ? "exact"
                          : "loss",
          options.clsact ? "clsact" : "best", options.journal.c_str(), options.device.c_str(),
          lease.c_str(), owner.c_str(), nullptr);
    _exit(127);
  }
  pollfd ready{output.get(), POLLIN, 0};
  char byte = 0;
  constexpr int kStartMs = 30'000;  // An emulated machine takes its time to verify programs.
  if (poll(&ready, 1, kStartMs) != 1 || read(output.get(), &byte, 1) != 1 || byte != '!') {
    Signal(SIGKILL);
    throw std::runtime_error("the process that holds the engine did not start");
  }
}

HolderProcess::~HolderProcess() {
  if (pid_ > 0) Signal(SIGKILL);
}

void HolderProcess::Signal(int signal) {
  kill(pid_, signal);
  if (signal != SIGKILL) return;
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool IsHolder(int argc, char** argv) { return argc == 8 && std::strcmp(argv[1], kHoldFlag) == 0; }

int RunHolder(int, char** argv) {
  const bool delay = std::string(argv[2]) == "delay";
  const milliseconds lease(std::atoi(argv[6]));
  agent::TrafficOptions options;
  options.first_lease = lease;
  const auto journal = agent::Journal::Open(argv[4], kBoot);
  if (!journal.ok()) return 2;
  options.journal = journal->get();
  if (std::string(argv[3]) == "clsact") options.mode = agent::AttachMode::kClsact;
  auto engine = agent::TrafficEngine::Create(options);
  if (!engine.ok()) {
    fprintf(stderr, "%s\n", engine.status().ToString().c_str());
    return 2;
  }
  agent::TrafficRuleSpec spec = delay ? Delay(50, v1::DIRECTION_BOTH) : Loss(1, v1::DIRECTION_BOTH);
  if (std::string(argv[2]) == "exact") spec.effect = agent::LoseEffect{.share = 1, .exact = true};
  spec.injection_id = "held";
  spec.traffic.set_device(argv[5]);
  if (const int owner = std::atoi(argv[7]); owner > 0) {
    spec.traffic.mutable_owner()->set_pid(static_cast<std::uint32_t>(owner));
  }
  const auto rule = (*engine)->AddRule(spec);
  if (!rule.ok()) {
    fprintf(stderr, "%s\n", rule.status().ToString().c_str());
    return 2;
  }
  if (write(STDOUT_FILENO, "!", 1) != 1) return 2;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  do {
    (*engine)->Renew(Clock::Real().Steady() + lease);
  } while (poll(&input, 1, static_cast<int>(lease.count() / 5)) == 0);
  return 0;
}

}  // namespace firedrill::testing
