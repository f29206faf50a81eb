// SPDX-License-Identifier: Apache-2.0
#include "agent/host/sleeping_threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace firedrill::agent {
namespace {

constexpr std::size_t kStack = 64 << 10;  // of addresses; a page or two of memory

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

// Sleeps in the kernel until `wake` is not 0: it touches next to nothing of its stack.
void* Sleep(void* wake) {
  auto* const word = static_cast<std::atomic<std::uint32_t>*>(wake);
  while (word->load() == 0) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  return nullptr;
}

}  // namespace

bool SleepingThreads::Add(std::size_t count) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_attr_setguardsize(&attributes, 0);
  bool granted = true;
  for (std::size_t i = 0; i < count && granted; ++i) {
    pthread_t thread;
    granted = pthread_create(&thread, &attributes, Sleep, &wake_) == 0;
    if (granted) threads_.push_back(thread);
  }
  pthread_attr_destroy(&attributes);
  return granted;
}

std::size_t SleepingThreads::End() {
  const std::size_t count = threads_.size();
  wake_ = 1;
  syscall(SYS_futex, &wake_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  for (const pthread_t thread : threads_) pthread_join(thread, nullptr);
  threads_.clear();
  wake_ = 0;
  return count;
}

}  // namespace firedrill::agent
