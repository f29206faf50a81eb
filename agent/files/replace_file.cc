// SPDX-License-Identifier: Apache-2.0
#include "agent/files/replace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "agent/host/descriptor.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<Descriptor> OpenPlain(const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC | O_NONBLOCK);
  how.resolve = RESOLVE_NO_SYMLINKS;
  Descriptor file(static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
  if (file.valid()) return file;
  return absl::ErrnoToStatus(errno, "open " + path);
}

absl::Status WriteAll(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote =
        pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (wrote < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "write");
    if (wrote > 0) done += static_cast<std::size_t>(wrote);
  }
  return absl::OkStatus();
}

std::map<std::string, std::string> ReadAttributes(int fd) {
  std::map<std::string, std::string> attributes;
  std::string names(64 << 10, '\0');
  const ssize_t size = flistxattr(fd, names.data(), names.size());
  if (size <= 0) return attributes;
  names.resize(static_cast<std::size_t>(size));
  for (const absl::string_view name : absl::StrSplit(names, '\0', absl::SkipEmpty())) {
    std::string value(64 << 10, '\0');
    const ssize_t length = fgetxattr(fd, std::string(name).c_str(), value.data(), value.size());
    if (length < 0) continue;
    value.resize(static_cast<std::size_t>(length));
    attributes[std::string(name)] = std::move(value);
  }
  return attributes;
}

absl::Status Dress(int fd, const FileImage& image, bool keep_time) {
  if (fchown(fd, image.owner, image.group) != 0) return absl::ErrnoToStatus(errno, "chown");
  for (const auto& [name, value] : image.attributes) {
    // What the file system sets by itself, or does not take from us, is as it was before, too.
    fsetxattr(fd, name.c_str(), value.data(), value.size(), 0);
  }
  // After the owner, whose change takes set-id bits away; and after access lists, which set it.
  if (fchmod(fd, image.mode) != 0) return absl::ErrnoToStatus(errno, "chmod");
  const timespec times[2] = {{0, UTIME_OMIT}, image.modified};
  if (keep_time && futimens(fd, times) != 0) return absl::ErrnoToStatus(errno, "set the time");
  return absl::OkStatus();
}

// ABORTED unless it holds what is in `still`, if anything is.
absl::Status CheckStill(const std::string& path, const std::string* still) {
  if (still == nullptr) return absl::OkStatus();
  const auto now = ReadImage(path, still->size());
  if (now.ok() && now->content == *still) return absl::OkStatus();
  return absl::AbortedError(path +
                            " was changed by somebody else in this moment: nothing was done");
}

absl::Status WriteInPlace(const std::string& path, const FileImage& image, bool keep_time,
                          const std::string* still) {
  ASSIGN_OR_RETURN(const Descriptor file, OpenPlain(path, O_WRONLY));
  RETURN_IF_ERROR(CheckStill(path, still));
  RETURN_IF_ERROR(WriteAll(file.get(), image.content));
  if (ftruncate(file.get(), static_cast<off_t>(image.content.size())) != 0) {
    return absl::ErrnoToStatus(errno, "truncate " + path);
  }
  const timespec times[2] = {{0, UTIME_OMIT}, image.modified};
  if (keep_time) futimens(file.get(), times);
  return fsync(file.get()) == 0 ? absl::OkStatus() : absl::ErrnoToStatus(errno, "fsync " + path);
}

// UNAVAILABLE: the folder does not let us; nothing has changed.
absl::Status WriteBeside(const std::string& path, const FileImage& image,
                         const std::string& temporary, bool keep_time, const std::string* still) {
  const fs::path whole(path);
  ASSIGN_OR_RETURN(const Descriptor folder, OpenPlain(whole.parent_path(), O_RDONLY | O_DIRECTORY));
  unlinkat(folder.get(), temporary.c_str(), 0);
  absl::Status status = absl::OkStatus();
  {
    const Descriptor file(openat(folder.get(), temporary.c_str(),
                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.valid()) return absl::UnavailableError("no new file can be made beside it");
    status = WriteAll(file.get(), image.content);
    if (status.ok()) status = Dress(file.get(), image, keep_time);
    if (status.ok() && fsync(file.get()) != 0) status = absl::ErrnoToStatus(errno, "fsync");
  }
  if (status.ok()) status = CheckStill(path, still);
  if (status.ok() &&
      renameat(folder.get(), temporary.c_str(), folder.get(), whole.filename().c_str()) != 0) {
    status = absl::UnavailableError("the new file cannot take its name");
  }
  if (!status.ok()) {
    unlinkat(folder.get(), temporary.c_str(), 0);
    return status;
  }
  if (fsync(folder.get()) != 0) return absl::ErrnoToStatus(errno, "fsync the folder of " + path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FileImage> ReadImage(const std::string& path, std::size_t most) {
  ASSIGN_OR_RETURN(const Descriptor file, OpenPlain(path, O_RDONLY));
  struct stat seen;
  if (fstat(file.get(), &seen) != 0) return absl::ErrnoToStatus(errno, path);
  if (!S_ISREG(seen.st_mode)) {
    return absl::InvalidArgumentError(path + " is no regular file");
  }
  FileImage image;
  image.content.resize(most + 1);
  std::size_t done = 0;
  for (;;) {
    const ssize_t got = pread(file.get(), image.content.data() + done, image.content.size() - done,
                              static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, "read " + path);
    done += static_cast<std::size_t>(got);
    if (got == 0 || done == image.content.size()) break;
  }
  if (done > most) {
    return absl::InvalidArgumentError(
        fmt::format("{} is larger than the {} bytes that are allowed", path, most));
  }
  image.content.resize(done);
  image.mode = seen.st_mode & 07777;
  image.owner = seen.st_uid;
  image.group = seen.st_gid;
  image.modified = seen.st_mtim;
  image.attributes = ReadAttributes(file.get());
  return image;
}

absl::Status WriteImage(const std::string& path, const FileImage& image,
                        const std::string& temporary, bool keep_time, const std::string* still) {
  struct stat seen;
  const bool several_names = lstat(path.c_str(), &seen) == 0 && seen.st_nlink > 1;
  absl::Status status = absl::UnavailableError("it has several names");
  if (!several_names) status = WriteBeside(path, image, temporary, keep_time, still);
  return absl::IsUnavailable(status) ? WriteInPlace(path, image, keep_time, still) : status;
}

absl::Status RemoveTemporary(const std::string& path, const std::string& temporary) {
  const fs::path name = fs::path(path).parent_path() / temporary;
  if (unlink(name.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR || errno == EROFS) {
    return absl::OkStatus();
  }
  return absl::ErrnoToStatus(errno, "remove " + name.string());
}

std::map<std::string, std::string> ToValues(const FileImage& image) {
  std::string attributes;
  for (const auto& [name, value] : image.attributes) {
    attributes += absl::Base64Escape(name) + " " + absl::Base64Escape(value) + "\n";
  }
  return {{"content", absl::Base64Escape(image.content)},
          {"mode", std::to_string(image.mode)},
          {"owner", std::to_string(image.owner)},
          {"group", std::to_string(image.group)},
          {"modified", fmt::format("{} {}", image.modified.tv_sec, image.modified.tv_nsec)},
          {"attributes", attributes}};
}

absl::StatusOr<FileImage> ImageFrom(const std::map<std::string, std::string>& values) {
  const auto value = [&](const char* name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
  FileImage image;
  long long seconds = 0;
  bool good =
      absl::Base64Unescape(value("content"), &image.content) &&
      absl::SimpleAtoi(value("mode"), &image.mode) &&
      absl::SimpleAtoi(value("owner"), &image.owner) &&
      absl::SimpleAtoi(value("group"), &image.group) &&
      std::sscanf(value("modified").c_str(), "%lld %ld", &seconds, &image.modified.tv_nsec) == 2;
  image.modified.tv_sec = static_cast<time_t>(seconds);
  const std::string attributes = value("attributes");
  for (const absl::string_view line : absl::StrSplit(attributes, '\n', absl::SkipEmpty())) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, ' ');
    std::string name, content;
    good = good && parts.size() == 2 && absl::Base64Unescape(parts[0], &name) &&
           absl::Base64Unescape(parts[1], &content);
    image.attributes[name] = content;
  }
  if (good) return image;
  return absl::DataLossError("the journal's record holds no file");
}

}  // namespace firedrill::agent
