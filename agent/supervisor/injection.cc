// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/injection.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "agent/journal/journal.h"
#include "agent/worker/channel.h"
#include "proto/support/time.h"

namespace firedrill::agent {

void Injection::AddError(const std::string& text) {
  if (text.empty() || error.find(text) != std::string::npos) return;
  if (!error.empty()) error += "; ";
  error += text;
}

v1::InjectionUpdate Injection::ToUpdate() const {
  v1::InjectionUpdate update;
  update.set_injection_id(request.id);
  update.set_run_id(run_id);
  update.set_state(state);
  if (applied_at) *update.mutable_applied_at() = ToProto(*applied_at);
  if (impact.first) {
    *update.mutable_first_impact_at() = ToProto(*impact.first);
    update.set_impact_from_kernel(impact.from_kernel);
    *update.mutable_impact_uncertainty() = ToProto(impact.uncertainty);
  }
  if (ended_at) *update.mutable_ended_at() = ToProto(*ended_at);
  update.set_end_reason(reason);
  update.set_end_proven(end_proven);
  update.set_error(error);
  update.mutable_counters()->insert(impact.counters.begin(), impact.counters.end());
  for (const ImpactEvent& event : impact.events) *update.add_events() = ToWire(event);
  return update;
}

std::map<std::string, std::string> ToRecord(const Injection& injection,
                                            const std::string& worker_start_time) {
  return {{"id", injection.request.id},
          {"run_id", injection.run_id},
          {"preview", injection.preview ? "1" : "0"},
          {"fault", absl::Base64Escape(injection.request.fault.SerializeAsString())},
          {kWorkerPid, std::to_string(injection.worker)},
          {kWorkerStartTime, worker_start_time}};
}

absl::StatusOr<Injection> FromRecord(const UndoRecord& record) {
  Injection injection;
  std::string fault;
  const auto value = [&](const char* key) {
    const auto found = record.values.find(key);
    return found == record.values.end() ? std::string() : found->second;
  };
  injection.request.id = value("id");
  injection.run_id = value("run_id");
  injection.preview = value("preview") == "1";
  injection.record = record.id;
  if (injection.request.id.empty() || !absl::Base64Unescape(value("fault"), &fault) ||
      !injection.request.fault.ParseFromString(fault) ||
      !absl::SimpleAtoi(value(kWorkerPid), &injection.worker) || value(kWorkerStartTime).empty()) {
    return absl::DataLossError("the journal's record " + record.id + " holds no injection");
  }
  return injection;
}

}  // namespace firedrill::agent
