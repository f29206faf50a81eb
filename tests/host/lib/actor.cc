// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/actor.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace firedrill::testing {
namespace {

using agent::Descriptor;

constexpr std::size_t kLongest = 64;

// A number, and a descriptor if it is valid.
void SendAnswer(int channel, int number, int fd) {
  iovec part{&number, sizeof(number)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(head), &fd, sizeof(fd));
  }
  sendmsg(channel, &message, MSG_NOSIGNAL);
}

// Lives as long as somebody asks.
[[noreturn]] void Act(int channel) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGCHLD, SIG_IGN);
  char request[kLongest + 1] = {};
  for (ssize_t size; (size = recv(channel, request, kLongest, 0)) > 0;) {
    request[size] = '\0';
    int first = 0, second = 0;
    if (sscanf(request, "socket %d %d", &first, &second) == 2) {
      SendAnswer(channel, 0, socket(first, second, 0));
    } else if (std::strncmp(request, "name ", 5) == 0) {
      SendAnswer(channel, prctl(PR_SET_NAME, request + 5), -1);
    } else {
      int ends[2];
      if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) < 0) _exit(1);
      const pid_t child = fork();
      if (child == 0) {
        close(channel);
        close(ends[0]);
        Act(ends[1]);
      }
      close(ends[1]);
      SendAnswer(channel, child, ends[0]);
      close(ends[0]);
    }
  }
  _exit(0);
}

}  // namespace

Actor::Actor() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    throw std::runtime_error("socketpair");
  }
  channel_ = Descriptor(ends[0]);
  const Descriptor theirs(ends[1]);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    // What else the test holds is not this process's.
    dup2(theirs.get(), STDERR_FILENO + 1);
    closefrom(STDERR_FILENO + 2);
    Act(STDERR_FILENO + 1);
  }
}

Actor::Actor(Actor&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), channel_(std::move(other.channel_)) {}

Actor::~Actor() { Kill(); }

void Actor::Kill() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  // A grandchild of the test is its parent's to wait for.
  if (waitpid(pid_, nullptr, 0) < 0) {
    while (kill(pid_, 0) == 0) poll(nullptr, 0, 1);
  }
  pid_ = -1;
}

std::pair<int, Descriptor> Actor::Ask(const std::string& request) const {
  if (send(channel_.get(), request.c_str(), request.size(), MSG_NOSIGNAL) < 0) {
    throw std::runtime_error("the actor is gone");
  }
  int number = -1;
  iovec part{&number, sizeof(number)};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (recvmsg(channel_.get(), &message, MSG_CMSG_CLOEXEC) <= 0) {
    throw std::runtime_error("the actor is gone");
  }
  int fd = -1;
  if (const cmsghdr* head = CMSG_FIRSTHDR(&message)) {
    std::memcpy(&fd, CMSG_DATA(head), sizeof(fd));
  }
  return {number, Descriptor(fd)};
}

Descriptor Actor::Socket(int family, int type) const {
  Descriptor fd = Ask("socket " + std::to_string(family) + " " + std::to_string(type)).second;
  if (!fd.valid()) throw std::runtime_error("the actor has no socket");
  return fd;
}

void Actor::TakeName(const std::string& name) const { Ask("name " + name); }

Actor Actor::Fork() const {
  auto [child, fd] = Ask("fork");
  if (child <= 0 || !fd.valid()) throw std::runtime_error("the actor has no child");
  return Actor(child, std::move(fd));
}

}  // namespace firedrill::testing
