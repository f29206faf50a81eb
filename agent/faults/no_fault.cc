// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/no_fault.h"

namespace firedrill::agent {
namespace {

class NoFault : public ActiveFault {
 public:
  absl::StatusOr<Impact> Observe() const override {
    Impact impact;
    impact.first = begun_;
    return impact;
  }
  absl::Status Revert() override { return absl::OkStatus(); }

 private:
  const SystemTime begun_ = Clock::Real().System();
};

}  // namespace

absl::Status NoFaultSupported(const Host& host) {
  static_cast<void>(host);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyNoFault(const InjectionRequest& request,
                                                          WorkerContext& context) {
  static_cast<void>(request);
  static_cast<void>(context);
  return std::make_unique<NoFault>();
}

absl::Status VerifyNoFaultGone(const InjectionRequest& request, const Host& host) {
  static_cast<void>(request);
  static_cast<void>(host);
  return absl::OkStatus();
}

}  // namespace firedrill::agent
