// SPDX-License-Identifier: Apache-2.0
#include "agent/link/link.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "agent/link/endpoints.h"
#include "agent/link/stream.h"
#include "agent/supervisor/supervisor_loop.h"
#include "proto/support/credentials.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds kToWelcome = seconds(10);
constexpr Nanoseconds kToFinish = seconds(1);
constexpr Nanoseconds kUsualHeartbeat = seconds(1);
constexpr int kSilentHeartbeats = 3;
constexpr std::size_t kMostAsked = 8;

std::string Text(absl::string_view text) { return std::string(text); }

}  // namespace

Link::Link(LinkOptions options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Link::~Link() { Stop(); }

void Link::Start(SupervisorLoop& loop) {
  loop_ = &loop;
  thread_ = std::thread([this] { Run(); });
}

void Link::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void Link::Run() {
  for (std::size_t next = 0;; ++next) {
    const std::string& controller = options_.controllers[next % options_.controllers.size()];
    Serve(controller);
    bool welcomed;
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return;
      welcomed = session_.welcomed;
      session_ = Session();
    }
    if (welcomed) backoff_.Reset();
    // All controllers are tried before waiting grows.
    const bool pass_over = welcomed || (next + 1) % options_.controllers.size() == 0;
    if (!Pause(pass_over ? backoff_.Next() : milliseconds(20))) return;
  }
}

// At most so long: less when the stream ended or the link is to stop. Not by the mutex: its waits
// are measured on the wall clock, which a fault may step.
void Link::Wait(Nanoseconds wait) const {
  pollfd fd{wake_.get(), POLLIN, 0};
  const auto timeout = std::chrono::ceil<milliseconds>(std::max(wait, Nanoseconds(0)));
  poll(&fd, 1, static_cast<int>(timeout.count()));
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
}

// Waits; false if the link is to stop.
bool Link::Pause(Nanoseconds wait) {
  const SteadyTime end = clock_.Steady() + wait;
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return false;
    }
    const SteadyTime now = clock_.Steady();
    if (now >= end) return true;
    Wait(end - now);
  }
}

void Link::Serve(const std::string& controller) {
  const auto credentials = options_.credentials();
  if (!credentials.ok()) {
    spdlog::error("cannot dial {}: {}", controller, Text(credentials.status().message()));
    return;
  }
  ProtectEndpoints(controller);
  Stream::Events events;
  events.on_message = [this](const v1::ConnectResponse& message) { OnMessage(message); };
  events.on_end = [this](const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      session_.ended = status;
    }
    eventfd_write(wake_.get(), 1);
  };
  {
    absl::MutexLock lock(&mutex_);
    session_.heard_at = session_.beat_at = clock_.Steady();
    offset_.Reset();
  }
  const std::shared_ptr<Stream> stream = Stream::Open(controller, *credentials, std::move(events));
  {
    absl::MutexLock lock(&mutex_);
    session_.stream = stream;
  }
  SayHello(stream);
  Hold(controller);
}

// On the supervisor's thread, so that what Hello does not tell is told by the updates after it.
void Link::SayHello(const std::shared_ptr<Stream>& stream) {
  loop_->Post([this, stream](Supervisor& supervisor) {
    v1::ConnectRequest message;
    *message.mutable_hello() = options_.hello;
    for (const auto& update : supervisor.Known()) *message.mutable_hello()->add_live() = update;
    if (!stream->Push(std::move(message))) return;
    absl::MutexLock lock(&mutex_);
    if (session_.stream == stream) updates_to_ = stream;
  });
}

Nanoseconds Link::BeatInterval() const {
  return session_.welcomed ? session_.heartbeat_interval : kUsualHeartbeat;
}

// Holds the stream until it ends.
void Link::Hold(const std::string& controller) {
  bool finishing = false;
  SteadyTime finish_by;
  for (;;) {
    std::shared_ptr<Stream> stream;
    bool beat = false;
    Nanoseconds wait = kToFinish / 4;
    if (!finishing) {
      absl::MutexLock lock(&mutex_);
      const Nanoseconds to_beat = session_.beat_at + BeatInterval() - clock_.Steady();
      wait = session_.ended || stop_ ? Nanoseconds(0)
                                     : std::max(to_beat, Nanoseconds(milliseconds(1)));
      if (!session_.welcomed && !stop_ && !session_.ended) wait = kToWelcome / 100;
    }
    Wait(wait);
    {
      absl::MutexLock lock(&mutex_);
      stream = session_.stream;
      const Nanoseconds interval = BeatInterval();
      if (session_.ended) {
        updates_to_.reset();
        const std::string hint = ConnectionHint(*session_.ended);
        spdlog::log(stop_ ? spdlog::level::info : spdlog::level::warn,
                    "controller={}: the stream is over: {}{}{}", controller,
                    session_.broken.empty() ? Text(session_.ended->message()) : session_.broken,
                    hint.empty() ? "" : "; ", hint);
        session_.stream.reset();
        return;
      }
      const SteadyTime now = clock_.Steady();
      const Nanoseconds patience = session_.welcomed ? kSilentHeartbeats * interval : kToWelcome;
      if (session_.broken.empty() && now - session_.heard_at > patience) {
        session_.broken = session_.welcomed ? "the controller fell silent"
                                            : "the controller did not welcome this agent in time";
        stream->Cancel();
      }
      if (stop_ && !finishing) {
        finishing = true;
        finish_by = now + kToFinish;
        stream->Finish();
      } else if (finishing && now > finish_by) {
        stream->Cancel();
      }
      beat = session_.welcomed && !finishing && now >= session_.beat_at + interval;
    }
    if (beat) Beat();
  }
}

void Link::Beat() {
  Supervisor::Counts counts;
  loop_->Call([&](Supervisor& supervisor) { counts = supervisor.counts(); });
  absl::MutexLock lock(&mutex_);
  if (!session_.stream) return;
  v1::ConnectRequest message;
  v1::Heartbeat& beat = *message.mutable_heartbeat();
  const SystemTime now = clock_.System();
  session_.beat_at = clock_.Steady();
  beat.set_sequence(++session_.sequence);
  *beat.mutable_sent_at() = ToProto(now);
  if (const auto best = offset_.Best(now)) {
    beat.set_clock_known(true);
    *beat.mutable_clock_offset() = ToProto(best->offset);
    *beat.mutable_clock_uncertainty() = ToProto(best->uncertainty);
  }
  beat.set_live_faults(static_cast<std::uint32_t>(counts.live));
  beat.set_faults_over_cap(counts.over_cap);
  beat.set_leases_run_out(counts.leases_run_out);
  beat.set_draining(draining_);
  session_.asked[beat.sequence()] = now;
  if (session_.asked.size() > kMostAsked) session_.asked.erase(session_.asked.begin());
  if (!session_.stream->Push(std::move(message))) session_.stream->Cancel();
}

void Link::SayDraining() {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    if (!session_.welcomed) return;
  }
  Beat();
}

void Link::OnUpdate(const v1::InjectionUpdate& update) {
  absl::MutexLock lock(&mutex_);
  if (!updates_to_) return;
  v1::ConnectRequest message;
  *message.mutable_update() = update;
  // What could not be told stands in the next hello.
  if (!updates_to_->Push(std::move(message))) updates_to_->Cancel();
}

void Link::Break(const std::string& why) {
  absl::MutexLock lock(&mutex_);
  session_.broken = why;
  if (session_.stream) session_.stream->Cancel();
}

void Link::OnMessage(const v1::ConnectResponse& message) {
  {
    absl::MutexLock lock(&mutex_);
    session_.heard_at = clock_.Steady();
    if (message.has_heartbeat_reply()) return OnReply(message.heartbeat_reply());
    if (!session_.welcomed && !message.has_welcome()) {
      session_.broken = "the controller gave orders before its welcome";
      if (session_.stream) session_.stream->Cancel();
      return;
    }
  }
  switch (message.message_case()) {
    case v1::ConnectResponse::kWelcome:
      return OnWelcome(message.welcome());
    case v1::ConnectResponse::kApply:
      return loop_->Post([apply = message.apply()](Supervisor& s) { s.Apply(apply); });
    case v1::ConnectResponse::kEnd:
      return loop_->Post([id = message.end().injection_id()](Supervisor& s) {
        s.End(id, v1::END_REASON_REQUESTED);
      });
    case v1::ConnectResponse::kRenew:
      return loop_->Post([renew = message.renew()](Supervisor& s) { s.Renew(renew); });
    case v1::ConnectResponse::kHeartbeatReply:
    case v1::ConnectResponse::MESSAGE_NOT_SET:  // from a newer controller
      return;
  }
}

void Link::OnWelcome(const v1::Welcome& welcome) {
  if (const auto status = CheckProtocolVersion(welcome.version(), "controller"); !status.ok()) {
    return Break(Text(status.message()));
  }
  std::string peer;
  {
    absl::MutexLock lock(&mutex_);
    const Nanoseconds wished = FromProto(welcome.heartbeat_interval());
    session_.heartbeat_interval =
        wished <= Nanoseconds::zero()
            ? kUsualHeartbeat
            : std::clamp(wished, Nanoseconds(milliseconds(100)), Nanoseconds(seconds(60)));
    session_.welcomed = true;
    // The first exchange of clocks at once.
    session_.beat_at = clock_.Steady() - session_.heartbeat_interval;
    if (session_.stream) peer = session_.stream->peer();
  }
  eventfd_write(wake_.get(), 1);
  ProtectPeer(peer);
  spdlog::info("controller={} instance={}: connected", peer, welcome.controller_instance());
  if (const Nanoseconds lease = FromProto(welcome.lease()); lease > Nanoseconds::zero()) {
    loop_->Post([lease](Supervisor& supervisor) { supervisor.SetLease(lease); });
  }
}

void Link::OnReply(const v1::HeartbeatReply& reply) {
  const auto asked = session_.asked.find(reply.sequence());
  if (asked == session_.asked.end()) return;
  offset_.Add(asked->second, FromProto(reply.received_at()), FromProto(reply.sent_at()),
              clock_.System());
  session_.asked.erase(session_.asked.begin(), std::next(asked));
}

// Every address at which any controller may be reached: the stream must get through, also the next.
void Link::ProtectEndpoints(const std::string& controller) {
  if (auto endpoints = Resolve(controller); !endpoints.empty()) {
    resolved_[controller] = std::move(endpoints);
  }
  std::vector<Protected::Endpoint> all;
  for (const auto& [name, endpoints] : resolved_) {
    all.insert(all.end(), endpoints.begin(), endpoints.end());
  }
  {
    absl::MutexLock lock(&mutex_);
    endpoints_ = all;
  }
  loop_->Post([all](Supervisor& supervisor) { supervisor.SetEndpoints(all); });
}

// The end that the stream really has: gRPC resolves the name by itself, a moment later, and a name
// may lead to another machine each time. Before the first order, which comes after the welcome.
void Link::ProtectPeer(const std::string& peer) {
  const auto endpoint = ParsePeer(peer);
  if (!endpoint) return;
  std::vector<Protected::Endpoint> all;
  {
    absl::MutexLock lock(&mutex_);
    all = endpoints_;
  }
  const bool known = std::any_of(all.begin(), all.end(), [&](const Protected::Endpoint& one) {
    return one.address == endpoint->address && one.port == endpoint->port;
  });
  if (known) return;
  all.push_back(*endpoint);
  loop_->Post([all](Supervisor& supervisor) { supervisor.SetEndpoints(all); });
}

}  // namespace firedrill::agent
