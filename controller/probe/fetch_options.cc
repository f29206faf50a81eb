// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/fetch_options.h"

#include <fmt/format.h>

#include <fstream>

#include "proto/support/secret_file.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
absl::StatusOr<FetchOptions> ReadFetchOptions(const PrometheusOptions& options) {
  FetchOptions fetch;
  fetch.url = options.url;
  while (!fetch.url.empty() && fetch.url.back() == '/') fetch.url.pop_back();
  fetch.ca_file = options.ca_file;
  fetch.certificate_file = options.certificate_file;
  fetch.key_file = options.key_file;
  fetch.user = options.user;
  fetch.retries = options.retries;
  fetch.answer_bytes = options.answer_bytes;
  if (!options.bearer_token_file.empty()) {
    ASSIGN_OR_RETURN(fetch.bearer_token, ReadSecretFile(options.bearer_token_file));
  }
  if (!options.password_file.empty()) {
    ASSIGN_OR_RETURN(fetch.password, ReadSecretFile(options.password_file));
  }
  return fetch;
}

absl::Status ValidatePrometheusOptions(const PrometheusOptions& options) {
  RETURN_IF_ERROR(ValidateHttpUrl(options.url));
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return absl::InvalidArgumentError(
        "a client certificate for Prometheus needs both files, certificate and key");
  }
  if (options.user.empty() != options.password_file.empty()) {
    return absl::InvalidArgumentError(
        "basic authentication at Prometheus needs both, user and password file");
  }
  if (!options.user.empty() && !options.bearer_token_file.empty()) {
    return absl::InvalidArgumentError(
        "choose one way to authenticate at Prometheus: bearer token, or user and password");
  }
  for (const std::string& file : {options.ca_file, options.certificate_file, options.key_file}) {
    if (!file.empty() && !std::ifstream(file)) {
      return absl::InvalidArgumentError(fmt::format("cannot read the file '{}'", file));
    }
  }
  return ReadFetchOptions(options).status();
}

}  // namespace firedrill::controller
