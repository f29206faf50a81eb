// SPDX-License-Identifier: Apache-2.0
#include "controller/grafana/annotator.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "controller/grafana/annotation.h"
#include "controller/grafana/client.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kLastTry = std::chrono::seconds(2);
// So long a written annotation is remembered, in case its run is told of once more.
constexpr Nanoseconds kRemember = std::chrono::minutes(1);

// One injection's annotation on its way.
struct Entry {
  Annotation annotation;
  std::optional<std::int64_t> id;  // Grafana's
  bool begun_here = true;          // false: an earlier controller may have written it
  bool unsure = false;             // a request was sent, and no answer came
  bool end_written = false;
  bool given_up = false;
  int tries = 0;
  SteadyTime due;
  SteadyTime wanted;  // since when something is to be written
  SteadyTime seen;

  bool done() const { return given_up || (id && end_written); }
  bool waits() const { return !given_up && (!id || (annotation.end_ms && !end_written)); }
};

}  // namespace

struct GrafanaAnnotator::State {
  State(GrafanaOptions given, LiveRuns runs, const Clock& the_clock)
      : options(std::move(given)),
        live(std::move(runs)),
        clock(the_clock),
        started(the_clock.System()),
        client(options.url, options.token_file, the_clock) {}

  void Loop();
  void Note(const v1::Run& run);
  void Work(SteadyTime until);
  absl::Status Write(Entry& entry, SteadyTime deadline);
  void Failed(Entry& entry, const absl::Status& status);
  void Forget();
  bool Woken() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return stopping || !inbox.empty(); }

  const GrafanaOptions options;
  const LiveRuns live;
  const Clock& clock;
  const SystemTime started;
  GrafanaClient client;
  std::map<std::string, Entry> entries;  // by injection; the thread's own
  bool full = false;                     // likewise; said once

  mutable absl::Mutex mutex;
  std::deque<v1::Run> inbox ABSL_GUARDED_BY(mutex);
  AnnotationFigures figures ABSL_GUARDED_BY(mutex);
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread thread;
};

void GrafanaAnnotator::State::Loop() {
  bool last = false;
  while (!last) {
    std::deque<v1::Run> finished;
    {
      absl::MutexLock lock(&mutex);
      mutex.AwaitWithTimeout(absl::Condition(this, &State::Woken),
                             absl::FromChrono(options.look_every));
      last = stopping;
      finished.swap(inbox);
    }
    for (const auto& run : live()) Note(*run);
    for (const v1::Run& run : finished) Note(run);
    Work(clock.Steady() + (last ? kLastTry : options.deadline));
    Forget();
  }
}

void GrafanaAnnotator::State::Note(const v1::Run& run) {
  const SteadyTime now = clock.Steady();
  for (const v1::Injection& injection : run.injections()) {
    const std::optional<Annotation> annotation = AnnotationOf(run, injection);
    if (!annotation) continue;
    auto found = entries.find(injection.id());
    if (found == entries.end()) {
      if (entries.size() >= options.most) {
        absl::MutexLock lock(&mutex);
        ++figures.dropped;
        if (!std::exchange(full, true)) {
          spdlog::warn("grafana: {} annotations wait; no further ones are taken", options.most);
        }
        continue;
      }
      found = entries.emplace(injection.id(), Entry()).first;
      found->second.begun_here = annotation->begin >= started;
      found->second.wanted = now;
      found->second.due = now;
    }
    Entry& entry = found->second;
    entry.seen = now;
    if (annotation->end_ms && !entry.annotation.end_ms && entry.id) {
      entry.wanted = now;  // the end is new
      entry.due = now;
      entry.tries = 0;
    }
    if (!entry.done()) entry.annotation = *annotation;
  }
}

void GrafanaAnnotator::State::Work(SteadyTime until) {
  for (auto& [injection, entry] : entries) {
    const SteadyTime now = clock.Steady();
    if (now >= until) break;
    if (!entry.waits() || entry.due > now) continue;
    if (const absl::Status status = Write(entry, std::min(until, now + options.deadline));
        !status.ok()) {
      Failed(entry, status);
      // Grafana answers none now; the others would wait for their deadlines one after the other.
      if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) break;
    }
  }
  std::size_t waiting = 0;
  for (const auto& [injection, entry] : entries) waiting += entry.waits() ? 1 : 0;
  absl::MutexLock lock(&mutex);
  figures.waiting = waiting;
}

absl::Status GrafanaAnnotator::State::Write(Entry& entry, SteadyTime deadline) {
  if (!entry.id && (!entry.begun_here || entry.unsure)) {
    ASSIGN_OR_RETURN(entry.id, client.Find(entry.annotation, deadline));
    entry.unsure = false;
    entry.begun_here = true;
  }
  if (!entry.id) {
    const absl::StatusOr<std::int64_t> id = client.Add(entry.annotation, deadline);
    if (!id.ok()) {
      entry.unsure = absl::IsDeadlineExceeded(id.status()) || absl::IsUnavailable(id.status());
      return id.status();
    }
    entry.id = *id;
    entry.end_written = entry.annotation.end_ms.has_value();
    absl::MutexLock lock(&mutex);
    ++figures.written;
  } else if (entry.annotation.end_ms && !entry.end_written) {
    RETURN_IF_ERROR(client.SetEnd(*entry.id, entry.annotation, deadline));
    entry.end_written = true;
  }
  entry.tries = 0;
  return absl::OkStatus();
}

void GrafanaAnnotator::State::Failed(Entry& entry, const absl::Status& status) {
  const SteadyTime now = clock.Steady();
  Nanoseconds wait = options.first_wait;
  for (int i = 0; i < entry.tries && wait < options.longest_wait; ++i) wait *= 2;
  ++entry.tries;
  entry.due = now + std::min(wait, options.longest_wait);
  entry.given_up = absl::IsInvalidArgument(status) || now - entry.wanted >= options.give_up_after;
  spdlog::warn("grafana: annotation of {} on {} not written{}: {}", entry.annotation.experiment,
               entry.annotation.host, entry.given_up ? ", given up" : ", will be tried again",
               std::string(status.message()));
  absl::MutexLock lock(&mutex);
  ++figures.failed;
  if (entry.given_up) ++figures.dropped;
}

void GrafanaAnnotator::State::Forget() {
  const SteadyTime now = clock.Steady();
  for (auto it = entries.begin(); it != entries.end();) {
    const Entry& entry = it->second;
    const bool old = now - entry.seen > kRemember;
    // One whose end nobody tells any more is as finished as it will be.
    it = old && !entry.waits() ? entries.erase(it) : std::next(it);
  }
  if (entries.size() < options.most) full = false;
}

GrafanaAnnotator::GrafanaAnnotator(std::unique_ptr<State> state) : state_(std::move(state)) {
  state_->thread = std::thread([state = state_.get()] { state->Loop(); });
}

GrafanaAnnotator::~GrafanaAnnotator() { Stop(); }

absl::StatusOr<std::unique_ptr<GrafanaAnnotator>> GrafanaAnnotator::Create(GrafanaOptions options,
                                                                           LiveRuns live,
                                                                           const Clock& clock) {
  RETURN_IF_ERROR(GrafanaClient::Check(options.url, options.token_file));
  return std::unique_ptr<GrafanaAnnotator>(
      new GrafanaAnnotator(std::make_unique<State>(std::move(options), std::move(live), clock)));
}

void GrafanaAnnotator::RunFinished(const v1::Run& run) {
  v1::Run copy;  // without its samples
  *copy.mutable_injections() = run.injections();
  copy.set_id(run.id());
  copy.mutable_experiment()->set_name(run.experiment().name());
  absl::MutexLock lock(&state_->mutex);
  if (state_->inbox.size() < state_->options.most) state_->inbox.push_back(std::move(copy));
}

void GrafanaAnnotator::Stop() {
  {
    absl::MutexLock lock(&state_->mutex);
    state_->stopping = true;
  }
  if (state_->thread.joinable()) state_->thread.join();
}

AnnotationFigures GrafanaAnnotator::figures() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->figures;
}

}  // namespace firedrill::controller
