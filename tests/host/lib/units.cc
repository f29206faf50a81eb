// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/units.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace firedrill::test {
namespace {

constexpr const char* kFolderOfUnits = "/run/systemd/system/";

// A unit is a file of properties; its second start may fail; what requires it stops with it.
constexpr const char* kStandIn = R"sh(#!/bin/sh
verb= units=
for word in "$@"; do
  case $word in
    --*) ;;
    *) if [ -z "$verb" ]; then verb=$word; else units="$units $word"; fi ;;
  esac
done
cd "$(dirname "$0")"
now() { awk '{printf "%.0f", $1 * 1000000}' /proc/uptime; }
put() {
  { grep -v "^$2=" "$1.unit"; echo "$2=$3"; } >"$1.unit.$$" && mv "$1.unit.$$" "$1.unit"
}
get() { sed -n "s/^$2=//p" "$1.unit"; }
stop() {
  [ "$(get "$1" ActiveState)" = active ] || return 0
  put "$1" ActiveExitTimestampMonotonic "$(now)"
  put "$1" InactiveEnterTimestampMonotonic "$(now)"
  put "$1" ActiveState inactive
  for other in $(get "$1" RequiredBy) $(get "$1" RequisiteOf); do ( stop "$other" ); done
}
start() {
  [ "$(get "$1" LoadState)" = loaded ] || { echo "Unit $1 is masked."; exit 1; }
  [ "$(get "$1" ActiveState)" != active ] || return 0
  echo started >>"$1.starts"
  put "$1" InvocationID "$(cat /proc/sys/kernel/random/uuid)"
  if [ -e "$1.breaks" ] && [ "$(wc -l <"$1.starts")" -gt 1 ]; then
    put "$1" ActiveState failed
    return
  fi
  put "$1" ActiveEnterTimestampMonotonic "$(now)"
  put "$1" ActiveState active
}
case $verb in
  is-system-running) echo running ;;
  show)
    separator=
    for unit in $units; do
      printf "$separator"
      separator='\n'
      echo "Id=$unit"
      if [ -e "$unit.unit" ]; then
        cat "$unit.unit"
      else
        printf 'LoadState=not-found\nActiveState=inactive\n'
      fi
    done ;;
  stop) for unit in $units; do stop "$unit"; done ;;
  start) for unit in $units; do start "$unit"; done ;;
  mask) for unit in $units; do put "$unit" LoadState masked; done ;;
esac
)sh";

std::string Systemctl(const std::vector<std::string>& words) {
  std::vector<std::string> arguments = {"/usr/bin/env", "systemctl", "--no-pager"};
  arguments.insert(arguments.end(), words.begin(), words.end());
  const auto result = RunToEnd(arguments);
  return result.ok() ? result->output : std::string(result.status().message());
}

}  // namespace

Units::Units() {
  const char* path = std::getenv("PATH");
  path_before_ = path == nullptr ? "/usr/bin:/bin" : path;
  real_ = ReadFile("/proc/1/comm") == "systemd\n";
  if (real_) return;
  const std::string script = folder_.Write("systemctl", kStandIn);
  chmod(script.c_str(), 0755);
  setenv("PATH", (folder_.path() + ":" + path_before_).c_str(), 1);
}

Units::~Units() {
  setenv("PATH", path_before_.c_str(), 1);
  std::error_code ignored;
  // What an agent keeps of an end that it could not prove (agent/faults/stopped_units.cc).
  for (const auto& kept : std::filesystem::directory_iterator("/run/firedrill", ignored)) {
    std::string unit = ReadFile(kept.path());
    if (!unit.empty() && unit.back() == '\n') unit.pop_back();
    if (std::find(made_.begin(), made_.end(), unit) == made_.end()) continue;
    std::filesystem::remove(kept.path(), ignored);
  }
  if (!real_) return;
  for (const std::string& unit : made_) {
    Systemctl({"unmask", "--runtime", unit});
    Systemctl({"kill", "--signal=KILL", unit});
    Systemctl({"stop", unit});
    std::filesystem::remove(kFolderOfUnits + unit, ignored);
  }
  Systemctl({"daemon-reload"});
  Systemctl({"reset-failed"});
}

std::string Units::Make(const std::string& name, const std::string& base, bool breaks,
                        bool requisite) {
  const std::string unit = "fdtest-" + std::to_string(getpid()) + "-" + name + ".service";
  const std::string starts = folder_.path() + "/" + unit + ".starts";
  made_.push_back(unit);
  if (real_) {
    std::filesystem::create_directories(kFolderOfUnits);
    std::ofstream file(kFolderOfUnits + unit);
    file << "[Unit]\nDescription=A test's\n";
    if (!base.empty())
      file << (requisite ? "Requisite=" : "Requires=") << base << "\nAfter=" << base << "\n";
    // The shell says so when it runs; a broken one refuses the second time, before it is active.
    file << "[Service]\nType=simple\n";
    if (breaks) {
      file << "ExecStartPre=/bin/sh -c 'test ! -e " << starts << "'\n";
    }
    file << "ExecStart=/bin/sh -c 'echo started >>" << starts
         << "; while :; do sleep 1; done'\nTimeoutStopSec=5\n";
    file.close();
    Systemctl({"daemon-reload"});
  } else {
    if (breaks) folder_.Write(unit + ".breaks", "");
    folder_.Write(unit + ".unit",
                  "LoadState=loaded\nActiveState=inactive\nSubState=some\nCanStop=yes\n");
    if (!base.empty()) {
      const std::string other = folder_.path() + "/" + base + ".unit";
      std::ofstream(other, std::ios::app)
          << (requisite ? "RequisiteOf=" : "RequiredBy=") << unit << "\n";
    }
  }
  Do("start", unit);
  if (!WaitFor([&] { return ActiveState(unit) == "active" && Starts(unit) == 1; },
               std::chrono::seconds(20))) {
    throw std::runtime_error(unit + " does not start: " + Systemctl({"status", unit}));
  }
  return unit;
}

std::string Units::Property(const std::string& unit, const std::string& property) const {
  const std::string text = Systemctl({"show", "--property=" + property, "--", unit});
  const std::string label = property + "=";
  const std::size_t at = text.find(label);
  if (at == std::string::npos) return "";
  const std::size_t begin = at + label.size();
  return text.substr(begin, text.find('\n', begin) - begin);
}

std::string Units::ActiveState(const std::string& unit) const {
  return Property(unit, "ActiveState");
}

void Units::Do(const std::string& verb, const std::string& unit) const {
  // A mask in /run: a unit's own file there stands in the way, so the file itself becomes one.
  if (verb == "mask" && real_) {
    std::error_code ignored;
    std::filesystem::remove(kFolderOfUnits + unit, ignored);
    std::filesystem::create_symlink("/dev/null", kFolderOfUnits + unit, ignored);
    Systemctl({"daemon-reload"});
    return;
  }
  Systemctl({verb, "--", unit});
}

int Units::Starts(const std::string& unit) const {
  const std::string text = ReadFile(folder_.path() + "/" + unit + ".starts");
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace firedrill::test
