// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/time/time.h"
#include "agent/files/allowed_files.h"
#include "firedrill/v1/fault.pb.h"
#include "proto/support/fault_rules.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

namespace po = boost::program_options;
using Words = std::vector<std::string>;

constexpr int kMostLiveFaults = 1000;
constexpr std::size_t kLongestName = 63;

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string DefaultState() {
  if (geteuid() == 0) return "/var/lib/firedrill/agent";
  if (const char* state = std::getenv("XDG_STATE_HOME")) return std::string(state) + "/firedrill";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.local/state/firedrill";
}

po::options_description Settings() {
  po::options_description settings("Settings (also as name = value lines in the --config file)");
  auto add = settings.add_options();
  add("controller", po::value<Words>()->composing()->value_name("HOST:PORT"),
      "a controller; repeat it for more, they are tried in turn");
  add("id", po::value<std::string>()->value_name("NAME"), "this host's name (default: hostname)");
  add("label", po::value<Words>()->composing()->value_name("KEY=VALUE"),
      "by which experiments choose hosts; may be repeated");
  add("environment", po::value<std::string>()->value_name("NAME"),
      "such as staging; only experiments for this environment run here");
  add("ca", po::value<std::string>()->value_name("FILE"), "certificate of the fleet's CA");
  add("cert", po::value<std::string>()->value_name("FILE"), "this agent's certificate");
  add("key", po::value<std::string>()->value_name("FILE"), "its private key");
  add("insecure", po::bool_switch(), "no TLS; for controllers on loopback alone");
  add("state", po::value<std::string>()->value_name("FOLDER"),
      "where undo records are kept (default: /var/lib/firedrill/agent)");
  add("max-live-faults", po::value<std::string>()->value_name("N"),
      "so many faults may live here at once (default: 8)");
  add("lease-cap", po::value<std::string>()->value_name("TIME"),
      "a fault ends when no controller has renewed it for so long, whatever lease the controller "
      "asks for (default: 60s)");
  add("allow", po::value<Words>()->composing()->value_name("FAULT"),
      "permit a fault that cannot be undone, such as process_kill; may be repeated");
  add("allow-file", po::value<Words>()->composing()->value_name("PATTERN"),
      "permit config_change to edit files of this absolute path, in which * stands for anything "
      "but "
      "a slash; may be repeated");
  add("log-level", po::value<std::string>()->value_name("LEVEL"),
      "debug, info, warn or error (default: info)");
  return settings;
}

po::options_description General() {
  po::options_description general("General");
  auto add = general.add_options();
  add("config", po::value<std::string>()->value_name("FILE"), "read settings from FILE; flags win");
  add("doctor", po::bool_switch(), "as the command doctor");
  add("output,o", po::value<std::string>()->value_name("FORMAT"), "of doctor: table or json");
  add("help,h", po::bool_switch(), "this text");
  add("version", po::bool_switch(), "the version");
  return general;
}

absl::Status Wrong(const std::string& flag, const std::string& found, const std::string& allowed) {
  return absl::InvalidArgumentError(
      fmt::format("--{}: found '{}'; allowed: {}", flag, found, allowed));
}

bool IsName(const std::string& text) {
  return !text.empty() && text.size() <= kLongestName &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '.' || c == '-' || c == '_';
         });
}

constexpr const char* kNameRule = "1 to 63 letters, digits, dots, dashes and underscores";

absl::Status ReadLabels(const Words& words, Config& config) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (equals == std::string::npos || !IsName(key) || word.size() - equals > 256) {
      return Wrong("label", word, std::string("KEY=VALUE, KEY being ") + kNameRule);
    }
    if (!config.labels.emplace(key, word.substr(equals + 1)).second) {
      return Wrong("label", word, "each KEY once");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadControllers(const Words& words, Config& config) {
  for (const std::string& word : words) {
    const std::size_t colon = word.rfind(':');
    int port = 0;
    const bool bare_v6 = colon != std::string::npos && word.find(':') != colon &&
                         (word.front() != '[' || word[colon - 1] != ']');
    if (colon == std::string::npos || colon == 0 || bare_v6 ||
        !absl::SimpleAtoi(word.substr(colon + 1), &port) || port < 1 || port > 65535) {
      return Wrong("controller", word, "HOST:PORT, such as drill.example.org:7443 or [::1]:7443");
    }
    if (config.credentials.insecure) RETURN_IF_ERROR(CheckLoopback(word));
    config.controllers.push_back(word);
  }
  return absl::OkStatus();
}

absl::Status ReadAllowed(const Words& words, Config& config) {
  std::vector<std::string> names;
  const auto* descriptor = v1::Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto kind = static_cast<v1::Fault::KindCase>(descriptor->field(i)->number());
    if (!FaultRulesOf(kind).reversible()) names.push_back(FaultName(kind));
  }
  for (const std::string& word : words) {
    if (std::find(names.begin(), names.end(), word) == names.end()) {
      return Wrong("allow", word,
                   fmt::format("a fault that cannot be undone: {}", fmt::join(names, ", ")));
    }
    config.allowed.insert(word);
  }
  return absl::OkStatus();
}

absl::Status ReadAllowedFiles(const Words& words, Config& config) {
  for (const std::string& word : words) {
    const absl::Status status = CheckFilePattern(word);
    if (!status.ok()) return Wrong("allow-file", word, std::string(status.message()));
    config.allowed_files.push_back(word);
  }
  return absl::OkStatus();
}

// Reads one text value if it was given.
void Take(const po::variables_map& values, const char* name, std::string& into) {
  if (values.count(name) != 0) into = values[name].as<std::string>();
}

Words List(const po::variables_map& values, const char* name) {
  return values.count(name) != 0 ? values[name].as<Words>() : Words();
}

absl::Status Check(const po::variables_map& values, Config& config) {
  config.credentials.insecure = values["insecure"].as<bool>();
  RETURN_IF_ERROR(ReadControllers(List(values, "controller"), config));
  RETURN_IF_ERROR(ReadLabels(List(values, "label"), config));
  RETURN_IF_ERROR(ReadAllowed(List(values, "allow"), config));
  RETURN_IF_ERROR(ReadAllowedFiles(List(values, "allow-file"), config));
  config.id = HostName();
  Take(values, "id", config.id);
  if (!IsName(config.id)) return Wrong("id", config.id, kNameRule);
  Take(values, "environment", config.environment);
  if (!config.environment.empty() && !IsName(config.environment)) {
    return Wrong("environment", config.environment, kNameRule);
  }
  Take(values, "ca", config.credentials.ca);
  Take(values, "cert", config.credentials.cert);
  Take(values, "key", config.credentials.key);
  config.state = DefaultState();
  Take(values, "state", config.state);
  if (config.state.empty()) return Wrong("state", "", "a folder");
  std::string text;
  if (Take(values, "max-live-faults", text); !text.empty()) {
    if (!absl::SimpleAtoi(text, &config.max_live_faults) || config.max_live_faults < 1 ||
        config.max_live_faults > kMostLiveFaults) {
      return Wrong("max-live-faults", text, fmt::format("1 to {}", kMostLiveFaults));
    }
  }
  text.clear();
  if (Take(values, "lease-cap", text); !text.empty()) {
    absl::Duration cap;
    if (!absl::ParseDuration(text, &cap) || cap < absl::Seconds(1) || cap > absl::Hours(1)) {
      return Wrong("lease-cap", text, "1s to 1h, such as 30s or 1m30s");
    }
    config.lease_cap = absl::ToChronoNanoseconds(cap);
  }
  Take(values, "log-level", config.log_level);
  const Words levels = {"debug", "info", "warn", "error"};
  if (std::find(levels.begin(), levels.end(), config.log_level) == levels.end()) {
    return Wrong("log-level", config.log_level, fmt::format("{}", fmt::join(levels, ", ")));
  }
  Take(values, "output", config.output);
  if (config.output != "table" && config.output != "json") {
    return Wrong("output", config.output, "table, json");
  }
  if (config.command != Command::kRun) return absl::OkStatus();
  if (config.controllers.empty()) {
    return absl::InvalidArgumentError(
        "--controller is missing: give HOST:PORT of at least one controller (see --help)");
  }
  return CheckCredentials(config.credentials);
}

absl::StatusOr<Command> ReadCommand(const Words& words, bool all) {
  if (words.empty()) return Command::kRun;
  if (words.size() == 1 && words[0] == "doctor") return Command::kDoctor;
  if (words.size() == 1 && words[0] == "worker") return Command::kWorker;
  if (words.size() == 1 && words[0] == "revert") {
    if (all) return Command::kRevert;
    return absl::InvalidArgumentError("revert takes --all: it undoes whatever was left behind");
  }
  return absl::InvalidArgumentError(fmt::format(
      "unknown command '{}'; allowed: doctor, revert --all, or none to serve controllers",
      fmt::join(words, " ")));
}

}  // namespace

absl::StatusOr<Config> ParseConfig(int argc, const char* const* argv) {
  po::options_description hidden;
  hidden.add_options()("command", po::value<Words>()->composing())("all", po::bool_switch())(
      "socket", po::value<int>()->default_value(-1));
  po::options_description everything;
  everything.add(Settings()).add(General()).add(hidden);
  po::positional_options_description positions;
  positions.add("command", -1);
  po::variables_map values;
  std::string where = "command line";
  try {
    using Style = po::command_line_style::style_t;
    po::store(po::command_line_parser(argc, argv)
                  .options(everything)
                  .positional(positions)
                  .style(Style::unix_style & ~Style::allow_guessing)
                  .run(),
              values);
    if (values.count("config") != 0) {
      where = values["config"].as<std::string>();
      std::ifstream file(where);
      if (!file) return absl::InvalidArgumentError("--config: cannot read " + where);
      const po::options_description settings = Settings();
      po::store(po::parse_config_file(file, settings), values);
    }
    po::notify(values);
    Config config;
    const bool doctor = values["doctor"].as<bool>();
    ASSIGN_OR_RETURN(config.command,
                     ReadCommand(List(values, "command"), values["all"].as<bool>()));
    if (doctor) config.command = Command::kDoctor;
    if (values["help"].as<bool>()) config.command = Command::kHelp;
    if (values["version"].as<bool>()) config.command = Command::kVersion;
    if (config.command == Command::kHelp || config.command == Command::kVersion) return config;
    config.worker_socket = values["socket"].as<int>();
    RETURN_IF_ERROR(Check(values, config));
    return config;
  } catch (const po::error& error) {
    return absl::InvalidArgumentError(fmt::format("{}: {} (see --help)", where, error.what()));
  }
}

std::string HelpText() {
  std::ostringstream text;
  text
      << "firedrill-agent: carries out incident drills on this host, and undoes them\n\n"
         "  firedrill-agent --controller HOST:PORT [SETTINGS]   serve a controller until SIGTERM\n"
         "  firedrill-agent doctor [-o json]                    what this host can do, and what it "
         "lacks\n"
         "  firedrill-agent revert --all [--state FOLDER]       clean up after an agent that "
         "crashed\n\n"
      << Settings() << "\n"
      << General()
      << "\nExamples\n"
         "  firedrill-agent --controller drill.example.org:7443 --ca ca.pem --cert web1.pem \\\n"
         "      --key web1.key --environment staging --label role=web --allow process_kill\n"
         "  firedrill-agent --controller 127.0.0.1:7443 --insecure --environment dev\n"
         "  firedrill-agent --config /etc/firedrill/agent.conf\n";
  return text.str();
}

}  // namespace firedrill::agent
