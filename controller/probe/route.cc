// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/route.h"

#include <fmt/format.h>
#include <re2/re2.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "controller/json/json_reader.h"
#include "controller/probe/rules.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 32;  // routes below each other
constexpr int kDeepestJson = 12;
constexpr std::size_t kMostRoutes = 10'000;
constexpr std::size_t kMostAlertmanagers = 8;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

void SkipSpace(std::string_view& text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
}

struct Matcher {
  std::string label;
  bool negative = false;
  std::string value;
  std::shared_ptr<const RE2> pattern;  // nullptr: equal to the value

  bool Matches(const std::map<std::string, std::string>& labels) const {
    const auto found = labels.find(label);
    const std::string& held = found == labels.end() ? std::string() : found->second;
    const bool same = pattern == nullptr ? held == value : RE2::FullMatch(held, *pattern);
    return same != negative;
  }
};

absl::StatusOr<Matcher> MakeMatcher(std::string label, std::string_view sign, std::string value) {
  Matcher matcher;
  matcher.label = std::move(label);
  matcher.negative = sign.front() == '!';
  matcher.value = std::move(value);
  if (sign.back() != '~') return matcher;
  RE2::Options options(RE2::Quiet);
  options.set_dot_nl(true);
  auto pattern = std::make_shared<const RE2>(matcher.value, options);
  if (!pattern->ok()) {
    return absl::DataLossError(
        fmt::format("a matcher of label {} is no regular expression", matcher.label));
  }
  matcher.pattern = std::move(pattern);
  return matcher;
}

// A text in double quotes at the begin of `text`, with its escapes undone; nullopt: it is not
// closed.
std::optional<std::string> TakeQuoted(std::string_view& text) {
  std::string value;
  for (std::size_t at = 1; at < text.size(); ++at) {
    if (text[at] == '"') {
      text.remove_prefix(at + 1);
      return value;
    }
    if (text[at] == '\\' && at + 1 < text.size()) {
      const char escaped = text[++at];
      if (escaped != 'n' && escaped != '"' && escaped != '\\') value += '\\';
      value += escaped == 'n' ? '\n' : escaped;
    } else {
      value += text[at];
    }
  }
  return std::nullopt;
}

std::string_view TakeSign(std::string_view& text) {
  for (const std::string_view sign : {"=~", "!~", "!=", "="}) {
    if (text.substr(0, sign.size()) != sign) continue;
    text.remove_prefix(sign.size());
    return sign;
  }
  return {};
}

// A name, or a value without quotes: until one of `ends`, without spaces around it.
std::string TakePlain(std::string_view& text, std::string_view ends) {
  std::string_view plain = text.substr(0, text.find_first_of(ends));
  text.remove_prefix(plain.size());
  while (!plain.empty() && IsSpace(plain.back())) plain.remove_suffix(1);
  return std::string(plain);
}

// One entry of `matchers`: `severity="page"`, `{a=~"b|c", d!=e}`, with quotes or without.
absl::Status AddMatchers(std::string_view text, std::vector<Matcher>& matchers) {
  const auto wrong = [] { return absl::DataLossError("a route has a matcher that is none"); };
  SkipSpace(text);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  if (!text.empty() && text.front() == '{' && text.back() == '}') {
    text = text.substr(1, text.size() - 2);
  }
  SkipSpace(text);
  while (!text.empty()) {
    std::optional<std::string> label =
        text.front() == '"' ? TakeQuoted(text) : TakePlain(text, "=!");
    if (!label) return wrong();
    SkipSpace(text);
    const std::string_view sign = TakeSign(text);
    if (sign.empty() || label->empty()) return wrong();
    SkipSpace(text);
    const bool quoted = !text.empty() && text.front() == '"';
    std::optional<std::string> value = quoted ? TakeQuoted(text) : TakePlain(text, ",");
    if (!value) return wrong();
    ASSIGN_OR_RETURN(Matcher matcher, MakeMatcher(*std::move(label), sign, *std::move(value)));
    matchers.push_back(std::move(matcher));
    SkipSpace(text);
    if (text.empty()) break;
    if (text.front() != ',') return wrong();
    text.remove_prefix(1);
    SkipSpace(text);
  }
  return absl::OkStatus();
}

}  // namespace

struct AlertRoutes::Node {
  AlertRoute route;
  bool goes_on = false;  // `continue`
  std::vector<Matcher> matchers;
  std::vector<Node> below;

  // Appends the routes taken from here; false: none, it does not match.
  bool Walk(const std::map<std::string, std::string>& labels,
            std::vector<AlertRoute>& taken) const {
    const bool matches = std::all_of(matchers.begin(), matchers.end(),
                                     [&](const Matcher& one) { return one.Matches(labels); });
    if (!matches) return false;
    bool any = false;
    for (const Node& node : below) {
      const bool took = node.Walk(labels, taken);
      any = any || took;
      if (took && !node.goes_on) break;
    }
    if (!any) taken.push_back(route);
    return true;
  }
};

namespace {

// Reads the tree. Throws what yaml-cpp throws.
class Reader {
 public:
  absl::StatusOr<AlertRoutes::Node> Read(const std::string& text) {
    const YAML::Node root = YAML::Load(text);
    if (!root.IsMap() || !root["route"] || !root["route"].IsMap()) {
      return absl::DataLossError("the configuration that Alertmanager tells has no route");
    }
    ReadReceivers(root["receivers"]);
    AlertRoute defaults;
    defaults.group_wait = std::chrono::seconds(30);  // Alertmanager's own
    defaults.group_interval = std::chrono::minutes(5);
    return ReadNode(root["route"], defaults, 0);
  }

 private:
  void ReadReceivers(const YAML::Node& receivers) {
    if (!receivers || !receivers.IsSequence()) return;
    for (const YAML::Node& receiver : receivers) {
      if (!receiver.IsMap() || !receiver["name"] || !receiver["name"].IsScalar()) continue;
      for (const auto& member : receiver) {
        const std::string key = member.first.IsScalar() ? member.first.Scalar() : "";
        constexpr std::string_view kEnd = "_configs";
        const bool way = key.size() > kEnd.size() &&
                         key.compare(key.size() - kEnd.size(), kEnd.size(), kEnd) == 0;
        if (way && member.second.IsSequence() && member.second.size() > 0) {
          delivering_.insert(receiver["name"].Scalar());
        }
      }
    }
  }

  absl::StatusOr<AlertRoutes::Node> ReadNode(const YAML::Node& yaml, const AlertRoute& above,
                                             int depth) {
    if (depth > kDeepest || ++count_ > kMostRoutes || !yaml.IsMap()) {
      return absl::DataLossError("the configuration that Alertmanager tells has no usable routes");
    }
    AlertRoutes::Node node;
    node.route = above;
    const std::string receiver = ScalarOf(yaml["receiver"]);
    if (!receiver.empty()) node.route.receiver = receiver;
    node.route.delivers = delivering_.count(node.route.receiver) != 0;
    ReadDuration(yaml["group_wait"], node.route.group_wait);
    ReadDuration(yaml["group_interval"], node.route.group_interval);
    const YAML::Node group_by = yaml["group_by"];
    if (group_by && group_by.IsSequence()) {
      node.route.group_by.clear();
      for (const YAML::Node& label : group_by) node.route.group_by.push_back(ScalarOf(label));
    }
    node.goes_on = ScalarOf(yaml["continue"]) == "true";
    RETURN_IF_ERROR(ReadMap(yaml["match"], "=", node.matchers));
    RETURN_IF_ERROR(ReadMap(yaml["match_re"], "=~", node.matchers));
    const YAML::Node matchers = yaml["matchers"];
    if (matchers && matchers.IsSequence()) {
      for (const YAML::Node& matcher : matchers) {
        RETURN_IF_ERROR(AddMatchers(ScalarOf(matcher), node.matchers));
      }
    }
    const YAML::Node below = yaml["routes"];
    if (!below || !below.IsSequence()) return node;
    for (const YAML::Node& route : below) {
      ASSIGN_OR_RETURN(AlertRoutes::Node read, ReadNode(route, node.route, depth + 1));
      node.below.push_back(std::move(read));
    }
    return node;
  }

  static std::string ScalarOf(const YAML::Node& node) {
    return node && node.IsScalar() ? node.Scalar() : std::string();
  }

  static void ReadDuration(const YAML::Node& node, Nanoseconds& duration) {
    if (const auto read = ParsePrometheusDuration(ScalarOf(node))) duration = *read;
  }

  static absl::Status ReadMap(const YAML::Node& map, std::string_view sign,
                              std::vector<Matcher>& matchers) {
    if (!map || !map.IsMap()) return absl::OkStatus();
    for (const auto& label : map) {
      ASSIGN_OR_RETURN(Matcher matcher,
                       MakeMatcher(ScalarOf(label.first), sign, ScalarOf(label.second)));
      matchers.push_back(std::move(matcher));
    }
    return absl::OkStatus();
  }

  std::set<std::string> delivering_;  // receivers with a way out
  std::size_t count_ = 0;
};

}  // namespace

std::vector<AlertRoute> AlertRoutes::For(const std::map<std::string, std::string>& labels) const {
  std::vector<AlertRoute> taken;
  root_->Walk(labels, taken);
  return taken;
}

absl::StatusOr<AlertRoutes> ParseAlertmanagerStatus(std::string_view body) {
  const Json root = ParseJson(body, kDeepestJson).value_or(Json());
  const Json::json_pointer where("/config/original");
  if (!root.is_object() || !root.contains(where) || !root.at(where).is_string()) {
    return absl::DataLossError("the answer of Alertmanager's /api/v2/status has no configuration");
  }
  try {
    ASSIGN_OR_RETURN(AlertRoutes::Node node, Reader().Read(root.at(where).get<std::string>()));
    return AlertRoutes(std::make_shared<const AlertRoutes::Node>(std::move(node)));
  } catch (const YAML::Exception&) {
    // Its message may quote the text, in which there may be secrets.
    return absl::DataLossError("the configuration that Alertmanager tells is no YAML");
  }
}

absl::StatusOr<std::vector<std::string>> ParseAlertmanagers(std::string_view body) {
  const Json root = ParseJson(body, kDeepestJson).value_or(Json());
  const Json::json_pointer where("/data/activeAlertmanagers");
  if (!root.is_object() || !root.contains(where) || !root.at(where).is_array()) {
    return absl::DataLossError("the answer of /api/v1/alertmanagers has no Alertmanagers");
  }
  std::vector<std::string> urls;
  for (const Json& active : root.at(where)) {
    if (!active.is_object() || !active.contains("url") || !active.at("url").is_string()) continue;
    std::string url = active.at("url").get<std::string>();
    const std::size_t api = url.rfind("/api/v");
    if (api == std::string::npos || urls.size() >= kMostAlertmanagers) continue;
    url.resize(api);
    urls.push_back(std::move(url));
  }
  return urls;
}

SentAlert SentLabels(const PrometheusRule& rule, const ProbeQuestion::Alert& alert,
                     const AlertSeries* series, const AlertPath& path) {
  std::map<std::string, std::string> labels = series == nullptr ? alert.labels : series->labels;
  for (const auto& [name, value] : rule.labels) {
    if (!IsTemplate(value)) labels[name] = value;
  }
  labels["alertname"] = rule.name;
  return SentAs(path, labels, /*complete=*/series != nullptr);
}

}  // namespace firedrill::controller
