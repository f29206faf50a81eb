// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "firedrill/v1/run.pb.h"

// What people said of a run: marks of kind ACKNOWLEDGED and MITIGATED, of which the first counts.
namespace firedrill::cli {

/// The first mark of its kind; null if there is none.
const v1::Mark* FirstMark(const v1::Run& run, v1::MarkKind kind);

/// What to say to whoever has just told it: "20261122-…: acknowledged 22.4s after the first
/// impact", and if another one was first, that it is the one that counts.
std::string NotedText(const v1::Run& run, v1::MarkKind kind);

/// Whether an impact has been seen and the run is under way: people can say something of it.
bool CanBeAnswered(const v1::Run& run);

}  // namespace firedrill::cli
