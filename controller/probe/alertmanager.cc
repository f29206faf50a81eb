// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/alertmanager.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "controller/json/json_reader.h"
#include "controller/probe/matching.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostAlerts = 1000;
constexpr std::size_t kMostLabels = 64;
constexpr int kDeepest = 8;
constexpr SystemTime kLatest{std::chrono::seconds(7'258'118'400)};  // 2200
constexpr Nanoseconds kMostAhead = std::chrono::minutes(10);        // of our clock

constexpr JsonReader kReader("alertmanager webhook");

// Refuses what no alert of ours can have.
absl::StatusOr<SystemTime> TimeOf(const Json& object, const char* name, const std::string& where) {
  ASSIGN_OR_RETURN(const std::string text, kReader.Text(object, name, where));
  ASSIGN_OR_RETURN(const SystemTime time, kReader.Time(text, where + name));
  if (time < SystemTime() || time > kLatest) {
    return kReader.Wrong(where + name, "must lie between 1970 and 2200");
  }
  return time;
}

absl::StatusOr<AlertNotice> NoticeOf(const Json& alert, const std::string& where,
                                     SystemTime received_at) {
  if (!alert.is_object()) return kReader.Wrong(where, "must be an object");
  AlertNotice notice;
  notice.received_at = received_at;
  ASSIGN_OR_RETURN(const std::string status, kReader.Text(alert, "status", where));
  if (status != "firing" && status != "resolved") {
    return kReader.Wrong(where + "status", "must be firing or resolved");
  }
  notice.firing = status == "firing";
  const Json* labels = Member(alert, "labels");
  if (labels == nullptr || !labels->is_object())
    return kReader.Wrong(where + "labels", "is missing");
  if (labels->size() > kMostLabels) return kReader.Wrong(where + "labels", "are too many");
  for (const auto& [name, value] : labels->items()) {
    if (!value.is_string())
      return kReader.Wrong(where + "labels." + Quoted(name), "must be a text");
    notice.labels[name] = value.get<std::string>();
  }
  const auto name = notice.labels.find("alertname");
  if (name == notice.labels.end()) return kReader.Wrong(where + "labels.alertname", "is missing");
  notice.alert = name->second;
  ASSIGN_OR_RETURN(notice.starts_at, TimeOf(alert, "startsAt", where));
  // Clocks differ, but not so much.
  if (notice.starts_at > received_at + kMostAhead) {
    return kReader.Wrong(where + "startsAt", "is in the future: are the clocks right?");
  }
  // Present but zero while it fires.
  if (!notice.firing) {
    ASSIGN_OR_RETURN(notice.ends_at, TimeOf(alert, "endsAt", where));
  }
  ASSIGN_OR_RETURN(notice.fingerprint, kReader.Text(alert, "fingerprint", where));
  return notice;
}

}  // namespace

absl::StatusOr<std::vector<AlertNotice>> ParseAlertmanagerWebhook(std::string_view body,
                                                                  SystemTime received_at,
                                                                  std::uint64_t* truncated) {
  ASSIGN_OR_RETURN(const Json root, kReader.Body(body, kDeepest));
  ASSIGN_OR_RETURN(const std::string version, kReader.Text(root, "version", ""));
  if (version != "4") return kReader.Wrong("version", "must be \"4\"");
  const Json* alerts = Member(root, "alerts");
  if (alerts == nullptr || !alerts->is_array()) return kReader.Wrong("alerts", "must be a list");
  if (alerts->size() > kMostAlerts) {
    return kReader.Wrong("alerts",
                         fmt::format("are {}, more than {}", alerts->size(), kMostAlerts));
  }
  const Json* name = Member(root, "receiver");
  const std::string receiver =
      name != nullptr && name->is_string() ? name->get<std::string>() : std::string();
  if (truncated != nullptr) {
    const Json* left_out = Member(root, "truncatedAlerts");
    *truncated =
        left_out != nullptr && left_out->is_number_unsigned() ? left_out->get<std::uint64_t>() : 0;
  }
  std::vector<AlertNotice> notices;
  for (std::size_t i = 0; i < alerts->size(); ++i) {
    ASSIGN_OR_RETURN(AlertNotice notice,
                     NoticeOf((*alerts)[i], fmt::format("alerts[{}].", i), received_at));
    notice.receiver = receiver;
    AddNotices({std::move(notice)}, notices);
  }
  return notices;
}

std::size_t AddNotices(const std::vector<AlertNotice>& fresh, std::vector<AlertNotice>& notices) {
  std::size_t added = 0;
  for (const AlertNotice& notice : fresh) {
    const bool known = std::any_of(notices.begin(), notices.end(),
                                   [&](const AlertNotice& old) { return SameNotice(old, notice); });
    if (known) continue;
    notices.push_back(notice);
    ++added;
  }
  return added;
}

}  // namespace firedrill::controller
