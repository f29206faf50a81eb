// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/run/engine.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/outbound_queue.h"

namespace firedrill::controller {

/// One WatchRun call. A watcher that is slow gets the newest state when it is ready, and no state
/// in between; it never holds up the run. Samples are sent once each. Thread-safe.
class WatchStream : public grpc::ServerWriteReactor<v1::WatchRunResponse>,
                    public RunWatcher,
                    public std::enable_shared_from_this<WatchStream> {
 public:
  /// Keeps itself alive until gRPC is done with it. To be called once, before anything else.
  void Begin() { self_ = shared_from_this(); }

  void OnRun(const std::shared_ptr<const v1::Run>& run) override;
  void OnLost(const absl::Status& why) override;
  /// Ends the stream with an error, or OK.
  void End(const grpc::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  void Pump();
  v1::WatchRunResponse MakeResponse(const v1::Run& run) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::shared_ptr<const v1::Run> latest_ ABSL_GUARDED_BY(mutex_);  // null: sent already
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool last_was_final_ ABSL_GUARDED_BY(mutex_) = false;
  std::map<std::string, int> sent_samples_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> finished_ = false;
  std::shared_ptr<WatchStream> self_;
  OutboundQueue<v1::WatchRunResponse> out_{
      1, [this](const v1::WatchRunResponse* message) { StartWrite(message); }};
};

}  // namespace firedrill::controller
