// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>

#include "google/protobuf/text_format.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"
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
      {"", "found no kind of fault; allowed: one of packet_loss, latency, cpu or process_kill"},
      {"packet_loss {}",
       "packet_loss.percent: missing; needed (share of packets to lose, independently of each "
       "other), 0.0001 to 100 %, such as 33"},
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
  EXPECT_EQ(FaultText(v1::Fault()), "nothing");
}

// The rule book is only as good as what stands beside the fields.
TEST(FieldRulesTest, EveryFieldOfAFaultHasHelpAndLimits) {
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const auto& kind = *v1::Fault::descriptor()->field(i);
    EXPECT_FALSE(FaultRulesOf(static_cast<v1::Fault::KindCase>(kind.number())).summary().empty())
        << kind.full_name();
    for (int j = 0; j < kind.message_type()->field_count(); ++j) {
      const auto& field = *kind.message_type()->field(j);
      EXPECT_FALSE(RulesOf(field).help().empty()) << field.full_name();
      const bool number = IsDuration(field) ||
                          field.cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE;
      if (number) {
        EXPECT_TRUE(RulesOf(field).has_minimum() && RulesOf(field).has_maximum())
            << field.full_name();
      }
    }
  }
}

TEST(FieldRulesTest, SpellsEnumsAsFilesDo) {
  EXPECT_THAT(EnumTexts(*v1::Direction_descriptor()),
              ::testing::ElementsAre("egress", "ingress", "both"));
  EXPECT_THAT(EnumTexts(*v1::CpuMode_descriptor()), ::testing::ElementsAre("add", "fill"));
}

TEST(FieldRulesTest, ChecksTimeZonesWithoutLoadingOtherFiles) {
  EXPECT_TRUE(CheckFormat(v1::FORMAT_TIME_ZONE, "Europe/Berlin").ok());
  EXPECT_TRUE(CheckFormat(v1::FORMAT_TIME_ZONE, "UTC").ok());
  for (const char* bad : {"", "Europe/Berlon", "/etc/localtime", "../etc/passwd", "localtime"}) {
    EXPECT_FALSE(CheckFormat(v1::FORMAT_TIME_ZONE, bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace firedrill
