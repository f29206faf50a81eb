// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "controller/store/store.h"
#include "proto/support/clock.h"

namespace firedrill::controller {

/// Who did what: a line in the log and in the store. Thread-safe.
class Auditor {
 public:
  /// The references must outlive it.
  Auditor(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  /// The store's error if the line could not be written.
  absl::Status Write(const std::string& who, const std::string& action, const std::string& subject,
                     const std::string& detail);
  /// For what must never wait for a disk (an abort is worth more than its line), and for what is in
  /// the run anyway: a failure is only logged.
  void Note(const std::string& who, const std::string& action, const std::string& subject,
            const std::string& detail);

 private:
  Store& store_;
  const Clock& clock_;
};

}  // namespace firedrill::controller
