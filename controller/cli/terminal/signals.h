// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>
#include <initializer_list>
#include <utility>
#include <vector>

namespace firedrill::cli {

/// Turns signals into bytes on a pipe while it lives. A signal that was ignored before stays
/// ignored (nohup). One at a time in a process.
class Signals {
 public:
  explicit Signals(std::initializer_list<int> signals);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable (poll) when a signal came.
  int descriptor() const { return read_end_; }
  /// The next signal; 0 for none.
  int Get();

 private:
  int read_end_ = -1;
  int write_end_ = -1;
  std::vector<std::pair<int, struct sigaction>> before_;
};

}  // namespace firedrill::cli
