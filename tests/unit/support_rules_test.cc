// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "google/protobuf/text_format.h"
#include "proto/support/fault_rules.h"
#include "proto/support/text.h"

namespace firedrill {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;

v1::Fault Parse(const std::string& text) {
  v1::Fault fault;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
  return fault;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

TEST(FaultRulesTest, AcceptsFaultsWithinTheirLimits) {
  for (const char* text : {
           "packet_loss { percent: 100 }",
           "packet_loss { percent: 0.0001 traffic { direction: DIRECTION_EGRESS device: 'eth0' "
           "addresses: '10.0.0.0/8' addresses: '2001:db8::1' ports: '6379' ports: '8000-8100' "
           "protocol: PROTOCOL_TCP exclude { ports: '22' } } }",
           "latency { delay { nanos: 50000000 } jitter { nanos: 50000000 } }",
           "cpu { percent: 80 mode: CPU_MODE_FILL cores: 0 cores: 4095 ramp { seconds: 10 } }",
           "process_kill { processes { name: 'redis-server' } signal: 'sigterm' pick { all: true } "
           "}",
       }) {
    EXPECT_TRUE(ValidateFault(Parse(text)).ok()) << ValidateFault(Parse(text));
  }
}

struct Refusal {
  const char* fault;
  const char* message;  // all of it
};

TEST(FaultRulesTest, NamesFieldAndFindingAndWhatIsAllowed) {
  const Refusal refusals[] = {
      {"",
       "found no kind of fault; allowed: one of packet_loss, latency, cpu, process_kill, "
       "packet_duplicate, packet_corrupt, packet_reorder, bandwidth, partition, dns, "
       "connection_error, process_pause, service_stop, memory, disk_fill, disk_load, file_fault, "
       "descriptors, pids, config_change, clock_step, reboot or none"},
      {"packet_loss {}",
       "packet_loss.percent: missing; needed: percent, such as 33; or every, or bursts with "
       "enter_percent and leave_percent"},
      {"packet_duplicate {}",
       "packet_duplicate.percent: missing; needed (share of packets that arrive twice), 0.0001 to "
       "100 %, such as 5"},
      {"packet_loss { percent: 120 }",
       "packet_loss.percent: found 120 %; allowed: 0.0001 to 100 %"},
      {"packet_loss { percent: -1 }", "packet_loss.percent: found -1 %; allowed: 0.0001 to 100 %"},
      {"packet_loss { percent: nan }",
       "packet_loss.percent: found nan %; allowed: 0.0001 to 100 %"},
      {"packet_loss { percent: 1 traffic { direction: 9 } }", nullptr},
      {"packet_loss { percent: 1 traffic { ports: '70000' } }",
       "packet_loss.traffic.ports[0]: found \"70000\"; allowed: a port of 1 to 65535, or a range "
       "such as 8000-8100"},
      {"packet_loss { percent: 1 traffic { exclude { addresses: '10.0.0.1/8' } } }",
       "packet_loss.traffic.exclude.addresses[0]: found \"10.0.0.1/8\"; has bits beyond its "
       "prefix; did you mean 10.0.0.0/8?"},
      {"packet_loss { percent: 1 traffic { protocol: PROTOCOL_ICMP ports: '80' } }",
       "packet_loss.traffic.ports: found ports beside protocol icmp; ICMP has no ports: nothing "
       "would match"},
      {"packet_loss { percent: 1 traffic { device: 'a/b' } }",
       "packet_loss.traffic.device: found \"a/b\"; allowed: a network device's name, such as eth0; "
       "at most 15 characters"},
      {"latency { delay { seconds: 1 } jitter { seconds: 2 } }",
       "latency.jitter: found 2s; allowed: at most the delay, 1s"},
      {"latency { delay { seconds: -1 } }", "latency.delay: found -1s; allowed: 100µs to 1m"},
      {"latency { delay { seconds: 1 nanos: -5 } }",
       "latency.delay: found a time that is none; allowed: 100µs to 1m"},
      {"latency { delay { seconds: 61 } }", "latency.delay: found 1m1s; allowed: 100µs to 1m"},
      {"cpu { percent: 50 cores: 5000 }", "cpu.cores[0]: found 5000; allowed: at most 4095"},
      {"cpu { percent: 50 cores: 1 cores: 1 }", "cpu.cores: found 1 a second time; each core once"},
      {"process_kill {}", "process_kill.processes: missing; needed (which processes)"},
      {"process_kill { processes {} }",
       "process_kill.processes: chooses no process; needed: at least one of name, command_line, "
       "pid, listening_port, cgroup or systemd_unit"},
      {"process_kill { processes { pid: 1 } }",
       "process_kill.processes.pid: found 1; allowed: 2 to 4194304"},
      {"process_kill { processes { name: 'a\\001' } }",
       "process_kill.processes.name: found control characters; allowed: plain text"},
      {"process_kill { processes { name: 'a' } signal: 'KIL' }",
       "process_kill.signal: found \"KIL\"; did you mean KILL? allowed: a signal's name such as "
       "TERM, KILL or HUP, or a number of 1 to 64"},
      {"process_kill { processes { name: 'a' } pick { count: 0 } }",
       "process_kill.pick: found 0; allowed: a number from 1, a share such as 50% (over 0, up to "
       "100), or all"},
      {"process_kill { processes { name: 'a' } pick {} }",
       "process_kill.pick: found nothing; allowed: a number from 1, a share such as 50% (over 0, "
       "up to 100), or all"},
  };
  for (const Refusal& refusal : refusals) {
    if (refusal.message == nullptr) continue;  // an open enum's unknown number: a test of its own
    const absl::Status status = ValidateFault(Parse(refusal.fault));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.fault;
    EXPECT_EQ(Message(status), refusal.message);
  }
}

// The rules between the fields of one message.
TEST(FaultRulesTest, RefusesWhatContradictsItself) {
  const Refusal refusals[] = {
      {"packet_loss { percent: 5 every: 10 }",
       "packet_loss.percent: found it beside every; one of the three: percent, every, or the four "
       "parameters of bursts"},
      {"packet_loss { percent: 5 bursts { enter_percent: 1 leave_percent: 20 } }",
       "packet_loss.percent: found it beside the parameters of bursts; one of the three: percent, "
       "every, or the four parameters of bursts"},
      {"packet_loss { every: 10 bursts { mean_packets: 2 } }",
       "packet_loss.every: found it beside bursts; every packet of a number, or bursts"},
      {"packet_loss { every: 10 seed: 42 }",
       "packet_loss.seed: found it beside every; nothing is random then: leave it out"},
      {"packet_loss { bursts { mean_packets: 5 } }",
       "packet_loss.percent: missing; needed beside bursts.mean_packets, such as 33"},
      {"packet_loss { percent: 5 bursts {} }",
       "packet_loss.bursts: says nothing of the bursts; needed: mean_packets, or enter_percent and "
       "leave_percent"},
      {"packet_loss { bursts { enter_percent: 1 } }",
       "packet_loss.bursts.leave_percent: missing; needed beside the model's other parameters: "
       "enter and leave"},
      {"packet_loss { bursts { mean_packets: 5 enter_percent: 1 leave_percent: 2 } }",
       "packet_loss.bursts.mean_packets: found it beside the model's own parameters; one of the "
       "two: mean_packets, or enter_percent, leave_percent, good_loss_percent and "
       "bad_loss_percent"},
      {"packet_loss { bursts { enter_percent: 1 leave_percent: 2 good_loss_percent: 50 "
       "bad_loss_percent: 50 } }",
       "packet_loss.bursts.good_loss_percent: found 50 %; allowed: less than in the bad state, 50 "
       "%"},
      {"packet_loss { percent: 90 bursts { mean_packets: 4 } }",
       "packet_loss.percent: found 90 %; allowed with bursts of 4 packets: at most 80 %, so that a "
       "packet gets through between two bursts"},
      {"packet_loss { percent: 100 bursts { mean_packets: 100000 } }",
       "packet_loss.percent: found 100 %; allowed with bursts of 100000 packets: at most 99.999 %, "
       "so that a packet gets through between two bursts"},
      {"latency { delay { seconds: 1 } distribution: JITTER_DISTRIBUTION_PARETO }",
       "latency.distribution: found it without jitter; needs jitter: without it every packet is as "
       "late as the others"},
      {"latency { delay { seconds: 1 } correlation: 25 }",
       "latency.correlation: found it without jitter; needs jitter: without it every packet is as "
       "late as the others"},
      {"packet_loss { percent: 1 traffic { segments: TCP_SEGMENTS_SYN } }",
       "packet_loss.traffic.segments: found it without protocol tcp; only TCP has segments: add "
       "protocol: tcp"},
      {"packet_loss { percent: 1 traffic { protocol: PROTOCOL_ICMP remote_ports: '80' } }",
       "packet_loss.traffic.remote_ports: found ports beside protocol icmp; ICMP has no ports: "
       "nothing would match"},
      {"packet_loss { percent: 1 traffic { owner {} } }",
       "packet_loss.traffic.owner: chooses no process; needed: at least one of name, command_line, "
       "pid, listening_port, cgroup or systemd_unit"},
      {"partition {}",
       "partition: has no other side; needed: from, a target of the experiment, or addresses"},
      {"partition { from: 'db' traffic { addresses: '10.0.0.1' } }",
       "partition.traffic.addresses: found it in a partition; the other side is said by from and "
       "addresses of the partition itself"},
      {"partition { from: 'db' traffic { hosts: 'db.example.org' } }",
       "partition.traffic.hosts: found it in a partition; the other side is said by from and "
       "addresses of the partition itself"},
      {"dns { answer: DNS_ANSWER_LATE }",
       "dns.delay: missing; needed with answer late, such as 2s"},
      {"dns { answer: DNS_ANSWER_NXDOMAIN delay { seconds: 2 } }",
       "dns.delay: found it without answer late; add answer: late, or leave it out"},
      {"dns { traffic { direction: DIRECTION_BOTH } }",
       "dns.traffic.direction: found it in a DNS fault; it is queries that are met, on their way "
       "out: leave it out"},
      {"dns { traffic { protocol: PROTOCOL_ICMP } }",
       "dns.traffic.protocol: found icmp in a DNS fault; DNS speaks udp and tcp"},
      {"memory {}",
       "memory: does not say how much; needed: percent, such as 80, or bytes, such as 512MiB"},
      {"pids { leave: 15 }",
       "pids.leave: found 15 without a cgroup; allowed: at least 16 on a whole host"},
      {"memory { percent: 50 bytes: 1048576 }",
       "memory.bytes: found it beside percent; one of the two: percent or bytes"},
      {"disk_fill { path: '/var' }",
       "disk_fill: does not say how much; needed: percent, such as 80, or bytes, such as 512MiB"},
      {"disk_load { path: '/var' }",
       "disk_load: asks for no load; needed: read_rate, write_rate or both, such as 50MiB"},
      {"file_fault { path: '/var' }",
       "file_fault: does nothing to the operations; needed: delay, such as 20ms, or error, such as "
       "EPERM"},
      {"file_fault { path: '/var' error: 'EPERM' operations: FILE_OPERATION_OPEN operations: "
       "FILE_OPERATION_OPEN }",
       "file_fault.operations[1]: found open a second time; each once"},
      {"file_fault { path: '/var' error: 'EPERM' operations: FILE_OPERATION_UNSPECIFIED }",
       "file_fault.operations[0]: found no value; allowed: open, read or write"},
      {"connection_error { operations: SOCKET_OPERATION_CREATE ports: '80' }",
       "connection_error.ports: found it beside operation create; a new socket has no other end "
       "yet: add connect or send"},
      {"process_kill { processes { name: 'a' } repeat_every { seconds: 1 } until_down { seconds: 1 "
       "} }",
       "process_kill.until_down: found it beside repeat_every; one of the two: at intervals, or "
       "whatever comes back"},
      {"process_kill { processes { name: 'a' } exclude {} }",
       "process_kill.exclude: chooses no process; needed: at least one of name, command_line, pid, "
       "listening_port, cgroup or systemd_unit"},
      {"config_change { path: '/etc/a' }",
       "config_change: changes nothing; needed: text to append, or a pattern to replace or remove"},
      {"config_change { path: '/etc/a' pattern: '(a)b' text: '\\\\2' }",
       "config_change.text: found \"\\\\2\"; allowed: \\1 to \\1 for the pattern's groups, \\0 for "
       "all of it, \\\\ for \\"},
  };
  for (const Refusal& refusal : refusals) {
    const absl::Status status = ValidateFault(Parse(refusal.fault));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.fault;
    EXPECT_EQ(Message(status), refusal.message) << refusal.fault;
  }
}

TEST(FaultRulesTest, AcceptsEachWayToSayIt) {
  for (const char* text : {
           "packet_loss { every: 1 }",
           "packet_loss { percent: 80 bursts { mean_packets: 4 } seed: 42 counting: "
           "COUNTING_EXACT }",
           "packet_loss { percent: 50 bursts { mean_packets: 1 } }",
           "packet_loss { bursts { enter_percent: 1 leave_percent: 20 good_loss_percent: 0.1 "
           "bad_loss_percent: 70 } }",
           "latency { delay { nanos: 50000000 } jitter { nanos: 90000000 } distribution: "
           "JITTER_DISTRIBUTION_NORMAL correlation: 99.9 keep_order: true }",
           "packet_corrupt { percent: 1 checksum: CORRUPT_CHECKSUM_MENDED }",
           "packet_reorder { percent: 25 delay { nanos: 10000000 } }",
           "bandwidth { rate: 8000 queue { nanos: 1000000 } }",
           "pids {}",
           "pids { leave: 16 }",
           "pids { leave: 0 cgroup: '/shop' }",
           "partition { from: 'db' }",
           "partition { addresses: '10.0.7.0/24' traffic { protocol: PROTOCOL_TCP segments: "
           "TCP_SEGMENTS_SYN } }",
           "dns {}",
           "dns { answer: DNS_ANSWER_LATE delay { seconds: 2 } names: '_dmarc.example.org' "
           "percent: 50 traffic { ports: '5353' } }",
           "memory { bytes: 17592186044416 floor: 0 ramp { seconds: 1 } }",
           "disk_fill { path: '/' percent: 100 floor: 0 }",
           "disk_load { path: '/var/lib/' read_rate: 1 size: 1048576 }",
           "file_fault { path: '/a' delay { nanos: 1 } operations: FILE_OPERATION_READ operations: "
           "FILE_OPERATION_WRITE processes { name: 'a' } }",
           "connection_error { operations: SOCKET_OPERATION_CREATE }",
           "connection_error { error: 'EWOULDBLOCK' operations: SOCKET_OPERATION_CREATE "
           "operations: SOCKET_OPERATION_SEND ports: '53' }",
           "descriptors { processes { name: 'a' } leave: 0 }",
           "pids { leave: 0 cgroup: '/a' }",
           "process_kill { processes { name: 'a' } order: PICK_OLDEST until_down { seconds: 3 } "
           "restart { within { seconds: 5 } port: 80 } }",
           "process_pause { processes { name: 'a' } exclude { pid: 7 } }",
           "service_stop { unit: 'redis-server.service' }",
           "config_change { path: '/etc/a' pattern: '(a)b' text: '\\\\1' }",
           "config_change { path: '/etc/a' pattern: 'b' }",
           "clock_step { by { seconds: 300 } direction: CLOCK_DIRECTION_BACKWARD }",
           "reboot {}",
       }) {
    EXPECT_TRUE(ValidateFault(Parse(text)).ok()) << text << ": " << ValidateFault(Parse(text));
  }
}

TEST(FaultRulesTest, ReportsEveryBreachAtOnce) {
  const absl::Status status = ValidateFault(
      Parse("latency { delay { seconds: 99 } traffic { ports: 'x' addresses: 'y' } }"));
  EXPECT_THAT(Message(status), HasSubstr("latency.delay"));
  EXPECT_THAT(Message(status), HasSubstr("latency.traffic.ports[0]"));
  EXPECT_THAT(Message(status), HasSubstr("latency.traffic.addresses[0]"));
}

// What an older agent does not know could narrow the fault: it must not apply the rest.
TEST(FaultRulesTest, RefusesFieldsAndEnumsOfANewerVersion) {
  v1::Fault fault = Parse("packet_loss { percent: 1 traffic {} }");
  v1::Traffic& traffic = *fault.mutable_packet_loss()->mutable_traffic();
  traffic.GetReflection()->MutableUnknownFields(&traffic)->AddVarint(777, 1);
  EXPECT_EQ(Message(ValidateFault(fault)),
            "packet_loss.traffic: found field number 777, which this version does not know; bring "
            "both ends to the same version");
  traffic.GetReflection()->MutableUnknownFields(&traffic)->Clear();
  traffic.set_direction(static_cast<v1::Direction>(9));
  EXPECT_EQ(Message(ValidateFault(fault)),
            "packet_loss.traffic.direction: found the value 9, which this version does not know; "
            "allowed: egress, ingress or both");
}

TEST(FaultRulesTest, BoundsCountsAndTexts) {
  v1::Fault fault = Parse("packet_loss { percent: 1 }");
  for (int i = 0; i < 65; ++i) {
    fault.mutable_packet_loss()->mutable_traffic()->add_ports(std::to_string(i + 1));
  }
  EXPECT_EQ(Message(ValidateFault(fault)),
            "packet_loss.traffic.ports: found 65 entries; allowed: at most 64");
  v1::Fault kill = Parse("process_kill { processes { name: 'a' } }");
  kill.mutable_process_kill()->mutable_processes()->set_cgroup(std::string(20'000, 'a'));
  EXPECT_EQ(Message(ValidateFault(kill)),
            "process_kill.processes.cgroup: found 20000 bytes; allowed: at most 16384");
}

TEST(FaultRulesTest, KnowsWhichFaultsNeedAnEnd) {
  const v1::Fault loss = Parse("packet_loss { percent: 1 }");
  EXPECT_TRUE(ValidateInjection(loss, seconds(1)).ok());
  EXPECT_EQ(Message(ValidateInjection(loss, std::nullopt)),
            "duration: missing; needed: packet_loss lives until an end, such as 30s");
  EXPECT_FALSE(ValidateInjection(loss, seconds(0)).ok());
  EXPECT_FALSE(ValidateInjection(loss, seconds(-1)).ok());

  v1::Fault kill = Parse("process_kill { processes { name: 'a' } }");
  EXPECT_TRUE(ValidateInjection(kill, std::nullopt).ok());
  EXPECT_THAT(Message(ValidateInjection(kill, seconds(5))), HasSubstr("is over at once"));
  kill.mutable_process_kill()->mutable_repeat_every()->set_seconds(5);
  EXPECT_TRUE(ValidateInjection(kill, seconds(20)).ok());
  EXPECT_EQ(Message(ValidateInjection(kill, std::nullopt)),
            "duration: missing; needed: process_kill that repeats lives until an end, such as 30s");
}

TEST(FaultRulesTest, PutsAFaultInWords) {
  EXPECT_EQ(FaultText(Parse("packet_loss { percent: 33 traffic { protocol: PROTOCOL_TCP ports: "
                            "'6379' ports: '80' } }")),
            "packet_loss percent=33 traffic.ports=6379,80 traffic.protocol=tcp");
  EXPECT_EQ(FaultText(Parse("process_kill { processes { command_line: 'a b' } pick { percent: 50 } "
                            "grace { seconds: 5 } }")),
            "process_kill processes.command_line=\"a b\" grace=5s pick=50%");
  EXPECT_EQ(FaultText(Parse("bandwidth { rate: 10000000 queue { nanos: 200000000 } }")),
            "bandwidth rate=10Mbit queue=200ms");
  EXPECT_EQ(FaultText(Parse("memory { bytes: 536870912 floor: 0 }")),
            "memory bytes=512MiB floor=0B");
  EXPECT_EQ(FaultText(Parse("file_fault { path: '/a' operations: FILE_OPERATION_OPEN operations: "
                            "FILE_OPERATION_READ error: 'EIO' }")),
            "file_fault path=/a operations=open,read error=EIO");
  EXPECT_EQ(FaultText(Parse("latency { delay { seconds: 1 } keep_order: true }")),
            "latency delay=1s keep_order=true");
  EXPECT_EQ(FaultText(v1::Fault()), "nothing");
}

TEST(FaultRulesTest, AFaultWithoutItsCompiledPartIsNotInjected) {
  EXPECT_EQ(Message(ValidateInjection(Parse("partition { from: 'db' }"), seconds(1))),
            "partition.addresses: missing; needed: the plan adds those of the hosts chosen for "
            "from");
  EXPECT_TRUE(
      ValidateInjection(Parse("partition { from: 'db' addresses: '10.0.0.1' }"), seconds(1)).ok());
}

TEST(FaultRulesTest, KillingUntilItStaysDownNeedsAnEnd) {
  EXPECT_FALSE(
      ValidateInjection(Parse("process_kill { processes { name: 'a' } until_down { seconds: 1 } }"),
                        std::nullopt)
          .ok());
}

TEST(FaultRulesTest, NeedsFollowFromKindFieldsAndValues) {
  using ::testing::ElementsAre;
  EXPECT_THAT(NeedsOf(Parse("packet_loss { percent: 1 }")), ElementsAre("traffic"));
  EXPECT_THAT(NeedsOf(Parse("packet_loss { percent: 1 counting: COUNTING_EXACT traffic { owner { "
                            "name: 'a' } } }")),
              ElementsAre("traffic", "traffic_owner", "delay_line"));
  EXPECT_THAT(NeedsOf(Parse("latency { delay { seconds: 1 } }")),
              ElementsAre("traffic", "delay_line"));
  EXPECT_THAT(NeedsOf(Parse("dns { answer: DNS_ANSWER_NXDOMAIN }")), ElementsAre("traffic"));
  EXPECT_THAT(NeedsOf(Parse("dns { answer: DNS_ANSWER_LATE }")),
              ElementsAre("traffic", "delay_line"));
  EXPECT_THAT(NeedsOf(Parse("file_fault { path: '/a' error: 'EPERM' operations: "
                            "FILE_OPERATION_OPEN }")),
              ElementsAre("fanotify"));
  EXPECT_THAT(NeedsOf(Parse("file_fault { path: '/a' error: 'EPERM' operations: "
                            "FILE_OPERATION_OPEN operations: FILE_OPERATION_WRITE }")),
              ElementsAre("fanotify", "file_write"));
  EXPECT_THAT(NeedsOf(Parse("process_kill { processes { name: 'a' } restart {} }")),
              ElementsAre("pidfd", "task_events"));
  EXPECT_THAT(NeedsOf(v1::Fault()), ElementsAre());
}

}  // namespace
}  // namespace firedrill
