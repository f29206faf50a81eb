// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

#include "agent/host/descriptor.h"

// Calls of sockets, by this process and by others.
namespace firedrill::test {

struct End {
  sockaddr_storage address{};
  socklen_t size = 0;
  int family() const { return address.ss_family; }
};

inline End EndOf(const std::string& address, int port) {
  End end;
  auto* four = reinterpret_cast<sockaddr_in*>(&end.address);
  auto* six = reinterpret_cast<sockaddr_in6*>(&end.address);
  if (inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<std::uint16_t>(port));
    end.size = sizeof(*four);
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, address.c_str(), &six->sin6_addr), 1) << address;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<std::uint16_t>(port));
    end.size = sizeof(*six);
  }
  return end;
}

enum class Call { kConnect, kSend, kSendConnected, kCreate, kCreateUnix, kFork };

/// The call's errno; 0: it did not fail. UDP: nothing need be there at the other end.
inline int Do(Call call, const End& end, int type = SOCK_DGRAM) {
  if (call == Call::kFork) return 0;
  const int family = call == Call::kCreateUnix ? AF_UNIX : end.family();
  const agent::Descriptor fd(socket(family, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  const auto* address = reinterpret_cast<const sockaddr*>(&end.address);
  switch (call) {
    case Call::kConnect:
      return connect(fd.get(), address, end.size) == 0 ? 0 : errno;
    case Call::kSend:
      return sendto(fd.get(), "x", 1, 0, address, end.size) == 1 ? 0 : errno;
    case Call::kSendConnected:
      if (connect(fd.get(), address, end.size) != 0) return errno;
      return send(fd.get(), "x", 1, 0) == 1 ? 0 : errno;
    case Call::kCreate:
    case Call::kCreateUnix:
    case Call::kFork:
      break;
  }
  return 0;
}

/// Another process that makes calls on demand, and a child of its own that does.
class Caller {
 public:
  explicit Caller(const std::string& name) {
    int own[2], child[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, own), 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, child), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      prctl(PR_SET_NAME, name.c_str());
      close(own[0]);
      close(child[0]);
      Serve(own[1], child[1]);
    }
    close(own[1]);
    close(child[1]);
    own_ = agent::Descriptor(own[0]);
    child_ = agent::Descriptor(child[0]);
    EXPECT_EQ(Ask(own_, {Call::kCreateUnix, End()}), 0) << "it has its name by now";
  }
  ~Caller() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  int operator()(Call call, const End& end) { return Ask(own_, {call, end}); }
  void Fork() { EXPECT_EQ(Ask(own_, {Call::kFork, End()}), 0); }
  int Child(Call call, const End& end) { return Ask(child_, {call, end}); }

 private:
  struct Wish {
    Call call;
    End end;
  };
  static int Ask(const agent::Descriptor& to, const Wish& wish) {
    int answer = -1;
    EXPECT_EQ(send(to.get(), &wish, sizeof(wish), 0), static_cast<ssize_t>(sizeof(wish)));
    EXPECT_EQ(recv(to.get(), &answer, sizeof(answer), 0), static_cast<ssize_t>(sizeof(answer)));
    return answer;
  }
  // Plain calls of the system only: this process was forked off one with threads.
  [[noreturn]] static void Serve(int socket, int for_child) {
    Wish wish;
    while (recv(socket, &wish, sizeof(wish), 0) == static_cast<ssize_t>(sizeof(wish))) {
      if (wish.call == Call::kFork && fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "grandchild");
        Serve(for_child, -1);
      }
      const int answer = Do(wish.call, wish.end);
      if (send(socket, &answer, sizeof(answer), 0) < 0) break;
    }
    _exit(0);
  }

  pid_t pid_;
  agent::Descriptor own_, child_;
};

}  // namespace firedrill::test
