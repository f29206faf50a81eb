// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "controller/probe/probe.h"

namespace firedrill::controller {

/// Whether `labels` carry all of `wanted`, as Prometheus reads it: a label that is absent is an
/// empty one.
inline bool Carries(const std::map<std::string, std::string>& labels,
                    const std::map<std::string, std::string>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& label) {
    const auto found = labels.find(label.first);
    return found == labels.end() ? label.second.empty() : found->second == label.second;
  });
}

/// Whether both tell the same: Alertmanager repeats itself, and asks again where nobody answered.
inline bool SameNotice(const AlertNotice& left, const AlertNotice& right) {
  return left.firing == right.firing && left.starts_at == right.starts_at &&
         left.fingerprint == right.fingerprint;
}

}  // namespace firedrill::controller
