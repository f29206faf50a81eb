// SPDX-License-Identifier: Apache-2.0
#include "controller/service/responders.h"

#include <fmt/format.h>

#include "controller/service/checks.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kLongestNote = 500;
constexpr std::size_t kLongestName = 100;

}  // namespace

absl::StatusOr<ResponderWord> WordOf(v1::MarkKind kind, const std::string& operator_name,
                                     const std::string& by, const std::string& note,
                                     SystemTime now) {
  RETURN_IF_ERROR(CheckLength("note", note, kLongestNote));
  RETURN_IF_ERROR(CheckLength("by", by, kLongestName));
  if (kind == v1::MARK_KIND_MITIGATED && note.empty()) {
    return absl::InvalidArgumentError("note: is missing; say what was done");
  }
  ResponderWord word;
  word.kind = kind;
  word.source = v1::MARK_SOURCE_OPERATOR;
  word.at = now;
  word.detail = by.empty() || by == operator_name
                    ? operator_name
                    : fmt::format("{}, told by {}", by, operator_name);
  if (!note.empty()) word.detail += ": " + note;
  return word;
}

const char* ActionOf(v1::MarkKind kind) {
  return kind == v1::MARK_KIND_MITIGATED ? "run.mitigate" : "run.acknowledge";
}

}  // namespace firedrill::controller
