// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"

namespace firedrill::agent {

/// A regular file or a folder, found without opening it: opening a device may do something (a
/// watchdog begins to count), and opening a FIFO lets its other end go on.
class PlainFile {
 public:
  /// INVALID_ARGUMENT for what is neither a file nor a folder, such as a device or a symbolic link
  /// in the last place of `path`; NOT_FOUND and the like as open(2).
  static absl::StatusOr<PlainFile> Find(const std::string& path);

  /// Opens it for reading, whatever has its name by now.
  absl::StatusOr<Descriptor> Open() const;

 private:
  PlainFile(std::string path, Descriptor found);

  std::string path_;
  Descriptor found_;
};

}  // namespace firedrill::agent
