// SPDX-License-Identifier: Apache-2.0
// What the classifier costs a packet, by the kernel's own BPF_PROG_TEST_RUN.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <net/if.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include "agent/host/descriptor.h"
#include "tests/bench/lib/report.h"
#include "tests/bench/lib/scene.h"

namespace firedrill::bench {
namespace {

constexpr int kRepeat = 1'000'000;
constexpr int kPort = 6379;

std::vector<char> Packet() {
  std::vector<char> bytes(sizeof(ethhdr) + sizeof(iphdr) + sizeof(udphdr) + 64);
  auto* ethernet = reinterpret_cast<ethhdr*>(bytes.data());
  ethernet->h_proto = htons(ETH_P_IP);
  auto* ip = reinterpret_cast<iphdr*>(ethernet + 1);
  ip->version = 4;
  ip->ihl = 5;
  ip->protocol = IPPROTO_UDP;
  ip->tot_len = htons(static_cast<std::uint16_t>(bytes.size() - sizeof(ethhdr)));
  inet_pton(AF_INET, testing::TwoHosts::kNear4, &ip->saddr);
  inet_pton(AF_INET, testing::TwoHosts::kFar4, &ip->daddr);
  auto* udp = reinterpret_cast<udphdr*>(ip + 1);
  udp->source = htons(40000);
  udp->dest = htons(kPort);
  udp->len = htons(sizeof(udphdr) + 64);
  return bytes;
}

// Nanoseconds of one run, the best of some: everything else is the machine's noise.
double Cost(int program, const char* device) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    std::vector<char> packet = Packet();
    __sk_buff context{};
    context.ifindex = if_nametoindex(device);
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = packet.data();
    options.data_size_in = static_cast<__u32>(packet.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    options.repeat = kRepeat;
    if (bpf_prog_test_run_opts(program, &options) != 0) {
      Die(fmt::format("BPF_PROG_TEST_RUN: {}", std::strerror(errno)));
    }
    best = std::min(best, static_cast<double>(options.duration));
  }
  return best;
}

// The empty program that a classifier is at least.
agent::Descriptor Empty() {
  const bpf_insn code[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = -1},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  agent::Descriptor fd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "GPL", code, 2, nullptr));
  if (!fd.valid()) Die("load an empty program");
  return fd;
}

// The id of the program behind a line "prog_id:\t42" of a file in /proc/PID/fdinfo; 0: none.
__u32 ProgramId(const std::filesystem::path& fdinfo) {
  std::ifstream in(fdinfo);
  for (std::string name; in >> name; in.ignore(1000, '\n')) {
    if (__u32 id = 0; name == "prog_id:" && in >> id) return id;
  }
  return 0;
}

// The newest program of this name that a worker of the agent holds: one that is on its way out
// holds another, and so do other agents of this host.
agent::Descriptor Loaded(Scene& scene, const char* name) {
  agent::Descriptor newest;
  __u32 newest_id = 0;
  for (const pid_t worker : scene.agent().Workers()) {
    for (const auto& entry :
         std::filesystem::directory_iterator(fmt::format("/proc/{}/fdinfo", worker))) {
      const __u32 id = ProgramId(entry.path());
      if (id <= newest_id) continue;
      agent::Descriptor fd(bpf_prog_get_fd_by_id(id));
      bpf_prog_info info{};
      __u32 size = sizeof(info);
      if (fd.valid() && bpf_obj_get_info_by_fd(fd.get(), &info, &size) == 0 &&
          std::strcmp(info.name, name) == 0) {
        newest = std::move(fd);
        newest_id = id;
      }
    }
  }
  if (!newest.valid()) Die(fmt::format("no worker holds a program {}", name));
  return newest;
}

void Run() {
  Scene scene;
  Report report("classifier: nanoseconds a packet (BPF_PROG_TEST_RUN)");
  const double empty = Cost(Empty().get(), "eth0");
  const auto add = [&](const std::string& what, double cost, std::optional<double> goal = {}) {
    report.Add({what, cost, "ns", "an empty program", empty, goal, {}});
  };
  const std::string loss =
      "packet_loss {{ {} traffic {{ device: 'eth0' direction: "
      "DIRECTION_EGRESS remote_ports: '{}' }} }}";
  const std::string rare = "percent: 0.0001";
  {
    const Scene::Fault one(scene, fmt::format(fmt::runtime(loss), rare, kPort));
    const agent::Descriptor program = Loaded(scene, "fd_egress");
    add("idle: no rule on the device", Cost(program.get(), "lo"), 1.1 * empty);
    add("one rule, matching, uniform loss", Cost(program.get(), "eth0"), empty + 100);
  }
  {
    const Scene::Fault other(scene, fmt::format(fmt::runtime(loss), rare, 1));
    add("one rule, another port", Cost(Loaded(scene, "fd_egress").get(), "eth0"), empty + 100);
  }
  {
    const Scene::Fault bursts(
        scene,
        fmt::format(fmt::runtime(loss), "percent: 0.0001 bursts { mean_packets: 5 }", kPort));
    add("one rule, matching, loss in bursts", Cost(Loaded(scene, "fd_egress").get(), "eth0"));
  }
  {
    std::vector<std::unique_ptr<Scene::Fault>> rules;
    for (int i = 0; i < 8; ++i) {
      rules.push_back(
          std::make_unique<Scene::Fault>(scene, fmt::format(fmt::runtime(loss), rare, kPort)));
    }
    add("eight rules, all matching", Cost(Loaded(scene, "fd_egress").get(), "eth0"));
  }
}

}  // namespace
}  // namespace firedrill::bench

int main() { firedrill::bench::Run(); }
