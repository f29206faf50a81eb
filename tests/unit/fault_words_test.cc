// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <utility>

#include "controller/plan/words.h"
#include "google/protobuf/text_format.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using ::testing::HasSubstr;

v1::Fault Parse(const std::string& text) {
  v1::Fault fault;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &fault)) << text;
  return fault;
}

TEST(FaultWordsTest, SayWhatPeersWillFeel) {
  v1::Fault fault;
  *fault.mutable_latency()->mutable_delay() = ToProto(std::chrono::milliseconds(50));
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("2 × 50ms = 100ms on each round trip"));
  EXPECT_THAT(EffectsInWords(fault)[1], HasSubstr("200ms more"));
  fault.mutable_latency()->mutable_traffic()->set_direction(v1::DIRECTION_EGRESS);
  EXPECT_EQ(EffectsInWords(fault)[0], "50ms on each round trip");
  fault.mutable_packet_loss()->set_percent(10);
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("81 % of cases"));
  fault.mutable_cpu()->set_percent(80);
  EXPECT_THAT(EffectsInWords(fault)[0], HasSubstr("20 % of every core is left"));
}

TEST(FaultWordsTest, EveryKindIsPutInWordsOfItsOwn) {
  const std::pair<const char*, const char*> words[] = {
      {"packet_loss { every: 10 }", "drop every 10th of packets, both directions"},
      {"packet_loss { percent: 5 bursts { mean_packets: 4 } }",
       "drop 5 % of packets, both directions, in bursts of 4 packets"},
      {"packet_loss { bursts { enter_percent: 1 leave_percent: 19 } }",
       "drop 5 % of packets, both directions, in bursts (enter 1 %, leave 19 %, loss 0 % and 100 "
       "%)"},
      {"latency { delay { nanos: 50000000 } jitter { nanos: 5000000 } traffic { protocol: "
       "PROTOCOL_TCP segments: TCP_SEGMENTS_SYN owner { name: 'shop' } } }",
       "hold TCP packets that open connections back for 50ms ± 5ms, both directions, of processes "
       "named shop"},
      {"packet_duplicate { percent: 5 }", "let 5 % arrive twice of packets, both directions"},
      {"packet_corrupt { percent: 1 checksum: CORRUPT_CHECKSUM_MENDED }",
       "turn a bit in 1 % of packets, both directions, checksum mended"},
      {"packet_reorder { percent: 25 }", "hold 25 % back for 10ms of packets, both directions"},
      {"bandwidth { rate: 10000000 traffic { direction: DIRECTION_EGRESS } }",
       "let at most 10Mbit/s through of packets, outgoing"},
      {"partition { addresses: '10.0.0.0/8' }",
       "cut off from 10.0.0.0/8: packets, both directions"},
      {"dns { names: 'db.example.org' }",
       "let DNS queries for db.example.org and names below vanish"},
      {"dns { answer: DNS_ANSWER_LATE delay { seconds: 2 } percent: 50 }",
       "hold 50 % of DNS queries back for 2s"},
      {"cpu { percent: 80 cgroup: '/a' }", "burn every core by 80 %, inside cgroup /a"},
      {"memory { bytes: 536870912 }", "take 512MiB of memory"},
      {"memory { percent: 80 }", "take 80 % of the memory that is available"},
      {"disk_fill { path: '/var' percent: 95 }", "fill the file system of /var up to 95 %"},
      {"disk_load { path: '/var' read_rate: 1048576 write_rate: 2000000 }",
       "read 1MiB/s and write 2MB/s on the file system of /var"},
      {"file_fault { path: '/var' delay { nanos: 20000000 } error: 'EIO' operations: "
       "FILE_OPERATION_OPEN operations: FILE_OPERATION_READ percent: 10 }",
       "let open, read below /var take 20ms longer and fail with EIO, 10 % of them"},
      {"connection_error { ports: '5432' processes { name: 'shop' } }",
       "let connect fail with ECONNREFUSED, port 5432, by processes named shop"},
      {"process_kill { processes { name: 'a' } pick { count: 2 } order: PICK_OLDEST exclude { pid: "
       "7 } restart { port: 80 } }",
       "send KILL to the oldest 2 of the processes named a, never processes with pid 7, then watch "
       "for 30s how soon it is started again and answers on port 80"},
      {"process_pause { processes { name: 'a' } pick { all: true } }",
       "hold all of the processes named a"},
      {"service_stop { unit: 'redis.service' }", "stop redis.service, and start it at the end"},
      {"descriptors { processes { name: 'a' } leave: 5 }",
       "leave 5 further descriptors to 1 of the processes named a"},
      {"pids {}", "leave 64 further processes and threads to the host"},
      {"config_change { path: '/etc/a' pattern: 'x' text: 'y' }",
       "replace \"x\" by \"y\" in /etc/a"},
      {"clock_step { by { seconds: 300 } direction: CLOCK_DIRECTION_BACKWARD }",
       "set the wall clock 5m back"},
      {"reboot {}", "restart the host in good order"},
      {"none {}", "change nothing"},
  };
  std::set<int> kinds;
  for (const auto& [text, expected] : words) {
    const v1::Fault fault = Parse(text);
    kinds.insert(fault.kind_case());
    EXPECT_EQ(FaultInWords(fault), expected);
    EXPECT_FALSE(EffectsInWords(fault).empty()) << text;
  }
  EXPECT_EQ(kinds.size(), static_cast<std::size_t>(v1::Fault::descriptor()->field_count()));
}

TEST(FaultWordsTest, ReckonWhatARequestFeels) {
  EXPECT_THAT(EffectsInWords(Parse("latency { delay { nanos: 50000000 } }"))[1],
              HasSubstr("a TLS handshake waits 200ms (TLS 1.3: 100ms)"));
  EXPECT_EQ(EffectsInWords(Parse("bandwidth { rate: 10000000 }"))[0],
            "10Mbit/s each way: 1 MB takes 0.8 s, 100 MB 80 s");
  EXPECT_EQ(EffectsInWords(Parse("packet_loss { percent: 5 bursts { mean_packets: 4 } }"))[1],
            "4 packets are lost in a row on average, then 76 pass");
  EXPECT_EQ(
      EffectsInWords(Parse("packet_loss { bursts { enter_percent: 1 leave_percent: 25 } }"))[1],
      "bad for 4 packets on average, then good for 100");
  EXPECT_THAT(EffectsInWords(Parse("packet_loss { every: 4 }"))[0], HasSubstr("(75 % × 75 %)"));
  EXPECT_THAT(EffectsInWords(Parse("memory { percent: 80 }"))[0],
              HasSubstr("128MiB stay available"));
  EXPECT_EQ(EffectsInWords(Parse("disk_fill { path: '/a' percent: 98 }"))[0],
            "64MiB stay available: what others take below that is given back within 0.1s; alerts "
            "fire, few writes fail");
  EXPECT_EQ(EffectsInWords(Parse("disk_fill { path: '/a' percent: 100 floor: 0 }"))[0],
            "writes fail with ENOSPC, but for root");
  EXPECT_EQ(EffectsInWords(Parse("disk_fill { path: '/a' bytes: 1048576 floor: 0 }"))[0],
            "a write that needs more than what is left fails with ENOSPC, but for root");
}

TEST(FaultWordsTest, SayWhatTheFaultDoesOnOneLine) {
  v1::Fault fault;
  v1::Traffic* traffic = fault.mutable_packet_loss()->mutable_traffic();
  fault.mutable_packet_loss()->set_percent(33);
  traffic->set_protocol(v1::PROTOCOL_TCP);
  traffic->add_ports("6379");
  traffic->mutable_exclude()->add_ports("22");
  EXPECT_EQ(FaultInWords(fault),
            "drop 33 % of TCP packets, both directions, port 6379, never port 22");
  fault.mutable_process_kill()->mutable_processes()->set_name("redis-server");
  EXPECT_EQ(FaultInWords(fault), "send KILL to 1 of the processes named redis-server");
}

}  // namespace
}  // namespace firedrill::controller
