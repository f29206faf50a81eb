// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/cli/view/style.h"
#include "firedrill/v1/run.pb.h"

// What a time to detect is made of, as words and as a picture.
namespace firedrill::cli {

/// "3s scrape, 4s evaluation, 12s for, 3s rounding": from the impact to the firing. Empty if there
/// are no stages.
std::string StagesText(const v1::AlertResult& alert);

/// A line for each stage, its bar beginning where the one before ends, with its time and the
/// configuration that it comes from; then what each stage is, in words. Empty if there are no
/// stages. `width`: of the terminal; 0: 100 columns.
///
///   ShopSlow: fired 22s ± 20ms after the first impact, notified after 22.6s
///     scrape        3.000s  ██████                                      scrape_interval: 5s
///     for          12.000s        ████████████████████████              for: 12s
std::string Waterfall(const v1::AlertResult& alert, const Style& style, int width = 0);

/// The waterfalls of all alerts, each after an empty line.
std::string Waterfalls(const v1::Run& run, const Style& style, int width = 0);

}  // namespace firedrill::cli
