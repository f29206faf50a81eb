// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace firedrill::cli {

/// Files that were made, and until when they are good.
struct Issued {
  std::string certificate;
  std::string key;
  std::string valid_until;  ///< 2026-11-22
};

/// Makes ca.crt and ca.key in `directory`. ALREADY_EXISTS unless `force`.
absl::StatusOr<Issued> InitAuthority(const std::string& directory, int days, bool force);

/// Who a certificate is for. Its URI is spiffe://firedrill/ROLE/NAME.
struct IssueRequest {
  std::string role;  ///< controller, agent or operator
  std::string name;
  std::vector<std::string> dns;  ///< Names that a controller is dialled by.
  std::vector<std::string> ip;   ///< Addresses that a controller is dialled at.
  int days = 0;
  bool force = false;
};

/// Makes NAME.crt and NAME.key in `out`, signed by the authority in `directory`. A controller
/// without names and addresses gets localhost, 127.0.0.1 and ::1. INVALID_ARGUMENT for a bad
/// request or an authority that has expired, ALREADY_EXISTS unless `force`.
absl::StatusOr<Issued> IssueCertificate(const std::string& directory, const std::string& out,
                                        const IssueRequest& request);

}  // namespace firedrill::cli
