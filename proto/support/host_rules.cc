// SPDX-License-Identifier: Apache-2.0
// Rules between the fields of host_fault.proto and process.proto.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "firedrill/v1/host_fault.pb.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/between_fields.h"

namespace firedrill {
namespace {

void Add(const std::string& path, const char* field, std::string found, std::string allowed,
         Problems* problems, bool missing = false) {
  problems->push_back({JoinPath(path, field), std::move(found), std::move(allowed), missing});
}

// Exactly one of the two says how much.
template <typename Message>
void CheckShareOrBytes(const Message& message, const std::string& path, Problems* problems) {
  if (message.percent() > 0 && message.bytes() > 0) {
    Add(path, "bytes", "found it beside percent", "one of the two: percent or bytes", problems);
  } else if (!(message.percent() > 0) && message.bytes() == 0) {
    problems->push_back({path, "does not say how much",
                         "needed: percent, such as 80, or bytes, such as 512MiB", true});
  }
}

void CheckMemory(const v1::Memory& memory, const std::string& path, Problems* problems) {
  CheckShareOrBytes(memory, path, problems);
}

void CheckDiskFill(const v1::DiskFill& fill, const std::string& path, Problems* problems) {
  CheckShareOrBytes(fill, path, problems);
}

void CheckDiskLoad(const v1::DiskLoad& load, const std::string& path, Problems* problems) {
  if (load.read_rate() > 0 || load.write_rate() > 0) return;
  problems->push_back(
      {path, "asks for no load", "needed: read_rate, write_rate or both, such as 50MiB", true});
}

// With fewer nobody could log in and look, and the agent could not start another worker.
void CheckPids(const v1::Pids& pids, const std::string& path, Problems* problems) {
  constexpr std::uint32_t kLeastOnHost = 16;
  if (!pids.cgroup().empty() || !pids.has_leave() || pids.leave() >= kLeastOnHost) return;
  Add(path, "leave", fmt::format("found {} without a cgroup", pids.leave()),
      fmt::format("allowed: at least {} on a whole host", kLeastOnHost), problems);
}

void CheckCpu(const v1::Cpu& cpu, const std::string& path, Problems* problems) {
  std::set<std::uint32_t> seen;
  for (const std::uint32_t core : cpu.cores()) {
    if (seen.insert(core).second) continue;
    return Add(path, "cores", fmt::format("found {} a second time", core), "each core once",
               problems);
  }
}

void CheckSelector(const v1::ProcessSelector& selector, const std::string& path,
                   Problems* problems) {
  const bool chooses = !selector.name().empty() || !selector.command_line().empty() ||
                       selector.pid() != 0 || selector.listening_port() != 0 ||
                       !selector.cgroup().empty() || !selector.systemd_unit().empty();
  if (chooses) return;
  std::vector<std::string> names;
  const google::protobuf::Descriptor& type = *v1::ProcessSelector::descriptor();
  for (int i = 0; i < type.field_count(); ++i) names.push_back(type.field(i)->name());
  problems->push_back(
      {path, "chooses no process", "needed: at least one of " + OneOf(names), true});
}

void CheckFileFault(const v1::FileFault& fault, const std::string& path, Problems* problems) {
  const bool delays = fault.delay().seconds() > 0 || fault.delay().nanos() > 0;
  if (delays || !fault.error().empty()) return;
  problems->push_back({path, "does nothing to the operations",
                       "needed: delay, such as 20ms, or error, such as EPERM", true});
}

void CheckConnectionError(const v1::ConnectionError& fault, const std::string& path,
                          Problems* problems) {
  const auto& operations = fault.operations();
  const bool only_create =
      !operations.empty() && std::all_of(operations.begin(), operations.end(), [](int operation) {
        return operation == v1::SOCKET_OPERATION_CREATE;
      });
  for (const auto& [name, given] : {std::pair("addresses", !fault.addresses().empty()),
                                    std::pair("ports", !fault.ports().empty())}) {
    if (!given || !only_create) continue;
    Add(path, name, "found it beside operation create",
        "a new socket has no other end yet: add connect or send", problems);
  }
}

void CheckKill(const v1::ProcessKill& kill, const std::string& path, Problems* problems) {
  if (kill.has_repeat_every() && kill.has_until_down()) {
    Add(path, "until_down", "found it beside repeat_every",
        "one of the two: at intervals, or whatever comes back", problems);
  }
}

void CheckConfigChange(const v1::ConfigChange& change, const std::string& path,
                       Problems* problems) {
  if (change.pattern().empty()) {
    if (!change.text().empty()) return;
    problems->push_back({path, "changes nothing",
                         "needed: text to append, or a pattern to replace or remove", true});
    return;
  }
  RE2::Options options;
  options.set_log_errors(false);
  const RE2 pattern(change.pattern(), options);
  std::string error;
  // A pattern that is none is the field's own breach.
  if (!pattern.ok() || pattern.CheckRewriteString(change.text(), &error)) return;
  Add(path, "text", "found " + Quoted(change.text()),
      fmt::format("allowed: \\1 to \\{} for the pattern's groups, \\0 for all of it, \\\\ for \\",
                  pattern.NumberOfCapturingGroups()),
      problems);
}

}  // namespace

bool CheckHostMessage(const google::protobuf::Message& message, const std::string& path,
                      Problems* problems) {
  return RunIf(message, path, problems, CheckMemory) ||
         RunIf(message, path, problems, CheckDiskFill) ||
         RunIf(message, path, problems, CheckDiskLoad) ||
         RunIf(message, path, problems, CheckCpu) || RunIf(message, path, problems, CheckPids) ||
         RunIf(message, path, problems, CheckSelector) ||
         RunIf(message, path, problems, CheckFileFault) ||
         RunIf(message, path, problems, CheckConnectionError) ||
         RunIf(message, path, problems, CheckKill) ||
         RunIf(message, path, problems, CheckConfigChange);
}

}  // namespace firedrill
