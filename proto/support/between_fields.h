// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "google/protobuf/message.h"
#include "proto/support/problem.h"

// The parts of CheckBetweenFields (fault_rules.h), by area. Each answers whether the message's type
// is one of its own; then it has appended the breaches.
namespace firedrill {

/// traffic_fault.proto: traffic_rules.cc.
bool CheckTrafficMessage(const google::protobuf::Message& message, const std::string& path,
                         Problems* problems);

/// host_fault.proto and process.proto: host_rules.cc.
bool CheckHostMessage(const google::protobuf::Message& message, const std::string& path,
                      Problems* problems);

/// Runs `check` if the message is of its type.
template <typename Type>
bool RunIf(const google::protobuf::Message& message, const std::string& path, Problems* problems,
           void (*check)(const Type&, const std::string&, Problems*)) {
  if (message.GetDescriptor() != Type::descriptor()) return false;
  check(static_cast<const Type&>(message), path, problems);
  return true;
}

}  // namespace firedrill
