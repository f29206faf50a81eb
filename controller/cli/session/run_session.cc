// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/session/run_session.h"

#include <fmt/format.h>
#include <poll.h>

#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_split.h"
#include "controller/cli/terminal/keys.h"
#include "controller/cli/terminal/screen.h"
#include "controller/cli/terminal/signals.h"
#include "controller/cli/view/events.h"
#include "controller/cli/view/live_block.h"
#include "controller/cli/view/responders.h"
#include "controller/cli/view/run_view.h"
#include "controller/cli/view/text_width.h"
#include "controller/cli/view/words.h"
#include "proto/support/time.h"

namespace firedrill::cli {
namespace {

constexpr int kRedrawMilliseconds = 500;
constexpr char kEscape = 27;
constexpr char kBackspace = 127;
constexpr std::size_t kLongestNote = 200;
constexpr int kNoteShown = 40;    // columns of a note while it is typed
constexpr int kLeastToWrap = 40;  // columns; below, the terminal itself does
constexpr std::string_view kSummaryColumn = "            ";
// As wide as a mark's instant, distance and kind: where its subject begins.
constexpr std::string_view kSubjectColumn = "                                        ";

}  // namespace

// A screen, or a stream of lines.
class RunSession::Surface {
 public:
  Surface(const SessionOptions& options, std::ostream& out) : out_(out) {
    if (!options.live) return;
    screen_ = std::make_unique<Screen>(options.terminal);
    keys_ = std::make_unique<Keys>(options.keyboard);
  }

  void Draw(const std::vector<std::string>& lines, const v1::Run& run, SystemTime now,
            const std::string& notice, const Style& style) {
    if (screen_) {
      const int width = screen_->width() - 1;
      std::vector<std::string> wrapped;
      for (const std::string& line : lines) {
        // What is no mark has no columns.
        const bool mark = !line.empty() && line.front() >= '0' && line.front() <= '9';
        const std::string text =
            width < kLeastToWrap
                ? line
                : WrapHanging(line, width, width < 80 || !mark ? "    " : kSubjectColumn);
        for (const absl::string_view part : absl::StrSplit(text, '\n')) wrapped.emplace_back(part);
      }
      screen_->Draw(wrapped, LiveBlock(run, now, notice, width, style));
      return;
    }
    for (const std::string& line : lines) out_ << line << "\n";
    out_.flush();
  }

  int keyboard() const { return keys_ ? keys_->descriptor() : -1; }
  char Key() { return keys_ ? keys_->Get() : 0; }
  // After an Esc: whether it began a sequence, as an arrow's key does (Esc [ A), or came with
  // another key. Its letters are then taken away: none of them is meant.
  bool SkipSequence() {
    char next = Key();
    if (next != '[' && next != 'O') return next != 0;
    do {
      next = Key();
    } while (next != 0 && (next < '@' || next > '~'));
    return true;
  }

 private:
  std::ostream& out_;
  std::unique_ptr<Screen> screen_;
  std::unique_ptr<Keys> keys_;
};

RunSession::RunSession(Client* client, v1::Run run, SessionOptions options, const Style& style,
                       const Clock& clock, std::ostream& out)
    : client_(client),
      run_(std::move(run)),
      options_(options),
      style_(style),
      clock_(clock),
      out_(out) {}

ExitCode RunSession::Follow() {
  {
    Signals signals({SIGINT, SIGTERM, SIGHUP, SIGWINCH});
    Surface surface(options_, out_);
    RunWatcher watcher(client_, run_.id(), options_.patience, clock_);
    while (phase_ != Phase::kOver) {
      TakeState(watcher.Get());
      surface.Draw(std::exchange(pending_, {}), run_, clock_.System(), Notice(), style_);
      if (phase_ == Phase::kOver) break;
      pollfd ready[] = {{watcher.descriptor(), POLLIN, 0},
                        {signals.descriptor(), POLLIN, 0},
                        {surface.keyboard(), POLLIN, 0}};
      poll(ready, 3, kRedrawMilliseconds);
      for (int number = signals.Get(); number != 0; number = signals.Get()) {
        OnSignal(number);
        // What an abort waits for is shown while it waits.
        if (phase_ == Phase::kAborting && number != SIGWINCH) {
          surface.Draw(std::exchange(pending_, {}), run_, clock_.System(), Notice(), style_);
          Abort();
        }
      }
      for (char key = surface.Key(); key != 0; key = surface.Key()) {
        const Phase before = phase_;
        if (key == kEscape && surface.SkipSequence()) continue;
        OnKey(key);
        if (phase_ == Phase::kAborting && before != Phase::kAborting) Abort();
      }
    }
    for (const std::string& line : pending_) {
      surface.Draw({line}, run_, clock_.System(), "", style_);
    }
    pending_.clear();
  }
  return Close();
}

void RunSession::TakeState(RunWatcher::State state) {
  if (state.run.has_value()) run_ = std::move(*state.run);
  TakeMarks();  // first: what a state follows from is older than the state
  TakeEvents();
  if (run_.state() != shown_state_) {
    shown_state_ = run_.state();
    // Live, the block says so.
    const bool says_more =
        run_.state() != v1::RUN_STATE_PLANNED && run_.state() != v1::RUN_STATE_FINISHED;
    if (!options_.live && says_more) {
      Say(fmt::format("{}  {:>8}  {}{}", ClockText(ToProto(clock_.System())), "",
                      style_(Colour::kDim, Word(run_.state())),
                      run_.state_detail().empty() ? "" : ": " + Clean(run_.state_detail())));
    }
  }
  if (state.connected != connected_) {
    connected_ = state.connected;
    Say(style_(Colour::kWarning,
               connected_ ? "The controller is back; the run goes on."
                          : fmt::format("The controller went away; asking again for up to {}. {}",
                                        FormatDuration(options_.patience),
                                        OneLine({state.error.message().data(),
                                                 state.error.message().size()}))));
  }
  if (state.over) {
    if (run_.state() != v1::RUN_STATE_FINISHED) lost_ = state.error;
    phase_ = Phase::kOver;
  }
}

// A mark is shown once, and again only if its instant turns out to be clearly another one.
void RunSession::TakeMarks() {
  constexpr std::chrono::milliseconds kClearly(500);
  std::map<std::string, int> count;
  for (const v1::Mark& mark : run_.marks()) {
    const std::string what =
        fmt::format("{} {} {}", static_cast<int>(mark.kind()), mark.host(), mark.subject());
    const SystemTime at = FromProto(mark.at());
    const auto [shown, fresh] = shown_marks_.try_emplace({what, count[what]++}, at);
    const Nanoseconds moved = at > shown->second ? at - shown->second : shown->second - at;
    if (!fresh && moved < kClearly) continue;
    shown->second = at;
    Say(MarkLine(run_, mark, style_) + (fresh ? "" : "  (corrected)"));
  }
}

// Events are only added to, injection by injection.
void RunSession::TakeEvents() {
  for (const v1::Injection& injection : run_.injections()) {
    int& shown = shown_events_[injection.id()];
    for (; shown < injection.events_size(); ++shown) {
      Say(EventLine(injection, injection.events(shown), style_));
    }
  }
}

void RunSession::OnSignal(int number) {
  if (number == SIGWINCH) return;
  if (number == SIGHUP) return Detach();
  if (phase_ == Phase::kAborting) {
    left_ = true;
    phase_ = Phase::kOver;
  } else if (number == SIGTERM || phase_ == Phase::kAsking || !options_.live) {
    phase_ = Phase::kAborting;
    Say(style_(Colour::kWarning, "Aborting: every fault of the run is being ended."));
  } else {
    phase_ = Phase::kAsking;
  }
}

void RunSession::OnKey(char key) {
  if (phase_ == Phase::kTelling) return OnNoteKey(key);
  if (phase_ == Phase::kFollowing && (key == 'a' || key == 'm') && CanBeAnswered(run_)) {
    telling_ = key == 'a' ? v1::MARK_KIND_ACKNOWLEDGED : v1::MARK_KIND_MITIGATED;
    note_.clear();
    phase_ = Phase::kTelling;
    return;
  }
  if (phase_ != Phase::kAsking) return;
  if (key == 'a' || key == 'A') {
    phase_ = Phase::kAborting;
    Say(style_(Colour::kWarning, "Aborting: every fault of the run is being ended."));
  } else if (key == 'd' || key == 'D') {
    Detach();
  } else {
    phase_ = Phase::kFollowing;
  }
}

void RunSession::OnNoteKey(char key) {
  if (key == kEscape) {
    phase_ = Phase::kFollowing;
  } else if (key == '\r' || key == '\n') {
    if (note_.empty() && telling_ == v1::MARK_KIND_MITIGATED) return;  // the notice says why
    phase_ = Phase::kFollowing;
    Tell();
  } else if (key == kBackspace || key == '\b') {
    // The whole character: its first byte is none of 10xxxxxx.
    while (!note_.empty() && (static_cast<unsigned char>(note_.back()) & 0xC0U) == 0x80U) {
      note_.pop_back();
    }
    if (!note_.empty()) note_.pop_back();
  } else if (static_cast<unsigned char>(key) >= ' ' && note_.size() < kLongestNote) {
    note_ += key;
  }
}

void RunSession::Tell() {
  absl::StatusOr<v1::Run> told;
  if (telling_ == v1::MARK_KIND_MITIGATED) {
    v1::MitigateRunRequest request;
    request.set_run_id(run_.id());
    request.set_note(note_);
    told = client_->MitigateRun(request);
  } else {
    v1::AcknowledgeRunRequest request;
    request.set_run_id(run_.id());
    request.set_note(note_);
    told = client_->AcknowledgeRun(request);
  }
  if (told.ok()) return;  // its mark comes with the run
  Say(style_(Colour::kWarning, "Not noted: " + OneLine({told.status().message().data(),
                                                        told.status().message().size()})));
}

void RunSession::Abort() {
  const absl::StatusOr<v1::Run> aborted =
      client_->AbortRun(run_.id(), "firedrill run was interrupted");
  if (aborted.ok()) return;
  Say(style_(Colour::kBad,
             "The abort did not reach the controller: " +
                 OneLine({aborted.status().message().data(), aborted.status().message().size()})));
  Say("Faults end by themselves when their leases run out. Ctrl-C tries again.");
  phase_ = Phase::kAsking;
}

void RunSession::Detach() {
  detached_ = true;
  phase_ = Phase::kOver;
}

std::string RunSession::Notice() const {
  switch (phase_) {
    case Phase::kFollowing:
      return connected_ ? "" : "waiting for the controller; faults end by themselves without it";
    case Phase::kTelling:
      return TellingNotice();
    case Phase::kAsking:
      return "a: abort the run   d: detach, the run goes on   Ctrl-C: abort   other: go on "
             "watching";
    case Phase::kAborting:
      return "aborting; Ctrl-C leaves without waiting for the end";
    case Phase::kOver:
      break;
  }
  return "";
}

std::string RunSession::TellingNotice() const {
  std::string shown = note_;
  while (DisplayWidth(shown) > kNoteShown) shown.erase(0, 1);
  if (shown.size() < note_.size()) shown = "…" + shown;
  const bool needed = telling_ == v1::MARK_KIND_MITIGATED;
  return fmt::format("{}; Enter says so, Esc goes back. {}: {}_", Word(telling_),
                     needed ? "What was done" : "A note, if any", Clean(shown));
}

ExitCode RunSession::Close() {
  if (detached_) {
    out_ << fmt::format("Detached; the run goes on. firedrill get run {0}; firedrill abort {0}\n",
                        run_.id());
    return ExitCode::kPassed;
  }
  if (left_) {
    out_ << fmt::format("Left while the run was being aborted. firedrill get run {}\n", run_.id());
    return ExitCode::kAborted;
  }
  if (run_.state() != v1::RUN_STATE_FINISHED) {
    out_ << fmt::format(
        "The run was lost sight of: {}\nIt may go on at the controller. Faults end by themselves "
        "when "
        "their leases run out.\nfiredrill get run {}\n",
        OneLine({lost_.message().data(), lost_.message().size()}), run_.id());
    return ExitCode::kUnreachable;
  }
  if (options_.summary) {
    out_ << "\n";
    for (const absl::string_view line :
         absl::StrSplit(Summary(run_, style_), '\n', absl::SkipEmpty())) {
      const std::string_view text(line.data(), line.size());
      out_ << (options_.live
                   ? WrapHanging(text, TerminalWidth(options_.terminal) - 1, kSummaryColumn)
                   : std::string(text))
           << "\n";
    }
  }
  return ExitCodeOf(run_.verdict().verdict());
}

}  // namespace firedrill::cli
