// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>

#include "agent/host/descriptor.h"
#include "tests/host/lib/traffic_fixture.h"

namespace {

// What a program does that is over before anybody could look for it: a datagram.
int SendAndEnd(const char* address, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address, &to.sin_addr);
  const firedrill::agent::Descriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return sendto(fd.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 1 ? 0
                                                                                              : 1;
}

}  // namespace

// The program starts itself again to have an engine in a process that can be killed, and to be one
// of a chosen name.
int main(int argc, char** argv) {
  if (firedrill::testing::IsHolder(argc, argv)) return firedrill::testing::RunHolder(argc, argv);
  if (argc == 4 && std::strcmp(argv[1], "--send-and-end") == 0) {
    return SendAndEnd(argv[2], std::atoi(argv[3]));
  }
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
