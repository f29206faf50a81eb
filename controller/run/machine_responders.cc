// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "controller/run/machine.h"
#include "proto/support/time.h"

// What people say of a run: that they have taken notice, that they have done something.
namespace firedrill::controller {
namespace {

constexpr int kMostWords = 100;  // of one run; the first of each kind counts, the rest are told

bool IsWord(const v1::Mark& mark) {
  return mark.kind() == v1::MARK_KIND_ACKNOWLEDGED || mark.kind() == v1::MARK_KIND_MITIGATED;
}

v1::Mark MarkOf(const ResponderWord& word) {
  v1::Mark mark;
  mark.set_kind(word.kind);
  *mark.mutable_at() = ToProto(word.at);
  mark.mutable_uncertainty();  // none
  mark.set_source(word.source);
  mark.set_subject(word.subject);
  mark.set_detail(word.detail);
  return mark;
}

}  // namespace

absl::Status RunMachine::Heard(const ResponderWord& word) {
  if (finished()) {
    return absl::FailedPreconditionError(
        fmt::format("run {} finished at {}: only a run that is under way can be acknowledged or "
                    "mitigated",
                    run_.id(), FormatTime(FromProto(run_.finished_at()))));
  }
  const bool impact =
      std::any_of(run_.marks().begin(), run_.marks().end(), [&word](const v1::Mark& mark) {
        return mark.kind() == v1::MARK_KIND_FIRST_IMPACT &&
               FromProto(mark.at()) - FromProto(mark.uncertainty()) <= word.at;
      });
  if (!impact) {
    return absl::FailedPreconditionError(
        fmt::format("no fault of run {} has had an impact yet: there is nothing to acknowledge or "
                    "to mitigate",
                    run_.id()));
  }
  // Pagers deliver at least once.
  const auto same = [&word](const v1::Mark& mark) {
    return word.source == v1::MARK_SOURCE_PAGER && mark.kind() == word.kind &&
           mark.source() == word.source && mark.detail() == word.detail;
  };
  if (std::any_of(run_.marks().begin(), run_.marks().end(), same)) return absl::OkStatus();
  if (std::count_if(run_.marks().begin(), run_.marks().end(), IsWord) >= kMostWords) {
    return absl::ResourceExhaustedError(fmt::format(
        "run {} has {} marks of people already; the first ones count", run_.id(), kMostWords));
  }
  AddMark(MarkOf(word));
  if (run_.state() == v1::RUN_STATE_INJECTING || run_.state() == v1::RUN_STATE_RECOVERING) {
    Measure(false);
  }
  Advance();
  return absl::OkStatus();
}

}  // namespace firedrill::controller
