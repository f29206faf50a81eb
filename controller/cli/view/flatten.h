// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/message.h"

namespace firedrill::cli {

/// A message's fields that are set, in their order, as path and text: {"method[lose
/// packets].fault.packet_loss.percent", "33"}. Times, comparisons, amounts and choices are spelled
/// as in an experiment's file. What is repeated is named by its own name, else by its place.
std::vector<std::pair<std::string, std::string>> Flatten(const google::protobuf::Message& message,
                                                         const std::string& path = "");

/// A field that is not the same in two messages; empty: not set.
struct Change {
  std::string field, first, second;
};

/// In the order of the first message's fields; those that only the second has come last.
std::vector<Change> ChangesBetween(const google::protobuf::Message& first,
                                   const google::protobuf::Message& second,
                                   const std::string& path = "");

}  // namespace firedrill::cli
