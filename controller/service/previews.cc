// SPDX-License-Identifier: Apache-2.0
#include "controller/service/previews.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "controller/experiment/defaults.h"
#include "controller/plan/hosts.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
#include "proto/support/status_macros.h"
#include "proto/support/text.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using std::chrono::seconds;

constexpr Nanoseconds kUsual = seconds(5);
constexpr Nanoseconds kLongest = std::chrono::minutes(5);
constexpr Nanoseconds kTellEvery = seconds(1);
constexpr Nanoseconds kPatience = seconds(10);  // beyond its own end
constexpr absl::Duration kLook = absl::Milliseconds(100);
constexpr std::size_t kMostAtOnce = 16;
constexpr std::size_t kMostHosts = 1000;

// An older agent does not know the word preview, and would inject.
bool KnowsPreviews(const v1::Hello& hello) {
  return hello.version().major() > 1 ||
         (hello.version().major() == 1 && hello.version().minor() >= 1);
}

absl::Status Validate(const v1::PreviewRequest& request) {
  Problems problems;
  CheckFault(request.fault(), "fault", &problems);
  CheckMessage(request.target(), "target", &problems);
  if (request.target().labels().empty() && request.target().hosts().empty()) {
    problems.push_back({"target", "chooses no host", "needed: labels or hosts", true});
  }
  if (request.has_duration()) {
    const Nanoseconds duration = FromProto(request.duration());
    if (duration <= Nanoseconds(0) || duration > kLongest) {
      problems.push_back({"duration", "found " + FormatDuration(duration),
                          "allowed: over 0s, at most " + FormatDuration(kLongest), false});
    }
  }
  const v1::Partition& partition = request.fault().partition();
  if (!partition.from().empty() && partition.addresses().empty()) {
    problems.push_back({"fault.partition.addresses", "missing",
                        "needed in a preview, which has no other targets", true});
  }
  return ToStatus(problems);
}

void Fail(v1::PreviewResponse& counts, std::string why) {
  counts.set_error(std::move(why));
  counts.set_done(true);
}

}  // namespace

struct Previews::Call {
  std::string id;
  std::shared_ptr<PreviewListener> listener;
  Messages messages;
  std::vector<v1::PreviewResponse> responses;
  std::optional<absl::Status> end;
};

Previews::Previews(AgentRegistry& registry, const Clock& clock, Nanoseconds lease)
    : registry_(registry),
      clock_(clock),
      lease_(lease),
      random_(std::random_device{}()),
      thread_([this] { Loop(); }) {}

Previews::~Previews() {
  std::map<std::string, Preview> left;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
  {
    absl::MutexLock lock(&mutex_);
    left.swap(previews_);
  }
  for (auto& [id, preview] : left) {
    Messages messages;
    for (const auto& [host, state] : preview.hosts) EndOn(host, state, &messages);
    SendAll(messages);
    preview.listener->OnEnd(absl::UnavailableError("the controller is stopping"));
  }
}

absl::StatusOr<std::vector<std::string>> Previews::Choose(const v1::Target& target) {
  const std::vector<v1::Agent> agents = registry_.Agents();
  std::vector<std::string> fit;
  std::vector<std::string> reasons;
  for (const v1::Agent& agent : agents) {
    const v1::Hello& hello = agent.hello();
    if (!Selects(target, hello)) continue;
    if (agent.state() != v1::AGENT_STATE_CONNECTED) {
      reasons.push_back(hello.agent_id() +
                        (agent.state() == v1::AGENT_STATE_GONE ? " is gone" : " is stopping"));
    } else if (!KnowsPreviews(hello)) {
      reasons.push_back(fmt::format("{} (version {}) knows no previews: upgrade it",
                                    hello.agent_id(), hello.software_version()));
    } else {
      fit.push_back(hello.agent_id());
    }
  }
  const v1::Amount pick = Pick(target);
  const std::size_t wanted = Wanted(pick, fit.size());
  if (fit.empty() || wanted > fit.size()) {
    return absl::FailedPreconditionError(fmt::format(
        "target ({}): {}; {}", TargetInWords(target),
        fit.empty() ? "no connected agent qualifies"
                    : fmt::format("{} wanted, {} qualify", FormatAmount(pick), fit.size()),
        reasons.empty() ? FleetInWords(agents) : FirstOf(reasons)));
  }
  absl::MutexLock lock(&mutex_);
  return Sample(std::move(fit), std::min(wanted, kMostHosts),
                [this](std::uint64_t below) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
                  return std::uniform_int_distribution<std::uint64_t>(0, below - 1)(random_);
                });
}

absl::StatusOr<std::string> Previews::Begin(const v1::PreviewRequest& request,
                                            std::shared_ptr<PreviewListener> listener) {
  RETURN_IF_ERROR(Validate(request));
  ASSIGN_OR_RETURN(const std::vector<std::string> hosts, Choose(request.target()));
  const Nanoseconds duration = request.has_duration() ? FromProto(request.duration()) : kUsual;
  std::string id;
  {
    absl::MutexLock lock(&mutex_);
    if (previews_.size() >= kMostAtOnce) {
      return absl::ResourceExhaustedError(
          fmt::format("{} previews are under way, and no more are taken", previews_.size()));
    }
    id = fmt::format("preview-{:016x}", random_());
    Preview& preview = previews_[id];
    preview.listener = std::move(listener);
    preview.renewed = clock_.Steady();
    preview.ends_at = preview.renewed + duration;
    for (const std::string& host : hosts) {
      Host& state = preview.hosts[host];
      state.injection = fmt::format("{}.{}", id, preview.hosts.size());
      state.counts.set_host(host);
      state.told = preview.renewed;
    }
  }
  int number = 0;
  for (const std::string& host : hosts) {
    v1::ConnectResponse message;
    v1::Apply& apply = *message.mutable_apply();
    apply.set_injection_id(fmt::format("{}.{}", id, ++number));
    apply.set_run_id(id);
    *apply.mutable_fault() = request.fault();
    *apply.mutable_duration() = ToProto(duration);
    *apply.mutable_lease() = ToProto(lease_);
    apply.set_preview(true);
    if (const absl::Status sent = registry_.Send(host, message); !sent.ok()) AgentGone(host);
  }
  return id;
}

void Previews::Cancel(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  if (const auto found = previews_.find(id); found != previews_.end()) {
    found->second.cancelled = news_ = true;
  }
}

bool Previews::Take(const std::string& host, const v1::InjectionUpdate& update) {
  absl::MutexLock lock(&mutex_);
  const auto preview = previews_.find(update.run_id());
  if (preview == previews_.end() || preview->second.cancelled) return false;
  const auto found = preview->second.hosts.find(host);
  if (found == preview->second.hosts.end()) return false;
  Host& state = found->second;
  if (state.injection != update.injection_id()) return false;
  if (state.over) return true;
  *state.counts.mutable_counters() = update.counters();
  state.counts.clear_matches();
  for (const v1::InjectionEvent& event : update.events()) {
    if (event.name() == "match") state.counts.add_matches(event.detail());
  }
  const bool ended = update.state() == v1::INJECTION_STATE_ENDED;
  if (!ended && update.state() != v1::INJECTION_STATE_FAILED) return true;
  state.over = news_ = true;
  state.counts.set_done(true);
  const bool early = ended && update.end_reason() != v1::END_REASON_DURATION &&
                     update.end_reason() != v1::END_REASON_COMPLETED;
  if (!ended || early || !update.end_proven()) {
    Fail(state.counts, !update.error().empty() ? update.error() : "it was ended early");
  }
  return true;
}

void Previews::AgentGone(const std::string& host) {
  absl::MutexLock lock(&mutex_);
  for (auto& [id, preview] : previews_) {
    const auto found = preview.hosts.find(host);
    if (found == preview.hosts.end() || found->second.over) continue;
    found->second.over = news_ = true;
    Fail(found->second.counts, "its agent is gone");
  }
}

void Previews::EndOn(const std::string& host, const Host& state, Messages* messages) {
  if (state.over) return;
  v1::ConnectResponse& message = messages->emplace_back(host, v1::ConnectResponse()).second;
  message.mutable_end()->set_injection_id(state.injection);
}

// What an agent does not hear, it does by itself: a lease that is not renewed runs out.
void Previews::SendAll(const Messages& messages) const {
  for (const auto& [host, message] : messages) registry_.Send(host, message).IgnoreError();
}

void Previews::Tend(Preview& preview, SteadyTime now, Messages* messages) {
  const bool renew = now - preview.renewed >= lease_ / 3;
  if (renew) preview.renewed = now;
  for (auto& [host, state] : preview.hosts) {
    if (state.over) continue;
    if (now > preview.ends_at + kPatience) {
      EndOn(host, state, messages);
      state.over = true;
      Fail(state.counts, "its agent did not report the end");
    } else if (renew && now < preview.ends_at) {
      v1::ConnectResponse& message = messages->emplace_back(host, v1::ConnectResponse()).second;
      message.mutable_renew()->add_injection_ids(state.injection);
      *message.mutable_renew()->mutable_lease() = ToProto(lease_);
    }
  }
}

std::vector<Previews::Call> Previews::Gather() {
  news_ = false;
  const SteadyTime now = clock_.Steady();
  std::vector<Call> calls;
  for (auto it = previews_.begin(); it != previews_.end();) {
    Preview& preview = it->second;
    Call call{it->first, preview.listener, {}, {}, std::nullopt};
    if (preview.cancelled) {
      for (const auto& [host, state] : preview.hosts) EndOn(host, state, &call.messages);
      call.end = absl::CancelledError("the preview was cancelled");
    } else {
      Tend(preview, now, &call.messages);
      for (auto& [host, state] : preview.hosts) {
        if (state.closed || (!state.over && now - state.told < kTellEvery)) continue;
        call.responses.push_back(state.counts);
        state.told = now;
        state.closed = state.over;
      }
      const bool all = std::all_of(preview.hosts.begin(), preview.hosts.end(),
                                   [](const auto& entry) { return entry.second.closed; });
      if (all) call.end = absl::OkStatus();
    }
    it = call.end.has_value() ? previews_.erase(it) : std::next(it);
    calls.push_back(std::move(call));
  }
  return calls;
}

void Previews::Loop() {
  while (true) {
    std::vector<Call> calls;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(this, &Previews::Awake), kLook);
      if (stopping_) return;
      calls = Gather();
    }
    for (const Call& call : calls) {
      SendAll(call.messages);
      for (const v1::PreviewResponse& response : call.responses) {
        if (!call.listener->OnCounts(response)) Cancel(call.id);
      }
      if (call.end.has_value()) call.listener->OnEnd(*call.end);
    }
  }
}

}  // namespace firedrill::controller
