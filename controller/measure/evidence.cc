// SPDX-License-Identifier: Apache-2.0
#include "controller/measure/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "controller/experiment/reserved.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using Labels = std::map<std::string, std::string>;

Labels ToLabels(const google::protobuf::Map<std::string, std::string>& labels) {
  return {labels.begin(), labels.end()};
}

std::string UnknownOf(const absl::Status& status) {
  if (status.ok()) return "";
  return status.message().empty() ? std::string("it had no answer")
                                  : std::string(status.message().data(), status.message().size());
}
absl::Status StatusOf(const std::string& unknown) {
  return unknown.empty() ? absl::OkStatus() : absl::UnavailableError(unknown);
}

v1::AlertRule ToMessage(const AlertRule& rule) {
  v1::AlertRule message;
  message.set_group(rule.group);
  message.set_file(rule.file);
  message.set_expression(rule.expression);
  message.mutable_labels()->insert(rule.labels.begin(), rule.labels.end());
  *message.mutable_pending_for() = ToProto(rule.pending_for);
  *message.mutable_keep_firing_for() = ToProto(rule.keep_firing_for);
  *message.mutable_evaluation_interval() = ToProto(rule.evaluation_interval);
  *message.mutable_query_offset() = ToProto(rule.query_offset);
  if (rule.scrape_interval) *message.mutable_scrape_interval() = ToProto(*rule.scrape_interval);
  if (rule.window.count() != 0) *message.mutable_window() = ToProto(rule.window);
  *message.mutable_absent_in() = {rule.absent_in.begin(), rule.absent_in.end()};
  return message;
}
AlertRule FromMessage(const v1::AlertRule& message) {
  AlertRule rule;
  rule.group = message.group();
  rule.file = message.file();
  rule.expression = message.expression();
  rule.labels = ToLabels(message.labels());
  rule.pending_for = FromProto(message.pending_for());
  rule.keep_firing_for = FromProto(message.keep_firing_for());
  rule.evaluation_interval = FromProto(message.evaluation_interval());
  rule.query_offset = FromProto(message.query_offset());
  if (message.has_scrape_interval()) rule.scrape_interval = FromProto(message.scrape_interval());
  rule.window = FromProto(message.window());
  rule.absent_in = {message.absent_in().begin(), message.absent_in().end()};
  return rule;
}

v1::AlertRoute ToMessage(const AlertRoute& route) {
  v1::AlertRoute message;
  message.set_receiver(route.receiver);
  *message.mutable_group_wait() = ToProto(route.group_wait);
  *message.mutable_group_interval() = ToProto(route.group_interval);
  *message.mutable_group_by() = {route.group_by.begin(), route.group_by.end()};
  message.set_delivers(route.delivers);
  return message;
}
AlertRoute FromMessage(const v1::AlertRoute& message) {
  AlertRoute route;
  route.receiver = message.receiver();
  route.group_wait = FromProto(message.group_wait());
  route.group_interval = FromProto(message.group_interval());
  route.group_by = {message.group_by().begin(), message.group_by().end()};
  route.delivers = message.delivers();
  return route;
}

v1::Notification ToMessage(const AlertNotice& notice) {
  v1::Notification message;
  message.set_alert(notice.alert);
  message.mutable_labels()->insert(notice.labels.begin(), notice.labels.end());
  message.set_firing(notice.firing);
  *message.mutable_starts_at() = ToProto(notice.starts_at);
  if (notice.ends_at) *message.mutable_ends_at() = ToProto(*notice.ends_at);
  *message.mutable_received_at() = ToProto(notice.received_at);
  message.set_fingerprint(notice.fingerprint);
  message.set_receiver(notice.receiver);
  return message;
}
AlertNotice FromMessage(const v1::Notification& message) {
  AlertNotice notice;
  notice.alert = message.alert();
  notice.labels = ToLabels(message.labels());
  notice.firing = message.firing();
  notice.starts_at = FromProto(message.starts_at());
  if (message.has_ends_at()) notice.ends_at = FromProto(message.ends_at());
  notice.received_at = FromProto(message.received_at());
  notice.fingerprint = message.fingerprint();
  notice.receiver = message.receiver();
  return notice;
}

v1::AlertEvidence ToMessage(const AlertEvidence& alert, std::size_t index) {
  v1::AlertEvidence message;
  for (std::size_t n = 0; n < alert.series.size(); ++n) {
    v1::AlertSeries& series = *message.add_series();
    series.mutable_labels()->insert(alert.series[n].labels.begin(), alert.series[n].labels.end());
    series.set_firing(alert.series[n].firing);
    series.set_series(AlertSeriesName(index, n));
  }
  if (!alert.truth.empty()) message.set_truth_series(TruthSeriesName(index));
  if (alert.rule) *message.mutable_rule() = ToMessage(*alert.rule);
  if (alert.route) *message.mutable_route() = ToMessage(*alert.route);
  for (const AlertNotice& notice : alert.notices) {
    *message.add_notifications() = ToMessage(notice);
  }
  *message.mutable_uncertainty() = ToProto(alert.uncertainty);
  *message.mutable_clock_offset() = ToProto(alert.clock_offset);
  message.set_unknown(UnknownOf(alert.status));
  message.set_series_left_out(alert.series_left_out);
  return message;
}

// The samples of each series by its name.
class SeriesByName {
 public:
  explicit SeriesByName(const v1::Run& run) {
    for (const v1::Series& series : run.series()) series_[series.name()] = &series;
  }
  std::vector<RawSample> Find(const std::string& name) const {
    const auto found = series_.find(name);
    return found == series_.end() ? std::vector<RawSample>() : SamplesOf(*found->second);
  }

 private:
  std::map<std::string, const v1::Series*> series_;
};

AlertEvidence FromMessage(const v1::AlertEvidence& message, const SeriesByName& samples) {
  AlertEvidence alert;
  for (const v1::AlertSeries& series : message.series()) {
    alert.series.push_back(
        {ToLabels(series.labels()), series.firing(), samples.Find(series.series())});
  }
  if (!message.truth_series().empty()) alert.truth = samples.Find(message.truth_series());
  if (message.has_rule()) alert.rule = FromMessage(message.rule());
  if (message.has_route()) alert.route = FromMessage(message.route());
  for (const v1::Notification& notice : message.notifications()) {
    alert.notices.push_back(FromMessage(notice));
  }
  alert.uncertainty = FromProto(message.uncertainty());
  alert.clock_offset = FromProto(message.clock_offset());
  alert.status = StatusOf(message.unknown());
  alert.series_left_out = message.series_left_out();
  return alert;
}

}  // namespace

std::string AlertSeriesName(std::size_t alert, std::size_t n) {
  return fmt::format("{}{}/{}", kAlertSeriesPrefix, alert, n);
}

std::string TruthSeriesName(std::size_t alert) {
  return fmt::format("{}{}/rule", kAlertSeriesPrefix, alert);
}

v1::Evidence ToMessage(const Evidence& evidence) {
  v1::Evidence message;
  for (std::size_t i = 0; i < evidence.alerts.size(); ++i) {
    *message.add_alerts() = ToMessage(evidence.alerts[i], i);
  }
  for (const IndicatorEvidence& indicator : evidence.indicators) {
    v1::IndicatorEvidence& one = *message.add_indicators();
    if (indicator.interval) *one.mutable_interval() = ToProto(*indicator.interval);
    *one.mutable_uncertainty() = ToProto(indicator.uncertainty);
    one.set_unknown(UnknownOf(indicator.status));
    if (indicator.window.count() != 0) *one.mutable_window() = ToProto(indicator.window);
  }
  for (const TimeSpan& span : evidence.blind) {
    v1::TimeSpan& one = *message.add_blind();
    *one.mutable_from() = ToProto(span.from);
    *one.mutable_to() = ToProto(span.to);
  }
  for (const WaitingNotice& waiting : evidence.waiting) {
    v1::WaitingNotification& one = *message.add_waiting();
    *one.mutable_notification() = ToMessage(waiting.notice);
    *one.mutable_waited() = ToProto(waiting.waited);
  }
  *message.mutable_watched_until() = ToProto(evidence.now);
  message.set_final(evidence.final);
  message.set_blind_unknown(evidence.blind_unknown);
  message.set_cut_short(evidence.cut_short);
  return message;
}

v1::Sample ToMessage(const RawSample& sample) {
  v1::Sample message;
  *message.mutable_at() = ToProto(sample.at);
  message.set_value(sample.value);
  return message;
}

std::vector<RawSample> SamplesOf(const v1::Series& series) {
  std::vector<RawSample> samples;
  samples.reserve(static_cast<std::size_t>(series.samples_size()));
  for (const v1::Sample& sample : series.samples()) {
    samples.push_back({FromProto(sample.at()), sample.value()});
  }
  std::stable_sort(samples.begin(), samples.end(),
                   [](const auto& left, const auto& right) { return left.at < right.at; });
  std::vector<RawSample> kept;
  kept.reserve(samples.size());
  for (const RawSample& sample : samples) {
    if (!kept.empty() && kept.back().at == sample.at) kept.pop_back();
    kept.push_back(sample);
  }
  return kept;
}

Evidence EvidenceOf(const v1::Run& run) {
  const SeriesByName samples(run);
  const v1::Evidence& message = run.evidence();
  Evidence evidence;
  evidence.instants = InstantsOf(run);
  for (int i = 0; i < run.experiment().detection_size(); ++i) {
    AlertEvidence& alert = evidence.alerts.emplace_back();
    if (i < message.alerts_size()) {
      alert = FromMessage(message.alerts(i), samples);
    } else {
      alert.status = absl::UnavailableError("the probe has not answered yet");
    }
  }
  for (int i = 0; i < run.experiment().steady_state_size(); ++i) {
    IndicatorEvidence& indicator = evidence.indicators.emplace_back();
    indicator.samples = samples.Find(run.experiment().steady_state(i).name());
    if (i < message.indicators_size()) {
      const v1::IndicatorEvidence& one = message.indicators(i);
      if (one.has_interval()) indicator.interval = FromProto(one.interval());
      indicator.uncertainty = FromProto(one.uncertainty());
      indicator.status = StatusOf(one.unknown());
      indicator.window = FromProto(one.window());
    } else {
      indicator.status = absl::UnavailableError("the probe has not answered yet");
    }
  }
  for (const v1::TimeSpan& span : message.blind()) {
    evidence.blind.push_back({FromProto(span.from()), FromProto(span.to())});
  }
  for (AlertEvidence& alert : evidence.alerts) alert.blind = evidence.blind;
  for (const v1::WaitingNotification& one : message.waiting()) {
    evidence.waiting.push_back({FromMessage(one.notification()), FromProto(one.waited())});
  }
  evidence.now = FromProto(message.watched_until());
  evidence.final = message.final();
  evidence.blind_unknown = message.blind_unknown();
  evidence.cut_short = message.cut_short();
  return evidence;
}

}  // namespace firedrill::controller
