// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "firedrill/v1/run.pb.h"

namespace firedrill::cli {

/// A run as a page of Markdown: verdict with reasons, what makes the figures doubtful, measures
/// with their ±, what the time to detect is made of, depth, advice, timeline, faults. Fit for a
/// ticket or a review.
std::string MarkdownReport(const v1::Run& run);

}  // namespace firedrill::cli
