// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "firedrill/v1/run.pb.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// A fault's window on one host, as Grafana is told.
struct Annotation {
  SystemTime begin;  ///< The first impact, else when it was applied.
  std::optional<std::int64_t> end_ms;
  std::string injection;
  std::string experiment;
  std::string fault;
  std::string host;
  std::string text;

  std::int64_t begin_ms() const;
  /// The body of POST /api/annotations. Tags: firedrill, experiment:…, fault:…, host:…,
  /// injection:….
  std::string Json() const;
  /// Of PATCH /api/annotations/ID: the end alone.
  std::string EndJson() const;
};

/// Nothing before the fault has begun.
std::optional<Annotation> AnnotationOf(const v1::Run& run, const v1::Injection& injection);

}  // namespace firedrill::controller
