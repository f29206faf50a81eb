// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

// Programs that a test starts and stops by their pid, and what they need: folders, ports.
namespace firedrill::test {

/// A program that this test started. It dies with this object, and with the test's thread.
class Child {
 public:
  /// Runs `arguments` (the first is the program's path) with output and errors in `log_file`.
  static absl::StatusOr<std::unique_ptr<Child>> Start(const std::vector<std::string>& arguments,
                                                      const std::string& log_file);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  bool Running();           ///< False once it has exited; collects it.
  void Signal(int signal);  ///< To this process, if it runs.
  /// Sends `signal`, waits, and after ten seconds kills.
  void Stop(int signal);
  std::string Log() const;  ///< What it wrote, for a failure's message.

 private:
  Child(pid_t pid, std::string log_file) : pid_(pid), log_file_(std::move(log_file)) {}
  pid_t pid_;
  std::string log_file_;
};

/// Runs a program to its end, for at most `deadline`; its output and errors, and its exit status.
struct Finished {
  int exit_status = -1;  ///< 128 + signal if it was killed.
  std::string output;
};
absl::StatusOr<Finished> RunToEnd(const std::vector<std::string>& arguments,
                                  const std::string& input = "",
                                  Nanoseconds deadline = std::chrono::seconds(30));

/// A folder of the test's own, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string Write(const std::string& name,
                    const std::string& text) const;  ///< The file's path. Makes its folders.

 private:
  std::string path_;
};

std::string ReadFile(const std::string& path);

/// A TCP port of 127.0.0.1 that is free now, and that the kernel gives to nobody who does not ask
/// for it: not to a connection's own end, nor to who listens on port 0. Another test may choose it.
int FreePort();

/// Calls `done` every 20 ms until it is true; false if it was not within `deadline`.
template <typename Predicate>
bool WaitFor(Predicate done, Nanoseconds deadline);
void Pause(Nanoseconds duration);  ///< Sleeps: only real services need it.

template <typename Predicate>
bool WaitFor(Predicate done, Nanoseconds deadline) {
  const SteadyTime end = Clock::Real().Steady() + deadline;
  while (true) {
    if (done()) return true;
    if (Clock::Real().Steady() >= end) return false;
    Pause(std::chrono::milliseconds(20));
  }
}

}  // namespace firedrill::test
