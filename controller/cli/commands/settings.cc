// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/commands/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "proto/support/problem.h"
#include "proto/support/status_macros.h"

namespace firedrill::cli {
namespace {

const std::vector<Option> kConfigOptions = {
    {"controller", "HOST:PORT", ""}, {"ca", "FILE", ""}, {"cert", "FILE", ""}, {"key", "FILE", ""}};

// A file named in the configuration is looked for beside it.
std::string Beside(const std::string& config, const std::string& file) {
  if (file.empty() || file.front() == '/') return file;
  return (std::filesystem::path(config).parent_path() / file).string();
}

absl::Status CheckAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool good =
      colon != 0 && !port.empty() && port.size() <= 5 &&
      std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("--controller: found {}; allowed: a host and a port, such as {}", Quoted(address),
                  kDefaultController));
}

}  // namespace

std::string ConfigPath(const Environment& environment) {
  if (const std::string path = environment("FIREDRILL_CONFIG"); !path.empty()) return path;
  if (const std::string base = environment("XDG_CONFIG_HOME"); !base.empty()) {
    return base + "/firedrill/config";
  }
  const std::string home = environment("HOME");
  return home.empty() ? "" : home + "/.config/firedrill/config";
}

absl::StatusOr<Settings> ReadSettings(const Arguments& arguments, const Environment& environment) {
  Arguments config;
  const std::string path = ConfigPath(environment);
  std::error_code error;
  const bool named = !environment("FIREDRILL_CONFIG").empty();
  if (!path.empty() && (named || std::filesystem::exists(path, error))) {
    ASSIGN_OR_RETURN(config, ParseConfig(path, kConfigOptions));
  }
  Settings settings;
  const bool insecure = arguments.Has("insecure");
  const auto find = [&](const char* option, const char* variable, bool file) -> std::string {
    if (arguments.Has(option)) return arguments.Get(option);
    // --insecure on the command line means: not the certificates that are usual here.
    if (file && insecure) return "";
    if (const std::string value = environment(variable); !value.empty()) return value;
    return file ? Beside(path, config.Get(option)) : config.Get(option);
  };
  const std::string controller = find("controller", "FIREDRILL_CONTROLLER", false);
  settings.controller_named = !controller.empty();
  settings.connection.address = controller.empty() ? kDefaultController : controller;
  RETURN_IF_ERROR(CheckAddress(settings.connection.address));
  CredentialOptions& credentials = settings.connection.credentials;
  credentials.ca = find("ca", "FIREDRILL_CA", true);
  credentials.cert = find("cert", "FIREDRILL_CERT", true);
  credentials.key = find("key", "FIREDRILL_KEY", true);
  credentials.insecure = insecure;
  if (arguments.Has("output")) {
    const std::string output = arguments.Get("output");
    const absl::StatusOr<Format> format = ParseOutputFormat(output);
    if (!format.ok()) {
      return absl::InvalidArgumentError(fmt::format("--output: found {}; {}", Quoted(output),
                                                    std::string(format.status().message())));
    }
    settings.format = *format;
  }
  settings.colours = !arguments.Has("no-color") && environment("NO_COLOR").empty();
  return settings;
}

}  // namespace firedrill::cli
