// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace firedrill::agent {

/// A regular file: what it holds and what belongs to it.
struct FileImage {
  std::string content;
  unsigned mode = 0;  ///< Permissions only.
  unsigned owner = 0;
  unsigned group = 0;
  timespec modified{};
  std::map<std::string, std::string> attributes;  ///< Extended ones: labels, access lists.
};

/// INVALID_ARGUMENT for what is no regular file, or is larger than `most` bytes; NOT_FOUND. The
/// path leads through no symbolic link.
absl::StatusOr<FileImage> ReadImage(const std::string& path, std::size_t most);

/// Lets `path` hold `image`, on the disk when it returns: by a new file that takes the name at one
/// instant; where that cannot be (the file alone is mounted, has several names, or its folder is
/// read-only) by writing into it. `temporary` is the new file's name meanwhile, in the same folder.
/// `still`: what it must hold until that instant; ABORTED, and nothing is done, if it does not.
absl::Status WriteImage(const std::string& path, const FileImage& image,
                        const std::string& temporary, bool keep_time,
                        const std::string* still = nullptr);

/// Removes `temporary` from the folder of `path`, should somebody have died.
absl::Status RemoveTemporary(const std::string& path, const std::string& temporary);

/// As text, for the journal, and back. DATA_LOSS.
std::map<std::string, std::string> ToValues(const FileImage& image);
absl::StatusOr<FileImage> ImageFrom(const std::map<std::string, std::string>& values);

}  // namespace firedrill::agent
