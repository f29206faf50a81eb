// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/probe/probe.h"

namespace firedrill::controller {

/// Reads the body of an Alertmanager webhook, version 4, received at `received_at`. Bounded: at
/// most 1000 alerts, 64 labels each. INVALID_ARGUMENT says where in the JSON something is wrong.
/// What is the same alert (fingerprint, startsAt, status) comes once. Labels other than the alert's
/// name stay as they are; unknown members are ignored. `truncated`, if given, becomes the number of
/// alerts that Alertmanager has left out of this webhook (its `max_alerts`).
absl::StatusOr<std::vector<AlertNotice>> ParseAlertmanagerWebhook(
    std::string_view body, SystemTime received_at, std::uint64_t* truncated = nullptr);

/// Adds to `notices` those of `fresh` that are new: another fingerprint, startsAt or status. The
/// first arrival is the one that counts. Returns how many were new.
std::size_t AddNotices(const std::vector<AlertNotice>& fresh, std::vector<AlertNotice>& notices);

}  // namespace firedrill::controller
