// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

struct FileGateOptions {
  std::string path;
  bool open = false;
  bool read = false;
  bool write = false;    ///< Needs pre-content events: Linux 6.14 and some file systems.
  Nanoseconds delay{0};  ///< Of each operation.
  int error = 0;         ///< errno that each then fails with; 0: none.
  double share = 1;      ///< Of the operations.
  std::function<bool(int tid)> meant;  ///< Whether a thread's operations are; called by the gate.
  std::string thread_mark;             ///< The name of the thread that answers.
};

/// Holds back, and lets fail, what programs do with files below a path, by fanotify's permission
/// events: the kernel asks, a thread answers. Only folders of the path are watched, so nobody else
/// ever waits for it, and the kernel lets everybody go on when the process dies. Thread-safe.
class FileGate {
 public:
  struct Figures {
    std::uint64_t matched = 0;
    std::uint64_t delayed = 0;
    std::uint64_t failed = 0;
    std::uint64_t passed_over = 0;    ///< Let go because too many were held, or the queue was full.
    std::uint64_t folders = 0;        ///< Watched.
    std::optional<SystemTime> first;  ///< When the first one was delayed or failed.
    Nanoseconds first_uncertainty{0};  ///< ±
    absl::Status error;                ///< What it lived on is gone.
  };

  /// OK if fanotify's permission events work here: it is tried.
  static absl::Status Try();
  /// OK if the kernel has pre-content events, which writes and errors other than EPERM need.
  static absl::Status TryPreContent();
  /// Whether a pre-content event can be answered with this error.
  static bool CanAnswer(int error);

  /// In force when it returns. UNIMPLEMENTED names what the kernel or the file system lacks.
  static absl::StatusOr<std::unique_ptr<FileGate>> Start(const Clock& clock,
                                                         FileGateOptions options);
  virtual ~FileGate() = default;
  virtual Figures figures() const = 0;
};

}  // namespace firedrill::agent
