// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"

// Fields of a file as people and programs are told of them: from the options beside the fields.
namespace firedrill::cli {

// One value of an enum.
struct ValueLine {
  std::string text;
  std::string help;
  std::vector<std::string> needs;
};

// One field of a file, as people and programs are told of it.
struct FieldLine {
  std::string path;
  std::string kind;
  std::string limits;
  std::string otherwise;  // what its absence means
  std::string help;
  std::vector<std::string> needs;  // of the host, once it is set
  std::vector<ValueLine> values;
};

/// Every field of the message, at any depth, with its path. Kinds of fault are not gone into.
std::vector<FieldLine> FieldLines(const google::protobuf::Descriptor& type);

/// "; needs tun, cap_bpf of the host"; empty for none.
std::string NeedsText(const std::vector<std::string>& needs);

/// What a kind of fault (a member of Fault.kind) needs of the host: "traffic, delay_line";
/// "nothing special" where it needs nothing.
std::string KindNeedsText(const google::protobuf::FieldDescriptor& kind);

/// What some of the kind's parameters need beyond that, once they are set; sorted.
std::vector<std::string> NeedsOfParameters(const google::protobuf::FieldDescriptor& kind);

/// The fields for programs.
nlohmann::ordered_json FieldsJson(const std::vector<FieldLine>& lines);

/// A kind of fault (a member of Fault.kind) for programs, whole.
nlohmann::ordered_json FaultJson(const google::protobuf::FieldDescriptor& kind);

}  // namespace firedrill::cli
