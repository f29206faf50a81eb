// SPDX-License-Identifier: Apache-2.0
// How exactly packets are lost, and what losing them costs.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "tests/bench/lib/flow.h"
#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

constexpr long kPackets = 1'000'000;
constexpr char kIptables[] = "iptables -m statistic";
const std::string kFar = testing::TwoHosts::kFar4;

std::string Loss(double percent, const char* counting) {
  return fmt::format(
      "packet_loss {{ percent: {} counting: {} traffic {{ device: 'eth0' direction: "
      "DIRECTION_EGRESS }} }}",
      percent, counting);
}

// Drops what this host sends, while it lives.
class Iptables {
 public:
  explicit Iptables(double percent) : percent_(percent) { Must(Rule("-A")); }
  ~Iptables() { Must(Rule("-D")); }

 private:
  std::vector<std::string> Rule(const char* verb) const {
    return {"/usr/sbin/iptables-legacy",
            verb,
            "OUTPUT",
            "-o",
            "eth0",
            "-m",
            "statistic",
            "--mode",
            "random",
            "--probability",
            fmt::format("{}", percent_ / 100),
            "-j",
            "DROP"};
  }
  const double percent_;
};

void Run() {
  Scene scene;
  const auto flow = [&] {
    return SendUdp(scene.hosts().near(), scene.hosts().far(), {kFar, kFar, 7001, 7001}, kPackets, 0,
                   200);
  };
  const auto tcp = [&] { return TcpGbits(scene.hosts().near(), scene.hosts().far(), kFar, 1, 4); };
  const auto per_packet = [](const UdpFlow& sent) {
    return 1e9 * sent.seconds / static_cast<double>(sent.sent);
  };
  {
    Report report("loss: accuracy over a million packets");
    for (const double percent : {0.1, 1.0, 10.0, 30.0}) {
      UdpFlow ours, theirs;
      {
        const Scene::Fault fault(scene, Loss(percent, "COUNTING_FAST"));
        ours = flow();
      }
      {
        const Iptables rule(percent);
        theirs = flow();
      }
      report.Add({fmt::format("{:g} % asked, lost", percent),
                  ours.lost_percent(),
                  "%",
                  kIptables,
                  theirs.lost_percent(),
                  {},
                  {}});
      report.Add({fmt::format("{:g} % asked, errors that the sender saw", percent),
                  static_cast<double>(ours.send_errors),
                  "calls",
                  kIptables,
                  static_cast<double>(theirs.send_errors),
                  0.0,
                  {}});
    }
  }
  Report report("loss: cost");
  const double bare_packet = per_packet(flow()), bare_tcp = tcp();
  double fast_packet = 0, fast_tcp = 0, exact_tcp = 0, idle_exact_tcp = 0;
  {
    const Scene::Fault fault(scene, Loss(1, "COUNTING_FAST"));
    fast_packet = per_packet(flow());
    fast_tcp = tcp();
  }
  {
    const Scene::Fault fault(scene, Loss(1, "COUNTING_EXACT"));
    exact_tcp = tcp();
  }
  {
    const Scene::Fault fault(scene, Loss(0.0001, "COUNTING_EXACT"));
    idle_exact_tcp = tcp();
  }
  const Iptables rule(1);
  const double their_packet = per_packet(flow()), their_tcp = tcp();
  report.Add({"sending a datagram at 1 % loss",
              fast_packet,
              "ns",
              "without a fault",
              bare_packet,
              {},
              {}});
  report.Add(
      {"sending a datagram at 1 % loss", fast_packet, "ns", kIptables, their_packet, {}, {}});
  report.Add({"TCP at 1 % loss, fast", fast_tcp, "Gbit/s", kIptables, their_tcp, {}, {}});
  report.Add({"TCP at 1 % loss, fast", fast_tcp, "Gbit/s", "without a fault", bare_tcp, {}, {}});
  report.Add({"TCP at 1 % loss, exact", exact_tcp, "Gbit/s", kIptables, their_tcp, {}, {}});
  report.Add({"TCP through exact counting, hardly any loss",
              idle_exact_tcp,
              "Gbit/s",
              "without a fault",
              bare_tcp,
              {},
              1.0});
}

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Run(); }
