// SPDX-License-Identifier: Apache-2.0
// Which alert of the experiment a notification is about.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "controller/measure/record.h"
#include "controller/probe/matching.h"

namespace firedrill::controller {
namespace {

constexpr std::size_t kMostNotices = 200;                      // of one alert
constexpr std::size_t kMostNoticeBytes = 256 << 10;            // of their labels
constexpr Nanoseconds kLongestWait = std::chrono::minutes(1);  // for samples

using Labels = std::map<std::string, std::string>;

const AlertNotice& NoticeOf(const AlertNotice& notice) { return notice; }
const AlertNotice& NoticeOf(const WaitingNotice& waiting) { return waiting.notice; }

// Unless it is there, or there are too many. `Kept`: AlertNotice or WaitingNotice.
template <typename Kept>
bool Add(const AlertNotice& notice, std::vector<Kept>& known) {
  if (known.size() >= kMostNotices) return false;
  std::size_t bytes = 0;
  for (const Kept& kept : known) {
    const AlertNotice& old = NoticeOf(kept);
    if (SameNotice(old, notice)) return false;
    for (const auto& [name, value] : old.labels) bytes += name.size() + value.size();
  }
  if (bytes >= kMostNoticeBytes) return false;
  known.push_back({notice});
  return true;
}

}  // namespace

// By its labels as they are.
bool EvidenceRecord::IsNamed(std::size_t i, const AlertNotice& notice) const {
  const v1::Detection& detection = run_.experiment().detection(static_cast<int>(i));
  return notice.alert == detection.alert() &&
         Carries(notice.labels, {detection.labels().begin(), detection.labels().end()});
}

bool EvidenceRecord::SentAsTheyAre() const {
  return path_ != nullptr && path_->known && path_->steps.empty();
}

// With which labels the alert's series are sent, as far as that is known; none where they are sent
// as they are.
std::vector<Labels> EvidenceRecord::SentSeries(std::size_t i) const {
  std::vector<Labels> all;
  if (path_ == nullptr || SentAsTheyAre()) return all;
  for (const AlertSeries& series : evidence_.alerts[i].series) {
    SentAlert sent = SentAs(*path_, series.labels);
    const bool tells = sent.known ? !sent.labels.empty() : sent.labels.count("alertname") > 0;
    if (sent.sent && tells) all.push_back(std::move(sent.labels));
  }
  return all;
}

bool EvidenceRecord::Take(const std::vector<AlertNotice>& notices) {
  if (evidence_.alerts.empty()) return false;
  std::vector<const AlertNotice*> all;
  for (const AlertNotice& notice : notices) all.push_back(&notice);
  std::set<const AlertNotice*> placed;
  bool news = Place(all, placed);
  if (!SentAsTheyAre()) {
    for (const AlertNotice& notice : notices) {
      if (placed.count(&notice) == 0) news |= Add(notice, evidence_.waiting);
    }
  }
  if (news) Write();
  return news;
}

// Adds them to the alerts that they are about.
bool EvidenceRecord::Place(const std::vector<const AlertNotice*>& notices,
                           std::set<const AlertNotice*>& placed) {
  bool news = false;
  for (std::size_t i = 0; i < evidence_.alerts.size(); ++i) {
    std::vector<AlertNotice>& known = evidence_.alerts[i].notices;
    const std::vector<Labels> sent = SentSeries(i);
    for (const AlertNotice* notice : notices) {
      const auto carries = [notice](const Labels& one) { return Carries(notice->labels, one); };
      if (!IsNamed(i, *notice) && std::none_of(sent.begin(), sent.end(), carries)) continue;
      placed.insert(notice);
      news |= Add(*notice, known);
    }
    PickRoute(i);
  }
  return news;
}

// Only time between two answers counts: while Prometheus is away nothing can be known of a series.
bool EvidenceRecord::TakeWaiting(const ProbeAnswer& answer) {
  if (answer.alerts.empty()) return false;  // they were not asked for
  const bool answered =
      answer.status.ok() && std::all_of(answer.alerts.begin(), answer.alerts.end(),
                                        [](const auto& alert) { return alert.status.ok(); });
  const std::optional<SystemTime> before = answered_at_;
  answered_at_ = answered ? std::optional(answer.asked_at) : std::nullopt;
  if (evidence_.waiting.empty()) return false;
  std::vector<const AlertNotice*> all;
  for (const WaitingNotice& waiting : evidence_.waiting) all.push_back(&waiting.notice);
  std::set<const AlertNotice*> placed;
  const bool news = Place(all, placed);
  std::vector<WaitingNotice> left;
  for (WaitingNotice& waiting : evidence_.waiting) {
    if (placed.count(&waiting.notice) > 0) continue;
    if (answered && before) {
      waiting.waited +=
          std::max(Nanoseconds(0), answer.asked_at - std::max(*before, waiting.notice.received_at));
    }
    if (waiting.waited < kLongestWait) left.push_back(std::move(waiting));
  }
  evidence_.waiting = std::move(left);
  return news;
}

void EvidenceRecord::PickRoute(std::size_t i) {
  AlertEvidence& alert = evidence_.alerts[i];
  if (alert.notices.empty()) return;
  const AlertRoute* ours = nullptr;
  for (const AlertRoute& route : routes_[i]) {
    if (route.receiver != alert.notices.front().receiver) continue;
    if (ours == nullptr || route.group_wait < ours->group_wait) ours = &route;
  }
  if (ours != nullptr) alert.route = *ours;
}

}  // namespace firedrill::controller
