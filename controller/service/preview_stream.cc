// SPDX-License-Identifier: Apache-2.0
#include "controller/service/preview_stream.h"

#include "proto/support/grpc_status.h"

namespace firedrill::controller {

void PreviewStream::Begin(const v1::PreviewRequest& request) {
  self_ = shared_from_this();
  const absl::StatusOr<std::string> id = previews_.Begin(request, shared_from_this());
  if (!id.ok()) return End(id.status());
  bool cancelled = false;
  {
    absl::MutexLock lock(&mutex_);
    id_ = *id;
    cancelled = cancelled_;
  }
  if (cancelled) previews_.Cancel(*id);
}

void PreviewStream::Refuse(const absl::Status& status) {
  self_ = shared_from_this();
  End(status);
}

void PreviewStream::End(const absl::Status& status) {
  if (finished_.exchange(true)) return;
  out_.Drain([this, status] { Finish(ToGrpc(status)); });
}

bool PreviewStream::OnCounts(const v1::PreviewResponse& response) { return out_.Push(response); }

void PreviewStream::OnCancel() {
  std::string id;
  {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    id = id_;
  }
  if (id.empty()) return;  // Begin will see it
  previews_.Cancel(id);
}

}  // namespace firedrill::controller
