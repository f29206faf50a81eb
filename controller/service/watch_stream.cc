// SPDX-License-Identifier: Apache-2.0
#include "controller/service/watch_stream.h"

#include <utility>

#include "proto/support/grpc_status.h"

namespace firedrill::controller {

void WatchStream::OnRun(const std::shared_ptr<const v1::Run>& run) {
  {
    absl::MutexLock lock(&mutex_);
    latest_ = run;
  }
  Pump();
}

void WatchStream::OnLost(const absl::Status& why) { End(ToGrpc(why)); }

void WatchStream::Pump() {
  v1::WatchRunResponse response;
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || latest_ == nullptr) return;
    writing_ = true;
    last_was_final_ = latest_->state() == v1::RUN_STATE_FINISHED;
    response = MakeResponse(*latest_);
    latest_.reset();
  }
  if (!out_.Push(std::move(response))) End(grpc::Status::OK);  // the watcher has gone
}

v1::WatchRunResponse WatchStream::MakeResponse(const v1::Run& run) {
  v1::WatchRunResponse response;
  *response.mutable_run() = run;
  for (v1::Series& series : *response.mutable_run()->mutable_series()) {
    int& sent = sent_samples_[series.name()];
    const int all = series.samples_size();
    series.mutable_samples()->DeleteSubrange(0, std::min(sent, all));
    sent = all;
  }
  return response;
}

void WatchStream::OnWriteDone(bool ok) {
  out_.OnWriteDone(ok);
  bool final = false;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    final = last_was_final_;
  }
  if (!ok || final) {
    End(grpc::Status::OK);
  } else {
    Pump();
  }
}

void WatchStream::End(const grpc::Status& status) {
  out_.Close();
  if (!finished_.exchange(true)) Finish(status);
}

void WatchStream::OnCancel() { End(grpc::Status::CANCELLED); }

void WatchStream::OnDone() { self_.reset(); }

}  // namespace firedrill::controller
