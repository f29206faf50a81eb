// SPDX-License-Identifier: Apache-2.0
#include "controller/service/trend_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "controller/statistics/fault_label.h"
#include "controller/statistics/trend.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

constexpr std::uint32_t kUsual = 1000;
constexpr std::uint32_t kMost = 10'000;
constexpr std::size_t kPage = 200;

absl::Status Validate(const v1::GetTrendRequest& request) {
  if (request.limit() > kMost) {
    return absl::InvalidArgumentError(
        fmt::format("limit: found {}; allowed: at most {}", request.limit(), kMost));
  }
  if (request.fault().empty()) return absl::OkStatus();
  std::vector<std::string> kinds;
  const auto* kind = v1::Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kind->field_count(); ++i) kinds.push_back(kind->field(i)->name());
  if (std::find(kinds.begin(), kinds.end(), request.fault()) != kinds.end()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("fault: found {}; {}", Quoted(request.fault()),
                                                SuggestFrom(request.fault(), kinds)));
}

// What TrendOf looks at; the rest would only wait in memory.
v1::Run Smaller(v1::Run run) {
  const bool cut_short = run.evidence().cut_short();
  run.clear_evidence();
  run.mutable_evidence()->set_cut_short(cut_short);
  run.clear_injections();
  run.clear_marks();
  return run;
}

}  // namespace

absl::StatusOr<v1::GetTrendResponse> ReadTrend(Store& store, const v1::GetTrendRequest& request) {
  RETURN_IF_ERROR(Validate(request));
  const std::size_t limit = request.limit() == 0 ? kUsual : request.limit();
  std::vector<v1::Run> runs;
  RunQuery query;
  query.experiment = request.experiment_name();
  query.finished_only = true;
  query.limit = kPage;
  bool over = false;
  while (!over) {
    absl::StatusOr<std::vector<v1::Run>> page = store.ListRuns(query);
    // The last one of a page was deleted meanwhile for its age: so was all that is older.
    if (absl::IsNotFound(page.status())) break;
    RETURN_IF_ERROR(page.status());
    over = page->size() < kPage;
    if (!page->empty()) query.before_run_id = page->back().id();
    for (v1::Run& run : *page) {
      const SystemTime at = FromProto(run.created_at());
      if (request.has_since() && at < FromProto(request.since())) {
        over = true;
        break;
      }
      if (request.has_until() && at >= FromProto(request.until())) continue;
      if (!request.fault().empty() && !HasFaultKind(run.experiment(), request.fault())) continue;
      runs.push_back(Smaller(std::move(run)));
      if (runs.size() == limit) break;
    }
    over = over || runs.size() == limit;
  }
  std::reverse(runs.begin(), runs.end());
  return TrendOf(runs);
}

}  // namespace firedrill::controller
