// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "controller/cli/client/client.h"
#include "controller/cli/client/watcher.h"
#include "controller/cli/session/exit_code.h"
#include "controller/cli/view/style.h"
#include "proto/support/clock.h"

namespace firedrill::cli {

/// How a run is shown.
struct SessionOptions {
  bool live = false;    ///< Draw in place on `terminal`; else plain lines.
  int terminal = 1;     ///< The descriptor that `live` draws on.
  int keyboard = 0;     ///< Where answers to Ctrl-C are read from.
  bool summary = true;  ///< Print the closing words.
  Nanoseconds patience{std::chrono::minutes(2)};  ///< For a controller that is away.
};

/// Follows one run from a terminal or a pipe until it is finished, detached or lost.
///
///   following ──Ctrl-C──► asking ──a, Ctrl-C──► aborting ──finished──► over
///    ▲ │ │                  ├──d──► detached (over)      └──Ctrl-C──► left (over)
///    │ │ │                  └──any other key──► following
///    │ │ └──finished, controller lost──► over
///    │ └──a, m──► telling: a note is typed ──Ctrl-C──► asking
///    └──Enter: the controller is told; Esc────┘
///
/// Without a terminal nobody can be asked: SIGINT aborts at once. SIGTERM always aborts; SIGHUP
/// (the terminal went away) detaches. Not thread-safe.
class RunSession {
 public:
  RunSession(Client* client, v1::Run run, SessionOptions options, const Style& style,
             const Clock& clock, std::ostream& out);

  /// Blocks. The exit code is the verdict's.
  ExitCode Follow();

  /// The last state that was heard of.
  const v1::Run& run() const { return run_; }

 private:
  enum class Phase { kFollowing, kTelling, kAsking, kAborting, kOver };
  class Surface;

  void TakeState(RunWatcher::State state);
  void TakeMarks();
  void TakeEvents();
  void OnSignal(int number);
  void OnKey(char key);
  void OnNoteKey(char key);
  void Tell();
  void Abort();
  void Detach();
  void Say(const std::string& line) { pending_.push_back(line); }
  std::string Notice() const;
  std::string TellingNotice() const;
  ExitCode Close();

  Client* const client_;
  v1::Run run_;
  const SessionOptions options_;
  const Style style_;
  const Clock& clock_;
  std::ostream& out_;
  Phase phase_ = Phase::kFollowing;
  v1::MarkKind telling_ = v1::MARK_KIND_ACKNOWLEDGED;  // what is being told, with note_
  std::string note_;
  bool connected_ = true;
  bool detached_ = false;
  bool left_ = false;  // did not wait for the end of an abort
  absl::Status lost_;  // why the controller was given up
  v1::RunState shown_state_ = v1::RUN_STATE_UNSPECIFIED;
  std::map<std::pair<std::string, int>, SystemTime> shown_marks_;  // the nth of its kind
  std::map<std::string, int> shown_events_;                        // by injection
  std::vector<std::string> pending_;                               // lines to print
};

}  // namespace firedrill::cli
