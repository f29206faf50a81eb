// SPDX-License-Identifier: Apache-2.0
// DNS faults against what was asked: real servers, and resolvers as programs have them.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netdb.h>
#include <resolv.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "tests/host/lib/dns_fixture.h"

namespace firedrill::testing {
namespace {

using agent::ActiveFault;
using agent::InjectionRequest;
using std::chrono::seconds;
using Transport = DnsClient::Transport;

// The device computes no checksums, so that packets carry them when they are sent.
void ChecksumByTheHost(const std::string& device) {
  const agent::Descriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_value value{.cmd = ETHTOOL_STXCSUM, .data = 0};
  ifreq request{};
  std::memcpy(request.ifr_name, device.c_str(), device.size());
  request.ifr_data = reinterpret_cast<char*>(&value);
  ASSERT_EQ(ioctl(fd.get(), SIOCETHTOOL, &request), 0) << std::strerror(errno);
}

TEST_F(DnsFaultTest, QueriesForTheNameAndAllBelowItVanish) {
  DnsClient client(TwoHosts::kFar4);
  ExpectGood(client.Ask("shop.example.org", Patience()));
  const InjectionRequest request = Request(v1::DNS_ANSWER_NONE, {"Shop.example.org"});
  fault_ = Apply(request);
  ASSERT_NE(fault_, nullptr);
  EXPECT_FALSE(KindOf(request).verify_gone(request, host_).ok());
  const SystemTime start = host_.clock().System();
  far4_.TakeDatagrams(1);
  for (const char* name : {"shop.example.org", "SHOP.Example.ORG", "a.b.c.db.shop.example.org"}) {
    EXPECT_FALSE(client.Ask(name, Silence())) << name;
  }
  EXPECT_TRUE(far4_.TakeDatagrams(100).empty()) << "none leaves the host";
  for (const char* name : {"example.org", "org", "myshop.example.org", "shop.example.org.net",
                           "shopexample.org", "shop", "xn--shop.example.com"}) {
    SCOPED_TRACE(name);
    ExpectGood(client.Ask(name, Patience()));
  }
  EXPECT_EQ(Count(*fault_, "queries_matched"), 3);
  EXPECT_EQ(Count(*fault_, "queries_hit"), 3);
  EXPECT_EQ(Count(*fault_, "dns_malformed_passed_packets"), 0);
  const auto impact = fault_->Observe();
  ASSERT_TRUE(impact->first);
  EXPECT_TRUE(impact->from_kernel);
  EXPECT_GE(*impact->first + impact->uncertainty, start);
  EXPECT_LE(*impact->first - impact->uncertainty, host_.clock().System());

  EXPECT_OK(fault_->Revert());
  EXPECT_OK(KindOf(request).verify_gone(request, host_));
  ExpectGood(client.Ask("shop.example.org", Patience()));
  EXPECT_EQ(Count(*fault_, "queries_hit"), 3) << "what it did stays readable";
}

TEST_F(DnsFaultTest, AnErrorAnswersAtOnceOverEveryKindOfPath) {
  for (const std::string device : {"eth0", "lo"}) {
    const bool local = device == "lo";
    for (const int code : {kServfail, kNxdomain}) {
      fault_ = Apply(Request(code == kServfail ? v1::DNS_ANSWER_SERVFAIL : v1::DNS_ANSWER_NXDOMAIN,
                             {"example.org"}, device));
      ASSERT_NE(fault_, nullptr);
      for (const std::string server :
           {local ? kLocal4 : TwoHosts::kFar4, local ? "::1" : TwoHosts::kFar6}) {
        for (const bool edns : {false, true}) {
          SCOPED_TRACE(device + " " + server + (edns ? " with EDNS" : ""));
          DnsClient client(server);
          const auto reply = client.Ask("www.example.org", Patience(), edns);
          ASSERT_TRUE(reply);
          EXPECT_EQ(reply->code, code);
          EXPECT_EQ(reply->answers, 0);
          EXPECT_EQ(reply->flags, 0x8180 | code) << "QR, RD, RA";
          DnsMessage asked = DnsQuery(reply->id, "www.example.org", edns);
          std::memcpy(asked.data() + 2, reply->bytes.data() + 2, 2);
          EXPECT_EQ(reply->bytes, asked) << "but for the flags the query itself";
          ExpectGood(client.Ask("www.example.net", Patience(), edns));
        }
      }
      EXPECT_EQ(Count(*fault_, "queries_hit"), 4);
      fault_ = nullptr;
    }
  }
  for (const DnsServer* server : {&far4_, &far6_, &local4_, &local6_}) {
    EXPECT_EQ(server->udp_messages(), 4) << "bystanders only";
  }
}

TEST_F(DnsFaultTest, ChecksumsAreRightWhoeverMakesThem) {
  ChecksumByTheHost("eth0");
  fault_ = Apply(Request(v1::DNS_ANSWER_SERVFAIL));
  ASSERT_NE(fault_, nullptr);
  for (const Transport transport : {Transport::kUdp, Transport::kUdpWithoutChecksum}) {
    DnsClient client(TwoHosts::kFar4, 53, transport);
    for (const char* name : {"a.org", "bb.example.org", "c-c-c.example.com"}) {
      const auto reply = client.Ask(name, Patience());
      ASSERT_TRUE(reply) << name;
      EXPECT_EQ(reply->code, kServfail);
    }
  }
  DnsClient client(TwoHosts::kFar6);
  const auto reply = client.Ask("a.org", Patience());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, kServfail);
}

// glibc's own, which getaddrinfo uses. Its answer: 0, or h_errno. It waits for so many seconds.
int Resolve(const char* server, const char* name, bool edns, int patience = 5) {
  struct __res_state state {};
  if (res_ninit(&state) != 0) return -1;
  state.nscount = 1;
  state.nsaddr_list[0].sin_family = AF_INET;
  state.nsaddr_list[0].sin_port = htons(53);
  inet_pton(AF_INET, server, &state.nsaddr_list[0].sin_addr);
  state.retrans = patience;
  state.retry = 1;
  if (edns) state.options |= RES_USE_EDNS0;
  unsigned char answer[512];
  const int got = res_nquery(&state, name, C_IN, T_A, answer, sizeof(answer));
  const int error = state.res_h_errno;
  res_nclose(&state);
  return got > 0 ? 0 : error;
}

TEST_F(DnsFaultTest, TheResolverOfProgramsUnderstandsIt) {
  for (const bool edns : {false, true}) {
    EXPECT_EQ(Resolve(TwoHosts::kFar4, "www.example.org", edns), 0);
    for (const auto& [answer, error] : {std::pair(v1::DNS_ANSWER_SERVFAIL, TRY_AGAIN),
                                        std::pair(v1::DNS_ANSWER_NXDOMAIN, HOST_NOT_FOUND)}) {
      fault_ = Apply(Request(answer, {"example.org"}));
      ASSERT_NE(fault_, nullptr);
      EXPECT_EQ(Resolve(TwoHosts::kFar4, "www.example.org", edns), error);
      EXPECT_EQ(Resolve(TwoHosts::kFar4, "www.example.net", edns), 0);
      fault_ = nullptr;
    }
  }
  fault_ = Apply(Request(v1::DNS_ANSWER_NONE, {"example.org"}));
  EXPECT_EQ(Resolve(TwoHosts::kFar4, "www.example.org", false, 1), TRY_AGAIN);
}

TEST_F(DnsFaultTest, LateQueriesAreHeldBackAndTheirEndReleasesThem) {
  constexpr int kTries = 8;
  for (const std::string device : {"eth0", "lo"}) {
    int asked = 0;
    fault_ = Apply(Request(v1::DNS_ANSWER_LATE, {"example.org"}, device));
    ASSERT_NE(fault_, nullptr);
    for (const std::string server :
         {device == "lo" ? kLocal4 : TwoHosts::kFar4, device == "lo" ? "::1" : TwoHosts::kFar6}) {
      SCOPED_TRACE(server);
      DnsClient client(server);
      // What a busy machine adds to one it hardly adds to all of some.
      double soonest = 1e9, bystander = 1e9;
      for (int i = 0; i < kTries && (i == 0 || soonest > 120 + 20 || bystander > 60); ++i) {
        const auto late = client.Ask("example.org", 120 + Patience());
        ExpectGood(late);
        EXPECT_GE(late->after_ms, 120);
        soonest = std::min(soonest, late->after_ms);
        const auto beside = client.Ask("example.com", Patience());
        ExpectGood(beside);
        bystander = std::min(bystander, beside->after_ms);
        ++asked;
      }
      EXPECT_LE(soonest, 120 + 20);
      EXPECT_LE(bystander, 60);
    }
    EXPECT_EQ(Count(*fault_, "queries_hit"), asked);
    fault_ = nullptr;
  }
  InjectionRequest request = Request(v1::DNS_ANSWER_LATE);
  *request.fault.mutable_dns()->mutable_delay() = ToProto(Nanoseconds(seconds(60)));
  fault_ = Apply(request);
  DnsClient client(TwoHosts::kFar4);
  EXPECT_FALSE(client.Ask("example.org", 100));
  fault_ = nullptr;
  ExpectGood(client.Receive(Patience()));
}

TEST_F(DnsFaultTest, AShareIsHit) {
  constexpr int kQueries = 5000;
  constexpr double kShare = 0.3;
  InjectionRequest request = Request(v1::DNS_ANSWER_NXDOMAIN);
  request.fault.mutable_dns()->set_percent(100 * kShare);
  fault_ = Apply(request);
  ASSERT_NE(fault_, nullptr);
  DnsClient client(TwoHosts::kFar4);
  int hit = 0;
  for (int i = 0; i < kQueries; ++i) {
    const auto reply = client.Ask("www.example.org", 2000);
    ASSERT_TRUE(reply);
    hit += reply->code == kNxdomain ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(hit) / kQueries, kShare, Tolerance(kShare, kQueries));
  EXPECT_EQ(Count(*fault_, "queries_matched"), kQueries);
  EXPECT_EQ(Count(*fault_, "queries_hit"), hit);
  EXPECT_EQ(far4_.udp_messages(), kQueries - hit);
}

TEST_F(DnsFaultTest, OverTcpQueriesVanishOrAreLateAndAreNotAnswered) {
  DnsClient client(TwoHosts::kFar4, 53, Transport::kTcp);
  ExpectGood(client.Ask("example.org", Patience()));
  {
    const auto fault = Apply(Request(v1::DNS_ANSWER_SERVFAIL, {"example.org"}));
    ASSERT_NE(fault, nullptr);
    ExpectGood(client.Ask("example.org", Patience()));
    EXPECT_EQ(Count(*fault, "queries_matched"), 1);
    EXPECT_EQ(Count(*fault, "queries_hit"), 0);
    EXPECT_EQ(Count(*fault, "dns_tcp_untouched_queries"), 1);
  }
  {
    const auto fault = Apply(Request(v1::DNS_ANSWER_LATE, {"example.org"}));
    ASSERT_NE(fault, nullptr);
    const auto late = client.Ask("www.example.org", 500 + Patience());
    ExpectGood(late);
    EXPECT_GE(late->after_ms, 120);
    ExpectGood(client.Ask("example.com", Patience()));
  }
  {
    const auto fault = Apply(Request(v1::DNS_ANSWER_NONE, {"example.org"}));
    ASSERT_NE(fault, nullptr);
    DnsClient another(TwoHosts::kFar6, 53, Transport::kTcp);
    EXPECT_TRUE(another.connected());
    ExpectGood(another.Ask("example.com", Patience()));
    EXPECT_FALSE(another.Ask("example.org", Silence()));
    EXPECT_GE(Count(*fault, "queries_hit"), 1) << "and each time that TCP sends it again";
  }
  const auto fault = Apply(Request(v1::DNS_ANSWER_NONE));
  ASSERT_NE(fault, nullptr);
  DnsClient third(TwoHosts::kFar4, 53, Transport::kTcp);
  EXPECT_FALSE(third.connected()) << "without names nothing is let through";
  EXPECT_GE(Count(*fault, "packets_hit"), 1);
}

TEST_F(DnsFaultTest, OtherPortsAndServersAreForTheAsking) {
  const DnsServer elsewhere(hosts_.far(), TwoHosts::kFar4, 5353);
  InjectionRequest request = Request(v1::DNS_ANSWER_NXDOMAIN);
  request.fault.mutable_dns()->mutable_traffic()->add_ports("5353");
  fault_ = Apply(request);
  ASSERT_NE(fault_, nullptr);
  ExpectGood(DnsClient(TwoHosts::kFar4).Ask("example.org", Patience()));
  auto reply = DnsClient(TwoHosts::kFar4, 5353).Ask("example.org", Patience());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, kNxdomain);
  fault_ = nullptr;

  request = Request(v1::DNS_ANSWER_NXDOMAIN);
  request.fault.mutable_dns()->mutable_traffic()->add_addresses(TwoHosts::kFar6);
  fault_ = Apply(request);
  ExpectGood(DnsClient(TwoHosts::kFar4).Ask("example.org", Patience()));
  reply = DnsClient(TwoHosts::kFar6).Ask("example.org", Patience());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, kNxdomain);
}

TEST_F(DnsFaultTest, AnswersComeBeforeAnyOtherEffect) {
  InjectionRequest loss;
  loss.id = "run/loss/host";
  loss.fault.mutable_packet_loss()->set_percent(100);
  loss.fault.mutable_packet_loss()->mutable_traffic()->set_device("eth0");
  const auto lost = Apply(loss);
  fault_ = Apply(Request(v1::DNS_ANSWER_NXDOMAIN, {"example.org"}));
  ASSERT_NE(fault_, nullptr);
  DnsClient client(TwoHosts::kFar4);
  const auto reply = client.Ask("example.org", Patience());
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->code, kNxdomain);
  EXPECT_FALSE(client.Ask("example.com", Silence()));
}

TEST_F(DnsFaultTest, APreviewCountsAndTouchesNothing) {
  const InjectionRequest request = Request(v1::DNS_ANSWER_NONE, {"example.org"});
  agent::WorkerContext context{host_, journal_.journal(), traffic_};
  auto preview = KindOf(request).preview(request, context);
  ASSERT_OK(preview.status());
  DnsClient client(TwoHosts::kFar4);
  for (int i = 0; i < 5; ++i) ExpectGood(client.Ask("www.example.org", Patience()));
  ExpectGood(client.Ask("example.net", Patience()));
  EXPECT_EQ(Count(**preview, "queries_matched"), 5);
  EXPECT_EQ(Count(**preview, "queries_hit"), 0);
}

TEST_F(DnsFaultTest, NonsenseIsRefused) {
  std::vector<InjectionRequest> requests(6, Request(v1::DNS_ANSWER_NONE));
  requests[0].fault.mutable_dns()->set_percent(101);
  requests[1].fault.mutable_dns()->add_names("a..b");
  requests[2].fault.mutable_dns()->mutable_traffic()->set_direction(v1::DIRECTION_INGRESS);
  requests[3].fault.mutable_dns()->set_answer(v1::DNS_ANSWER_LATE);
  *requests[4].fault.mutable_dns()->mutable_delay() = ToProto(Nanoseconds(seconds(1)));
  requests[5].fault.mutable_dns()->mutable_traffic()->set_protocol(v1::PROTOCOL_ICMP);
  for (const InjectionRequest& request : requests) {
    agent::WorkerContext context{host_, journal_.journal(), traffic_};
    EXPECT_EQ(KindOf(request).apply(request, context).status().code(),
              absl::StatusCode::kInvalidArgument)
        << request.fault.ShortDebugString();
  }
  EXPECT_EQ(AttachedCount("eth0"), 0);
}

}  // namespace
}  // namespace firedrill::testing
