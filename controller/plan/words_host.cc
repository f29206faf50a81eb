// SPDX-License-Identifier: Apache-2.0
// Faults of a host in words.
#include <fmt/format.h>

#include "absl/strings/str_join.h"
#include "controller/plan/words_parts.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/field_rules.h"
#include "proto/support/quantity.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using Effects = std::vector<std::string>;

std::string CoresInWords(const v1::Cpu& cpu) {
  if (cpu.cores().empty()) return "every core";
  return fmt::format("core{} {}", cpu.cores_size() > 1 ? "s" : "",
                     absl::StrJoin(cpu.cores(), ", "));
}

std::string Inside(const std::string& cgroup) {
  return cgroup.empty() ? "" : ", inside cgroup " + cgroup;
}

std::string Ramp(const google::protobuf::Duration& ramp, bool given) {
  return given ? "rises evenly over " + TimeText(ramp) : "";
}

void AddIf(std::string text, Effects* effects) {
  if (!text.empty()) effects->push_back(std::move(text));
}

// "2 of the processes named x", "the oldest 1 of the …".
template <typename Kind>
std::string Picked(const Kind& kind, v1::Pick order) {
  v1::Amount one;
  one.set_count(1);
  const v1::Amount amount = kind.has_pick() ? kind.pick() : one;
  const char* which = order == v1::PICK_OLDEST   ? "the oldest "
                      : order == v1::PICK_NEWEST ? "the newest "
                                                 : "";
  std::string text = fmt::format("{}{} of the {}", which, FormatAmount(amount),
                                 ProcessesInWords(kind.processes()));
  if constexpr (requires { kind.exclude(); }) {
    if (kind.has_exclude()) text += ", never " + ProcessesInWords(kind.exclude());
  }
  return text;
}

std::string RestartWithin(const v1::RestartWatch& restart) {
  return restart.has_within() ? TimeText(restart.within()) : DefaultOf(restart, "within");
}

std::string KillInWords(const v1::ProcessKill& kill) {
  std::string text = fmt::format("send {} to {}", kill.signal().empty() ? "KILL" : kill.signal(),
                                 Picked(kill, kill.order()));
  if (kill.has_grace()) text += ", KILL what lives after " + TimeText(kill.grace());
  if (kill.has_repeat_every()) text += ", again every " + TimeText(kill.repeat_every());
  if (kill.has_until_down()) {
    text += fmt::format(", and whatever comes back, until nothing came for {}",
                        TimeText(kill.until_down()));
  }
  if (kill.has_restart()) {
    text += fmt::format(
        ", then watch for {} how soon it is started again{}", RestartWithin(kill.restart()),
        kill.restart().port() == 0 ? " and answers"
                                   : fmt::format(" and answers on port {}", kill.restart().port()));
  }
  return text;
}

std::string MemoryInWords(const v1::Memory& memory) {
  return memory.bytes() > 0 ? fmt::format("take {} of memory{}", FormatBytes(memory.bytes()),
                                          Inside(memory.cgroup()))
                            : fmt::format("take {:g} % of the memory that is available{}",
                                          memory.percent(), Inside(memory.cgroup()));
}

template <typename Kind>
std::string Floor(const Kind& kind) {
  return kind.has_floor() ? FormatBytes(kind.floor()) : DefaultOf(kind, "floor");
}

std::string DiskLoadInWords(const v1::DiskLoad& load) {
  std::vector<std::string> parts;
  if (load.read_rate() > 0)
    parts.push_back(fmt::format("read {}/s", FormatBytes(load.read_rate())));
  if (load.write_rate() > 0) {
    parts.push_back(fmt::format("write {}/s", FormatBytes(load.write_rate())));
  }
  return fmt::format("{} on the file system of {}", absl::StrJoin(parts, " and "), load.path());
}

template <typename List>
std::string Operations(const List& operations, const google::protobuf::EnumDescriptor& type,
                       const char* otherwise) {
  std::vector<std::string> names;
  for (const int operation : operations) {
    const auto* value = type.FindValueByNumber(operation);
    if (value != nullptr) names.push_back(EnumText(*value));
  }
  return names.empty() ? otherwise : absl::StrJoin(names, ", ");
}

std::string Share(double percent) {
  return percent > 0 ? fmt::format(", {:g} % of them", percent) : "";
}

std::string By(bool given, const v1::ProcessSelector& processes) {
  return given ? ", by " + ProcessesInWords(processes) : "";
}

std::string FileFaultInWords(const v1::FileFault& fault) {
  std::vector<std::string> what;
  if (fault.delay().seconds() > 0 || fault.delay().nanos() > 0) {
    what.push_back(fmt::format("take {} longer", TimeText(fault.delay())));
  }
  if (!fault.error().empty()) what.push_back("fail with " + fault.error());
  return fmt::format("let {} below {} {}{}{}",
                     Operations(fault.operations(), *v1::FileOperation_descriptor(), "open"),
                     fault.path(), absl::StrJoin(what, " and "), Share(fault.percent()),
                     By(fault.has_processes(), fault.processes()));
}

std::string ConnectionErrorInWords(const v1::ConnectionError& fault) {
  std::string text =
      fmt::format("let {} fail with {}",
                  Operations(fault.operations(), *v1::SocketOperation_descriptor(), "connect"),
                  fault.error().empty() ? DefaultOf(fault, "error") : fault.error());
  if (fault.addresses_size() > 0) text += ", to " + absl::StrJoin(fault.addresses(), ", ");
  if (fault.ports_size() > 0) text += ", port " + absl::StrJoin(fault.ports(), ", ");
  return text + Share(fault.percent()) + By(fault.has_processes(), fault.processes());
}

std::string ConfigInWords(const v1::ConfigChange& change) {
  std::string text = change.pattern().empty()
                         ? fmt::format("append {} to {}", Quoted(change.text()), change.path())
                     : change.text().empty()
                         ? fmt::format("remove {} from {}", Quoted(change.pattern()), change.path())
                         : fmt::format("replace {} by {} in {}", Quoted(change.pattern()),
                                       Quoted(change.text()), change.path());
  if (!change.reload_unit().empty()) text += ", and reload " + change.reload_unit();
  return text;
}

Effects CpuEffects(const v1::Cpu& cpu) {
  Effects effects;
  effects.push_back(cpu.mode() == v1::CPU_MODE_FILL
                        ? fmt::format("{} at {:g} % in all, whatever others use below that",
                                      CoresInWords(cpu), cpu.percent())
                        : fmt::format("about {:g} % of {} is left to everything else",
                                      100 - cpu.percent(), CoresInWords(cpu)));
  AddIf(Ramp(cpu.ramp(), cpu.has_ramp()), &effects);
  if (cpu.priority() != v1::PRIORITY_RAISED && cpu.cgroup().empty()) {
    effects.emplace_back(
        "beside busy programs it gets its fair share only; priority: raised holds it");
  }
  return effects;
}

Effects MemoryEffects(const v1::Memory& memory) {
  Effects effects = {
      fmt::format("{} stay available, whatever others take: it gives back before", Floor(memory)),
      "file caches shrink first, then the host swaps if it may; were memory to run out, the kernel "
      "would kill Firedrill's worker first"};
  AddIf(Ramp(memory.ramp(), memory.has_ramp()), &effects);
  return effects;
}

// What the fill takes it gives back below the floor, at the next of ten looks a second.
Effects DiskFillEffects(const v1::DiskFill& fill) {
  if (!fill.has_floor() || fill.floor() > 0) {
    return {fmt::format(
        "{} stay available: what others take below that is given back within 0.1s; alerts fire, "
        "few writes fail",
        Floor(fill))};
  }
  if (fill.percent() >= 100) return {"writes fail with ENOSPC, but for root"};
  return {"a write that needs more than what is left fails with ENOSPC, but for root"};
}

Effects KillEffects(const v1::ProcessKill& kill) {
  Effects effects = {
      "connections to the processes break, and new ones are refused until something starts them "
      "again; Firedrill does not"};
  if (kill.has_restart()) {
    effects.emplace_back("exit and start are timed by the kernel, the first answer by connecting");
  }
  return effects;
}

}  // namespace

std::string ProcessesInWords(const v1::ProcessSelector& selector) {
  std::vector<std::string> parts;
  if (!selector.name().empty()) parts.push_back("named " + selector.name());
  if (!selector.command_line().empty()) {
    parts.push_back(fmt::format("with \"{}\" in their command line", selector.command_line()));
  }
  if (selector.pid() != 0) parts.push_back(fmt::format("with pid {}", selector.pid()));
  if (selector.listening_port() != 0) {
    parts.push_back(fmt::format("listening on port {}", selector.listening_port()));
  }
  if (!selector.cgroup().empty()) parts.push_back("in cgroup " + selector.cgroup());
  if (!selector.systemd_unit().empty()) parts.push_back("of unit " + selector.systemd_unit());
  return "processes " + absl::StrJoin(parts, " and ");
}

std::string DefaultOf(const google::protobuf::Message& message, const char* field) {
  return RulesOf(*message.GetDescriptor()->FindFieldByName(field)).default_text();
}

std::string TimeText(const google::protobuf::Duration& duration) {
  return FormatDuration(FromProto(duration));
}

std::string HostFaultInWords(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kCpu:
      return fmt::format(
          "{} {} {} {:g} %{}", fault.cpu().mode() == v1::CPU_MODE_FILL ? "fill" : "burn",
          CoresInWords(fault.cpu()), fault.cpu().mode() == v1::CPU_MODE_FILL ? "up to" : "by",
          fault.cpu().percent(), Inside(fault.cpu().cgroup()));
    case v1::Fault::kProcessKill:
      return KillInWords(fault.process_kill());
    case v1::Fault::kProcessPause:
      return "hold " + Picked(fault.process_pause(), fault.process_pause().order());
    case v1::Fault::kServiceStop:
      return fmt::format("stop {}, and start it at the end", fault.service_stop().unit());
    case v1::Fault::kMemory:
      return MemoryInWords(fault.memory());
    case v1::Fault::kDiskFill:
      return fault.disk_fill().bytes() > 0
                 ? fmt::format("take {} of the file system of {}",
                               FormatBytes(fault.disk_fill().bytes()), fault.disk_fill().path())
                 : fmt::format("fill the file system of {} up to {:g} %", fault.disk_fill().path(),
                               fault.disk_fill().percent());
    case v1::Fault::kDiskLoad:
      return DiskLoadInWords(fault.disk_load());
    case v1::Fault::kFileFault:
      return FileFaultInWords(fault.file_fault());
    case v1::Fault::kConnectionError:
      return ConnectionErrorInWords(fault.connection_error());
    case v1::Fault::kDescriptors:
      return fmt::format("leave {} further descriptors to {}", fault.descriptors().leave(),
                         Picked(fault.descriptors(), v1::PICK_UNSPECIFIED));
    case v1::Fault::kPids:
      return fmt::format(
          "leave {} further processes and threads to {}",
          fault.pids().has_leave() ? fmt::format("{}", fault.pids().leave())
                                   : (fault.pids().cgroup().empty() ? "64" : "0"),
          fault.pids().cgroup().empty() ? "the host" : "cgroup " + fault.pids().cgroup());
    case v1::Fault::kConfigChange:
      return ConfigInWords(fault.config_change());
    case v1::Fault::kClockStep:
      return fmt::format(
          "set the wall clock {} {}", TimeText(fault.clock_step().by()),
          fault.clock_step().direction() == v1::CLOCK_DIRECTION_BACKWARD ? "back" : "forward");
    case v1::Fault::kReboot:
      return fault.reboot().how() == v1::REBOOT_HOW_SUDDEN
                 ? "restart the host as if its power had failed"
                 : "restart the host in good order";
    case v1::Fault::kNone:
      return "change nothing";
    default:
      return "";
  }
}

std::vector<std::string> HostEffects(const v1::Fault& fault) {
  switch (fault.kind_case()) {
    case v1::Fault::kCpu:
      return CpuEffects(fault.cpu());
    case v1::Fault::kProcessKill:
      return KillEffects(fault.process_kill());
    case v1::Fault::kProcessPause:
      return {"connections stay open and nobody answers: peers wait until they give up",
              "at the end the processes go on where they were"};
    case v1::Fault::kServiceStop:
      return {
          "connections to it break and new ones are refused; systemd does not restart what was "
          "stopped"};
    case v1::Fault::kMemory:
      return MemoryEffects(fault.memory());
    case v1::Fault::kDiskFill:
      return DiskFillEffects(fault.disk_fill());
    case v1::Fault::kDiskLoad:
      return {"others' reads and writes wait behind these in the disk's queue"};
    case v1::Fault::kFileFault:
      return {"programs see it in the call itself; files that are mapped into memory are not met"};
    case v1::Fault::kConnectionError:
      return {"the call fails at once and nothing is sent; connections that are open go on"};
    case v1::Fault::kDescriptors:
      return {"what is open stays open; accept, open and connect fail with EMFILE"};
    case v1::Fault::kPids:
      return {"fork and new threads fail with EAGAIN: cron, ssh and health checks may fail too"};
    case v1::Fault::kConfigChange:
      return {
          "measures whether and when something puts the file right by itself; at the end it is "
          "as before"};
    case v1::Fault::kClockStep:
      return {
          "certificates, tokens, caches and schedules see another time; timers that count "
          "elapsed time do not",
          "the host's alerts and logs carry the wrong time meanwhile"};
    case v1::Fault::kReboot:
      return {"everything on the host stops until it has started again; Firedrill's agent too"};
    case v1::Fault::kNone:
      return {"an alert that fires meanwhile is a false alarm"};
    default:
      return {};
  }
}

}  // namespace firedrill::controller
