// SPDX-License-Identifier: Apache-2.0
// How texts are spelled: CheckFormat of field_rules.h.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "proto/support/errno_names.h"
#include "proto/support/field_rules.h"
#include "proto/support/text.h"

namespace firedrill {
namespace {

bool AllOf(std::string_view text, bool (*allowed)(unsigned char)) {
  return std::all_of(text.begin(), text.end(),
                     [allowed](char c) { return allowed(static_cast<unsigned char>(c)); });
}

absl::Status Refuse(const std::string& allowed) { return absl::InvalidArgumentError(allowed); }

absl::Status CheckName(std::string_view text) {
  const bool good = !text.empty() && text.size() <= 63 &&
                    absl::ascii_isalnum(static_cast<unsigned char>(text.front())) &&
                    AllOf(text, [](unsigned char c) {
                      return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_';
                    });
  return good ? absl::OkStatus()
              : Refuse(
                    "allowed: 1 to 63 letters, digits, dots, dashes and underscores, the first "
                    "a letter or digit");
}

absl::Status CheckDevice(std::string_view text) {
  const bool good =
      !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
      AllOf(text, [](unsigned char c) { return absl::ascii_isgraph(c) && c != '/' && c != ':'; });
  return good ? absl::OkStatus()
              : Refuse("allowed: a network device's name, such as eth0; at most 15 characters");
}

absl::Status CheckTimeZone(std::string_view text) {
  absl::TimeZone zone;
  // A name is a path below the zone database: nothing but names of it may be loaded.
  const bool name = !text.empty() && text.size() <= 64 && text.find("..") == text.npos &&
                    absl::ascii_isalpha(static_cast<unsigned char>(text.front())) &&
                    AllOf(text, [](unsigned char c) {
                      return absl::ascii_isalnum(c) || c == '/' || c == '_' || c == '-' || c == '+';
                    });
  if (name && text != "localtime" && absl::LoadTimeZone({text.data(), text.size()}, &zone)) {
    return absl::OkStatus();
  }
  return Refuse("allowed: a name of the time zone database, such as Europe/Berlin or UTC");
}

absl::Status CheckRegex(std::string_view text) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  const RE2 regex(re2::StringPiece(text.data(), text.size()), options);
  if (regex.ok()) return absl::OkStatus();
  return Refuse(fmt::format("allowed: a regular expression in RE2's syntax ({})", regex.error()));
}

absl::Status CheckHost(std::string_view text) {
  const std::vector<std::string> labels =
      absl::StrSplit(absl::string_view(text.data(), text.size()), '.');
  bool good = text.size() <= 253;
  for (const std::string& label : labels) {
    good = good && !label.empty() && label.size() <= 63 && label.front() != '-' &&
           label.back() != '-' && AllOf(label, [](unsigned char c) {
             return absl::ascii_isalnum(c) || c == '-' || c == '_';
           });
  }
  // No top-level domain is a number: this is an address, or meant to be one.
  const bool number =
      good && AllOf(labels.back(), [](unsigned char c) { return absl::ascii_isdigit(c); });
  if (good && !number) return absl::OkStatus();
  const bool address = number || ParseCidr(text).ok();
  return Refuse(std::string("allowed: a name, such as api.example.org") +
                (address ? "; addresses have a field of their own" : ""));
}

absl::Status CheckPath(std::string_view text) {
  bool good = !text.empty() && text.front() == '/' && text.size() < 4096;
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), '/');
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();  // a folder's name may end in a slash
    good = good && parts[i] != "." && parts[i] != ".." && parts[i].size() <= 255 &&
           (last || !parts[i].empty());
  }
  return good ? absl::OkStatus()
              : Refuse("allowed: an absolute path without . and .. in it, such as /var/lib/shop");
}

// systemd.unit(5): a prefix and a suffix, 255 characters in all.
absl::Status CheckUnit(std::string_view text) {
  const std::size_t dot = text.rfind('.');
  const bool good =
      !text.empty() && text.size() <= 255 && dot != 0 && text.front() != '-' &&
      text.back() != '.' && AllOf(text, [](unsigned char c) {
        return absl::ascii_isalnum(c) ||
               std::string_view(":-_.\\@").find(static_cast<char>(c)) != std::string_view::npos;
      });
  return good
             ? absl::OkStatus()
             : Refuse("allowed: a unit's name, such as redis-server.service or getty@tty1.service");
}

absl::Status CheckErrno(std::string_view text) {
  if (ErrnoByName(text).has_value()) return absl::OkStatus();
  std::vector<std::string> names;
  for (int number = 1; number <= kLargestErrno; ++number) {
    const std::string_view name = ErrnoName(number);
    if (!name.empty()) names.emplace_back(name);
  }
  const std::string nearest = Nearest(text, names);
  return Refuse((nearest.empty() ? std::string() : fmt::format("did you mean {}? ", nearest)) +
                "allowed: an error's name, such as EIO, ENOSPC or ECONNREFUSED");
}

}  // namespace

absl::Status CheckFormat(v1::Format format, std::string_view text) {
  switch (format) {
    case v1::FORMAT_CIDR:
      return ParseCidr(text).status();
    case v1::FORMAT_PORTS:
      return ParsePorts(text).status();
    case v1::FORMAT_SIGNAL:
      return ParseSignal(text).status();
    case v1::FORMAT_NAME:
      return CheckName(text);
    case v1::FORMAT_UNIT:
      return CheckUnit(text);
    case v1::FORMAT_TIME_ZONE:
      return CheckTimeZone(text);
    case v1::FORMAT_REGEX:
      return CheckRegex(text);
    case v1::FORMAT_DEVICE:
      return CheckDevice(text);
    case v1::FORMAT_HOST:
      return CheckHost(text);
    case v1::FORMAT_PATH:
      return CheckPath(text);
    case v1::FORMAT_ERRNO:
      return CheckErrno(text);
    case v1::FORMAT_CRON: {
      const std::vector<std::string> fields =
          absl::StrSplit(absl::string_view(text.data(), text.size()), ' ', absl::SkipEmpty());
      return fields.size() == 5 ? absl::OkStatus()
                                : Refuse(
                                      "allowed: five fields, minute hour day month weekday, such "
                                      "as \"0 10 * * tue\"");
    }
    case v1::FORMAT_PROMQL: {
      const bool blank = absl::StripAsciiWhitespace({text.data(), text.size()}).empty();
      return blank ? Refuse("allowed: a PromQL expression") : absl::OkStatus();
    }
    default:
      return absl::OkStatus();
  }
}

}  // namespace firedrill
