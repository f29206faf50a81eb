// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/view/responders.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {

const v1::Mark* FirstMark(const v1::Run& run, v1::MarkKind kind) {
  for (const v1::Mark& mark : run.marks()) {
    if (mark.kind() == kind) return &mark;
  }
  return nullptr;
}

std::string NotedText(const v1::Run& run, v1::MarkKind kind) {
  const v1::Mark* first = FirstMark(run, kind);
  const v1::Mark* impact = FirstMark(run, v1::MARK_KIND_FIRST_IMPACT);
  if (first == nullptr || impact == nullptr) return fmt::format("{}: noted", run.id());
  const v1::Mark* newest = first;
  for (const v1::Mark& mark : run.marks()) {
    if (mark.kind() == kind) newest = &mark;
  }
  const auto after = [impact](const v1::Mark& mark) {
    return FormatDuration(std::max(Nanoseconds(0), FromProto(mark.at()) - FromProto(impact->at())));
  };
  std::string text =
      fmt::format("{}: {} {} after the first impact", run.id(), Word(kind), after(*newest));
  if (newest != first) {
    text += fmt::format("; the first one, after {}, is the one that counts", after(*first));
  }
  return text;
}

bool CanBeAnswered(const v1::Run& run) {
  return run.state() != v1::RUN_STATE_FINISHED &&
         FirstMark(run, v1::MARK_KIND_FIRST_IMPACT) != nullptr;
}

}  // namespace firedrill::cli
