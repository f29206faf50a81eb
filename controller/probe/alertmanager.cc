// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/alertmanager.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostAlerts = 1000;
constexpr std::size_t kMostLabels = 64;
constexpr int kDeepest = 8;

absl::Status Wrong(std::string_view where, std::string_view what) {
  return absl::InvalidArgumentError(fmt::format("alertmanager webhook: {}: {}", where, what));
}

const Json* Member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

absl::StatusOr<std::string> TextOf(const Json& object, const char* name, const std::string& where) {
  const Json* value = Member(object, name);
  if (value == nullptr) return Wrong(where + name, "is missing");
  if (!value->is_string()) return Wrong(where + name, "must be a text");
  return value->get<std::string>();
}

absl::StatusOr<SystemTime> TimeOf(const Json& object, const char* name, const std::string& where) {
  ASSIGN_OR_RETURN(const std::string text, TextOf(object, name, where));
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return Wrong(where + name, fmt::format("must be a time as 2026-11-22T16:41:01Z, not '{}'",
                                           text.substr(0, 64)));
  }
  // The zero time, 0001-01-01, is out of what nanoseconds can say: it becomes their first.
  return SystemTime(Nanoseconds(absl::ToUnixNanos(time)));
}

absl::StatusOr<AlertNotice> NoticeOf(const Json& alert, const std::string& where,
                                     SystemTime received_at) {
  if (!alert.is_object()) return Wrong(where, "must be an object");
  AlertNotice notice;
  notice.received_at = received_at;
  ASSIGN_OR_RETURN(const std::string status, TextOf(alert, "status", where));
  if (status != "firing" && status != "resolved") {
    return Wrong(where + "status", "must be firing or resolved");
  }
  notice.firing = status == "firing";
  const Json* labels = Member(alert, "labels");
  if (labels == nullptr || !labels->is_object()) return Wrong(where + "labels", "is missing");
  if (labels->size() > kMostLabels) return Wrong(where + "labels", "are too many");
  for (const auto& [name, value] : labels->items()) {
    if (!value.is_string()) return Wrong(where + "labels." + name, "must be a text");
    notice.labels[name] = value.get<std::string>();
  }
  const auto name = notice.labels.find("alertname");
  if (name == notice.labels.end()) return Wrong(where + "labels.alertname", "is missing");
  notice.alert = name->second;
  ASSIGN_OR_RETURN(notice.starts_at, TimeOf(alert, "startsAt", where));
  // Present but zero while it fires.
  if (!notice.firing) {
    ASSIGN_OR_RETURN(notice.ends_at, TimeOf(alert, "endsAt", where));
  }
  ASSIGN_OR_RETURN(notice.fingerprint, TextOf(alert, "fingerprint", where));
  return notice;
}

bool Same(const AlertNotice& left, const AlertNotice& right) {
  return left.firing == right.firing && left.starts_at == right.starts_at &&
         left.fingerprint == right.fingerprint;
}

}  // namespace

absl::StatusOr<std::vector<AlertNotice>> ParseAlertmanagerWebhook(std::string_view body,
                                                                  SystemTime received_at,
                                                                  std::uint64_t* truncated) {
  bool too_deep = false;
  const Json root = Json::parse(
      body,
      [&too_deep](int depth, Json::parse_event_t, Json&) {
        too_deep = too_deep || depth > kDeepest;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  if (too_deep) return Wrong("body", "is nested too deeply");
  if (root.is_discarded() || !root.is_object()) return Wrong("body", "must be a JSON object");
  ASSIGN_OR_RETURN(const std::string version, TextOf(root, "version", ""));
  if (version != "4") return Wrong("version", "must be \"4\"");
  const Json* alerts = Member(root, "alerts");
  if (alerts == nullptr || !alerts->is_array()) return Wrong("alerts", "must be a list");
  if (alerts->size() > kMostAlerts) {
    return Wrong("alerts", fmt::format("are {}, more than {}", alerts->size(), kMostAlerts));
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
                                   [&](const AlertNotice& old) { return Same(old, notice); });
    if (known) continue;
    notices.push_back(notice);
    ++added;
  }
  return added;
}

bool Matches(const ProbeQuestion::Alert& alert, const AlertNotice& notice) {
  if (alert.name != notice.alert) return false;
  return std::all_of(alert.labels.begin(), alert.labels.end(), [&](const auto& label) {
    const auto found = notice.labels.find(label.first);
    return found != notice.labels.end() && found->second == label.second;
  });
}

}  // namespace firedrill::controller
