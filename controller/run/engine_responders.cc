// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_join.h"
#include "controller/run/engine.h"

namespace firedrill::controller {

void RunEngine::TakeWord(std::string run_id, ResponderWord word, Done done) {
  Post([this, run_id = std::move(run_id), word = std::move(word), done = std::move(done)] {
    std::vector<std::string> under_way;
    for (const auto& [id, live] : live_) {
      if (!live.machine->finished()) under_way.push_back(id);
    }
    if (run_id.empty() && under_way.size() != 1) {
      done(absl::FailedPreconditionError(
          under_way.empty() ? std::string("no run is under way")
                            : fmt::format("several runs are under way, so one must be named: {}",
                                          absl::StrJoin(under_way, ", "))));
      return;
    }
    const auto found = live_.find(run_id.empty() ? under_way.front() : run_id);
    if (found == live_.end()) {
      done(absl::FailedPreconditionError(fmt::format("run {} is not under way", run_id)));
      return;
    }
    Live& live = found->second;
    if (absl::Status heard = live.machine->Heard(word); !heard.ok()) {
      done(heard);
      return;
    }
    spdlog::info("run={} {} {}", found->first, v1::MarkKind_Name(word.kind), word.detail);
    live.on_saved.push_back(done);
    Settle(found->first, live);
  });
}

}  // namespace firedrill::controller
