// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controller/experiment/yaml_bounds.h"
#include "google/protobuf/message.h"
#include "proto/support/problem.h"

namespace YAML {
class Node;
struct Mark;
}  // namespace YAML

namespace firedrill::controller {

/// Walks a tree of YAML into a message, field by field, and goes on after a mistake. Not
/// thread-safe.
class YamlWalker {
 public:
  /// Sets in `message` what `root` says and reads well.
  void Read(const YAML::Node& root, google::protobuf::Message* message);

  /// What could not be read, each with its place.
  const std::vector<std::pair<Place, Problem>>& problems() const { return problems_; }

  /// True if a problem that the rule book found is only a consequence of one found here.
  bool Explains(const Problem& problem) const;

  /// Where a field stands, or else the nearest that holds it.
  Place Find(const std::string& path) const;
  /// True if the file names the field itself.
  bool Names(const std::string& path) const { return places_.count(path) > 0; }

 private:
  using Field = google::protobuf::FieldDescriptor;

  void ReadMessage(const YAML::Node& node, google::protobuf::Message* message,
                   const std::string& path);
  void ReadField(const YAML::Node& node, google::protobuf::Message* message, const Field& field,
                 const std::string& path);
  void ReadList(const YAML::Node& node, google::protobuf::Message* message, const Field& field,
                const std::string& path);
  void ReadMap(const YAML::Node& node, google::protobuf::Message* message, const Field& field,
               const std::string& path);
  void ReadValue(const YAML::Node& node, google::protobuf::Message* message, const Field& field,
                 const std::string& path);
  bool OpensOneof(const YAML::Mark& mark, const google::protobuf::Message& message,
                  const Field& field, const std::string& path);
  void Unknown(const YAML::Mark& mark, const google::protobuf::Descriptor& type,
               const std::string& path, const std::string& name);
  bool Bounded(const YAML::Node& node, const std::string& path);
  void Add(const YAML::Mark& mark, const std::string& path, std::string found, std::string allowed);

  std::vector<std::pair<Place, Problem>> problems_;
  std::map<std::string, Place> places_;
  std::set<std::string> silenced_;  // paths that a misspelled name was meant for
  std::vector<std::pair<std::string, const google::protobuf::Descriptor*>> parents_;
  int visited_ = 0;  // aliases may show one node many times
  int depth_ = 0;    // and an alias may lie within its own anchor
};

}  // namespace firedrill::controller
