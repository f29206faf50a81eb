// SPDX-License-Identifier: Apache-2.0
#include "agent/worker/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "agent/host/agent_clock.h"
#include "agent/host/host.h"
#include "agent/journal/journal.h"
#include "agent/traffic/engine.h"
#include "agent/worker/worker.pb.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;

// Until the first impact it is looked for often; afterwards counters are enough.
constexpr Nanoseconds kLookForImpact = milliseconds(10);
constexpr Nanoseconds kLookAtCounters = milliseconds(200);
constexpr Nanoseconds kReportEvery = milliseconds(1000);
// Beyond the host's lease, to revert in good order before the kernel's leash kills.
constexpr Nanoseconds kToRevert = milliseconds(1000);

// SIGTERM and SIGINT become readable instead of ending the process.
absl::StatusOr<Descriptor> BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  if (sigprocmask(SIG_BLOCK, &set, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, "block signals");
  }
  Descriptor fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, "make a signalfd");
  return fd;
}

std::string Text(absl::string_view text) { return std::string(text); }

}  // namespace

Worker::Worker(Host& host, Journal& journal, std::span<const FaultKind> kinds, Channel channel)
    : host_(host),
      kinds_(kinds),
      channel_(std::move(channel)),
      context_{host, journal, traffic_},
      heard_at_(host.clock().Steady()) {}

Worker::~Worker() = default;

absl::Status Worker::Run() {
  ASSIGN_OR_RETURN(const Descriptor signals, BlockSignals());
  RETURN_IF_ERROR(leash_.Renew(kHostLease + kToRevert));
  while (!leaving_) {
    pollfd fds[] = {{channel_.fd(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
    const auto timeout = std::chrono::ceil<milliseconds>(UntilNextLook());
    if (poll(fds, 2, static_cast<int>(timeout.count())) < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, "poll in a worker");
    }
    if (fds[1].revents != 0) break;
    absl::Status status = absl::OkStatus();
    for (;;) {
      wire::ToWorker message;
      const auto got = channel_.Receive(message);
      if (!got.ok()) status = got.status();
      if (!got.ok() || !*got) break;
      heard_at_ = host_.clock().Steady();
      status = leash_.Renew(kHostLease + kToRevert);
      if (traffic_ != nullptr) traffic_->Renew(heard_at_ + kHostLease);
      for (auto& [id, living] : living_) living.fault->Renew(heard_at_ + kHostLease);
      if (status.ok()) status = Handle(message);
      if (!status.ok() || leaving_) break;
    }
    if (status.ok()) status = Report();
    if (!status.ok()) {
      spdlog::warn("worker pid={}: {}; reverting", getpid(), Text(status.message()));
      break;
    }
    if (host_.clock().Steady() - heard_at_ > kHostLease) {
      spdlog::warn("worker pid={}: its agent is silent; reverting", getpid());
      break;
    }
  }
  return RevertAll();
}

absl::Status Worker::Handle(const wire::ToWorker& message) {
  switch (message.message_case()) {
    case wire::ToWorker::kBegin:
      return Begin(message.begin());
    case wire::ToWorker::kFinish:
      return Finish(message.finish().id());
    case wire::ToWorker::kLeash: {
      if (message.leash().has_protect()) {
        const Protected protect = FromWire(message.leash().protect());
        for (auto& [id, living] : living_) living.fault->Protect(protect);
      }
      wire::FromWorker reply;
      reply.mutable_alive()->set_sequence(message.leash().sequence());
      return channel_.Send(reply);
    }
    case wire::ToWorker::kLeave:
      leaving_ = true;
      return absl::OkStatus();
    case wire::ToWorker::MESSAGE_NOT_SET:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Worker::Begin(const wire::Begin& begin) {
  InjectionRequest request;
  request.id = begin.id();
  request.fault = begin.fault();
  if (begin.has_duration_ns()) request.duration = Nanoseconds(begin.duration_ns());
  request.protect = FromWire(begin.protect());
  const auto kind = std::find_if(kinds_.begin(), kinds_.end(), [&](const FaultKind& k) {
    return k.kind == request.fault.kind_case();
  });
  wire::FromWorker reply;
  absl::StatusOr<std::unique_ptr<ActiveFault>> fault =
      absl::UnimplementedError("this agent does not know the fault");
  if (kind != kinds_.end() && !begin.preview()) {
    fault = kind->apply(request, context_);
  } else if (kind != kinds_.end() && kind->preview != nullptr) {
    fault = kind->preview(request, context_);
  }
  if (fault.ok()) {
    living_[request.id].fault = *std::move(fault);
    reply.mutable_applied()->set_id(request.id);
    reply.mutable_applied()->set_at_ns(host_.clock().System().time_since_epoch().count());
  } else {
    auto* refused = reply.mutable_refused();
    refused->set_id(request.id);
    refused->set_code(static_cast<int>(fault.status().code()));
    refused->set_error(Text(fault.status().message()));
  }
  return channel_.Send(reply);
}

absl::Status Worker::Finish(const std::string& id) {
  wire::FromWorker reply;
  auto* finished = reply.mutable_finished();
  finished->set_id(id);
  if (const auto found = living_.find(id); found != living_.end()) {
    const absl::Status status = found->second.fault->Revert();
    finished->set_at_ns(host_.clock().System().time_since_epoch().count());
    if (!status.ok()) finished->set_error(Text(status.message()));
    *finished->mutable_last() = Observe(id, *found->second.fault);
    living_.erase(found);
  } else {
    finished->set_at_ns(host_.clock().System().time_since_epoch().count());
  }
  return channel_.Send(reply);
}

absl::Status Worker::Report() {
  const SteadyTime now = host_.clock().Steady();
  for (auto& [id, living] : living_) {
    if (now - living.observed_at < (living.has_impact ? kLookAtCounters : kLookForImpact)) continue;
    living.observed_at = now;
    wire::FromWorker message;
    *message.mutable_observed() = Observe(id, *living.fault);
    const wire::Observed& seen = message.observed();
    const bool news = seen.has_first_impact_ns() != living.has_impact || seen.completed() ||
                      !seen.lost().empty() || seen.events_size() != living.events ||
                      now - living.reported_at >= kReportEvery;
    if (!news) continue;
    const std::string text = message.SerializeAsString();
    living.reported_at = now;
    living.has_impact = seen.has_first_impact_ns();
    living.events = seen.events_size();
    if (text == living.last_report) continue;
    living.last_report = text;
    RETURN_IF_ERROR(channel_.Send(message));
  }
  return absl::OkStatus();
}

wire::Observed Worker::Observe(const std::string& id, const ActiveFault& fault) const {
  wire::Observed seen;
  seen.set_id(id);
  const absl::StatusOr<Impact> impact = fault.Observe();
  if (!impact.ok()) {
    seen.set_lost(Text(impact.status().message()));
    return seen;
  }
  if (impact->first) seen.set_first_impact_ns(impact->first->time_since_epoch().count());
  seen.set_from_kernel(impact->from_kernel);
  seen.set_uncertainty_ns(impact->uncertainty.count());
  seen.set_completed(impact->completed);
  seen.mutable_counters()->insert(impact->counters.begin(), impact->counters.end());
  for (const ImpactEvent& event : impact->events) *seen.add_events() = ToWire(event);
  return seen;
}

Nanoseconds Worker::UntilNextLook() const {
  Nanoseconds wait = kLookAtCounters;
  for (const auto& [id, living] : living_) {
    if (!living.has_impact) wait = std::min(wait, kLookForImpact);
  }
  return wait;
}

absl::Status Worker::RevertAll() {
  absl::Status result = absl::OkStatus();
  for (auto& [id, living] : living_) {
    if (absl::Status status = living.fault->Revert(); !status.ok()) {
      spdlog::error("worker pid={} injection={}: {}", getpid(), id, Text(status.message()));
      result.Update(status);
    }
  }
  living_.clear();
  traffic_.reset();
  return result;
}

int RunWorker(int socket, const std::string& state) {
  Channel channel{Descriptor(socket)};
  fcntl(socket, F_SETFD, FD_CLOEXEC);
  // Whoever read the log may have gone together with the agent; reverting comes first.
  std::signal(SIGPIPE, SIG_IGN);
  // A killed agent closes the socket; this is for an agent whose socket somebody else holds open.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto clock = AgentClock::Open(state, Host().BootId());
  Host host({}, *clock);
  auto journal = Journal::Open(state + "/journal", host.BootId(), *clock);
  if (!journal.ok()) {
    spdlog::error("worker: {}", Text(journal.status().message()));
    return 1;
  }
  Worker worker(host, **journal, FaultKinds(), std::move(channel));
  const absl::Status status = worker.Run();
  if (!status.ok()) spdlog::error("worker pid={}: {}", getpid(), Text(status.message()));
  return status.ok() ? 0 : 1;
}

}  // namespace firedrill::agent
