// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "controller/service/previews.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/outbound_queue.h"

namespace firedrill::controller {

/// One Preview call. Ends the preview when the caller goes away. Thread-safe.
class PreviewStream : public grpc::ServerWriteReactor<v1::PreviewResponse>,
                      public PreviewListener,
                      public std::enable_shared_from_this<PreviewStream> {
 public:
  explicit PreviewStream(Previews& previews) : previews_(previews) {}

  /// Begins the preview, or ends the stream with the reason why not. Keeps itself alive until gRPC
  /// is done with it. To be called once, before anything else.
  void Begin(const v1::PreviewRequest& request);
  /// Ends the stream once what was said is written.
  void End(const absl::Status& status);
  /// To be called once, instead of Begin.
  void Refuse(const absl::Status& status);

  bool OnCounts(const v1::PreviewResponse& response) override;
  void OnEnd(const absl::Status& status) override { End(status); }
  void OnWriteDone(bool ok) override { out_.OnWriteDone(ok); }
  void OnCancel() override;
  void OnDone() override { self_.reset(); }

 private:
  Previews& previews_;
  absl::Mutex mutex_;
  std::string id_ ABSL_GUARDED_BY(mutex_);  // empty until it has begun
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> finished_ = false;
  std::shared_ptr<PreviewStream> self_;
  OutboundQueue<v1::PreviewResponse> out_{
      4096, [this](const v1::PreviewResponse* message) { StartWrite(message); }};
};

}  // namespace firedrill::controller
