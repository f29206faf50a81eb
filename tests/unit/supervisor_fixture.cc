// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/supervisor_fixture.h"

#include <utility>

#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class FakeProcess : public WorkerProcess {
 public:
  explicit FakeProcess(std::shared_ptr<FakeWorker> worker) : worker_(std::move(worker)) {}
  int pid() const override { return worker_->pid; }
  int fd() const override { return -1; }
  absl::Status Send(const wire::ToWorker& message) override {
    FakeWorker& w = *worker_;
    if (w.gone) return absl::UnavailableError("gone");
    w.heard.push_back(message);
    wire::FromWorker reply;
    if (message.has_leash() && w.answers) {
      reply.mutable_alive();
      w.says.push_back(reply);
    } else if (message.has_begin() && w.obeys) {
      reply.mutable_applied()->set_id(message.begin().id());
      reply.mutable_applied()->set_at_ns(1'800'000'000'000'000'000);
      w.says.push_back(reply);
    } else if (message.has_finish() && w.obeys) {
      reply.mutable_finished()->set_id(message.finish().id());
      reply.mutable_finished()->set_at_ns(1'800'000'001'000'000'000);
      w.says.push_back(reply);
    } else if (message.has_leave() && w.obeys) {
      w.gone = true;
    }
    return absl::OkStatus();
  }
  absl::StatusOr<bool> Receive(wire::FromWorker& message) override {
    if (worker_->says.empty()) {
      if (worker_->gone) return absl::UnavailableError("gone");
      return false;
    }
    message = worker_->says.front();
    worker_->says.pop_front();
    return true;
  }
  void Kill() override { worker_->gone = worker_->killed = true; }
  bool Gone() override { return worker_->gone; }

 private:
  const std::shared_ptr<FakeWorker> worker_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerProcess>> FakeSpawner::Spawn() {
  auto worker = std::make_shared<FakeWorker>();
  worker->pid = 1'000'000'000 + static_cast<int>(workers.size());  // beyond any real pid
  workers.push_back(worker);
  return std::make_unique<FakeProcess>(worker);
}

FakeClock* SupervisorTest::slow_ = nullptr;
bool SupervisorTest::left_behind_ = false;

constexpr FaultKind SupervisorTest::kKinds[] = {
    {v1::Fault::kPacketLoss, true, [](const Host&) { return absl::OkStatus(); }, nullptr,
     [](const InjectionRequest&, const Host&) {
       return left_behind_ ? absl::FailedPreconditionError("a filter is left on eth0")
                           : absl::OkStatus();
     }},
    {v1::Fault::kLatency, true,
     [](const Host&) { return absl::UnimplementedError("this kernel lacks /dev/net/tun"); },
     nullptr, [](const InjectionRequest&, const Host&) { return absl::OkStatus(); }},
    {v1::Fault::kCpu, false, [](const Host&) { return absl::OkStatus(); }, nullptr,
     [](const InjectionRequest&, const Host&) { return absl::OkStatus(); }},
    {v1::Fault::kProcessKill, false, [](const Host&) { return absl::OkStatus(); }, nullptr,
     [](const InjectionRequest&, const Host&) {
       return left_behind_ ? absl::FailedPreconditionError("it still runs") : absl::OkStatus();
     },
     [](const InjectionRequest&, WorkerContext&) -> absl::StatusOr<std::unique_ptr<ActiveFault>> {
       return absl::InternalError("workers are pretended here");
     }},
    {v1::Fault::kReboot, false, [](const Host&) { return absl::OkStatus(); }, nullptr,
     [](const InjectionRequest&, const Host&) { return absl::OkStatus(); }, nullptr,
     [](const UndoRecord& record, const Host&) {
       Impact impact;
       impact.first = record.written_at;
       impact.events.push_back({"rebooted", record.written_at + seconds(20)});
       return impact;
     }},
};

constexpr UndoKind SupervisorTest::kUndoKinds[] = {
    {"reboot",
     [](const UndoRecord& record, const Host&) {
       return record.same_boot ? absl::FailedPreconditionError("not yet") : absl::OkStatus();
     }},
    {"slow", [](const UndoRecord&, const Host&) {
       slow_->Advance(milliseconds(900));
       return absl::OkStatus();
     }}};

SupervisorTest::SupervisorTest() : host_({folder_.path(), folder_.path()}, clock_) {
  left_behind_ = false;
  journal_ = *Journal::Open(folder_.path() + "/journal", "boot", clock_);
  Restart();
}

void SupervisorTest::Restart(SupervisorOptions options) {
  supervisor_ =
      std::make_unique<Supervisor>(host_, *journal_, kKinds, kUndoKinds, spawner_,
                                   std::move(options), [this](const v1::InjectionUpdate& update) {
                                     updates_.push_back(update);
                                     last_[update.injection_id()] = update;
                                   });
}

v1::Apply SupervisorTest::Loss(const std::string& id, Nanoseconds duration) {
  v1::Apply apply;
  apply.set_injection_id(id);
  apply.set_run_id("run");
  apply.mutable_fault()->mutable_packet_loss()->set_percent(10);
  *apply.mutable_duration() = ToProto(duration);
  *apply.mutable_lease() = ToProto(seconds(15));
  return apply;
}

v1::Apply SupervisorTest::Cpu(const std::string& id, Nanoseconds duration) {
  v1::Apply apply = Loss(id, duration);
  apply.mutable_fault()->mutable_cpu()->set_percent(10);
  return apply;
}

void SupervisorTest::Pass(Nanoseconds time) {
  for (Nanoseconds passed{0}; passed < time; passed += milliseconds(50)) {
    supervisor_->Tick();
    clock_.Advance(milliseconds(50));
  }
  supervisor_->Tick();
}

}  // namespace firedrill::agent
