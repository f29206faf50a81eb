// SPDX-License-Identifier: Apache-2.0
// What is the time from the impact to the notification made of?
//
// With S the scrape interval, E the evaluation interval, F the rule's `for`:
//
//   scrape      to the first scrape after the impact of what the rule reads; at most S
//   condition   to the first scrape over which the expression held, and held on until the
//               evaluation: the system's own time, the threshold, the rate window
//   evaluation  to the evaluation over that scrape; at most E and the rule's query_offset
//   for         F
//   rounding    E·⌈F/E⌉ - F: Prometheus looks only when it evaluates
//   delay       what is over this: a whole number of scrapes or evaluations that were due and did
//               not happen, or a `for` that had to begin anew after a restart
//   grouping    group_wait
//   delivery    the rest
//
//  - A scrape is stamped with its start. One that is stamped before the impact and shows it took no
//    time: neither scrape nor condition.
//  - Where the expression held before the impact already, for another set of labels, it is the
//    first scrape with more series than there were then that counts.
//  - An expression can turn true between two scrapes, when a sample leaves its window: then the
//    condition lasts until the evaluation.
//  - Firing without pending although the rule has a `for`: its pending samples are missing, and
//    `for` is taken from the rule.
#include "controller/measure/stages.h"

#include <fmt/format.h>

#include <algorithm>

#include "controller/measure/instants.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// A sample is stored when its scrape is over: an evaluation that comes meanwhile does not see it.
constexpr Nanoseconds kScrapeTakes = std::chrono::seconds(1);
// From firing to the webhook over what group_wait explains: more has another reason.
constexpr Nanoseconds kDeliveryTakes = std::chrono::seconds(2);

std::string Setting(const char* name, Nanoseconds value) {
  return fmt::format("{}: {}", name, FormatDuration(value));
}

class Waterfall {
 public:
  Waterfall(const DetectionInstants& instants, const AlertEvidence& evidence)
      : instants_(instants),
        evidence_(evidence),
        tolerance_(2 * evidence.uncertainty + kSameInstant),
        impact_(instants.impact.at),
        firing_(std::max(instants.firing.at, impact_)),
        active_(std::clamp(instants.active.at, impact_, firing_)),
        at_(impact_),
        limit_(firing_) {
    if (evidence.rule) {
      rule_ = *evidence.rule;
      scrape_ = rule_.scrape_interval.value_or(Nanoseconds(0));
      held_for_ = RoundedUp(rule_.pending_for, rule_.evaluation_interval);
    }
  }

  std::vector<v1::Stage> Run() {
    if (active_ == firing_ && held_for_.count() > 0 && firing_ - held_for_ >= impact_) {
      active_ = firing_ - held_for_;
      pending_missing_ = true;
    }
    UntilActive();
    UntilFiring();
    UntilNotified();
    return std::move(stages_);
  }

 private:
  // A stage from the end of the last one to `end`; none if that is not later.
  void Until(SystemTime end, v1::StageKind kind, std::string setting, std::string explanation,
             Nanoseconds uncertainty) {
    end = std::min(end, limit_);
    if (end <= at_) return;
    v1::Stage& stage = stages_.emplace_back();
    stage.set_kind(kind);
    *stage.mutable_value() = ToProto(end - at_);
    // The first begins at the impact, which may be off as well.
    const bool first = stages_.size() == 1;
    *stage.mutable_uncertainty() =
        ToProto(uncertainty + (first ? instants_.impact.uncertainty : Nanoseconds(0)));
    stage.set_setting(std::move(setting));
    stage.set_explanation(std::move(explanation));
    at_ = end;
  }
  void Until(SystemTime end, v1::StageKind kind, std::string setting, std::string explanation) {
    Until(end, kind, std::move(setting), std::move(explanation), evidence_.uncertainty);
  }

  void UntilActive() {
    if (active_ == impact_) return;
    if (!evidence_.rule) {
      return Until(active_, v1::STAGE_KIND_CONDITION, "",
                   "until the rule was true; its scrape and its evaluation are in this, as the "
                   "rule could not be read");
    }
    const SystemTime read_until = active_ - rule_.query_offset + tolerance_;
    const auto end = std::find_if(evidence_.truth.begin(), evidence_.truth.end(),
                                  [&](const RawSample& sample) { return sample.at > read_until; });
    if (end == evidence_.truth.begin()) {
      return Until(active_, v1::STAGE_KIND_CONDITION, WindowSetting(),
                   "until the rule was true; its scrape and its evaluation are in this, as it is "
                   "not known which scrape made it true");
    }
    const std::vector<RawSample> truth(evidence_.truth.begin(), end);
    const double before = CountBefore(truth);
    auto first = truth.end();
    while (first != truth.begin() && (first - 1)->value > before) --first;
    const auto after = std::find_if(truth.begin(), truth.end(),
                                    [&](const RawSample& sample) { return sample.at >= impact_; });
    if (first == truth.end()) {
      const Nanoseconds since_last =
          std::max(Nanoseconds(0), active_ - std::max(impact_, truth.back().at));
      if (after != truth.end()) UntilScraped(after->at);
      return Until(active_, v1::STAGE_KIND_CONDITION, WindowSetting(),
                   "until the rule was true, which it became between two scrapes" + WindowText(),
                   evidence_.uncertainty + since_last);
    }
    if (first->at >= impact_) {
      UntilScraped(after->at);
      UntilTrue(first->at);
    }
    UntilEvaluated(std::max(first->at, impact_));
  }

  // How many series held before the impact could show.
  double CountBefore(const std::vector<RawSample>& truth) const {
    const SystemTime shows = impact_ - std::max(scrape_, kScrapeTakes) - tolerance_;
    double count = 0;
    for (const RawSample& sample : truth) {
      if (sample.at < shows) count = sample.value;
    }
    return count;
  }

  // The instant at which the scrape of `scraped` was first due if Prometheus was blind until then,
  // by the phase that a target keeps; else `scraped`.
  SystemTime Due(SystemTime scraped) const {
    if (scrape_.count() <= 0) return scraped;
    for (const TimeSpan& blind : evidence_.blind) {
      if (blind.from >= scraped || scraped > blind.to + scrape_ + tolerance_) continue;
      const Nanoseconds late = scraped - std::max(at_, blind.from + tolerance_);
      if (late > scrape_) return scraped - (late / scrape_) * scrape_;
    }
    return scraped;
  }

  void UntilScraped(SystemTime scraped) {
    const SystemTime due = Due(scraped);
    // Later than an interval: there was nothing new to read, which is the system's doing.
    const bool gone = scrape_.count() > 0 && due - at_ > scrape_ + scrape_ / 10;
    Until(gone ? at_ + scrape_ : due, v1::STAGE_KIND_SCRAPE,
          scrape_.count() > 0 ? Setting("scrape_interval", scrape_) : "",
          "until the next scrape of what the rule reads");
    if (due < scraped) {
      Until(scraped, v1::STAGE_KIND_DELAY, "", "Prometheus scraped nothing meanwhile");
    }
  }

  void UntilTrue(SystemTime scraped) {
    const SystemTime due = Due(scraped);
    Until(due, v1::STAGE_KIND_CONDITION, WindowSetting(),
          "until a scrape made the rule's expression true" + WindowText());
    Until(scraped, v1::STAGE_KIND_DELAY, "", "Prometheus scraped nothing meanwhile");
  }

  std::string WindowSetting() const {
    return rule_.window.count() > 0 ? Setting("rate window", rule_.window) : "";
  }
  std::string WindowText() const {
    if (rule_.window.count() <= 0) return "";
    const std::string window = FormatDuration(rule_.window);
    return fmt::format(
        ": it looks back over {}, so that a ratio passes a threshold θ only about {}·θ/e after "
        "the share of errors became e",
        window, window);
  }

  // `scraped`: when what the evaluation read was scraped.
  void UntilEvaluated(SystemTime scraped) {
    const Nanoseconds interval = rule_.evaluation_interval;
    std::string setting = Setting("evaluation_interval", interval);
    if (rule_.query_offset.count() > 0) {
      setting += ", " + Setting("query_offset", rule_.query_offset);
    }
    const Nanoseconds wait = active_ - scraped - rule_.query_offset;
    SystemTime due = active_;
    if (interval.count() > 0 && wait > interval + kScrapeTakes) {
      due -= (wait / interval) * interval;
    }
    Until(due, v1::STAGE_KIND_EVALUATION, interval.count() > 0 ? setting : "",
          rule_.query_offset.count() > 0
              ? fmt::format("until the rule was evaluated over that scrape, {} in the past",
                            FormatDuration(rule_.query_offset))
              : "until the rule was evaluated over that scrape");
    Until(active_, v1::STAGE_KIND_DELAY, "",
          "evaluations that were due did not happen" + BlindText(due, active_));
  }

  void UntilFiring() {
    if (at_ == firing_) return;
    if (!evidence_.rule) {
      return Until(firing_, v1::STAGE_KIND_FOR, "",
                   "pending; its rounding is in this, as the rule could not be read",
                   instants_.firing.uncertainty);
    }
    const Nanoseconds pending = firing_ - at_;
    const Nanoseconds rounding = held_for_ - rule_.pending_for;
    const bool as_due = std::chrono::abs(pending - held_for_) <= tolerance_;
    const SystemTime begun = at_;
    std::string text = "the expression must hold for so long";
    if (pending_missing_) text += "; taken from the rule, as its pending samples are missing";
    if (pending + tolerance_ < rule_.pending_for) {
      text =
          "pending, for less than the rule says now: it was changed, or the alert was pending "
          "for longer";
    }
    Until(as_due && rounding.count() == 0 ? firing_ : begun + rule_.pending_for, v1::STAGE_KIND_FOR,
          Setting("for", rule_.pending_for), text,
          pending_missing_ ? rule_.evaluation_interval : evidence_.uncertainty);
    Until(as_due ? firing_ : begun + held_for_, v1::STAGE_KIND_ROUNDING,
          Setting("evaluation_interval", rule_.evaluation_interval),
          fmt::format("for: {} is not a multiple of the evaluation interval, {}",
                      FormatDuration(rule_.pending_for), FormatDuration(rule_.evaluation_interval)),
          instants_.firing.uncertainty);
    const std::string blind = BlindText(begun, firing_);
    Until(firing_, v1::STAGE_KIND_DELAY, "",
          blind.empty() ? "evaluations came late, or `for` had to begin anew"
                        : "`for` began anew, or evaluations were missing" + blind,
          instants_.firing.uncertainty);
  }

  void UntilNotified() {
    if (!instants_.notified) return;
    const SystemTime notified = instants_.notified->at;
    limit_ = std::max(firing_, notified);
    const Nanoseconds uncertainty = instants_.notified->uncertainty;
    if (!evidence_.route) {
      return Until(notified, v1::STAGE_KIND_DELIVERY, "",
                   "until the notification arrived; group_wait is in this, as Alertmanager's "
                   "configuration could not be read",
                   uncertainty);
    }
    const AlertRoute& route = *evidence_.route;
    Until(std::min(notified, firing_ + route.group_wait), v1::STAGE_KIND_GROUPING,
          Setting("group_wait", route.group_wait),
          "Alertmanager waits for more alerts of the same group", evidence_.uncertainty);
    const bool late = notified - at_ > kDeliveryTakes && route.group_interval.count() > 0;
    Until(notified, v1::STAGE_KIND_DELIVERY,
          late ? Setting("group_interval", route.group_interval) : "",
          late ? "until the notification arrived; a group that was notified before waits for "
                 "group_interval instead, and one that was refused is sent again"
               : "until the notification arrived",
          uncertainty);
  }

  // How long Prometheus was blind in a time, in words; empty if it was not.
  std::string BlindText(SystemTime from, SystemTime to) const {
    Nanoseconds blind{0};
    for (const TimeSpan& span : evidence_.blind) {
      blind += std::max(Nanoseconds(0), std::min(span.to, to) - std::max(span.from, from));
    }
    if (blind.count() == 0) return "";
    return fmt::format("; Prometheus saw nothing for {}", FormatDuration(blind));
  }

  const DetectionInstants& instants_;
  const AlertEvidence& evidence_;
  const Nanoseconds tolerance_;  // within it two instants are the same
  const SystemTime impact_;
  const SystemTime firing_;
  SystemTime active_;
  SystemTime at_;     // the end of the last stage
  SystemTime limit_;  // no stage ends later
  AlertRule rule_;
  Nanoseconds scrape_{0};    // 0: not known
  Nanoseconds held_for_{0};  // `for`, rounded up
  bool pending_missing_ = false;
  std::vector<v1::Stage> stages_;
};

}  // namespace

std::vector<v1::Stage> StagesOf(const DetectionInstants& instants, const AlertEvidence& evidence) {
  return Waterfall(instants, evidence).Run();
}

}  // namespace firedrill::controller
