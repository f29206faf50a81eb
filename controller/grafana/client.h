// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/grafana/annotation.h"
#include "controller/probe/fetch.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Grafana's HTTP API for annotations. Not thread-safe.
///
/// Errors: UNAVAILABLE (no connection, 429, 5xx) and DEADLINE_EXCEEDED: Grafana may be asked again;
/// PERMISSION_DENIED (401, 403): with another token; INVALID_ARGUMENT (any other 4xx): in vain;
/// DATA_LOSS: the answer is not Grafana's.
class GrafanaClient {
 public:
  GrafanaClient(std::string url, std::string token_file, const Clock& clock);

  /// INVALID_ARGUMENT: it is no URL, or the token cannot be read.
  static absl::Status Check(const std::string& url, const std::string& token_file);

  /// The id of the new annotation.
  absl::StatusOr<std::int64_t> Add(const Annotation& annotation, SteadyTime deadline);
  absl::Status SetEnd(std::int64_t id, const Annotation& annotation, SteadyTime deadline);
  /// The id of the annotation that was written of this injection before; nothing: there is none.
  absl::StatusOr<std::optional<std::int64_t>> Find(const Annotation& annotation,
                                                   SteadyTime deadline);

 private:
  absl::StatusOr<std::string> Ask(FetchRequest request, SteadyTime deadline);

  const std::string url_;
  const std::string token_file_;
  Fetcher fetcher_;
};

}  // namespace firedrill::controller
