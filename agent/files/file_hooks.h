// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/host/descriptor.h"
#include "proto/support/clock.h"

struct file_bpf;
struct fd_file_control;

namespace firedrill::agent {

struct FileHooksOptions {
  std::string path;
  std::uint32_t operations = 0;  ///< FD_FILE_… of bpf/file.h
  int error = 0;                 ///< errno
  double share = 1;              ///< Of the operations.
  bool chosen_only = false;      ///< Only processes that SetProcesses names.
};

/// Lets operations on files below a path fail, decided in the kernel by BPF programs on the hooks
/// of Linux Security Modules. They end with this object, and no later than a second after the last
/// Renew. Not thread-safe.
class FileHooks {
 public:
  struct Figures {
    std::uint64_t matched = 0;
    std::uint64_t failed = 0;
    std::optional<Nanoseconds> first_after_boot;  ///< CLOCK_MONOTONIC of the first that failed.
  };

  /// OK if such programs can be loaded and attached here: it is tried, without an effect.
  /// UNIMPLEMENTED says what is missing and what to do about it.
  static absl::Status Try();

  /// In force, but not before SetProcesses and Renew.
  static absl::StatusOr<std::unique_ptr<FileHooks>> Start(const FileHooksOptions& options);
  ~FileHooks();

  /// By their pids, with their descendants: `chosen` are meant, `spared` never.
  absl::Status SetProcesses(const std::set<int>& chosen, const std::set<int>& spared);
  /// For another second.
  void Renew();
  Figures figures() const;

 private:
  explicit FileHooks(file_bpf* skeleton) : skeleton_(skeleton) {}
  static absl::StatusOr<std::unique_ptr<FileHooks>> Load();
  absl::Status Learn(const std::string& path);

  file_bpf* const skeleton_;
  fd_file_control* control_ = nullptr;
  Descriptor target_;  // keeps the inode where the programs know it
  std::set<int> marked_;
};

}  // namespace firedrill::agent
