// SPDX-License-Identifier: Apache-2.0
#include "agent/journal/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "agent/host/host.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr std::size_t kLargestRecord = 8 << 20;  // a file of 1 MiB before and after an edit
constexpr const char* kSuffix = ".undo";

// Flushes a file's or a folder's contents to the disk.
absl::Status Sync(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, "open " + path);
  const int failed = fsync(fd);
  const int error = errno;
  close(fd);
  return failed != 0 ? absl::ErrnoToStatus(error, "fsync " + path) : absl::OkStatus();
}

absl::Status WriteWhole(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return absl::ErrnoToStatus(errno, "create " + path);
  std::size_t done = 0;
  int error = 0;
  while (done < text.size() && error == 0) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote >= 0) {
      done += static_cast<std::size_t>(wrote);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (error == 0 && fsync(fd) != 0) error = errno;
  close(fd);
  if (error == 0) return absl::OkStatus();
  unlink(path.c_str());
  return absl::ErrnoToStatus(error, "write " + path);
}

absl::StatusOr<UndoRecord> Parse(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, Host::Read(path, kLargestRecord));
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::DataLossError(
        fmt::format("{} is cut short or damaged ({} bytes, no JSON object)", path, text.size()));
  }
  try {
    if (json.at("format").get<int>() != kFormat) {
      return absl::DataLossError(fmt::format("{} has format {}; this agent reads format {}", path,
                                             json.at("format").get<int>(), kFormat));
    }
    UndoRecord record;
    record.id = fs::path(path).stem();
    record.kind = json.at("kind").get<std::string>();
    record.boot_id = json.at("boot_id").get<std::string>();
    record.writer = json.at("writer").get<int>();
    record.written_at = SystemTime(Nanoseconds(json.at("written_at_ns").get<std::int64_t>()));
    record.values = json.at("values").get<std::map<std::string, std::string>>();
    return record;
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(fmt::format("{} holds no undo record: {}", path, error.what()));
  }
}

}  // namespace

Journal::Journal(std::string folder, std::string boot_id, const Clock& clock)
    : folder_(std::move(folder)), boot_id_(std::move(boot_id)), clock_(clock) {}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(std::string folder, std::string boot_id,
                                                       const Clock& clock) {
  std::error_code error;
  if (fs::create_directories(folder, error); error) {
    return absl::ErrnoToStatus(error.value(), "make the journal's folder " + folder);
  }
  if (chmod(folder.c_str(), 0700) != 0) return absl::ErrnoToStatus(errno, "chmod " + folder);
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return absl::ErrnoToStatus(errno, "write to the journal's folder " + folder);
  }
  return std::unique_ptr<Journal>(new Journal(std::move(folder), std::move(boot_id), clock));
}

absl::StatusOr<std::string> Journal::Record(const std::string& kind,
                                            const std::map<std::string, std::string>& values) {
  static std::atomic<unsigned> counter{0};
  const SystemTime now = clock_.System();
  // Sorted by time as text; unique through the pid and the counter.
  const std::string id =
      fmt::format("{:020}-{}-{}", now.time_since_epoch().count(), getpid(), counter.fetch_add(1));
  const nlohmann::json json = {{"format", kFormat},
                               {"kind", kind},
                               {"boot_id", boot_id_},
                               {"writer", getpid()},
                               {"written_at_ns", now.time_since_epoch().count()},
                               {"values", values}};
  const std::string text = json.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n";
  if (text.size() > kLargestRecord) {
    return absl::InvalidArgumentError(
        fmt::format("an undo record of {} bytes; {} are allowed", text.size(), kLargestRecord));
  }
  const std::string path = folder_ + "/" + id;
  RETURN_IF_ERROR(WriteWhole(path + ".new", text));
  if (rename((path + ".new").c_str(), (path + kSuffix).c_str()) != 0) {
    const int error = errno;
    unlink((path + ".new").c_str());
    return absl::ErrnoToStatus(error, "rename " + path + ".new");
  }
  RETURN_IF_ERROR(Sync(folder_, O_RDONLY | O_DIRECTORY));
  return id;
}

absl::StatusOr<std::string> Journal::RecordAlone(
    const std::string& kind, const std::map<std::string, std::string>& values,
    const std::function<bool(const UndoRecord&)>& conflicts, const std::string& refusal) {
  const auto check = [&](const std::string& own) -> absl::Status {
    ASSIGN_OR_RETURN(const Contents contents, Read());
    for (const UndoRecord& record : contents.records) {
      if (record.id != own && conflicts(record)) return absl::FailedPreconditionError(refusal);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(check(""));
  ASSIGN_OR_RETURN(std::string id, Record(kind, values));
  // Who recorded since the first look sees this record, or is seen now.
  const absl::Status alone = check(id);
  if (alone.ok()) return id;
  RETURN_IF_ERROR(Forget(id));
  return alone;
}

absl::Status Journal::Forget(const std::string& id) {
  const std::string path = folder_ + "/" + id + kSuffix;
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::ErrnoToStatus(errno, "remove " + path);
  }
  return absl::OkStatus();
}

absl::StatusOr<Journal::Contents> Journal::Read() const {
  Contents contents;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string path = entry.path();
    if (!absl::EndsWith(path, kSuffix)) continue;
    auto record = Parse(path);
    if (record.ok()) {
      record->same_boot = record->boot_id == boot_id_;
      contents.records.push_back(*std::move(record));
    } else if (!absl::IsNotFound(record.status())) {  // forgotten meanwhile by its writer
      contents.unreadable.emplace_back(record.status().message());
    }
  }
  if (error) return absl::ErrnoToStatus(error.value(), "list the journal's folder " + folder_);
  std::sort(contents.records.begin(), contents.records.end(),
            [](const UndoRecord& a, const UndoRecord& b) { return a.id < b.id; });
  return contents;
}

absl::Status Journal::Replay(const Undo& undo, int writer) {
  ASSIGN_OR_RETURN(const Contents contents, Read());
  std::vector<std::string> problems;
  for (auto i = contents.records.rbegin(); i != contents.records.rend(); ++i) {
    if (writer != 0 && (i->writer != writer || !i->same_boot)) continue;
    absl::Status status = undo(*i);
    if (status.ok()) status = Forget(i->id);
    if (!status.ok()) {
      problems.push_back(
          fmt::format("undo {} ({}): {}", i->kind, i->id, std::string(status.message())));
    }
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrJoin(problems, "; "));
}

absl::Status Journal::SetAsideUnreadable() {
  std::vector<std::string> problems;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string path = entry.path();
    if (!absl::EndsWith(path, kSuffix)) continue;
    const auto record = Parse(path);
    if (record.ok() || absl::IsNotFound(record.status())) continue;
    fs::rename(path, path + ".unreadable", error);
    problems.push_back(fmt::format("{}; set aside as {}.unreadable",
                                   std::string(record.status().message()), path));
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrJoin(problems, "; "));
}

}  // namespace firedrill::agent
