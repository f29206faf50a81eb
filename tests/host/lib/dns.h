// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/host/descriptor.h"
#include "tests/host/lib/netns.h"

namespace firedrill::testing {

/// A message of RFC 1035 as bytes.
using DnsMessage = std::vector<std::uint8_t>;

/// A query for the A record of `name`, with an OPT record (EDNS, RFC 6891) if asked.
DnsMessage DnsQuery(std::uint16_t id, const std::string& name, bool edns = false);

/// What a message says, as far as tests ask.
struct DnsReply {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  int code = -1;
  int answers = 0;
  DnsMessage bytes;
  double after_ms = 0;  ///< Since the query was sent.
};

/// A server for every name, over UDP and TCP: an address of 192.0.2.0/24, whatever is asked. What
/// it got by UDP and could not read it keeps all the same.
class DnsServer {
 public:
  DnsServer(const NetNamespace& space, const std::string& address, int port = 53);
  ~DnsServer();
  int udp_messages() const { return udp_messages_; }
  int tcp_queries() const { return tcp_queries_; }
  /// Datagrams since the last call, as they came; waits until none comes for `wait_ms`.
  std::vector<DnsMessage> TakeDatagrams(int wait_ms);

 private:
  void Run();
  void ServeUdp();
  bool ServeTcp(int connection);

  agent::Descriptor udp_, tcp_;
  std::atomic<bool> stop_{false};
  std::atomic<int> udp_messages_{0}, tcp_queries_{0};
  absl::Mutex mutex_;
  std::vector<DnsMessage> datagrams_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

/// A socket of a program that asks one server, connected to it from the calling thread's namespace.
class DnsClient {
 public:
  enum class Transport { kUdp, kUdpWithoutChecksum, kTcp };
  DnsClient(const std::string& server, int port = 53, Transport transport = Transport::kUdp);
  /// False if the connection did not come up (TCP).
  bool connected() const { return connected_; }
  /// Sends bytes as they are; false: the system reported an error.
  bool Send(const DnsMessage& message);
  /// The next answer; none within the time.
  std::optional<DnsReply> Receive(int wait_ms);
  /// The answer to a query for `name`.
  std::optional<DnsReply> Ask(const std::string& name, int wait_ms, bool edns = false);

 private:
  const Transport transport_;
  agent::Descriptor fd_;
  bool connected_ = false;
  std::uint16_t next_id_ = 1;
  std::int64_t sent_ns_ = 0;
};

}  // namespace firedrill::testing
