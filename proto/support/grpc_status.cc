// SPDX-License-Identifier: Apache-2.0
#include "proto/support/grpc_status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "absl/strings/string_view.h"

namespace firedrill {
namespace {

constexpr std::size_t kLongestMessage = 4096;

}  // namespace

// Both number their codes as google.rpc.Code does.
static_assert(static_cast<int>(absl::StatusCode::kUnauthenticated) ==
              static_cast<int>(grpc::StatusCode::UNAUTHENTICATED));
static_assert(static_cast<int>(absl::StatusCode::kInvalidArgument) ==
              static_cast<int>(grpc::StatusCode::INVALID_ARGUMENT));

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kLongestMessage)));
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace firedrill
