// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/config/config.h"
#include "tests/lib/process.h"

namespace firedrill::agent {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

absl::StatusOr<Config> Parse(std::vector<std::string> words) {
  std::vector<const char*> argv = {"firedrill-agent"};
  for (const std::string& word : words) argv.push_back(word.c_str());
  return ParseConfig(static_cast<int>(argv.size()), argv.data());
}

std::string ErrorOf(std::vector<std::string> words) {
  const auto config = Parse(std::move(words));
  EXPECT_FALSE(config.ok());
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(config.status().message());
}

TEST(ConfigTest, ReadsFlags) {
  const auto config = Parse({"--controller",
                             "127.0.0.1:7443",
                             "--controller=[::1]:7443",
                             "--insecure",
                             "--id",
                             "web1",
                             "--label",
                             "role=web",
                             "--label",
                             "zone=a=b",
                             "--environment",
                             "staging",
                             "--state",
                             "/tmp/s",
                             "--max-live-faults",
                             "3",
                             "--lease-cap",
                             "1m30s",
                             "--allow",
                             "process_kill",
                             "--allow-file",
                             "/etc/shop/*.conf",
                             "--allow-file=/srv/a"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->controllers, ElementsAre("127.0.0.1:7443", "[::1]:7443"));
  EXPECT_EQ(config->id, "web1");
  EXPECT_EQ(config->labels.at("zone"), "a=b");
  EXPECT_EQ(config->environment, "staging");
  EXPECT_EQ(config->max_live_faults, 3);
  EXPECT_EQ(config->lease_cap, std::chrono::seconds(90));
  EXPECT_TRUE(config->allowed.contains("process_kill"));
  EXPECT_THAT(config->allowed_files, ElementsAre("/etc/shop/*.conf", "/srv/a"));
}

TEST(ConfigTest, ReadsAFileAndFlagsWin) {
  const test::TemporaryFolder folder;
  const std::string file = folder.Write("agent.conf",
                                        "# the staging fleet\n"
                                        "controller = 127.0.0.1:1\n"
                                        "insecure = true\n"
                                        "label = role=web\n"
                                        "label = zone=a\n"
                                        "environment = staging\n");
  const auto config = Parse({"--config", file, "--environment", "dev"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->environment, "dev");
  EXPECT_EQ(config->labels.size(), 2u);
  EXPECT_TRUE(config->credentials.insecure);
}

TEST(ConfigTest, AFilesMistakeNamesTheFile) {
  const test::TemporaryFolder folder;
  const std::string file = folder.Write("agent.conf", "controler = 127.0.0.1:1\n");
  EXPECT_THAT(ErrorOf({"--config", file}), AllOf(HasSubstr(file), HasSubstr("controler")));
  EXPECT_THAT(ErrorOf({"--config", folder.path() + "/none"}), HasSubstr("cannot read"));
}

TEST(ConfigTest, MistakesSayWhatIsAllowed) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("--controller is missing"));
  EXPECT_THAT(ErrorOf({"--controller", "host"}), HasSubstr("HOST:PORT"));
  EXPECT_THAT(ErrorOf({"--controller", "::1:7443"}), HasSubstr("[::1]:7443"));
  EXPECT_THAT(ErrorOf({"--controller", "h:0"}), HasSubstr("HOST:PORT"));
  EXPECT_THAT(ErrorOf({"--label", "role"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(ErrorOf({"--label", "a=1", "--label", "a=2"}), HasSubstr("once"));
  EXPECT_THAT(ErrorOf({"--id", "a b"}), HasSubstr("letters"));
  EXPECT_THAT(ErrorOf({"--max-live-faults", "0"}), HasSubstr("1 to 1000"));
  EXPECT_THAT(ErrorOf({"--lease-cap", "inf"}), HasSubstr("1s to 1h"));
  EXPECT_THAT(ErrorOf({"--allow", "cpu"}), HasSubstr("process_kill"));
  EXPECT_THAT(ErrorOf({"--allow-file", "/etc/../x"}), HasSubstr("absolute path without"));
  EXPECT_THAT(ErrorOf({"--log-level", "loud"}), HasSubstr("debug"));
  EXPECT_THAT(ErrorOf({"frobnicate"}), HasSubstr("doctor"));
  EXPECT_THAT(ErrorOf({"revert"}), HasSubstr("--all"));
  EXPECT_THAT(ErrorOf({"--no-such"}), HasSubstr("no-such"));
}

TEST(ConfigTest, TalksWithoutTlsOnLoopbackAlone) {
  EXPECT_TRUE(Parse({"--insecure", "--controller", "localhost:7443"}).ok());
  EXPECT_TRUE(Parse({"--insecure", "--controller", "127.9.9.9:7443"}).ok());
  EXPECT_THAT(ErrorOf({"--insecure", "--controller", "192.0.2.1:7443"}), HasSubstr("loopback"));
  EXPECT_THAT(ErrorOf({"--insecure", "--controller", "drill.example.org:7443"}),
              HasSubstr("loopback"));
  EXPECT_THAT(ErrorOf({"--controller", "127.0.0.1:7443"}), HasSubstr("--ca"));
  EXPECT_THAT(ErrorOf({"--insecure", "--ca", "x", "--controller", "127.0.0.1:1"}),
              HasSubstr("exclude each other"));
}

TEST(ConfigTest, CredentialFilesThatAreNoneAreNamed) {
  const test::TemporaryFolder folder;
  const std::string file = folder.Write("ca.pem", "no certificate");
  EXPECT_THAT(ErrorOf({"--controller", "h:1", "--ca", file, "--cert", file, "--key", file}),
              AllOf(HasSubstr(file), HasSubstr("no certificate")));
  EXPECT_THAT(ErrorOf({"--controller", "h:1", "--ca", "/none", "--cert", file, "--key", file}),
              HasSubstr("cannot read /none"));
}

TEST(ConfigTest, CommandsNeedNoController) {
  EXPECT_EQ(Parse({"doctor", "-o", "json"})->command, Command::kDoctor);
  EXPECT_EQ(Parse({"--doctor"})->command, Command::kDoctor);
  EXPECT_EQ(Parse({"revert", "--all"})->command, Command::kRevert);
  EXPECT_EQ(Parse({"--version"})->command, Command::kVersion);
  EXPECT_EQ(Parse({"--help"})->command, Command::kHelp);
}

TEST(ConfigTest, HelpNamesEverySetting) {
  for (const char* flag :
       {"--controller", "--id", "--label", "--environment", "--ca", "--cert", "--key", "--insecure",
        "--state", "--max-live-faults", "--lease-cap", "--allow", "--allow-file", "--config",
        "doctor", "revert --all", "Examples"}) {
    EXPECT_THAT(HelpText(), HasSubstr(flag));
  }
}

}  // namespace
}  // namespace firedrill::agent
