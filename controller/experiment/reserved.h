// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace firedrill::controller {

/// No indicator's name may begin so: samples are kept by name, and those of alerts under names that
/// do (controller/measure/evidence.h).
inline constexpr std::string_view kAlertSeriesPrefix = "ALERTS/";

}  // namespace firedrill::controller
