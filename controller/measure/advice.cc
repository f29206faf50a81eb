// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "controller/probe/promql.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

// Scrapes that a range ought to hold so that a missed one does not blind it.
constexpr int kScrapesInRange = 4;

bool CallsAny(const PromqlShape& shape, const std::set<std::string>& functions) {
  return std::any_of(shape.functions.begin(), shape.functions.end(),
                     [&](const std::string& called) { return functions.count(called) != 0; });
}

class Adviser {
 public:
  Adviser(const v1::AlertResult& result, const AlertEvidence& evidence)
      : result_(result), evidence_(evidence) {}

  std::vector<v1::Advice> Run() {
    if (evidence_.rule) {
      LookAtFor(*evidence_.rule);
      LookAtScrapes(*evidence_.rule);
      LookAtAbsence(*evidence_.rule);
      LookAtWindow(*evidence_.rule);
    }
    if (evidence_.route) LookAtRoute(*evidence_.route);
    return std::move(advice_);
  }

 private:
  void Add(v1::AdviceKind kind, std::string message, Nanoseconds gain = Nanoseconds(0)) {
    v1::Advice& advice = advice_.emplace_back();
    advice.set_kind(kind);
    advice.set_subject(result_.expected().alert());
    advice.set_message(std::move(message));
    if (gain.count() > 0) *advice.mutable_gain() = ToProto(gain);
  }

  void LookAtFor(const AlertRule& rule) {
    const Nanoseconds interval = rule.evaluation_interval;
    const Nanoseconds pending = rule.pending_for;
    if (interval.count() <= 0 || pending % interval == Nanoseconds(0)) return;
    const Nanoseconds below = (pending / interval) * interval;
    const Nanoseconds fires = below + interval;
    Add(v1::ADVICE_KIND_FOR_NOT_A_MULTIPLE,
        fmt::format("for: {0} with an evaluation interval of {1} fires only after {2}, {3} later "
                    "than it says: for: {4} would fire {1} sooner, an interval that divides {0} "
                    "{3} sooner, and for: {2} would say what happens",
                    FormatDuration(pending), FormatDuration(interval), FormatDuration(fires),
                    FormatDuration(fires - pending), FormatDuration(below)),
        fires - pending);
  }

  void LookAtScrapes(const AlertRule& rule) {
    if (!rule.scrape_interval || rule.scrape_interval->count() <= 0) return;
    const Nanoseconds scrape = *rule.scrape_interval;
    if (rule.window.count() > 0 && rule.window < 2 * scrape) {
      Add(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK,
          fmt::format("it looks back over {}, but what it reads is scraped every {}: a rate needs "
                      "two samples within its range, and without them the rule does not fire. A "
                      "range of {}, or a scrape interval of {}, leaves room for a missed scrape",
                      FormatDuration(rule.window), FormatDuration(scrape),
                      FormatDuration(kScrapesInRange * scrape),
                      FormatDuration(rule.window / kScrapesInRange)));
    }
    if (scrape >= kDefaultLookBack) {
      Add(v1::ADVICE_KIND_SCRAPE_OVER_LOOK_BACK,
          fmt::format("what it reads is scraped every {}, but a sample is stale after {} (unless "
                      "--query.lookback-delta was raised): between two scrapes the rule sees "
                      "nothing, resolves, and `for` begins anew. At most every {} would do",
                      FormatDuration(scrape), FormatDuration(kDefaultLookBack),
                      FormatDuration(kDefaultLookBack / 2)));
    }
  }

  void LookAtAbsence(const AlertRule& rule) {
    const PromqlShape shape = ShapeOf(rule.expression);
    const bool rate = CallsAny(shape, {"rate", "irate", "increase", "delta", "idelta"});
    if (!shape.divides && !rate) return;
    if (CallsAny(shape, {"absent", "absent_over_time"}) || !rule.absent_in.empty()) return;
    std::string selectors;
    for (const std::string& selector : shape.selectors) {
      selectors += (selectors.empty() ? "" : ", ") + selector;
    }
    Add(v1::ADVICE_KIND_NO_ABSENT,
        fmt::format(
            "it is a {} of {}: once these series are gone it has no value and resolves, "
            "however broken the system is. No rule calls absent() on them; `or absent({})`, "
            "or an alert of its own for it, would",
            shape.divides ? "ratio" : "rate", selectors,
            shape.selectors.empty() ? "…" : shape.selectors.front()));
  }

  // By the model the condition lasts for window·θ/e: it shrinks as the window does.
  void LookAtWindow(const AlertRule& rule) {
    if (rule.window.count() <= 0 || !result_.has_time_to_detect()) return;
    const Nanoseconds detected = FromProto(result_.time_to_detect().value());
    Nanoseconds condition{0};
    for (const v1::Stage& stage : result_.stages()) {
      if (stage.kind() == v1::STAGE_KIND_CONDITION) condition += FromProto(stage.value());
    }
    const Nanoseconds scrape = rule.scrape_interval.value_or(Nanoseconds(0));
    // One that lasts for longer than the window is not of the window.
    if (2 * condition <= detected || condition > rule.window + scrape) return;
    const Nanoseconds shorter = std::max(rule.window / 2, kScrapesInRange * scrape);
    if (shorter >= rule.window) return;
    const double share = Seconds(shorter) / Seconds(rule.window);
    const Nanoseconds gain(
        static_cast<Nanoseconds::rep>(static_cast<double>(condition.count()) * (1 - share)));
    Add(v1::ADVICE_KIND_WINDOW,
        fmt::format("{} of the {} to detect passed until its window of {} had filled far enough "
                    "with the fault. A window of {} needs about {} less where a share of errors is "
                    "steady, and is noisier",
                    FormatDuration(condition), FormatDuration(detected),
                    FormatDuration(rule.window), FormatDuration(shorter), FormatDuration(gain)),
        gain);
  }

  void LookAtRoute(const AlertRoute& route) {
    if (route.delivers) return;
    Add(v1::ADVICE_KIND_NO_RECEIVER,
        route.receiver.empty()
            ? "Prometheus sends it to no Alertmanager: nobody is told of it"
            : fmt::format("Alertmanager's route leads to the receiver {}, which has no way out: "
                          "nobody is told of it",
                          route.receiver));
  }

  const v1::AlertResult& result_;
  const AlertEvidence& evidence_;
  std::vector<v1::Advice> advice_;
};

}  // namespace

std::vector<v1::Advice> AdviseOn(const v1::AlertResult& result, const AlertEvidence& evidence) {
  return Adviser(result, evidence).Run();
}

}  // namespace firedrill::controller
