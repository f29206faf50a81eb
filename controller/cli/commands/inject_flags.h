// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/cli/commands/arguments.h"
#include "controller/cli/commands/command.h"
#include "firedrill/v1/fault.pb.h"
#include "google/protobuf/descriptor.h"

namespace firedrill::cli {

/// One parameter of a fault as an option.
struct FaultFlag {
  Option option;
  /// From the fault to the field: packet_loss, traffic, ports.
  std::vector<const google::protobuf::FieldDescriptor*> path;

  /// packet_loss.traffic.ports
  std::string FieldPath() const;
};

/// Null for an unknown kind.
const google::protobuf::FieldDescriptor* FindFault(const std::string& kind);

/// The options of a kind of fault, from its message. Fields of traffic and of processes stand for
/// themselves (traffic.ports is --port), those of other messages after its name (--exclude-port,
/// --owner-name, --restart-port). Of two of one name the outer keeps it; what inject takes for
/// itself is not taken away (--traffic-host).
std::vector<FaultFlag> FaultFlags(const google::protobuf::FieldDescriptor& kind);

/// The fault that the arguments ask for. INVALID_ARGUMENT names the option that cannot be read.
absl::StatusOr<v1::Fault> FaultFromFlags(const google::protobuf::FieldDescriptor& kind,
                                         const Arguments& arguments);

}  // namespace firedrill::cli
