// SPDX-License-Identifier: Apache-2.0
#include "controller/pager/pager.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "absl/strings/match.h"
#include "controller/json/json_reader.h"
#include "proto/support/status_macros.h"

// https://developer.pagerduty.com/docs/webhooks-overview: one event a request, `event.agent` null
// where nobody in particular did it, `event.data` an incident, or for annotations a note.
namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 16;
constexpr std::size_t kLongestNote = 500;
constexpr std::size_t kLongestText = 200;

constexpr JsonReader kReader("pager webhook");

// On one line, and cut between characters. The JSON reader let only UTF-8 through.
std::string Line(std::string text, std::size_t most) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() <= most) return text;
  std::size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end) + "…";
}

// Empty where it is missing or null.
absl::StatusOr<std::string> TextOf(const Json& object, const char* name, const std::string& where,
                                   std::size_t most = kLongestText) {
  ASSIGN_OR_RETURN(std::string text, kReader.OptionalText(object, name, where));
  return Line(std::move(text), most);
}

absl::StatusOr<std::string> TimeOf(const Json& object, const char* name, const std::string& where) {
  ASSIGN_OR_RETURN(std::string text, TextOf(object, name, where));
  if (!text.empty()) RETURN_IF_ERROR(kReader.Time(text, where + name).status());
  return text;
}

absl::Status ReadNote(const Json& data, PagerMessage& message) {
  ASSIGN_OR_RETURN(message.note, TextOf(data, "content", "event.data.", kLongestNote));
  ASSIGN_OR_RETURN(const Json* incident, kReader.Object(data, "incident", "event.data."));
  if (incident != nullptr) {
    ASSIGN_OR_RETURN(message.incident, TextOf(*incident, "id", "event.data.incident."));
    ASSIGN_OR_RETURN(message.title, TextOf(*incident, "summary", "event.data.incident."));
  }
  if (absl::StartsWithIgnoreCase(message.note, "mitigated")) {
    message.kind = v1::MARK_KIND_MITIGATED;
  } else {
    message.why_not = "of notes only those count that begin with \"mitigated\"";
  }
  return absl::OkStatus();
}

absl::Status ReadIncident(const Json& data, const std::string& type, PagerMessage& message) {
  ASSIGN_OR_RETURN(message.incident, TextOf(data, "id", "event.data."));
  ASSIGN_OR_RETURN(message.title, TextOf(data, "title", "event.data."));
  ASSIGN_OR_RETURN(message.key, TextOf(data, "incident_key", "event.data."));
  if (type == "incident.acknowledged") {
    message.kind = v1::MARK_KIND_ACKNOWLEDGED;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Json* reason, kReader.Object(data, "resolve_reason", "event.data."));
  std::string how;
  if (reason != nullptr) {
    ASSIGN_OR_RETURN(how, TextOf(*reason, "type", "event.data.resolve_reason."));
  }
  if (how == "merge_resolve_reason") {
    message.why_not = "it was resolved by merging it into another incident";
  } else {
    message.kind = v1::MARK_KIND_MITIGATED;
  }
  return absl::OkStatus();
}

absl::StatusOr<PagerMessage> ReadPagerDuty(const Json& event) {
  PagerMessage message;
  message.pagerduty = true;
  ASSIGN_OR_RETURN(const std::string type, TextOf(event, "event_type", "event."));
  if (type.empty()) return kReader.Wrong("event.event_type", "is missing");
  ASSIGN_OR_RETURN(message.said_at, TimeOf(event, "occurred_at", "event."));
  ASSIGN_OR_RETURN(const Json* agent, kReader.Object(event, "agent", "event."));
  std::string agent_type;
  if (agent != nullptr) {
    ASSIGN_OR_RETURN(agent_type, TextOf(*agent, "type", "event.agent."));
    ASSIGN_OR_RETURN(message.who, TextOf(*agent, "summary", "event.agent."));
    if (message.who.empty()) {
      ASSIGN_OR_RETURN(message.who, TextOf(*agent, "id", "event.agent."));
    }
  }
  const bool incident = type == "incident.acknowledged" || type == "incident.resolved";
  if (!incident && type != "incident.annotated") {
    message.why_not = fmt::format("{} says nothing of what a responder did", type);
    return message;
  }
  ASSIGN_OR_RETURN(const Json* data, kReader.Object(event, "data", "event."));
  if (data == nullptr) return kReader.Wrong("event.data", "is missing");
  RETURN_IF_ERROR(incident ? ReadIncident(*data, type, message) : ReadNote(*data, message));
  if (message.kind && agent_type != "user_reference") {
    message.kind.reset();
    message.why_not = "no person did it: it came from the alert's own sender or from a rule";
  }
  return message;
}

absl::StatusOr<PagerMessage> ReadPlain(const Json& root) {
  for (const auto& [name, value] : root.items()) {
    if (name != "action" && name != "run" && name != "by" && name != "note" && name != "at") {
      return kReader.Wrong(Line(name, 64), "is unknown; allowed: action, run, by, note, at");
    }
  }
  PagerMessage message;
  ASSIGN_OR_RETURN(const std::string action, TextOf(root, "action", ""));
  if (action == "acknowledged") {
    message.kind = v1::MARK_KIND_ACKNOWLEDGED;
  } else if (action == "mitigated") {
    message.kind = v1::MARK_KIND_MITIGATED;
  } else {
    return kReader.Wrong("action", "must be \"acknowledged\" or \"mitigated\"");
  }
  ASSIGN_OR_RETURN(message.run, TextOf(root, "run", ""));
  ASSIGN_OR_RETURN(message.who, TextOf(root, "by", ""));
  ASSIGN_OR_RETURN(message.note, TextOf(root, "note", "", kLongestNote));
  ASSIGN_OR_RETURN(message.said_at, TimeOf(root, "at", ""));
  return message;
}

bool IsWordCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// "[FIRING:1] ShopSlow (critical)" names ShopSlow, and not Shop.
bool Names(std::string_view text, std::string_view alert) {
  if (alert.empty()) return false;
  for (std::size_t at = text.find(alert); at != std::string_view::npos;
       at = text.find(alert, at + 1)) {
    const std::size_t end = at + alert.size();
    const bool begins = at == 0 || !IsWordCharacter(text[at - 1]);
    const bool ends = end == text.size() || !IsWordCharacter(text[end]);
    if (begins && ends) return true;
  }
  return false;
}

bool WasNotified(const v1::Run& run, const std::string& alert) {
  return std::any_of(run.marks().begin(), run.marks().end(), [&alert](const v1::Mark& mark) {
    return mark.kind() == v1::MARK_KIND_NOTIFIED && mark.subject() == alert;
  });
}

// The run's alert that the incident names: of several one that was notified, and the longest name.
std::string AlertNamed(const PagerMessage& message, const v1::Run& run, bool notified) {
  std::string best;
  for (const v1::Detection& detection : run.experiment().detection()) {
    const std::string& alert = detection.alert();
    const bool named = Names(message.title, alert) || Names(message.key, alert);
    if (!named || (notified && !WasNotified(run, alert))) continue;
    if (alert.size() > best.size()) best = alert;
  }
  return best;
}

}  // namespace

absl::StatusOr<PagerMessage> ParsePagerWebhook(std::string_view body) {
  ASSIGN_OR_RETURN(const Json root, kReader.Body(body, kDeepest));
  if (root.contains("action")) return ReadPlain(root);
  ASSIGN_OR_RETURN(const Json* event, kReader.Object(root, "event", ""));
  if (event == nullptr) {
    return kReader.Wrong("body",
                         "has neither event (PagerDuty's v3 webhooks) nor action (the plain form)");
  }
  return ReadPagerDuty(*event);
}

std::string DetailOf(const PagerMessage& message) {
  std::string text = message.who.empty() ? "somebody" : message.who;
  if (!message.note.empty()) text += ": " + message.note;
  if (!message.incident.empty() || !message.title.empty()) {
    text += "; incident";
    if (!message.incident.empty()) text += " " + message.incident;
    if (!message.title.empty()) text += fmt::format(" \"{}\"", message.title);
  }
  if (!message.said_at.empty()) text += "; by the pager's clock at " + message.said_at;
  return text;
}

absl::StatusOr<PagerSubject> SubjectOf(const PagerMessage& message,
                                       const std::vector<std::shared_ptr<const v1::Run>>& runs) {
  std::vector<const v1::Run*> under_way;
  for (const std::shared_ptr<const v1::Run>& run : runs) {
    if (run->state() != v1::RUN_STATE_FINISHED) under_way.push_back(run.get());
  }
  if (!message.run.empty()) {
    std::vector<const v1::Run*> named;
    for (const v1::Run* run : under_way) {
      if (run->id() == message.run) return PagerSubject{run->id(), ""};
      if (absl::StartsWith(run->id(), message.run)) named.push_back(run);
    }
    if (named.size() == 1) return PagerSubject{named.front()->id(), ""};
    return absl::FailedPreconditionError(
        named.empty() ? fmt::format("run {} is not under way", message.run)
                      : fmt::format("several runs under way begin with {}", message.run));
  }
  for (const bool notified : {true, false}) {
    for (const v1::Run* run : under_way) {
      std::string alert = AlertNamed(message, *run, notified);
      if (!alert.empty()) return PagerSubject{run->id(), std::move(alert)};
    }
  }
  if (under_way.size() == 1) return PagerSubject{under_way.front()->id(), ""};
  return absl::FailedPreconditionError(
      under_way.empty()
          ? "no run is under way"
          : "several runs are under way, and the incident names none of their alerts");
}

}  // namespace firedrill::controller
