// SPDX-License-Identifier: Apache-2.0
#include "tests/host/lib/dns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace firedrill::testing {
namespace {

using agent::Descriptor;

constexpr std::size_t kHeader = 12;
constexpr std::size_t kLargest = 65535;

[[noreturn]] void Fail(const std::string& action) {
  throw std::system_error(errno, std::generic_category(), action);
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Address ToAddress(const std::string& text, int port) {
  Address address;
  auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof(*four);
  } else if (inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof(*six);
  } else {
    throw std::runtime_error("not an address: " + text);
  }
  return address;
}

Descriptor Bound(const Address& address, int type) {
  Descriptor fd(socket(address.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  const int buffer = 8 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  if (bind(fd.get(), address.generic(), address.size) < 0) Fail("bind a DNS server");
  return fd;
}

std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool Readable(int fd, int wait_ms) {
  pollfd polled{fd, POLLIN, 0};
  return poll(&polled, 1, wait_ms) > 0;
}

// Empty: not a query with one question.
DnsMessage AnswerTo(const DnsMessage& query) {
  if (query.size() < kHeader || (query[2] & 0x80) != 0 || query[4] != 0 || query[5] != 1) return {};
  std::size_t end = kHeader;
  while (end < query.size() && query[end] != 0) end += query[end] + 1u;
  end += 5;  // the end of the name, type and class
  if (end > query.size()) return {};
  DnsMessage answer(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(end));
  answer[2] |= 0x80;
  answer[3] = 0x80;
  answer[7] = 1;
  answer[11] = 0;
  const std::uint8_t record[] = {0xc0, kHeader, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 53};
  answer.insert(answer.end(), std::begin(record), std::end(record));
  return answer;
}

}  // namespace

DnsMessage DnsQuery(std::uint16_t id, const std::string& name, bool edns) {
  DnsMessage message = {static_cast<std::uint8_t>(id >> 8),
                        static_cast<std::uint8_t>(id),
                        0x01,  // RD
                        0,
                        0,
                        1,
                        0,
                        0,
                        0,
                        0,
                        0,
                        static_cast<std::uint8_t>(edns ? 1 : 0)};
  for (std::size_t at = 0; at < name.size();) {
    const std::size_t dot = std::min(name.find('.', at), name.size());
    message.push_back(static_cast<std::uint8_t>(dot - at));
    message.insert(message.end(), name.begin() + static_cast<std::ptrdiff_t>(at),
                   name.begin() + static_cast<std::ptrdiff_t>(dot));
    at = dot + 1;
  }
  const std::uint8_t question_end[] = {0, 0, 1, 0, 1};
  message.insert(message.end(), std::begin(question_end), std::end(question_end));
  const std::uint8_t opt[] = {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
  if (edns) message.insert(message.end(), std::begin(opt), std::end(opt));
  return message;
}

DnsServer::DnsServer(const NetNamespace& space, const std::string& address, int port) {
  const Address bound = ToAddress(address, port);
  RunIn(space, [&] {
    udp_ = Bound(bound, SOCK_DGRAM);
    tcp_ = Bound(bound, SOCK_STREAM);
    if (listen(tcp_.get(), 16) < 0) Fail("listen as a DNS server");
  });
  thread_ = std::thread([this] { Run(); });
}

DnsServer::~DnsServer() {
  stop_ = true;
  thread_.join();
}

void DnsServer::Run() {
  std::vector<Descriptor> connections;
  while (!stop_) {
    std::vector<pollfd> polled = {{udp_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    for (const Descriptor& connection : connections)
      polled.push_back({connection.get(), POLLIN, 0});
    if (poll(polled.data(), polled.size(), 10) <= 0) continue;
    if (polled[0].revents != 0) ServeUdp();
    for (std::size_t i = connections.size(); i-- > 0;) {
      if (polled[i + 2].revents == 0 || ServeTcp(connections[i].get())) continue;
      connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (polled[1].revents != 0) {
      connections.emplace_back(accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    }
  }
}

void DnsServer::ServeUdp() {
  DnsMessage query(kLargest);
  Address from;
  from.size = sizeof(from.storage);
  const ssize_t got = recvfrom(udp_.get(), query.data(), query.size(), 0,
                               reinterpret_cast<sockaddr*>(&from.storage), &from.size);
  if (got < 0) return;
  query.resize(static_cast<std::size_t>(got));
  {
    absl::MutexLock lock(&mutex_);
    datagrams_.push_back(query);
  }
  ++udp_messages_;
  const DnsMessage answer = AnswerTo(query);
  if (answer.empty()) return;
  sendto(udp_.get(), answer.data(), answer.size(), 0, from.generic(), from.size);
}

// False: the connection is over. Queries come whole.
bool DnsServer::ServeTcp(int connection) {
  std::uint8_t length[2];
  if (recv(connection, length, sizeof(length), MSG_WAITALL) != sizeof(length)) return false;
  DnsMessage query(static_cast<std::size_t>(length[0] << 8 | length[1]));
  const ssize_t got = recv(connection, query.data(), query.size(), MSG_WAITALL);
  if (got != static_cast<ssize_t>(query.size())) return false;
  ++tcp_queries_;
  DnsMessage answer = AnswerTo(query);
  if (answer.empty()) return false;
  const auto size = answer.size();
  answer.insert(answer.begin(),
                {static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size)});
  return send(connection, answer.data(), answer.size(), MSG_NOSIGNAL) > 0;
}

std::vector<DnsMessage> DnsServer::TakeDatagrams(int wait_ms) {
  for (int seen = -1; seen != udp_messages_;) {
    seen = udp_messages_;
    poll(nullptr, 0, wait_ms);
  }
  absl::MutexLock lock(&mutex_);
  return std::exchange(datagrams_, {});
}

DnsClient::DnsClient(const std::string& server, int port, Transport transport)
    : transport_(transport) {
  const Address address = ToAddress(server, port);
  const bool tcp = transport == Transport::kTcp;
  fd_ = Descriptor(
      socket(address.storage.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0));
  const int yes = 1;
  if (transport == Transport::kUdpWithoutChecksum)
    setsockopt(fd_.get(), SOL_SOCKET, SO_NO_CHECK, &yes, sizeof(yes));
  // A connection that is not answered is given up by the system's own time.
  const timeval limit{.tv_sec = 0, .tv_usec = 300'000};
  setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  connected_ = connect(fd_.get(), address.generic(), address.size) == 0;
}

bool DnsClient::Send(const DnsMessage& message) {
  DnsMessage bytes = message;
  if (transport_ == Transport::kTcp) {
    bytes.insert(bytes.begin(), {static_cast<std::uint8_t>(message.size() >> 8),
                                 static_cast<std::uint8_t>(message.size())});
  }
  sent_ns_ = NowNs();
  return send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(bytes.size());
}

std::optional<DnsReply> DnsClient::Receive(int wait_ms) {
  DnsReply reply;
  reply.bytes.resize(kLargest);
  if (!Readable(fd_.get(), wait_ms)) return std::nullopt;
  if (transport_ == Transport::kTcp) {
    std::uint8_t length[2];
    if (recv(fd_.get(), length, sizeof(length), MSG_WAITALL) != sizeof(length)) return std::nullopt;
    reply.bytes.resize(static_cast<std::size_t>(length[0] << 8 | length[1]));
  }
  const ssize_t got = recv(fd_.get(), reply.bytes.data(), reply.bytes.size(), 0);
  if (got < static_cast<ssize_t>(kHeader)) return std::nullopt;
  reply.after_ms = static_cast<double>(NowNs() - sent_ns_) / 1e6;
  reply.bytes.resize(static_cast<std::size_t>(got));
  reply.id = static_cast<std::uint16_t>(reply.bytes[0] << 8 | reply.bytes[1]);
  reply.flags = static_cast<std::uint16_t>(reply.bytes[2] << 8 | reply.bytes[3]);
  reply.code = reply.flags & 0xf;
  reply.answers = reply.bytes[6] << 8 | reply.bytes[7];
  return reply;
}

std::optional<DnsReply> DnsClient::Ask(const std::string& name, int wait_ms, bool edns) {
  const std::uint16_t id = next_id_++;
  if (!Send(DnsQuery(id, name, edns))) return std::nullopt;
  std::optional<DnsReply> reply = Receive(wait_ms);
  if (reply && reply->id != id) throw std::runtime_error("an answer to another query");
  return reply;
}

}  // namespace firedrill::testing
