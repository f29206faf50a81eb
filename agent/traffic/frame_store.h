// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace firedrill::agent {

/// A frame in user space: in one block if it is small, as nearly all are without TSO, else in two.
struct StoredFrame {
  std::unique_ptr<char[]> head;  ///< The first kHeadBytes, or all of a small frame.
  std::unique_ptr<char[]> tail;  ///< What did not fit; null if all did.
  std::size_t size = 0;
  bool exact_head = false;  ///< Of the size needed, not from the store.
  bool exact_tail = false;  ///< The same.

  static constexpr std::size_t kHeadBytes = 2048;
};

/// Reads frames without copying them about: into blocks that become the frame's. Blocks are kept
/// for the next frames until Shrink. Not thread-safe.
class FrameStore {
 public:
  FrameStore();

  /// The bytes that were read, or -1 and errno, as read(2). What was read stays until the next Read
  /// or Take.
  ssize_t Read(int fd);
  /// Writes what was read back.
  ssize_t WriteBack(int fd, std::size_t size);
  /// The first bytes of what was read.
  const char* begin() const { return head_.get(); }
  /// Keeps what was read.
  StoredFrame Take(std::size_t size);

  /// The memory that keeping a frame of this size takes.
  static std::size_t CostOf(std::size_t size);
  static ssize_t Write(int fd, const StoredFrame& frame);
  void Recycle(StoredFrame frame);
  /// Gives unused memory back to the system.
  void Shrink();

 private:
  static constexpr std::size_t kSmallBytes = StoredFrame::kHeadBytes / 4;
  static constexpr std::size_t kMostPooledBytes = 32u << 20;  ///< Kept for the next frames.
  static constexpr std::size_t kTailBytes = (128 << 10) - StoredFrame::kHeadBytes;
  static std::unique_ptr<char[]> Get(std::vector<std::unique_ptr<char[]>>& from, std::size_t size);
  static std::array<iovec, 2> Parts(char* head, char* tail, std::size_t size);

  std::unique_ptr<char[]> head_, tail_;
  std::vector<std::unique_ptr<char[]>> heads_, tails_;
};

}  // namespace firedrill::agent
