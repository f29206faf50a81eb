// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/cli/view/style.h"
#include "firedrill/v1/operator.pb.h"
#include "firedrill/v1/run.pb.h"

// The field's words for what the messages say. Values of a newer controller show as their number.
namespace firedrill::cli {

std::string Word(v1::RunState state);            ///< injecting
std::string Word(v1::Verdict verdict);           ///< passed
std::string Word(v1::DetectionOutcome outcome);  ///< already firing
std::string Word(v1::RecoveryOutcome outcome);   ///< self-recovered
std::string Word(v1::MarkKind kind);             ///< first impact
std::string Word(v1::MarkSource source);         ///< Prometheus
std::string Word(v1::StageKind kind);            ///< evaluation
std::string Word(v1::InjectionState state);      ///< active
std::string Word(v1::EndReason reason);          ///< its time was over
std::string Word(v1::AgentState state);          ///< connected

Colour ColourOf(v1::Verdict verdict);
Colour ColourOf(v1::MarkKind kind);

/// "12.3s", "> 1m" for a censored one, "—" where nothing was measured.
std::string MeasureText(const v1::Measure& measure);
/// The same with its ±: "12.3s ± 0.5s".
std::string MeasureWithError(const v1::Measure& measure);

/// 17:05:12.250, in the zone of this machine.
std::string ClockText(const google::protobuf::Timestamp& time);
/// 2026-11-22 17:05:12, in the zone of this machine.
std::string DateText(const google::protobuf::Timestamp& time);

}  // namespace firedrill::cli
