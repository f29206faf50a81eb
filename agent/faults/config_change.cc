// SPDX-License-Identifier: Apache-2.0
#include "agent/faults/config_change.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/synchronization/mutex.h"
#include "agent/faults/marks.h"
#include "agent/faults/victim.h"
#include "agent/files/config_edit.h"
#include "agent/files/file_watch.h"
#include "agent/files/replace_file.h"
#include "agent/host/host.h"
#include "agent/host/systemctl.h"
#include "agent/journal/journal.h"
#include "proto/support/status_macros.h"
#include "proto/support/time.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds kLookEvery = milliseconds(500);
constexpr Nanoseconds kSettle = milliseconds(50);  // a file that is being written changes again
constexpr Nanoseconds kToldWithin = milliseconds(10);
constexpr Nanoseconds kToReload = seconds(20);
constexpr Nanoseconds kToHandOver = milliseconds(1200);  // within what a worker's end may take
constexpr std::size_t kMostEvents = 100;
constexpr int kDecideAgain = 5;  // while others write at the very moment of the end

std::string Mark(const InjectionRequest& request) { return MarkOf("fdconf", request.id); }
std::string Temporary(const InjectionRequest& request) { return "." + Mark(request); }

absl::StatusOr<std::optional<std::string>> ContentOf(const std::string& path) {
  // A file that somebody made larger than any of ours is a third thing, whatever is in it.
  auto image = ReadImage(path, 4 * kLargestFile);
  if (image.ok()) return std::optional<std::string>(std::move(image->content));
  if (absl::IsNotFound(image.status())) return std::optional<std::string>();
  return image.status();
}

// An edit as the journal keeps it.
struct Edit {
  std::string path;
  std::string temporary;
  FileImage original;
  std::string written;
};

std::map<std::string, std::string> ToRecord(const Edit& edit, const std::string& injection) {
  std::map<std::string, std::string> values = ToValues(edit.original);
  values["path"] = edit.path;
  values["temporary"] = edit.temporary;
  values["written"] = absl::Base64Escape(edit.written);
  values[kInjectionOfRecord] = injection;
  return values;
}

absl::StatusOr<Edit> FromRecord(const UndoRecord& record) {
  const auto value = [&](const char* name) {
    const auto found = record.values.find(name);
    return found == record.values.end() ? std::string() : found->second;
  };
  Edit edit;
  edit.path = value("path");
  edit.temporary = value("temporary");
  ASSIGN_OR_RETURN(edit.original, ImageFrom(record.values));
  if (edit.path.empty() || edit.temporary.empty() ||
      !absl::Base64Unescape(value("written"), &edit.written)) {
    return absl::DataLossError("the journal's record " + record.id + " holds no edit");
  }
  return edit;
}

// Not before systemd has taken the job; with `wake` not before it has done so, or `wake` is
// readable: CANCELLED then.
absl::Status ReloadUnit(const std::string& unit, Nanoseconds within, int wake = -1) {
  const bool wait = wake >= 0;
  ASSIGN_OR_RETURN(
      const SystemctlResult result,
      RunSystemctl({"reload", wait ? "--quiet" : "--no-block", "--", unit}, within, wake));
  if (result.exit_code == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("reload {}: {}", unit, std::string(absl::StripAsciiWhitespace(result.output))));
}

absl::Status OursRemains(const Edit& edit) {
  return absl::FailedPreconditionError(
      fmt::format("{} was changed by somebody else, and a line of the edit is still in it: it was "
                  "left alone, put it right by hand",
                  edit.path));
}

// Restores once. ABORTED: somebody else wrote in that moment.
absl::StatusOr<bool> TryToRestore(const Edit& edit) {
  RETURN_IF_ERROR(RemoveTemporary(edit.path, edit.temporary));
  ASSIGN_OR_RETURN(const auto now, ContentOf(edit.path));
  switch (DecideAtEnd(now, edit.original.content, edit.written)) {
    case AtEnd::kPutRight:
    case AtEnd::kLeave:
      return false;
    case AtEnd::kOursRemains:
      return OursRemains(edit);
    case AtEnd::kRestore:
      break;
  }
  RETURN_IF_ERROR(
      WriteImage(edit.path, edit.original, edit.temporary, /*keep_time=*/true, &edit.written));
  ASSIGN_OR_RETURN(const auto after, ContentOf(edit.path));
  if (after == edit.original.content) return true;
  return absl::FailedPreconditionError(edit.path + " does not hold what was written back");
}

// Undoes the edit as far as that is ours to do. True: the file was written.
absl::StatusOr<bool> Restore(const Edit& edit) {
  absl::StatusOr<bool> restored = TryToRestore(edit);
  for (int again = 0; absl::IsAborted(restored.status()) && again < kDecideAgain; ++again) {
    restored = TryToRestore(edit);
  }
  return restored;
}

class ConfigChangeFault : public ActiveFault {
 public:
  ConfigChangeFault(const InjectionRequest& request, WorkerContext& context, Edit edit)
      : host_(context.host),
        id_(request.id),
        unit_(request.fault.config_change().reload_unit()),
        mark_(Mark(request)),
        clock_(host_.clock()),
        journal_(context.journal),
        edit_(std::move(edit)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~ConfigChangeFault() override { ConfigChangeFault::Revert().IgnoreError(); }

  absl::Status Begin() {
    // Undone newest first: the file is as it was before its unit is told to read it again.
    if (!unit_.empty()) {
      ASSIGN_OR_RETURN(reload_record_, journal_.Record(kReloadRecord, {{"unit", unit_},
                                                                       {kInjectionOfRecord, id_}}));
    }
    const auto same = [&](const UndoRecord& other) {
      const auto path = other.values.find("path");
      return (other.kind == kFileRecord || other.kind == kFileCheckRecord) &&
             path != other.values.end() && path->second == edit_.path;
    };
    ASSIGN_OR_RETURN(
        file_record_,
        journal_.RecordAlone(
            kFileRecord, ToRecord(edit_, id_), same,
            edit_.path + " holds, or may hold, the edit of another config_change: one at a time"));
    FileImage edited = edit_.original;
    edited.content = edit_.written;
    const SystemTime before = clock_.System();
    const absl::Status wrote = WriteImage(edit_.path, edited, edit_.temporary, /*keep_time=*/false,
                                          &edit_.original.content);
    if (absl::IsAborted(wrote)) {  // nothing of ours is in it, whatever it holds by now
      RETURN_IF_ERROR(journal_.Forget(file_record_));
      file_record_.clear();
    }
    RETURN_IF_ERROR(wrote);
    changed_at_ = clock_.System();
    changed_within_ = changed_at_ - before;
    ASSIGN_OR_RETURN(const auto now, ContentOf(edit_.path));
    if (now != edit_.written) {
      return absl::AbortedError(edit_.path + " was changed again in the same moment");
    }
    thread_ = std::thread([this] {
      MarkThread(mark_);
      Watch();
    });
    return absl::OkStatus();
  }

  absl::StatusOr<Impact> Observe() const override {
    Impact impact;
    impact.first = changed_at_;
    impact.uncertainty = changed_within_;
    absl::MutexLock lock(&mutex_);
    impact.events = events_;
    impact.counters = counters_;
    return impact;
  }

  absl::Status Revert() override {
    if (reverted_) return absl::OkStatus();
    reverted_ = true;
    const std::uint64_t one = 1;
    if (write(wake_.get(), &one, sizeof one) < 0)
      return absl::ErrnoToStatus(errno, "wake a thread");
    if (thread_.joinable()) thread_.join();
    if (file_record_.empty()) return journal_.Forget(reload_record_);
    ASSIGN_OR_RETURN(const bool written, Restore(edit_));
    absl::Status status = absl::OkStatus();
    if (written && !unit_.empty()) status = ReloadUnit(unit_, kToHandOver);
    if (!unit_.empty()) status.Update(journal_.Forget(reload_record_));
    // From now on nobody may write to the file, but the agent looks at it before it says ended.
    status.Update(journal_.Record(kFileCheckRecord, ToRecord(edit_, id_)).status());
    status.Update(journal_.Forget(file_record_));
    return status;
  }

 private:
  enum class State { kOurs, kPutRight, kOther, kGone };

  void Watch();
  State Look() const;
  void Note(State state, SystemTime at, Nanoseconds uncertainty);
  void Reload();
  void Add(ImpactEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (events_.size() < kMostEvents) events_.push_back(std::move(event));
  }

  const Host& host_;
  const std::string id_;
  const std::string unit_;
  const std::string mark_;
  const Clock& clock_;
  Journal& journal_;
  const Edit edit_;
  const Descriptor wake_;
  std::string file_record_;
  std::string reload_record_;
  SystemTime changed_at_;
  Nanoseconds changed_within_{0};
  bool reverted_ = false;
  mutable absl::Mutex mutex_;
  std::vector<ImpactEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, double> counters_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

ConfigChangeFault::State ConfigChangeFault::Look() const {
  const auto now = ContentOf(edit_.path);
  if (!now.ok()) return State::kOther;
  if (!*now) return State::kGone;
  if (**now == edit_.written) return State::kOurs;
  return **now == edit_.original.content ? State::kPutRight : State::kOther;
}

void ConfigChangeFault::Watch() {
  FileWatch watch(edit_.path);
  if (!unit_.empty()) Reload();
  State known = State::kOurs;
  SystemTime looked_at = changed_at_;
  bool again = true;  // what happened before the watch began
  for (;;) {
    const Nanoseconds delay_before = RunDelay(host_);
    const bool told = watch.Wait(wake_.get(), again ? Nanoseconds(0) : kLookEvery);
    // The kernel tells at once, but only who is given a processor hears of it.
    const Nanoseconds heard_within = kToldWithin + RunDelay(host_) - delay_before;
    std::uint64_t stop = 0;
    if (read(wake_.get(), &stop, sizeof stop) > 0) return;
    again = false;
    const SystemTime now = clock_.System();
    State state = Look();
    if (state == State::kOther || state == State::kGone) {
      // Neither a file that is half written nor one that is just replaced is somebody's answer.
      watch.Wait(wake_.get(), kSettle);
      if (read(wake_.get(), &stop, sizeof stop) > 0) return;
      const State later = Look();
      if (later != state) again = true;
      if (later != state) continue;
    }
    const Nanoseconds since = now - looked_at;
    looked_at = now;
    if (state == known) continue;
    known = state;
    Note(state, now, told ? std::min<Nanoseconds>(since, heard_within) : since);
  }
}

void ConfigChangeFault::Note(State state, SystemTime at, Nanoseconds uncertainty) {
  absl::MutexLock lock(&mutex_);
  ImpactEvent event;
  event.at = at;
  event.uncertainty = uncertainty;
  switch (state) {
    case State::kPutRight:
      event.name = "put_right";
      event.detail = fmt::format("{} is as it was before", edit_.path);
      counters_.emplace("put_right_after_seconds", Seconds(at - changed_at_));
      break;
    case State::kOurs:
      event.name = "changed";
      event.detail = fmt::format("{} holds the edit again", edit_.path);
      break;
    case State::kOther:
      event.name = "changed";
      event.detail = fmt::format("{} holds something else by now", edit_.path);
      break;
    case State::kGone:
      event.name = "changed";
      event.detail = fmt::format("{} is gone", edit_.path);
      break;
  }
  Add(std::move(event));
}

void ConfigChangeFault::Reload() {
  const absl::Status status = ReloadUnit(unit_, kToReload, wake_.get());
  if (absl::IsCancelled(status)) return;  // it is over
  absl::MutexLock lock(&mutex_);
  ImpactEvent event;
  event.at = clock_.System();
  event.name = status.ok() ? "reloaded" : "reload_failed";
  event.detail = status.ok() ? unit_ : std::string(status.message());
  counters_[status.ok() ? "reloads" : "reload_failures"] += 1;
  Add(std::move(event));
}

}  // namespace

absl::Status ConfigChangeSupported(const Host&) { return absl::OkStatus(); }

absl::StatusOr<std::unique_ptr<ActiveFault>> ApplyConfigChange(const InjectionRequest& request,
                                                               WorkerContext& context) {
  const v1::ConfigChange& change = request.fault.config_change();
  Edit edit;
  edit.path = change.path();
  edit.temporary = Temporary(request);
  ASSIGN_OR_RETURN(edit.original, ReadImage(edit.path, kLargestFile));
  const auto written = EditText(edit.original.content, change.pattern(), change.text());
  if (!written.ok()) {
    return absl::Status(written.status().code(),
                        fmt::format("{}: {}", edit.path, std::string(written.status().message())));
  }
  edit.written = *written;
  auto fault = std::make_unique<ConfigChangeFault>(request, context, std::move(edit));
  RETURN_IF_ERROR(fault->Begin());
  return fault;
}

absl::Status VerifyConfigChangeGone(const InjectionRequest& request, const Host& host) {
  return VerifyNoMark(host, Mark(request));
}

absl::Status UndoFile(const UndoRecord& record, const Host&) {
  ASSIGN_OR_RETURN(const Edit edit, FromRecord(record));
  return Restore(edit).status();
}

absl::Status CheckFileUndone(const UndoRecord& record, const Host&) {
  ASSIGN_OR_RETURN(const Edit edit, FromRecord(record));
  RETURN_IF_ERROR(RemoveTemporary(edit.path, edit.temporary));
  ASSIGN_OR_RETURN(const auto now, ContentOf(edit.path));
  switch (DecideAtEnd(now, edit.original.content, edit.written)) {
    case AtEnd::kPutRight:
    case AtEnd::kLeave:
      return absl::OkStatus();
    case AtEnd::kOursRemains:
    case AtEnd::kRestore:
      return OursRemains(edit);
  }
  return absl::OkStatus();
}

absl::Status UndoReload(const UndoRecord& record, const Host&) {
  const auto unit = record.values.find("unit");
  if (unit == record.values.end()) {
    return absl::DataLossError("the journal's record " + record.id + " names no unit");
  }
  return ReloadUnit(unit->second, kToHandOver);
}

}  // namespace firedrill::agent
