// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/experiment/yaml_bounds.h"
#include "firedrill/v1/experiment.pb.h"
#include "proto/support/problem.h"

namespace firedrill::controller {

/// The largest experiment's file.
inline constexpr std::size_t kLargestFile = 1 << 20;

/// One mistake and its place in the file.
struct Finding {
  Place place;
  Problem problem;
};

/// What a file says, and every mistake in it in the order of their places. The experiment is good
/// only without findings.
struct Reading {
  v1::Experiment experiment;
  std::vector<Finding> findings;
};

/// Reads one experiment: YAML, then the rule book (rules.h). Never throws. Thread-safe.
Reading ReadExperiment(std::string_view text);

/// "shop.yaml:12:7: method[0].duration: missing; needed: …"
std::string ToString(const Finding& finding, const std::string& file);

/// The bytes of a file, or of standard input for "-". At most kLargestFile.
absl::StatusOr<std::string> ReadFile(const std::string& path);

/// Both together. InvalidArgument holds every mistake, one a line.
absl::StatusOr<v1::Experiment> ReadExperimentFile(const std::string& path);

}  // namespace firedrill::controller
