// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/core_load.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

constexpr Nanoseconds kWindow = std::chrono::milliseconds(200);
constexpr double kNewest = 0.5;  // the weight of the newest window

}  // namespace

absl::StatusOr<CoreTimes> ReadCoreTimes(const Host& host, int core) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(host.proc() + "/stat", 4 << 20));
  const std::string label = fmt::format("cpu{} ", core);
  const Nanoseconds tick(1'000'000'000 / sysconf(_SC_CLK_TCK));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::StartsWith(line, label)) continue;
    // cpuN user nice system idle iowait irq softirq steal guest guest_nice; guest is in user.
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    CoreTimes times;
    for (std::size_t i = 1; i < std::min<std::size_t>(fields.size(), 9); ++i) {
      std::int64_t ticks = 0;
      if (!absl::SimpleAtoi(fields[i], &ticks)) break;
      (i == 4 || i == 5 ? times.idle : times.busy) += ticks * tick;
    }
    return times;
  }
  return absl::NotFoundError(fmt::format("core {} is not online", core));
}

double CoreLoad::Others(Nanoseconds now, Nanoseconds own) {
  if (last_ && now - last_->at < kWindow) return others_.value_or(0);
  const auto times = ReadCoreTimes(host_, core_);
  if (!times.ok()) return others_.value_or(0);
  if (last_) {
    const double all = static_cast<double>((now - last_->at).count());
    const double busy =
        static_cast<double>((times->busy - last_->busy - (own - last_->own)).count());
    const double share = std::clamp(busy / all, 0.0, 1.0);
    others_ = others_ ? kNewest * share + (1 - kNewest) * *others_ : share;
  }
  last_ = Look{now, own, times->busy};
  return others_.value_or(0);
}

}  // namespace firedrill::agent
