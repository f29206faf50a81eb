// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace firedrill {

/// absl::Status to gRPC's, code by code; the message is cut at 4 KiB, so that a peer's limit on
/// trailing metadata never hides it.
grpc::Status ToGrpc(const absl::Status& status);

/// gRPC's status to absl::Status, code by code.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace firedrill
