// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/connection_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/connection_hooks.h"
#include "agent/host/host.h"
#include "agent/host/processes.h"
#include "agent/host/task_events.h"
#include "agent/traffic/owned_processes.h"
#include "agent/traffic/owner.h"
#include "proto/support/errno_names.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

// Until the worker's first word from its agent: the lease between the two.
constexpr Nanoseconds kFirstLease = std::chrono::seconds(2);

std::uint64_t ToNs(SteadyTime time) {
  return static_cast<std::uint64_t>(Nanoseconds(time.time_since_epoch()).count());
}

absl::StatusOr<std::uint32_t> Operations(const v1::ConnectionError& fault) {
  std::uint32_t bits = fault.operations().empty() ? FD_CONNECTION_CONNECT : 0;
  for (const int operation : fault.operations()) {
    switch (operation) {
      case v1::SOCKET_OPERATION_CONNECT:
        bits |= FD_CONNECTION_CONNECT;
        break;
      case v1::SOCKET_OPERATION_SEND:
        bits |= FD_CONNECTION_SEND;
        break;
      case v1::SOCKET_OPERATION_CREATE:
        bits |= FD_CONNECTION_CREATE;
        break;
      default:  // An open enum: a newer peer's value.
        return absl::InvalidArgumentError(
            "connection_error.operations: unknown; allowed are connect, send, create");
    }
  }
  return bits;
}

absl::StatusOr<int> Error(const v1::ConnectionError& fault) {
  if (fault.error().empty()) return ECONNREFUSED;
  const std::optional<int> number = ErrnoByName(fault.error());
  if (number) return *number;
  return absl::InvalidArgumentError(
      fmt::format("connection_error.error: found '{}'; allowed: an error's name, such as "
                  "ECONNREFUSED, ENETUNREACH, EMFILE",
                  fault.error()));
}

absl::StatusOr<std::uint64_t> Threshold(const v1::ConnectionError& fault) {
  const double percent = fault.percent() == 0 ? 100 : fault.percent();
  // Written so that NaN is refused too.
  if (!(percent > 0 && percent <= 100)) {
    return absl::InvalidArgumentError(
        "connection_error.percent: allowed are more than 0 and at most 100");
  }
  return std::max<std::uint64_t>(1, std::llround(percent / 100 * 4294967296.0));
}

absl::Status SetEnds(const v1::ConnectionError& fault, ConnectionHooks& hooks) {
  std::vector<Prefix> addresses;
  std::vector<PortRange> ports;
  for (const std::string& text : fault.addresses()) {
    ASSIGN_OR_RETURN(addresses.emplace_back(), ParsePrefix(text));
  }
  for (const std::string& text : fault.ports()) {
    ASSIGN_OR_RETURN(ports.emplace_back(), ParsePorts(text));
  }
  return hooks.SetEnds(addresses, ports);
}

absl::Status Spare(const Protected& protect, ConnectionHooks& hooks) {
  std::vector<fd_connection_endpoint> ends;
  for (const Protected::Endpoint& endpoint : protect.endpoints) {
    // A link-local address may name its device: fe80::1%eth0.
    ASSIGN_OR_RETURN(const Prefix prefix,
                     ParsePrefix(endpoint.address.substr(0, endpoint.address.find('%'))));
    if (endpoint.port < 1 || endpoint.port > 65535) {
      return absl::InvalidArgumentError(
          fmt::format("protected endpoint {}: port {} is not 1 to "
                      "65535",
                      endpoint.address, endpoint.port));
    }
    ends.push_back(ToConnectionEndpoint(prefix, static_cast<std::uint16_t>(endpoint.port)));
  }
  if (ends.size() > FD_CONNECTION_MAX_ENDPOINTS / 2) {
    return absl::ResourceExhaustedError(
        fmt::format("at most {} endpoints can be protected", FD_CONNECTION_MAX_ENDPOINTS / 2));
  }
  RETURN_IF_ERROR(hooks.SpareEnds(ends));
  for (const int pid : protect.family_pids) {
    RETURN_IF_ERROR(hooks.SpareProcess(pid, FD_CONNECTION_SPARED));
  }
  return absl::OkStatus();
}

class ConnectionFault : public ActiveFault {
 public:
  ConnectionFault(const InjectionRequest& request, const Host& host,
                  std::unique_ptr<OwnedProcesses> chosen, std::unique_ptr<ConnectionHooks> hooks)
      : fault_(request.fault.connection_error()),
        host_(host),
        chosen_(std::move(chosen)),
        hooks_(std::move(hooks)) {}

  // Everything but the fault itself, which `error` 0 makes a mere count.
  absl::Status Begin(const InjectionRequest& request, int error) {
    fd_connection& control = hooks_->control();
    control.injection = HashInjection(request.id);
    control.error = static_cast<__u32>(error);
    ASSIGN_OR_RETURN(control.operations, Operations(fault_));
    ASSIGN_OR_RETURN(control.threshold, Threshold(fault_));
    RETURN_IF_ERROR(SetEnds(fault_, *hooks_));
    RETURN_IF_ERROR(hooks_->FollowSpared());
    RETURN_IF_ERROR(SpareTheUntouchable());
    RETURN_IF_ERROR(Spare(request.protect, *hooks_));
    if (chosen_ != nullptr) {
      const std::vector<int>& family = request.protect.family_pids;
      RETURN_IF_ERROR(
          chosen_->Add(/*slot=*/0, fault_.processes(), {family.begin(), family.end()}).status());
    }
    const SteadyTime now = host_.clock().Steady();
    control.until_ns = request.duration ? ToNs(now + *request.duration) : UINT64_MAX;
    control.lease_until_ns = ToNs(now + kFirstLease);
    return hooks_->Attach(control.operations);
  }

  absl::StatusOr<Impact> Observe() const override {
    {
      absl::MutexLock lock(&mutex_);
      RETURN_IF_ERROR(lost_);
    }
    RETURN_IF_ERROR(hooks_->Verify());
    ASSIGN_OR_RETURN(const fd_connection_stats stats, hooks_->Stats());
    Impact impact;
    if (stats.first_failed_ns != 0) {
      const WallInstant first =
          OnWallClock(host_.clock(), SteadyTime(Nanoseconds(stats.first_failed_ns)));
      impact.first = first.at;
      impact.uncertainty = first.uncertainty;
      impact.from_kernel = true;
    }
    impact.counters["calls_matched"] = static_cast<double>(stats.matched);
    impact.counters["calls_failed"] = static_cast<double>(stats.failed);
    if (chosen_ != nullptr) {
      impact.counters["processes_missed"] = static_cast<double>(chosen_->missed());
    }
    return impact;
  }

  absl::Status Revert() override {
    hooks_->Detach();
    return absl::OkStatus();
  }

  void Renew(SteadyTime until) override {
    __atomic_store_n(&hooks_->control().lease_until_ns, ToNs(until), __ATOMIC_SEQ_CST);
  }

  void Protect(const Protected& protect) override {
    if (const absl::Status status = Spare(protect, *hooks_); !status.ok()) Lose(status);
  }

 private:
  // Better no fault than one on the agent's own stream; Observe says so.
  void Lose(const absl::Status& why) {
    {
      absl::MutexLock lock(&mutex_);
      lost_ = why;
    }
    hooks_->Detach();
  }

  absl::Status SpareTheUntouchable() {
    RETURN_IF_ERROR(hooks_->SpareProcess(1, FD_CONNECTION_SPARED_ALONE));
    ASSIGN_OR_RETURN(const std::vector<Process> all, ListProcesses(host_));
    for (const Process& process : all) {
      if (!process.kernel_thread) continue;
      RETURN_IF_ERROR(hooks_->SpareProcess(process.pid, FD_CONNECTION_SPARED));
    }
    return absl::OkStatus();
  }

  const v1::ConnectionError fault_;
  const Host& host_;
  const std::unique_ptr<OwnedProcesses> chosen_;  // outlives the hooks; null: everybody
  const std::unique_ptr<ConnectionHooks> hooks_;
  mutable absl::Mutex mutex_;
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);  // why it was taken out early
};

absl::StatusOr<std::unique_ptr<ActiveFault>> Begin(const InjectionRequest& request,
                                                   WorkerContext& context, int error) {
  std::unique_ptr<OwnedProcesses> chosen;
  if (request.fault.connection_error().has_processes()) {
    ASSIGN_OR_RETURN(chosen, OwnedProcesses::Start(/*on_news=*/nullptr));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<ConnectionHooks> hooks,
                   ConnectionHooks::Load(context.host, chosen.get()));
  auto fault =
      std::make_unique<ConnectionFault>(request, context.host, std::move(chosen), std::move(hooks));
  RETURN_IF_ERROR(fault->Begin(request, error));
  return fault;
}

}  // namespace

absl::Status ConnectionErrorSupported(const Host& host) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ConnectionHooks> hooks,
                   ConnectionHooks::Load(host, /*chosen=*/nullptr));
  RETURN_IF_ERROR(hooks->FollowSpared());
  return hooks->Attach(FD_CONNECTION_CREATE);
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyConnectionError(const InjectionRequest& request,
                                                                  WorkerContext& context) {
  ASSIGN_OR_RETURN(const int error, Error(request.fault.connection_error()));
  if (error != EPERM && !ConnectionHooks::CanChooseError()) {
    return absl::UnimplementedError(
        fmt::format("connection_error.error: {} needs bpf_set_retval (Linux 5.18); without it only "
                    "EPERM is possible: ask for error: EPERM",
                    ErrnoName(error)));
  }
  return Begin(request, context, error);
}

absl::StatusOr<std::unique_ptr<ActiveFault>> PreviewConnectionError(const InjectionRequest& request,
                                                                    WorkerContext& context) {
  return Begin(request, context, /*error=*/0);
}

absl::Status VerifyConnectionErrorGone(const InjectionRequest& request, const Host&) {
  return VerifyConnectionHooksGone(request.id);
}

}  // namespace firedrill::agent
