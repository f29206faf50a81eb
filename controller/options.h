// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/grafana/annotator.h"
#include "controller/probe/prometheus.h"
#include "proto/support/clock.h"
#include "proto/support/credentials.h"

namespace firedrill::controller {

/// What firedrill-controller was started with: flags, and a file of the same names.
struct Options {
  bool help = false;
  bool version = false;
  std::vector<std::string> listen;  ///< host:port, of agents and operators.
  std::string http_listen;          ///< host:port of metrics and webhook; empty: none.
  std::string http_certificate;
  std::string http_key;
  std::string webhook_token_file;
  std::string pager_secret_file;  ///< Of PagerDuty's signatures; empty: none is demanded.
  std::string data;               ///< The store's folder.
  CredentialOptions credentials;
  std::optional<PrometheusOptions> prometheus;
  std::optional<GrafanaOptions> grafana;
  Nanoseconds lease{0};
  std::optional<Nanoseconds> retain_age;
  std::optional<std::size_t> retain_runs;
  std::string log_level;
};

/// Reads the command line, then the file that --config names; the command line wins.
/// INVALID_ARGUMENT says which flag is wrong and what is allowed.
absl::StatusOr<Options> ParseOptions(int argc, const char* const* argv);

/// The text of --help.
std::string HelpText();

/// host:port into its parts; brackets around an IPv6 address are taken off. INVALID_ARGUMENT names
/// the flag.
struct HostPort {
  std::string host;
  int port = 0;
};
absl::StatusOr<HostPort> SplitAddress(const std::string& address, const std::string& flag);

}  // namespace firedrill::controller
