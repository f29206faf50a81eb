// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "firedrill/v1/run.pb.h"

namespace firedrill::controller {

/// The verdict of a run that has ended, by the truth table of docs/verdict.md. Reads the
/// injections, the alerts' and the indicators' results, and `run.verdict` as an abort left it.
/// Pure.
v1::VerdictParts Judge(const v1::Run& run);

/// passed, failed, inconclusive, aborted, unclean.
const char* VerdictName(v1::Verdict verdict);

}  // namespace firedrill::controller
