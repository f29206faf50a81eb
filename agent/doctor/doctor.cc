// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/doctor.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "agent/files/file_gate.h"
#include "agent/files/file_hooks.h"
#include "agent/host/abilities.h"
#include "agent/host/host.h"
#include "agent/traffic/owned_sockets.h"
#include "proto/support/fault_rules.h"

namespace firedrill::agent {
namespace {

std::string Text(absl::string_view text) { return std::string(text); }

void AddAbility(v1::Hello& hello, const std::string& name, bool available,
                const std::string& reason) {
  v1::Ability& ability = *hello.add_abilities();
  ability.set_name(name);
  ability.set_available(available);
  ability.set_reason(reason);
}

// The abilities that kinds of fault find out by trying, as fault.proto names them.
constexpr std::pair<v1::Fault::KindCase, const char*> kTried[] = {
    {v1::Fault::kPacketLoss, "traffic"},
    {v1::Fault::kLatency, "delay_line"},
    {v1::Fault::kConnectionError, "connection_hooks"},
    {v1::Fault::kProcessPause, "ptrace"},
    {v1::Fault::kServiceStop, "systemd"},
    {v1::Fault::kMemory, "memory"}};

void AddTried(v1::Hello& hello, const std::string& name, const absl::Status& tried,
              const std::string& how) {
  AddAbility(hello, name, tried.ok(), tried.ok() ? how : Text(tried.message()));
}

// What file_fault needs, by trying.
void AddFileAbilities(v1::Hello& hello) {
  const absl::Status fanotify = FileGate::Try();
  const absl::Status content = FileGate::TryPreContent();
  const absl::Status hooks = FileHooks::Try();
  AddTried(hello, "fanotify", fanotify, "permission events work");
  AddTried(hello, "bpf_lsm", hooks, "programs on the hooks of security modules attach");
  if (hooks.ok()) {
    AddAbility(hello, "file_write", true, "by bpf_lsm, on every file system");
  } else if (content.ok()) {
    AddAbility(hello, "file_write", true, "by pre-content events: on ext4, xfs and btrfs");
  } else {
    AddAbility(hello, "file_write", false,
               Text(content.message()) + "; and no BPF in its place: " + Text(hooks.message()));
  }
}

}  // namespace

void DescribeHost(const Host& host, std::span<const FaultKind> kinds, const Limits& limits,
                  v1::Hello& hello) {
  hello.set_boot_id(host.BootId());
  hello.set_kernel_release(host.KernelRelease());
  for (const std::string& address : host.Addresses()) hello.add_addresses(address);
  for (const FaultKind& kind : kinds) {
    absl::Status status = kind.supported(host);
    for (const auto& [tried, name] : kTried) {
      if (tried != kind.kind) continue;
      AddAbility(
          hello, name, status.ok(),
          status.ok() ? fmt::format("{} was tried", FaultName(kind.kind)) : Text(status.message()));
    }
    v1::FaultSupport& support = *hello.add_faults();
    support.set_fault(FaultName(kind.kind));
    if (status.ok()) status = limits.CheckAllowed(kind.kind);
    support.set_supported(status.ok());
    support.set_reason(Text(status.message()));
  }
  for (const HostAbility& ability : ProbeAbilities(host)) {
    AddAbility(hello, ability.name, ability.available, ability.reason);
  }
  AddFileAbilities(hello);
  AddTried(hello, "traffic_owner", ProbeOwnedSockets(),
           "programs that follow processes and their sockets attach");
}

std::string DoctorTable(const v1::Hello& hello) {
  std::string text = fmt::format("Linux {}\n\n{:<18} {:<5} {}\n", hello.kernel_release(), "FAULT",
                                 "WORKS", "WHAT TO DO");
  for (const v1::FaultSupport& fault : hello.faults()) {
    text += fmt::format("{:<18} {:<5} {}\n", fault.fault(), fault.supported() ? "yes" : "no",
                        fault.supported() ? "-" : fault.reason());
  }
  text += fmt::format("\n{:<18} {:<5} {}\n", "ABILITY", "HERE", "FOUND");
  for (const v1::Ability& ability : hello.abilities()) {
    text += fmt::format("{:<18} {:<5} {}\n", ability.name(), ability.available() ? "yes" : "no",
                        ability.reason());
  }
  return text;
}

std::string DoctorJson(const v1::Hello& hello) {
  nlohmann::ordered_json json = {{"kernel", hello.kernel_release()},
                                 {"abilities", nlohmann::json::array()},
                                 {"faults", nlohmann::json::array()}};
  for (const v1::Ability& ability : hello.abilities()) {
    json["abilities"].push_back({{"name", ability.name()},
                                 {"available", ability.available()},
                                 {"reason", ability.reason()}});
  }
  for (const v1::FaultSupport& fault : hello.faults()) {
    json["faults"].push_back(
        {{"fault", fault.fault()}, {"supported", fault.supported()}, {"reason", fault.reason()}});
  }
  return json.dump(2) + "\n";
}

}  // namespace firedrill::agent
