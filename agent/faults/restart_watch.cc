// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/restart_watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "agent/host/host.h"
#include "agent/host/task_events.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds kStandardWithin = seconds(30);
constexpr Nanoseconds kAskEvery = milliseconds(3);

}  // namespace

RestartWatch::RestartWatch(const Host& host, const v1::RestartWatch& watch, Sink sink)
    : host_(host),
      within_(watch.has_within() ? FromProto(watch.within()) : kStandardWithin),
      port_(static_cast<int>(watch.port())),
      sink_(std::move(sink)) {}

void RestartWatch::Begin(const std::vector<Process>& victims) {
  begun_ = host_.clock().Steady();
  where_.reset();
  netns_.Reset();
  exited_.reset();
  elsewhere_ = respawned_ = answered_ = cannot_ask_ = false;
  const std::string own = NetworkNamespace(host_, getpid());
  for (const Process& victim : victims) {
    for (const ListeningAddress& listener : TcpListeners(host_, victim.pid)) {
      if (port_ != 0 && listener.port != port_) continue;
      if (where_ && where_->port <= listener.port) continue;
      where_ = listener;
      elsewhere_ = NetworkNamespace(host_, victim.pid) != own;
    }
  }
  if (!where_ && port_ != 0) {
    where_ = ListeningAddress{"127.0.0.1", static_cast<std::uint16_t>(port_)};
  }
}

double RestartWatch::SinceExit(SteadyTime at) const {
  return exited_ ? std::max(0.0, std::chrono::duration<double>(at - *exited_).count()) : 0;
}

void RestartWatch::Exited(const Process& process, SteadyTime at, bool from_kernel,
                          Nanoseconds uncertainty) {
  if (exited_) return;
  exited_ = at;
  const WallInstant wall = OnWallClock(host_.clock(), at);
  sink_.event({"exited", wall.at, from_kernel, uncertainty + wall.uncertainty,
               fmt::format("{} (pid {})", process.name, process.pid)});
}

void RestartWatch::CameBack(const Comeback& comeback) {
  if (respawned_) return;
  respawned_ = true;
  std::string detail = fmt::format("{} (pid {}){}", comeback.process.name, comeback.process.pid,
                                   !comeback.from_kernel ? ", found in /proc"
                                   : comeback.executed   ? ", executed"
                                                         : ", forked");
  if (elsewhere_) {
    netns_ =
        Descriptor(open(fmt::format("{}/{}/ns/net", host_.proc(), comeback.process.pid).c_str(),
                        O_RDONLY | O_CLOEXEC));
    cannot_ask_ = !netns_.valid();
    detail += cannot_ask_
                  ? "; its network namespace is another one and cannot be entered: whether it "
                    "answers is not asked"
                  : "; asked in its own network namespace";
  }
  const WallInstant wall = OnWallClock(host_.clock(), comeback.at);
  sink_.event({"respawned", wall.at, comeback.from_kernel, comeback.uncertainty + wall.uncertainty,
               std::move(detail)});
  // Nothing has ended: a signal that was taken may only have brought a worker more.
  if (exited_) sink_.counter("respawned_after_seconds", SinceExit(comeback.at));
}

void RestartWatch::Answered(SteadyTime at, Nanoseconds uncertainty) {
  answered_ = true;
  const WallInstant wall = OnWallClock(host_.clock(), at);
  sink_.event({"answered", wall.at, /*from_kernel=*/false, uncertainty + wall.uncertainty,
               fmt::format("{} port {} accepts TCP connections", where_->address, where_->port)});
  sink_.counter("answered_after_seconds", SinceExit(at));
}

void RestartWatch::Tick() {
  const SteadyTime now = host_.clock().Steady();
  if (over() || now < NextTick()) return;
  if (!exited_ || !where_ || answered_ || cannot_ask_ || (elsewhere_ && !respawned_)) return;
  // Since the last time it was asked in vain.
  const SteadyTime before = std::max(asked_at_, *exited_);
  asked_at_ = now;
  const auto accepts = AcceptsConnection(*where_, kAskEvery, elsewhere_ ? netns_.get() : -1);
  if (!accepts.ok()) {
    cannot_ask_ = true;
    sink_.counter("answer_not_measured", 1);
    return;
  }
  const SteadyTime after = host_.clock().Steady();
  if (*accepts) Answered(before + (after - before) / 2, (after - before) / 2 + Nanoseconds(1));
}

bool RestartWatch::over() const {
  if (respawned_ && (answered_ || !where_ || cannot_ask_)) return true;
  return host_.clock().Steady() >= std::max(begun_, exited_.value_or(begun_)) + within_;
}

SteadyTime RestartWatch::NextTick() const {
  const SteadyTime end = std::max(begun_, exited_.value_or(begun_)) + within_;
  const bool asks = exited_ && where_ && !answered_ && !cannot_ask_ && (!elsewhere_ || respawned_);
  return asks ? std::min(end, asked_at_ + kAskEvery) : end;
}

}  // namespace firedrill::agent
