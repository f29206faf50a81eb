// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/host/abilities.h"
#include "agent/host/host.h"
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

// What the kinds of fault themselves find out, under the names that fault.proto gives their needs.
void AddFromKind(v1::Hello& hello, const Host& host, std::span<const FaultKind> kinds,
                 v1::Fault::KindCase kind, const char* name) {
  for (const FaultKind& line : kinds) {
    if (line.kind != kind) continue;
    const absl::Status status = line.supported(host);
    AddAbility(hello, name, status.ok(), status.ok() ? "tried" : Text(status.message()));
  }
}

}  // namespace

void DescribeHost(const Host& host, std::span<const FaultKind> kinds, const Limits& limits,
                  v1::Hello& hello) {
  hello.set_boot_id(host.BootId());
  hello.set_kernel_release(host.KernelRelease());
  for (const std::string& address : host.Addresses()) hello.add_addresses(address);
  AddFromKind(hello, host, kinds, v1::Fault::kPacketLoss, "traffic");
  AddFromKind(hello, host, kinds, v1::Fault::kLatency, "delay_line");
  for (const HostAbility& ability : ProbeAbilities(host)) {
    AddAbility(hello, ability.name, ability.available, ability.reason);
  }
  for (const FaultKind& kind : kinds) {
    v1::FaultSupport& support = *hello.add_faults();
    support.set_fault(FaultName(kind.kind));
    absl::Status status = kind.supported(host);
    if (status.ok()) status = limits.CheckAllowed(kind.kind);
    support.set_supported(status.ok());
    support.set_reason(Text(status.message()));
  }
}

std::string DoctorTable(const v1::Hello& hello) {
  std::string text = fmt::format("Linux {}\n\n{:<14} {:<5} {}\n", hello.kernel_release(), "FAULT",
                                 "WORKS", "WHAT TO DO");
  for (const v1::FaultSupport& fault : hello.faults()) {
    text += fmt::format("{:<14} {:<5} {}\n", fault.fault(), fault.supported() ? "yes" : "no",
                        fault.supported() ? "-" : fault.reason());
  }
  text += fmt::format("\n{:<14} {:<5} {}\n", "ABILITY", "HERE", "FOUND");
  for (const v1::Ability& ability : hello.abilities()) {
    text += fmt::format("{:<14} {:<5} {}\n", ability.name(), ability.available() ? "yes" : "no",
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
