// SPDX-License-Identifier: Apache-2.0
#include "agent/supervisor/pid_reserve.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace firedrill::agent {
namespace {

constexpr std::size_t kStack = 64 << 10;  // of addresses; a page or two of memory

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));

void* Sleep(void* wake) {
  auto* const word = static_cast<std::atomic<std::uint32_t>*>(wake);
  while (word->load() == 0) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  return nullptr;
}

}  // namespace

void PidReserve::Fill() {
  wake_ = 0;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_t sleeper;
  while (sleepers_.size() < count_ && pthread_create(&sleeper, &attributes, Sleep, &wake_) == 0) {
    sleepers_.push_back(sleeper);
  }
  pthread_attr_destroy(&attributes);
}

bool PidReserve::Release() {
  if (sleepers_.empty()) return false;
  wake_ = 1;
  syscall(SYS_futex, &wake_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  for (const pthread_t sleeper : sleepers_) pthread_join(sleeper, nullptr);
  sleepers_.clear();
  return true;
}

}  // namespace firedrill::agent
