// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/process_preview.h"

#include <fmt/format.h>
#include <unistd.h>

#include <set>
#include <utility>
#include <vector>

#include "agent/faults/process_selection.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr std::size_t kMostEvents = 100;

class ProcessPreview : public ActiveFault {
 public:
  explicit ProcessPreview(Impact impact) : impact_(std::move(impact)) {}
  absl::StatusOr<Impact> Observe() const override { return impact_; }
  absl::Status Revert() override { return absl::OkStatus(); }

 private:
  const Impact impact_;
};

struct Choice {
  v1::ProcessSelector selector;
  v1::ProcessSelector exclude;
};

absl::StatusOr<Choice> ChoiceOf(const v1::Fault& fault) {
  Choice choice;
  if (fault.has_process_kill()) {
    choice = {fault.process_kill().processes(), fault.process_kill().exclude()};
  } else if (fault.has_process_pause()) {
    choice = {fault.process_pause().processes(), fault.process_pause().exclude()};
  } else if (fault.has_descriptors()) {
    choice = {fault.descriptors().processes(), {}};
  } else if (fault.has_service_stop()) {
    choice.selector.set_systemd_unit(fault.service_stop().unit());
  } else if (fault.has_connection_error() && fault.connection_error().has_processes()) {
    choice = {fault.connection_error().processes(), {}};
  } else if (fault.has_file_fault() && fault.file_fault().has_processes()) {
    choice = {fault.file_fault().processes(), {}};
  } else {
    return absl::UnimplementedError("the fault names no processes: there is nothing to preview");
  }
  return choice;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewProcesses(const InjectionRequest& request,
                                                              WorkerContext& context) {
  const Host& host = context.host;
  ASSIGN_OR_RETURN(const Choice choice, ChoiceOf(request.fault));
  std::set<int> spared(request.protect.family_pids.begin(), request.protect.family_pids.end());
  spared.insert(getpid());
  auto found = SelectProcesses(host, choice.selector, spared, choice.exclude);
  if (absl::IsNotFound(found.status())) found = std::vector<Process>();
  RETURN_IF_ERROR(found.status());
  Impact impact;
  impact.counters["processes_matched"] = static_cast<double>(found->size());
  const SystemTime now = host.clock().System();
  if (!found->empty()) impact.first = now;
  for (const Process& process : *found) {
    if (impact.events.size() == kMostEvents) break;
    impact.events.push_back({"match", now, /*from_kernel=*/false, Nanoseconds(0),
                             fmt::format("{}, pid {}", process.name, process.pid)});
  }
  return std::make_unique<ProcessPreview>(std::move(impact));
}

}  // namespace firedrill::agent
