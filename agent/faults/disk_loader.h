// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/descriptor.h"
#include "proto/support/clock.h"

namespace firedrill::agent {

/// So many bytes of the file system stay available: near them the file shrinks.
inline constexpr std::uint64_t kLoadFloor = 64ull << 20;

/// A file without a name in `folder`, opened past the page cache if the file system can that:
/// `direct` says whether.
absl::StatusOr<Descriptor> OpenLoadFile(const std::string& folder,
                                        const std::string& momentary_name, bool& direct);

struct DiskLoaderOptions {
  Descriptor file;
  bool direct = false;           ///< Opened with O_DIRECT.
  std::uint64_t read_rate = 0;   ///< Bytes in a second; 0: none.
  std::uint64_t write_rate = 0;  ///< Bytes in a second; 0: none.
  std::uint64_t size = 0;        ///< Of the file.
  std::string thread_mark;
};

/// Reads and writes blocks at random places of a file, paced: it never makes up for more than a
/// tenth of a second of what a slow disk could not do. Thread-safe.
class DiskLoader {
 public:
  struct Figures {
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
    std::uint64_t prepared_bytes = 0;  ///< Written at first, so that there is something to read.
    double read_rate = 0;              ///< Bytes in a second, over the last seconds.
    double write_rate = 0;
    std::uint64_t errors = 0;
    bool direct = false;
    std::optional<SystemTime> first;  ///< End of the first read or write that was asked for.
    Nanoseconds first_length{0};      ///< How long it took.
    absl::Status error;               ///< The disk is gone: nothing but errors.
  };

  DiskLoader(const Clock& clock, DiskLoaderOptions options);
  ~DiskLoader();
  DiskLoader(const DiskLoader&) = delete;
  DiskLoader& operator=(const DiskLoader&) = delete;

  /// Waits for the first read or write of each kind that is asked for.
  absl::Status Confirm(Nanoseconds within) const;
  Figures figures() const;
  /// Returns when no operation is under way and the file is gone. Idempotent.
  void Stop();

 private:
  struct Stream;  // one direction: its pace and its counters
  void Prepare();
  void Load(Stream& stream, unsigned seed);
  void Watch();
  bool Transfer(bool write, std::uint64_t offset, char* block);
  bool Sleep(Nanoseconds duration);
  bool stopped() const;

  const Clock& clock_;
  DiskLoaderOptions options_;
  const std::uint64_t block_;
  std::atomic<std::uint64_t> written_until_{0};  // what lies beyond cannot be read yet
  std::atomic<std::uint64_t> size_;              // as the floor allows
  std::atomic<std::uint64_t> prepared_{0};
  std::atomic<std::uint64_t> errors_{0};
  std::atomic<int> errors_in_a_row_{0};
  std::atomic<int> last_errno_{0};
  std::unique_ptr<Stream> read_;
  std::unique_ptr<Stream> write_;
  mutable absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<SystemTime> first_ ABSL_GUARDED_BY(mutex_);
  Nanoseconds first_length_ ABSL_GUARDED_BY(mutex_){0};
  std::vector<std::thread> threads_;
};

}  // namespace firedrill::agent
