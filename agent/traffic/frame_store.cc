// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/frame_store.h"

#include <malloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace firedrill::agent {
namespace {

template <typename Call>
ssize_t Uninterrupted(Call call) {
  ssize_t result = -1;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

}  // namespace

// Not make_unique: it would touch, and so take, all pages of a block at once.
std::unique_ptr<char[]> FrameStore::Get(std::vector<std::unique_ptr<char[]>>& from,
                                        std::size_t size) {
  if (from.empty()) return std::unique_ptr<char[]>(new char[size]);
  std::unique_ptr<char[]> block = std::move(from.back());
  from.pop_back();
  return block;
}

std::array<iovec, 2> FrameStore::Parts(char* head, char* tail, std::size_t size) {
  const std::size_t first = std::min(size, StoredFrame::kHeadBytes);
  return {iovec{head, first}, iovec{tail, size - first}};
}

FrameStore::FrameStore() : head_(new char[StoredFrame::kHeadBytes]), tail_(new char[kTailBytes]) {}

ssize_t FrameStore::Read(int fd) {
  const auto parts = Parts(head_.get(), tail_.get(), StoredFrame::kHeadBytes + kTailBytes);
  return Uninterrupted([&] { return readv(fd, parts.data(), 2); });
}

ssize_t FrameStore::WriteBack(int fd, std::size_t size) {
  const auto parts = Parts(head_.get(), tail_.get(), size);
  return Uninterrupted([&] { return writev(fd, parts.data(), parts[1].iov_len == 0 ? 1 : 2); });
}

StoredFrame FrameStore::Take(std::size_t size) {
  StoredFrame frame;
  frame.size = size;
  frame.exact_head = size <= kSmallBytes;
  if (frame.exact_head) {
    frame.head.reset(new char[size]);
    std::memcpy(frame.head.get(), head_.get(), size);
    return frame;
  }
  frame.head = std::exchange(head_, Get(heads_, StoredFrame::kHeadBytes));
  if (size <= StoredFrame::kHeadBytes) return frame;
  const std::size_t rest = size - StoredFrame::kHeadBytes;
  // Half-empty blocks would take twice the memory that the limit allows.
  frame.exact_tail = rest < kTailBytes / 4;
  if (frame.exact_tail) {
    frame.tail.reset(new char[rest]);
    std::memcpy(frame.tail.get(), tail_.get(), rest);
  } else {
    frame.tail = std::exchange(tail_, Get(tails_, kTailBytes));
  }
  return frame;
}

std::size_t FrameStore::CostOf(std::size_t size) {
  if (size <= kSmallBytes) return size;
  if (size <= StoredFrame::kHeadBytes) return StoredFrame::kHeadBytes;
  const std::size_t rest = size - StoredFrame::kHeadBytes;
  return StoredFrame::kHeadBytes + (rest < kTailBytes / 4 ? rest : kTailBytes);
}

ssize_t FrameStore::Write(int fd, const StoredFrame& frame) {
  const auto parts = Parts(frame.head.get(), frame.tail.get(), frame.size);
  return Uninterrupted([&] { return writev(fd, parts.data(), frame.tail == nullptr ? 1 : 2); });
}

void FrameStore::Recycle(StoredFrame frame) {
  const std::size_t pooled = heads_.size() * StoredFrame::kHeadBytes + tails_.size() * kTailBytes;
  if (pooled >= kMostPooledBytes) return;
  if (!frame.exact_head) heads_.push_back(std::move(frame.head));
  if (frame.tail != nullptr && !frame.exact_tail) tails_.push_back(std::move(frame.tail));
}

void FrameStore::Shrink() {
  if (heads_.empty() && tails_.empty()) return;
  std::vector<std::unique_ptr<char[]>>().swap(heads_);
  std::vector<std::unique_ptr<char[]>>().swap(tails_);
  malloc_trim(0);
}

}  // namespace firedrill::agent
