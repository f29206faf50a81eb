// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "firedrill/v1/operator.pb.h"
#include "proto/support/credentials.h"

namespace firedrill::test {

/// A controller on loopback that does what a test tells it: its runs change only by Update, by
/// AbortRun, which ends them as aborted, and by what is said of them, which becomes marks.
/// Thread-safe.
class FakeController {
 public:
  /// `port` 0: any free one. Listens at once, and knows these runs then, by their ids.
  explicit FakeController(int port = 0, const CredentialOptions& credentials = Insecure(),
                          std::map<std::string, v1::Run> runs = {});
  ~FakeController();

  static CredentialOptions Insecure();
  std::string address() const;
  int port() const { return port_; }

  /// What StartRun makes of a new run before it is first seen; may be empty.
  std::function<void(v1::Run&)> on_start;
  v1::Plan plan;
  std::vector<v1::Agent> agents;
  /// What a preview tells, one after the other.
  std::vector<v1::PreviewResponse> previews;
  v1::GetTrendResponse trend;
  v1::ReplayRuleResponse replay;
  /// Answered to every call but WatchRun, instead of what was asked for.
  absl::Status refuse;

  /// Changes a run and tells those who watch it. A run that is not there is made.
  void Update(const std::string& id, const std::function<void(v1::Run&)>& change);
  v1::Run Get(const std::string& id);
  /// Waits (ten seconds at most) until a run was started or made; its id, or empty.
  std::string WaitForRun();
  std::string abort_reason();
  /// What was said of runs, in the order in which it came.
  struct Word {
    v1::MarkKind kind;
    std::string run_id, note, by;
  };
  std::vector<Word> words();
  std::map<std::string, v1::Experiment> experiments();
  int starts();
  /// The last one that was asked for.
  v1::PreviewRequest preview_request();
  v1::GetTrendRequest trend_request();
  v1::ReplayRuleRequest replay_request();

 private:
  class Service;
  struct State;
  std::unique_ptr<State> state_;
  std::unique_ptr<Service> service_;
  int port_ = 0;
};

/// A mark at `seconds` after the epoch 1'800'000'000.
v1::Mark MakeMark(v1::MarkKind kind, double seconds, v1::MarkSource source,
                  const std::string& subject = "");

/// A finished run with every kind of thing in it; the verdict as asked for.
v1::Run FinishedRun(v1::Verdict verdict);

/// The same run with all that can be measured of one: stages, people's marks, depth, advice, a
/// caveat, a false alarm.
v1::Run MeasuredRun();

}  // namespace firedrill::test
