// SPDX-License-Identifier: Apache-2.0
#include "proto/support/errno_names.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace firedrill {
namespace {

// errno(3): these share their numbers with others, and the C library tells only one name.
constexpr std::pair<std::string_view, int> kFurtherNames[] = {
    {"EWOULDBLOCK", EWOULDBLOCK}, {"EAGAIN", EAGAIN},       {"ENOTSUP", ENOTSUP},
    {"EOPNOTSUPP", EOPNOTSUPP},   {"EDEADLOCK", EDEADLOCK}, {"EDEADLK", EDEADLK}};

}  // namespace

std::optional<int> ErrnoByName(std::string_view name) {
  for (const auto& [known, number] : kFurtherNames) {
    if (name == known) return number;
  }
  if (name.empty()) return std::nullopt;
  for (int number = 1; number <= kLargestErrno; ++number) {
    if (ErrnoName(number) == name) return number;
  }
  return std::nullopt;
}

std::string_view ErrnoName(int number) {
  if (number <= 0) return {};
  const char* name = strerrorname_np(number);
  return name == nullptr ? std::string_view() : name;
}

}  // namespace firedrill
