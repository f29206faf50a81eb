// SPDX-License-Identifier: Apache-2.0
// How late a delayed packet is beyond what was asked, and what the delay line carries and costs.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "agent/host/descriptor.h"
#include "tests/bench/lib/flow.h"
#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

using agent::Descriptor;

constexpr double kDelayMs = 50;
constexpr int kPort = 7001;       // where the datagrams go
constexpr int kProxyPort = 7000;  // where the proxy takes them
const std::string kFar = testing::TwoHosts::kFar4;

std::string Delay(double ms) {
  return fmt::format(
      "latency {{ delay {{ nanos: {} }} traffic {{ device: 'eth0' direction: "
      "DIRECTION_EGRESS }} }}",
      static_cast<long>(ms * 1e6));
}

// The proxy of the simplest kind: one thread that reads, remembers, and sends when it is time.
class Proxy {
 public:
  explicit Proxy(const testing::NetNamespace& space) {
    testing::RunIn(space, [&] {
      in_ = Descriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      out_ = Descriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    });
    const int buffer = 64 << 20;
    setsockopt(in_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
    setsockopt(out_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    const auto address = [](const char* text, int port) {
      sockaddr_in result{};
      result.sin_family = AF_INET;
      result.sin_port = htons(static_cast<std::uint16_t>(port));
      inet_pton(AF_INET, text, &result.sin_addr);
      return result;
    };
    const sockaddr_in here = address(testing::TwoHosts::kNear4, kProxyPort);
    to_ = address(testing::TwoHosts::kFar4, kPort);
    if (bind(in_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof(here)) != 0) {
      Die("bind the proxy");
    }
    thread_ = std::thread([this] { Run(); });
  }
  ~Proxy() {
    stop_ = true;
    thread_.join();
  }

 private:
  struct Held {
    SteadyTime due;
    std::string bytes;
  };
  void Run() {
    std::deque<Held> held;
    char bytes[2048];
    while (!stop_) {
      const SteadyTime now = Clock::Real().Steady();
      while (!held.empty() && held.front().due <= now) {
        sendto(out_.get(), held.front().bytes.data(), held.front().bytes.size(), 0,
               reinterpret_cast<const sockaddr*>(&to_), sizeof(to_));
        held.pop_front();
      }
      timespec wait{.tv_sec = 0, .tv_nsec = 10'000'000};
      if (!held.empty()) wait.tv_nsec = std::max<long>(0, (held.front().due - now).count());
      pollfd polled{in_.get(), POLLIN, 0};
      if (ppoll(&polled, 1, &wait, nullptr) <= 0) continue;
      const ssize_t size = recv(in_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
      if (size <= 0) continue;
      held.push_back({Clock::Real().Steady() + Nanoseconds(static_cast<long>(kDelayMs * 1e6)),
                      std::string(bytes, static_cast<std::size_t>(size))});
    }
  }

  Descriptor in_, out_;
  sockaddr_in to_{};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct Errors {
  double p50 = 0, p99 = 0, p999 = 0, lost_percent = 0;
};

Errors ErrorsOf(UdpFlow flow) {
  for (double& delay : flow.delay_us) delay -= kDelayMs * 1000;
  return {Quantile(flow.delay_us, 0.5), Quantile(flow.delay_us, 0.99),
          Quantile(flow.delay_us, 0.999), flow.lost_percent()};
}

class Latency {
 public:
  void Run() {
    netem_ =
        Works({"/usr/sbin/tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms"}) &&
        Works({"/usr/sbin/tc", "qdisc", "del", "dev", "eth0", "root"});
    {
      Report report(
          fmt::format("latency: error of a {:g} ms delay, both processors free", kDelayMs));
      Compare(report, 1000, 3000, 150);
      Compare(report, 20'000, 60'000, {});
      Compare(report, 100'000, 300'000, 1000);
    }
    {
      Report report(
          fmt::format("latency: error of a {:g} ms delay, every processor busy", kDelayMs));
      const Hogs hogs(static_cast<int>(std::thread::hardware_concurrency()));
      Compare(report, 1000, 3000, 2000);
      Compare(report, 20'000, 60'000, {});
    }
    Throughput();
    Cost();
  }

 private:
  UdpFlow Flow(double per_second, long count, bool proxy = false) {
    const UdpWay way{proxy ? testing::TwoHosts::kNear4 : kFar, kFar, proxy ? kProxyPort : kPort,
                     kPort};
    return SendUdp(scene_.hosts().near(), scene_.hosts().far(), way, count, per_second, 300);
  }
  Errors With(double per_second, long count) {
    const Scene::Fault fault(scene_, Delay(kDelayMs));
    return ErrorsOf(Flow(per_second, count));
  }
  Errors WithNetem(double per_second, long count) {
    Must({"/usr/sbin/tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay",
          fmt::format("{:g}ms", kDelayMs), "limit", "1000000"});
    const Errors errors = ErrorsOf(Flow(per_second, count));
    Must({"/usr/sbin/tc", "qdisc", "del", "dev", "eth0", "root"});
    return errors;
  }
  Errors WithProxy(double per_second, long count) {
    const Proxy proxy(scene_.hosts().near());
    return ErrorsOf(Flow(per_second, count, true));
  }
  void Compare(Report& report, double per_second, long count, std::optional<double> goal) {
    const Errors ours = With(per_second, count);
    const auto add = [&](const char* than, const Errors& theirs) {
      const std::string rate = fmt::format("{:g} packets/s", per_second);
      report.Add({rate + ", p50", ours.p50, "µs", than, theirs.p50, {}, {}});
      report.Add({rate + ", p99", ours.p99, "µs", than, theirs.p99, goal, {}});
      report.Add({rate + ", p99.9", ours.p999, "µs", than, theirs.p999, {}, {}});
      report.Add({rate + ", lost", ours.lost_percent, "%", than, theirs.lost_percent, 0.0, {}});
    };
    add("a user-space proxy", WithProxy(per_second, count));
    if (netem_) add("netem", WithNetem(per_second, count));
  }
  void Throughput() {
    Report report("latency: TCP through the delay line");
    const auto tcp = [&](double warm_up) {
      return TcpGbits(scene_.hosts().near(), scene_.hosts().far(), kFar, warm_up, 4);
    };
    const double bare = tcp(1);
    for (const double ms : {1.0, 50.0}) {
      double ours = 0;
      {
        const Scene::Fault fault(scene_, Delay(ms));
        ours = tcp(3);
      }
      const std::string what = fmt::format("one TCP connection, {:g} ms", ms);
      report.Add({what,
                  ours,
                  "Gbit/s",
                  "without a fault",
                  bare,
                  {},
                  ms > 1 ? std::optional(10.0) : std::nullopt});
      if (!netem_) continue;
      Must({"/usr/sbin/tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay",
            fmt::format("{:g}ms", ms), "limit", "1000000"});
      report.Add({what, ours, "Gbit/s", "netem", tcp(3), {}, {}});
      Must({"/usr/sbin/tc", "qdisc", "del", "dev", "eth0", "root"});
    }
  }
  void Cost() {
    Report report("latency: what the worker costs at 20,000 packets/s");
    const Scene::Fault fault(scene_, Delay(kDelayMs));
    const auto workers = scene_.agent().Workers();
    if (workers.empty()) Die("the agent has no worker");
    const SteadyTime start = Clock::Real().Steady();
    const Nanoseconds before = TreeCpuTime(workers.front());
    Flow(20'000, 60'000);
    const Nanoseconds ran = TreeCpuTime(workers.front()) - before;
    const Nanoseconds took = Clock::Real().Steady() - start;
    report.Add({"processor",
                100 * static_cast<double>(ran.count()) / static_cast<double>(took.count()),
                "% core",
                "",
                {},
                {},
                {}});
    report.Add({"private memory", PrivateMegabytes(workers.front()), "MB", "", {}, {}, {}});
  }

  Scene scene_;
  bool netem_ = false;
};

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Latency().Run(); }
