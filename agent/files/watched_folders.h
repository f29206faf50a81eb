// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "agent/host/descriptor.h"

namespace firedrill::agent {

/// The folders on which a fanotify group has its marks: that of a file, or a folder with all below
/// it on the same file system, those that come later included. Not thread-safe.
class WatchedFolders {
 public:
  /// `group`: a fanotify descriptor that outlives this. `mask`: events of the folders' children.
  WatchedFolders(int group, std::uint64_t mask) : group_(group), mask_(mask) {}

  /// Marks what `path` (without symbolic links) asks for. UNIMPLEMENTED: the file system cannot;
  /// INVALID_ARGUMENT: too many folders.
  absl::Status Watch(const std::string& path);
  /// Readable when folders have come or gone.
  int fd() const { return changes_.get(); }
  /// Reads what has come and gone, and marks anew.
  absl::Status OnChange();
  /// NOT_FOUND if the folder is not there any more.
  absl::Status Check() const;
  /// Whether the file of an event is meant: any below a folder, or the one that has the name now.
  bool Holds(const struct stat& file) const;
  std::size_t count() const { return folders_; }

 private:
  absl::Status MarkTree(const std::string& folder);
  absl::Status Mark(const std::string& folder, int fd);

  const int group_;
  const std::uint64_t mask_;
  std::string root_;  // the folder
  std::string file_;  // the file's path; empty for a folder
  struct stat seen_ {};
  Descriptor changes_;                  // inotify
  std::map<int, std::string> watches_;  // inotify's number: folder
  std::size_t folders_ = 0;
};

}  // namespace firedrill::agent
