// SPDX-License-Identifier: Apache-2.0
// `firedrill inject`: its options follow from the fault's message.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "controller/cli/commands/arguments.h"
#include "controller/cli/commands/command.h"
#include "controller/cli/commands/inject_flags.h"
#include "tests/unit/cli_command_fixture.h"

namespace firedrill::cli {
namespace {

using ::testing::HasSubstr;

class InjectTest : public CommandTest {};

TEST_F(InjectTest, TakesItsOptionsFromTheFault) {
  const Result result =
      Run({"inject", "packet_loss", "--percent", "10%", "-t", "role=cache", "--duration", "30s",
           "--port", "6379,80", "--port", "443", "--direction", "egress", "--exclude-port", "22",
           "--environment", "staging", "--print"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, R"(name: inject-packet-loss
hypothesis: "By hand: packet_loss percent=10 traffic.direction=egress traffic.ports=6379,80,443 traffic.exclude.ports=22"
environment: staging
targets:
  target:
    labels: {role: cache}
method:
  - name: packet_loss
    target: target
    duration: 30s
    fault:
      packet_loss:
        percent: 10
        traffic:
          direction: egress
          ports: [6379, 80, 443]
          exclude:
            ports: [22]
)");
  EXPECT_EQ(Run({"validate", Write("printed.yaml", result.out)}).code, 0);
}

TEST_F(InjectTest, HasOneOptionForEachFieldAndNoneTwice) {
  std::set<std::string> taken;
  for (const Option& option : GlobalOptions()) taken.insert(option.name);
  for (const Option& option : FindCommand("inject")->options) taken.insert(option.name);
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    std::set<std::string> names = taken;
    for (const FaultFlag& flag : FaultFlags(*v1::Fault::descriptor()->field(i))) {
      EXPECT_TRUE(names.insert(flag.option.name).second) << flag.FieldPath();
      EXPECT_FALSE(flag.option.help.empty());
    }
  }
}

TEST_F(InjectTest, OptionsOfOneNameAreToldApart) {
  const auto names = [](const char* kind) {
    std::map<std::string, std::string> paths;
    for (const FaultFlag& flag : FaultFlags(*FindFault(kind))) {
      paths[flag.option.name] = flag.FieldPath();
    }
    return paths;
  };
  auto loss = names("packet_loss");
  EXPECT_EQ(loss["port"], "packet_loss.traffic.ports");
  EXPECT_EQ(loss["exclude-port"], "packet_loss.traffic.exclude.ports");
  EXPECT_EQ(loss["traffic-host"], "packet_loss.traffic.hosts");  // --host is an agent
  EXPECT_EQ(loss["owner-name"], "packet_loss.traffic.owner.name");
  EXPECT_EQ(loss["bursts-mean-packets"], "packet_loss.bursts.mean_packets");
  auto cut = names("partition");
  EXPECT_EQ(cut["address"], "partition.addresses");
  EXPECT_EQ(cut["traffic-address"], "partition.traffic.addresses");
  auto kill = names("process_kill");
  EXPECT_EQ(kill["name"], "process_kill.processes.name");
  EXPECT_EQ(kill["exclude-name"], "process_kill.exclude.name");
  EXPECT_EQ(kill["restart-port"], "process_kill.restart.port");
  EXPECT_EQ(names("file_fault")["name"], "file_fault.processes.name");
}

TEST_F(InjectTest, ReadsSizesRatesListsAndSwitches) {
  const auto print = [this](std::vector<std::string> words) {
    words.insert(words.begin(), "inject");
    for (const char* more :
         {"-t", "role=web", "--duration", "30s", "--environment", "staging", "--print"}) {
      words.emplace_back(more);
    }
    const Result result = Run(words);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(Run({"validate", Write("printed.yaml", result.out)}).code, 0) << result.out;
    return result.out;
  };
  EXPECT_THAT(print({"bandwidth", "--rate", "10Mbit"}), HasSubstr("rate: 10Mbit"));
  EXPECT_THAT(print({"memory", "--bytes", "0.5GiB", "--floor", "0"}),
              HasSubstr("bytes: 512MiB\n        floor: 0B"));
  EXPECT_THAT(print({"file_fault", "--path", "/a", "--error", "EPERM", "--operation", "open,read"}),
              HasSubstr("operations: [open, read]"));
  EXPECT_THAT(print({"latency", "--delay", "5ms", "--jitter", "1ms", "--keep-order"}),
              HasSubstr("keep_order: true"));
  EXPECT_THAT(print({"packet_loss", "--every", "10", "--traffic-host", "a.example.org"}),
              HasSubstr("hosts: [a.example.org]"));
  const std::string cut = print({"partition", "--from", "role=database"});
  EXPECT_THAT(cut, HasSubstr("from: other-side"));
  EXPECT_THAT(cut, HasSubstr("other-side:\n    labels: {role: database}\n    pick: all"));
  EXPECT_THAT(Run({"inject", "bandwidth", "--rate", "10"}).err,
              HasSubstr("--rate: found \"10\"; allowed: a rate with its unit, such as 10Mbit"));
  EXPECT_THAT(Run({"inject", "partition", "--from", "databases", "-t", "a=b"}).err,
              HasSubstr("--from: found \"databases\"; allowed: a label and its value"));
}

TEST_F(InjectTest, IsCheckedLikeAFileInItsOwnWords) {
  const Result result = Run({"inject", "packet_loss", "--percent", "120", "--port", "99999"});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err,
            "--percent: found 120 %; allowed: 0.0001 to 100 %\n"
            "--port: found \"99999\"; allowed: a port of 1 to 65535, or a range such as 8000-8100\n"
            "--target: chooses no host; needed: --target LABEL=VALUE, or --host NAME\n"
            "--duration: missing; needed: packet_loss lives until an end, such as 30s\n");
  EXPECT_THAT(Run({"inject", "latency", "--delay", "50"}).err,
              HasSubstr("--delay: found \"50\"; allowed: a time with its unit, such as 50s, 50ms"));
  EXPECT_THAT(Run({"inject", "cpu", "--percent", "50", "-t", "role"}).err,
              HasSubstr("--target: found \"role\"; allowed: a label and its value"));
  EXPECT_THAT(Run({"inject", "cpu", "--percent", "50", "-t", "a=b", "--duration", "20m",
                   "--environment", "x"})
                  .err,
              HasSubstr("--duration: found a method of 20m to the end of its last fault; allowed: "
                        "15m; raise --longest"));
}

TEST_F(InjectTest, NamesTheOptionsThatAreMissing) {
  EXPECT_EQ(Run({"inject", "process_kill", "-t", "role=cache", "--print"}).err,
            "--environment: missing; needed with --print, which asks no controller, such as "
            "staging\n"
            "process_kill.processes: missing; needed: at least one of --name, --command-line, "
            "--pid, --listening-port, --cgroup or --systemd-unit\n");
}

}  // namespace
}  // namespace firedrill::cli
