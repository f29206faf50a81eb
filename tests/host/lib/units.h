// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/lib/process.h"

namespace firedrill::test {

/// Units of systemd that a test makes, and removes at its end. Where systemd is not the first
/// process a script stands in for systemctl (found by PATH, which this changes for the test's
/// children), and remembers states of units in a folder: what is asked of systemd is then tested,
/// not systemd.
class Units {
 public:
  Units();
  ~Units();
  Units(const Units&) = delete;
  Units& operator=(const Units&) = delete;

  /// True if it is systemd itself.
  bool real() const { return real_; }

  /// A service that runs for ever, started. `base`: another one that it cannot be without.
  /// `requisite`: that is no Requires= but a Requisite=. `breaks`: it cannot be started a second
  /// time.
  std::string Make(const std::string& name, const std::string& base = "", bool breaks = false,
                   bool requisite = false);

  std::string ActiveState(const std::string& unit) const;
  std::string Property(const std::string& unit, const std::string& property) const;
  /// start, stop, mask, …
  void Do(const std::string& verb, const std::string& unit) const;
  /// How often `unit` has been started so far: the service itself counts.
  int Starts(const std::string& unit) const;

 private:
  TemporaryFolder folder_;
  bool real_ = false;
  std::string path_before_;
  std::vector<std::string> made_;
};

}  // namespace firedrill::test
