// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

struct FetchOptions {
  std::string url;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string bearer_token;
  std::string user;
  std::string password;
  int retries = 2;
  std::size_t answer_bytes = 16u << 20;
};

struct FetchRequest {
  std::string path;    ///< /api/v1/query
  std::string form;    ///< Posted, URL-encoded; empty: a GET.
  std::string json;    ///< Posted as application/json, instead of a form.
  std::string method;  ///< Of a request with a body, where it is not POST: PATCH.
};

struct FetchAnswer {
  int http_status = 0;
  std::string body;
};

/// Asks one HTTP server several things at the same time. Keeps its connections for the next time.
/// Not thread-safe.
class Fetcher {
 public:
  explicit Fetcher(const Clock& clock);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  /// One answer for each request, in their order; returns at `deadline` at the latest. Where there
  /// was no connection, or HTTP 429, 502 or 503, tries again after 100, 200, … ms. UNAVAILABLE: no
  /// connection, or not HTTP. DEADLINE_EXCEEDED. RESOURCE_EXHAUSTED: the answer is too long.
  std::vector<absl::StatusOr<FetchAnswer>> Fetch(const FetchOptions& options,
                                                 const std::vector<FetchRequest>& requests,
                                                 SteadyTime deadline);

 private:
  struct Transfer;
  class Batch;
  const Clock& clock_;
  void* multi_;  // CURLM
};

/// `name=value`, URL-encoded; pieces are joined by &.
std::string FormField(const std::string& name, const std::string& value);

/// http:// or https:// with a host, without query, fragment, user or password.
absl::Status ValidateHttpUrl(const std::string& url);

}  // namespace firedrill::controller
