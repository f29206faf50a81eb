// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/names.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace firedrill::agent {
namespace {

Prefix ToPrefix(const sockaddr* address) {
  Prefix prefix;
  if (address->sa_family == AF_INET) {
    const auto* ipv4 = reinterpret_cast<const sockaddr_in*>(address);
    prefix.ipv4 = true;
    prefix.bits = 32;
    prefix.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(&prefix.address[12], &ipv4->sin_addr, sizeof(ipv4->sin_addr));
  } else {
    const auto* ipv6 = reinterpret_cast<const sockaddr_in6*>(address);
    prefix.bits = 128;
    std::memcpy(prefix.address.data(), &ipv6->sin6_addr, sizeof(ipv6->sin6_addr));
  }
  return prefix;
}

// Adds the name's addresses to `found`; as long as the host's resolver takes.
absl::Status Resolve(const std::string& name, std::set<Prefix>& found) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // Each address once.
  addrinfo* first = nullptr;
  const int error = getaddrinfo(name.c_str(), nullptr, &hints, &first);
  if (error != 0) {
    return absl::NotFoundError(
        fmt::format("traffic.hosts: this host's resolver has no address for '{}': {}", name,
                    gai_strerror(error)));
  }
  for (const addrinfo* entry = first; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family == AF_INET || entry->ai_family == AF_INET6) {
      found.insert(ToPrefix(entry->ai_addr));
    }
  }
  freeaddrinfo(first);
  return absl::OkStatus();
}

struct Question {
  absl::Mutex mutex;
  std::optional<absl::StatusOr<std::set<Prefix>>> answer ABSL_GUARDED_BY(mutex);
};

}  // namespace

absl::StatusOr<std::set<Prefix>> ResolveNames(const std::vector<std::string>& names,
                                              Nanoseconds within) {
  const auto question = std::make_shared<Question>();
  std::thread([question, names] {
    absl::Status status;
    std::set<Prefix> found;
    for (const std::string& name : names) {
      status = Resolve(name, found);
      if (!status.ok()) break;
    }
    absl::MutexLock lock(&question->mutex);
    if (status.ok()) {
      question->answer = std::move(found);
    } else {
      question->answer = status;
    }
  }).detach();
  absl::MutexLock lock(&question->mutex);
  const auto answered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(question->mutex) {
    return question->answer.has_value();
  };
  if (!question->mutex.AwaitWithTimeout(absl::Condition(&answered), absl::FromChrono(within))) {
    return absl::DeadlineExceededError(fmt::format(
        "traffic.hosts: this host's resolver did not answer within {} ms for {}; name addresses "
        "instead",
        std::chrono::duration_cast<std::chrono::milliseconds>(within).count(), names.front()));
  }
  if (question->answer->ok() && (*question->answer)->size() > kMostNameAddresses) {
    return absl::ResourceExhaustedError(
        fmt::format("traffic.hosts: these names have {} addresses; at most {} can be followed",
                    (*question->answer)->size(), kMostNameAddresses));
  }
  return *question->answer;
}

struct NameWatch::State {
  absl::Mutex mutex;
  bool stop ABSL_GUARDED_BY(mutex) = false;
  std::function<void(const std::set<Prefix>&)> found;
};

NameWatch::NameWatch(std::vector<std::string> names, Nanoseconds every,
                     std::function<void(const std::set<Prefix>&)> found)
    : state_(std::make_shared<State>()) {
  state_->found = std::move(found);
  std::thread([state = state_, names = std::move(names), every] {
    while (true) {
      {
        absl::MutexLock lock(&state->mutex);
        if (state->mutex.AwaitWithTimeout(absl::Condition(&state->stop), absl::FromChrono(every))) {
          return;
        }
      }
      std::set<Prefix> addresses;
      for (const std::string& name : names) Resolve(name, addresses).IgnoreError();
      absl::MutexLock lock(&state->mutex);
      if (state->stop) return;
      state->found(addresses);
    }
  }).detach();
}

NameWatch::~NameWatch() {
  absl::MutexLock lock(&state_->mutex);
  state_->stop = true;
}

}  // namespace firedrill::agent
