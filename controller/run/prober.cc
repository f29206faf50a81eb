// SPDX-License-Identifier: Apache-2.0
#include "controller/run/prober.h"

#include <utility>

namespace firedrill::controller {

Prober::Prober(Probe& probe) : probe_(probe), thread_([this] { Loop(); }) {}

Prober::~Prober() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Prober::Ask(ProbeQuestions questions, Recent recent, Done done) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back({std::move(questions), std::move(recent), std::move(done)});
}

void Prober::Loop() {
  while (true) {
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Prober::Ready));
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    ProbeAnswers answers;
    answers.recent = probe_.Ask(job.questions.recent);
    // It may say that a stop condition holds, which waits for nothing else.
    job.recent(answers.recent);
    answers.alerts.asked_at = answers.recent.asked_at;
    if (answers.recent.status.ok()) {
      if (!job.questions.alerts.alerts.empty()) answers.alerts = probe_.Ask(job.questions.alerts);
      answers.scrape_interval = probe_.ScrapeInterval();
    } else {
      // Stop conditions wait for this answer: one deadline that has passed is enough.
      ProbeAnswer::Alert unknown;
      unknown.status = answers.alerts.status = answers.recent.status;
      answers.alerts.alerts.assign(job.questions.alerts.alerts.size(), unknown);
    }
    job.done(answers);
  }
}

}  // namespace firedrill::controller
