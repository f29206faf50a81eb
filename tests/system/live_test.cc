// SPDX-License-Identifier: Apache-2.0
// The whole, live, beside clocks that Firedrill does not read: a capture's time of the first packet
// that is lost or late, the end of a process as its parent sees it, the arrival of a webhook at a
// receiver of the test's own, and Prometheus' own account of when it scrapes and evaluates. All of
// it in two network namespaces that this program makes for itself.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "agent/host/descriptor.h"
#include "firedrill/v1/operator.grpc.pb.h"
#include "proto/support/time.h"
#include "tests/host/lib/netns.h"
#include "tests/lib/agent_process.h"
#include "tests/lib/http_peer.h"
#include "tests/lib/prometheus.h"

namespace firedrill {
namespace {

using agent::Descriptor;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::WaitFor;

constexpr int kPort = 7333;  // of the traffic that is broken, in this namespace alone
constexpr milliseconds kLate{100};

SystemTime Now() { return Clock::Real().System(); }
SystemTime FromTimespec(const timespec& time) {
  return SystemTime(seconds(time.tv_sec) + Nanoseconds(time.tv_nsec));
}

// This program's own two hosts; it lives on the near one.
std::unique_ptr<testing::TwoHosts> hosts;

// Numbered datagrams from the far host, a hundred a second: when a capture there saw each leave,
// and when each arrived, both by the kernel's own stamp.
class Traffic {
 public:
  Traffic() : receiver_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    testing::RunIn(hosts->far(), [this] {
      capture_ = Descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)));
      sender_ = Descriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_ll device{};
      device.sll_family = AF_PACKET;
      device.sll_protocol = htons(ETH_P_ALL);
      device.sll_ifindex = static_cast<int>(if_nametoindex("eth0"));
      EXPECT_EQ(bind(capture_.get(), reinterpret_cast<sockaddr*>(&device), sizeof(device)), 0);
    });
    to_.sin_family = AF_INET;
    to_.sin_port = htons(kPort);
    EXPECT_EQ(inet_pton(AF_INET, testing::TwoHosts::kNear4, &to_.sin_addr), 1);
    EXPECT_EQ(bind(receiver_.get(), reinterpret_cast<sockaddr*>(&to_), sizeof(to_)), 0);
    const int on = 1;
    for (const int fd : {capture_.get(), receiver_.get()}) {
      EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)), 0);
    }
    threads_.emplace_back([this] { Send(); });
    threads_.emplace_back([this] { Watch(capture_.get(), /*capture=*/true); });
    threads_.emplace_back([this] { Watch(receiver_.get(), /*capture=*/false); });
  }
  ~Traffic() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

  // Whether the datagrams of the last half second, but for those under way, arrived in time.
  bool Well() {
    std::lock_guard<std::mutex> lock(mutex_);
    const SystemTime now = Now();
    for (auto it = seen_.rbegin(); it != seen_.rend() && it->second > now - milliseconds(500);
         ++it) {
      if (it->second < drained_ - 2 * kLate && Broken(*it)) return false;
    }
    return true;
  }

  // The capture's time of the first that did not arrive in time.
  SystemTime FirstBroken() {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto first = std::find_if(seen_.begin(), seen_.end(), [this](const auto& packet) {
      return packet.second < drained_ - seconds(1) && Broken(packet);
    });
    EXPECT_NE(first, seen_.end());
    return first == seen_.end() ? SystemTime() : first->second;
  }

 private:
  bool Broken(const std::pair<const std::uint32_t, SystemTime>& packet) const {
    const auto arrival = arrived_.find(packet.first);
    return arrival == arrived_.end() || arrival->second > packet.second + kLate;
  }

  void Send() {
    for (std::uint32_t number = 0; !stopping_; ++number) {
      sendto(sender_.get(), &number, sizeof(number), 0, reinterpret_cast<sockaddr*>(&to_),
             sizeof(to_));
      std::this_thread::sleep_for(milliseconds(10));
    }
  }

  void Watch(int fd, bool capture) {
    while (!stopping_) {
      alignas(8) char frame[2048];
      alignas(cmsghdr) char control[256];
      sockaddr_ll from{};
      iovec part{frame, sizeof(frame)};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      if (capture) {
        message.msg_name = &from;
        message.msg_namelen = sizeof(from);
      }
      const SystemTime before = Now();
      const ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT);
      if (size < 0) {
        if (!capture) NoteDrained(before);
        pollfd ready{fd, POLLIN, 0};
        poll(&ready, 1, 100);
        continue;
      }
      std::size_t at = 0;
      if (capture) {
        constexpr std::size_t kHead = ETH_HLEN + sizeof(iphdr) + sizeof(udphdr);
        if (from.sll_pkttype != PACKET_OUTGOING || size < static_cast<ssize_t>(kHead + 4)) continue;
        udphdr udp;
        std::memcpy(&udp, frame + ETH_HLEN + sizeof(iphdr), sizeof(udp));
        if (static_cast<unsigned char>(frame[ETH_HLEN + 9]) != IPPROTO_UDP ||
            udp.dest != htons(kPort)) {
          continue;
        }
        at = kHead;
      }
      std::uint32_t number = 0;
      std::memcpy(&number, frame + at, sizeof(number));
      for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
           head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_TIMESTAMPNS) continue;
        timespec stamp;
        std::memcpy(&stamp, CMSG_DATA(head), sizeof(stamp));
        std::lock_guard<std::mutex> lock(mutex_);
        (capture ? seen_ : arrived_).try_emplace(number, FromTimespec(stamp));
      }
    }
  }

  void NoteDrained(SystemTime when) {
    std::lock_guard<std::mutex> lock(mutex_);
    drained_ = when;
  }

  Descriptor capture_;
  Descriptor receiver_;
  Descriptor sender_;
  sockaddr_in to_{};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::map<std::uint32_t, SystemTime> seen_;
  std::map<std::uint32_t, SystemTime> arrived_;
  SystemTime drained_;  // what had arrived by then is in arrived_
  std::vector<std::thread> threads_;
};

// A webhook receiver of the test's own, which passes on to the controller what it gets.
class Receiver {
 public:
  explicit Receiver(int controller_port)
      : port_(controller_port),
        peer_([this](const std::string& request) { return Take(request); }) {}
  std::string url() const { return peer_.url() + "/webhook/alertmanager"; }
  // When the first came here, and when the controller had answered to it.
  std::optional<std::pair<SystemTime, SystemTime>> First() {
    std::lock_guard<std::mutex> lock(mutex_);
    return first_;
  }

 private:
  std::string Take(const std::string& request) {
    const SystemTime arrived = Now();
    const std::string body = test::BodyOf(request);
    const auto answer = test::Exchange(
        port_,
        "POST /webhook/alertmanager HTTP/1.1\r\nHost: controller\r\nConnection: close\r\n"
        "Content-Type: application/json\r\nContent-Length: " +
            std::to_string(body.size()) + "\r\n\r\n" + body);
    EXPECT_TRUE(answer.ok()) << answer.status();
    std::lock_guard<std::mutex> lock(mutex_);
    if (!first_) first_.emplace(arrived, Now());
    return test::HttpAnswer(200, "text/plain", "");
  }
  const int port_;
  std::mutex mutex_;
  std::optional<std::pair<SystemTime, SystemTime>> first_;
  test::HttpPeer peer_;
};

constexpr char kRules[] = R"(
groups:
  - name: shop
    interval: 2s
    rules:
      - {record: tick, expr: time()}
      - {alert: ShopDown, expr: shop_ok == 0, for: 3s, labels: {severity: page}}
)";

class LiveTest : public ::testing::Test {
 protected:
  void SetUp() override {
    exporter_ = std::make_unique<test::HttpPeer>([this](const std::string&) {
      const bool well = Well();
      if (!well && first_bad_.load() == SystemTime()) first_bad_ = Now();
      return test::HttpAnswer(200, "text/plain; version=0.0.4",
                              std::string("shop_ok ") + (well ? "1\n" : "0\n"));
    });
    http_port_ = test::FreePort();
    receiver_ = std::make_unique<Receiver>(http_port_);
    auto alertmanager = test::Alertmanager::Start(receiver_->url());
    ASSERT_TRUE(alertmanager.ok()) << alertmanager.status();
    alertmanager_ = *std::move(alertmanager);
    auto prometheus = test::Prometheus::Start(
        test::PrometheusConfigText(exporter_->port(), alertmanager_->port()), kRules);
    ASSERT_TRUE(prometheus.ok()) << prometheus.status();
    prometheus_ = *std::move(prometheus);
    const std::string address = "127.0.0.1:" + std::to_string(test::FreePort());
    const char* build = std::getenv("FIREDRILL_BUILD_DIR");
    ASSERT_NE(build, nullptr) << "run by ctest, or with FIREDRILL_BUILD_DIR";
    auto controller = test::Child::Start(
        {std::string(build) + "/controller/firedrill-controller", "--listen", address,
         "--http-listen", "127.0.0.1:" + std::to_string(http_port_), "--data",
         folder_.path() + "/data", "--insecure", "--prometheus", prometheus_->url()},
        folder_.path() + "/controller.log");
    ASSERT_TRUE(controller.ok()) << controller.status();
    controller_ = *std::move(controller);
    auto agent = test::AgentProcess::Start(
        folder_.path() + "/agent",
        {"--controller", address, "--insecure", "--id", "host", "--label", "role=shop",
         "--environment", "test", "--allow", "process_kill"});
    ASSERT_TRUE(agent.ok()) << agent.status();
    agent_ = *std::move(agent);
    stub_ = v1::OperatorService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    ASSERT_TRUE(WaitFor(
        [this] {
          grpc::ClientContext context;
          v1::ListAgentsResponse agents;
          return stub_->ListAgents(&context, {}, &agents).ok() && agents.agents_size() == 1;
        },
        seconds(30)))
        << controller_->Log() << agent_->Log();
  }

  // What the exporter says: of the traffic, or of the process, or that all is well.
  bool Well() {
    if (Traffic* traffic = traffic_.load()) return traffic->Well();
    return victim_well_;
  }

  v1::Experiment Experiment(v1::Fault fault, std::optional<Nanoseconds> duration) {
    v1::Experiment experiment;
    experiment.set_name("live");
    experiment.set_hypothesis("Somebody is told.");
    experiment.set_environment("test");
    (*(*experiment.mutable_targets())["shop"].mutable_labels())["role"] = "shop";
    v1::Indicator& indicator = *experiment.add_steady_state();
    indicator.set_name("shop");
    indicator.set_query("shop_ok");
    indicator.mutable_expect()->set_operator_(v1::OPERATOR_EQUAL);
    indicator.mutable_expect()->set_value(1);
    *indicator.mutable_hold() = ToProto(seconds(2));
    experiment.add_detection()->set_alert("ShopDown");
    v1::Step& step = *experiment.add_method();
    step.set_name("break");
    step.set_target("shop");
    *step.mutable_fault() = std::move(fault);
    if (duration) *step.mutable_duration() = ToProto(*duration);
    *experiment.mutable_recover_within() = ToProto(seconds(30));
    return experiment;
  }

  v1::Run Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetRunRequest request;
    request.set_run_id(id);
    v1::GetRunResponse response;
    EXPECT_TRUE(stub_->GetRun(&context, request, &response).ok());
    return response.run();
  }

  // Runs it to its end; `fired` is called once when the alert fires.
  v1::Run Run(
      const v1::Experiment& experiment, const std::function<void()>& fired = [] {}) {
    grpc::ClientContext context;
    v1::StartRunRequest request;
    request.set_run_id("live-1");
    *request.mutable_experiment() = experiment;
    v1::StartRunResponse response;
    const grpc::Status status = stub_->StartRun(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    if (!status.ok()) return {};
    bool told = false;
    EXPECT_TRUE(WaitFor(
        [&] {
          const v1::Run run = Get("live-1");
          const bool firing = std::any_of(
              run.marks().begin(), run.marks().end(),
              [](const auto& mark) { return mark.kind() == v1::MARK_KIND_ALERT_FIRING; });
          if (firing && !told) {
            told = true;
            fired();
          }
          test::Pause(milliseconds(100));
          return run.state() == v1::RUN_STATE_FINISHED;
        },
        seconds(90)))
        << controller_->Log();
    return Get("live-1");
  }

  static v1::Mark Mark(const v1::Run& run, v1::MarkKind kind) {
    for (const v1::Mark& mark : run.marks()) {
      if (mark.kind() == kind) return mark;
    }
    ADD_FAILURE() << "no " << v1::MarkKind_Name(kind) << " in\n" << run.DebugString();
    return {};
  }

  // `mark` is at `truth`, within its ± and what the other clock may be off.
  static void ExpectAt(const v1::Mark& mark, SystemTime truth, Nanoseconds slack) {
    const double off = Seconds(FromProto(mark.at()) - truth);
    EXPECT_LE(std::abs(off), Seconds(FromProto(mark.uncertainty()) + slack))
        << off << " s off: " << mark.DebugString();
  }

  // `mark` is between these, within its ±.
  static void ExpectBetween(const v1::Mark& mark, SystemTime from, SystemTime to) {
    EXPECT_GE(FromProto(mark.at()), from - FromProto(mark.uncertainty())) << mark.DebugString();
    EXPECT_LE(FromProto(mark.at()), to + FromProto(mark.uncertainty())) << mark.DebugString();
  }

  // Prometheus' own account: instants and values of the one series that the query names.
  std::map<SystemTime, double> Told(const std::string& query) {
    const auto body = prometheus_->Get("/api/v1/query?query=" + query + "%5B5m%5D");
    EXPECT_TRUE(body.ok()) << body.status();
    std::map<SystemTime, double> told;
    const auto json = nlohmann::json::parse(body.value_or("{}"));
    for (const auto& point : json["data"]["result"][0]["values"]) {
      told[SystemTime(milliseconds(std::llround(point[0].get<double>() * 1000)))] =
          std::stod(point[1].get<std::string>());
    }
    return told;
  }

  // The first of the group's evaluations at or after `at`. A rule beside the alert's keeps what
  // each takes for now: /api/v1/rules tells when it began, which is later on a busy machine.
  SystemTime EvaluationAfter(SystemTime at) {
    for (const auto& [stored, tick] : Told("tick")) {
      const SystemTime evaluation(milliseconds(std::llround(tick * 1000)));
      if (evaluation >= at) return evaluation;
    }
    ADD_FAILURE() << "no evaluation since then";
    return {};
  }

  // When the scrape began that was the first to be told that it is broken, and to end in time.
  SystemTime BrokenScrape() {
    const std::map<SystemTime, double> scrapes = Told("up");
    auto scrape = scrapes.upper_bound(first_bad_.load());
    if (scrape != scrapes.begin()) --scrape;
    while (scrape != scrapes.end() && scrape->second != 1) ++scrape;
    EXPECT_NE(scrape, scrapes.end());
    return scrape == scrapes.end() ? SystemTime() : scrape->first;
  }

  // Time to detect as the model has it: the scrape that was the first to be told that it is broken,
  // the first evaluation after it, and `for` rounded up.
  void ExpectModel(const v1::Run& run) {
    const SystemTime scraped = BrokenScrape();
    const SystemTime impact = FromProto(Mark(run, v1::MARK_KIND_FIRST_IMPACT).at());
    const auto firing_of = [this](SystemTime pending) {
      return EvaluationAfter(pending + seconds(3));
    };
    const v1::Mark mark = Mark(run, v1::MARK_KIND_ALERT_FIRING);
    SystemTime pending = EvaluationAfter(scraped);
    // One that came upon the heels of the scrape may not have seen it.
    if (pending < first_bad_.load() + seconds(1) &&
        FromProto(mark.at()) > firing_of(pending) + seconds(1)) {
      pending = EvaluationAfter(pending + milliseconds(2));
    }
    const SystemTime firing = firing_of(pending);
    ExpectAt(mark, firing, milliseconds(20));
    const double detect = Seconds(FromProto(run.time_to_detect().value()));
    EXPECT_NEAR(detect, Seconds(firing - impact),
                Seconds(FromProto(run.time_to_detect().uncertainty())) + 0.02);
    // What its evaluator holds (/api/v1/alerts) agrees with its samples.
    for (const std::string& caveat : run.caveats()) {
      EXPECT_THAT(caveat, ::testing::Not(::testing::HasSubstr("holds it active")));
    }
    Nanoseconds sum{0};
    for (const v1::Stage& stage : run.alerts(0).stages()) {
      if (stage.kind() < v1::STAGE_KIND_GROUPING) sum += FromProto(stage.value());
    }
    EXPECT_EQ(sum, FromProto(run.time_to_detect().value())) << run.alerts(0).DebugString();
  }

  void ExpectWebhook(const v1::Run& run) {
    const auto first = receiver_->First();
    ASSERT_TRUE(first);
    ExpectBetween(Mark(run, v1::MARK_KIND_NOTIFIED), first->first, first->second);
  }

  // Breaks datagrams for a while; the impact is that of the first which did not arrive in time.
  void ExpectImpactOnTraffic(const v1::Fault& fault) {
    Traffic traffic;
    traffic_ = &traffic;
    const v1::Run run = Run(Experiment(fault, seconds(12)));
    traffic_ = nullptr;
    EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED) << run.DebugString();
    ExpectAt(Mark(run, v1::MARK_KIND_FIRST_IMPACT), traffic.FirstBroken(), milliseconds(2));
    ExpectModel(run);
    ExpectWebhook(run);
  }

  test::TemporaryFolder folder_;
  std::atomic<Traffic*> traffic_{nullptr};
  std::atomic<bool> victim_well_{true};
  std::atomic<SystemTime> first_bad_{SystemTime()};  // when a scrape was told so first
  int http_port_ = 0;
  std::unique_ptr<test::HttpPeer> exporter_;
  std::unique_ptr<Receiver> receiver_;
  std::unique_ptr<test::Alertmanager> alertmanager_;
  std::unique_ptr<test::Prometheus> prometheus_;
  std::unique_ptr<test::Child> controller_;
  std::unique_ptr<test::AgentProcess> agent_;
  std::unique_ptr<v1::OperatorService::Stub> stub_;
};

// Whether its end has begun, which its pidfd tells only when it is through: a task that loses its
// processor in between takes long. The kernel sets this before its tracepoint tells the exit.
bool Ending(pid_t pid) {
  constexpr unsigned long kExiting = 0x4;  // PF_EXITING of the kernel's include/linux/sched.h
  const std::string stat = test::ReadFile("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream fields(stat.substr(stat.rfind(')') + 1));
  std::string before;
  for (int field = 3; field < 9; ++field) fields >> before;
  unsigned long flags = 0;  // the ninth, proc_pid_stat(5)
  EXPECT_TRUE(fields >> flags) << stat;
  return (flags & kExiting) != 0;
}

template <typename Kind>
void ChooseDatagrams(Kind& kind) {
  kind.mutable_traffic()->set_direction(v1::DIRECTION_INGRESS);
  kind.mutable_traffic()->set_device("eth0");
  kind.mutable_traffic()->set_protocol(v1::PROTOCOL_UDP);
  kind.mutable_traffic()->add_ports(std::to_string(kPort));
}

TEST_F(LiveTest, ImpactIsTheFirstPacketThatACaptureSawAndNobodyGot) {
  v1::Fault fault;
  fault.mutable_packet_loss()->set_percent(100);
  ChooseDatagrams(*fault.mutable_packet_loss());
  ExpectImpactOnTraffic(fault);
}

TEST_F(LiveTest, ImpactIsTheFirstPacketThatCameLate) {
  v1::Fault fault;
  *fault.mutable_latency()->mutable_delay() = ToProto(milliseconds(300));
  ChooseDatagrams(*fault.mutable_latency());
  ExpectImpactOnTraffic(fault);
}

TEST_F(LiveTest, KillsInstantIsItsParentsAndTheTimeToDetectIsTheModels) {
  const pid_t victim = fork();
  ASSERT_GE(victim, 0);
  if (victim == 0) {
    execl("/bin/sleep", "firedrill-live-victim", "120", nullptr);
    _exit(127);
  }
  // What the target says follows from the process alone.
  const Descriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, victim, 0)));
  SystemTime alive;
  SystemTime exited;
  std::thread parent([&] {
    pollfd ended{pidfd.get(), POLLIN, 0};
    for (SystemTime before = Now(); poll(&ended, 1, 1) == 0; before = Now()) {
      if (!Ending(victim)) alive = before;
    }
    exited = Now();
    victim_well_ = false;
    waitpid(victim, nullptr, 0);
  });
  v1::Fault fault;
  fault.mutable_process_kill()->mutable_processes()->set_pid(static_cast<std::uint32_t>(victim));
  const v1::Run run = Run(Experiment(fault, std::nullopt), [this] { victim_well_ = true; });
  parent.join();
  EXPECT_EQ(run.detection(), v1::DETECTION_OUTCOME_DETECTED) << run.DebugString();
  EXPECT_EQ(run.recovery(), v1::RECOVERY_OUTCOME_SELF_RECOVERED);
  const v1::Mark impact = Mark(run, v1::MARK_KIND_FIRST_IMPACT);
  EXPECT_EQ(impact.source(), v1::MARK_SOURCE_KERNEL);
  ExpectBetween(impact, alive, exited);
  ExpectModel(run);
  ExpectWebhook(run);
}

}  // namespace
}  // namespace firedrill

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  // Listing the cases (ctest does) must work for anybody.
  if (!GTEST_FLAG_GET(list_tests)) {
    firedrill::hosts = std::make_unique<firedrill::testing::TwoHosts>();
  }
  const int failed = RUN_ALL_TESTS();
  firedrill::hosts.reset();
  return failed;
}
