// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "controller/options.h"

namespace firedrill::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Options> Parse(std::vector<const char*> words) {
  words.insert(words.begin(), "firedrill-controller");
  return ParseOptions(static_cast<int>(words.size()), words.data());
}
std::string ErrorOf(const std::vector<const char*>& words) {
  const absl::StatusOr<Options> options = Parse(words);
  EXPECT_FALSE(options.ok());
  return std::string(options.status().message());
}

TEST(OptionsTest, HasSafeDefaults) {
  const absl::StatusOr<Options> options = Parse({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_FALSE(options->credentials.insecure);
  EXPECT_THAT(options->listen, ElementsAre("0.0.0.0:7443"));
  EXPECT_EQ(options->http_listen, "127.0.0.1:7480") << "figures are not shown to the network";
  EXPECT_EQ(options->lease, std::chrono::seconds(15));
  EXPECT_FALSE(options->prometheus.has_value());
  EXPECT_FALSE(options->grafana.has_value());
  EXPECT_FALSE(options->retain_age.has_value());
  EXPECT_FALSE(options->retain_runs.has_value());
}

TEST(OptionsTest, ReadsTheFileAndLetsFlagsWin) {
  const std::string path = ::testing::TempDir() + "firedrill-controller.conf";
  std::ofstream(path) << "prometheus = http://prom:9090\nlease = 30s\nretain-runs = 7\n";
  const absl::StatusOr<Options> options = Parse({"--config", path.c_str(), "--lease", "20s",
                                                 "--listen", "[::1]:1", "--listen", "127.0.0.1:2"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->prometheus->url, "http://prom:9090");
  EXPECT_EQ(options->lease, std::chrono::seconds(20));
  EXPECT_EQ(options->retain_runs, 7U);
  EXPECT_THAT(options->listen, ElementsAre("[::1]:1", "127.0.0.1:2"));
}

TEST(OptionsTest, SaysWhatIsWrongAndWhatIsAllowed) {
  EXPECT_THAT(ErrorOf({"--leese", "3s"}), HasSubstr("leese"));
  EXPECT_THAT(ErrorOf({"extra"}), HasSubstr("positional"));
  EXPECT_THAT(ErrorOf({"--lease", "1s"}), HasSubstr("--lease: found \"1s\"; allowed: 3s to 5m"));
  EXPECT_THAT(ErrorOf({"--lease", "soon"}), HasSubstr("--lease: found \"soon\""));
  EXPECT_THAT(ErrorOf({"--listen", "7443"}), HasSubstr("--listen: found \"7443\""));
  EXPECT_THAT(ErrorOf({"--listen", "::1:7443"}), HasSubstr("[::1]:7443"));
  EXPECT_THAT(ErrorOf({"--http-listen", "x:99999"}), HasSubstr("--http-listen"));
  EXPECT_THAT(ErrorOf({"--grafana-url", "http://grafana:3000"}), HasSubstr("--grafana-token-file"));
  EXPECT_THAT(ErrorOf({"--retain-runs", "-1"}), HasSubstr("allowed: a number, 1 or more"));
  EXPECT_THAT(ErrorOf({"--retain-age", "5m"}), HasSubstr("--retain-age: found \"5m\""));
  EXPECT_THAT(ErrorOf({"--log-level", "loud"}), HasSubstr("debug, info, warning or error"));
  EXPECT_THAT(ErrorOf({"--config", "/nowhere/at/all"}), HasSubstr("cannot read /nowhere/at/all"));
  const std::string path = ::testing::TempDir() + "firedrill-controller-bad.conf";
  std::ofstream(path) << "leese = 3s\n";
  EXPECT_THAT(ErrorOf({"--config", path.c_str()}), HasSubstr(path));
}

TEST(OptionsTest, HelpShowsExamplesAndEveryFlag) {
  EXPECT_TRUE(Parse({"--help"})->help);
  EXPECT_TRUE(Parse({"--version"})->version);
  for (const char* word : {"Examples", "--insecure", "--prometheus-bearer-file", "--retain-age",
                           "--grafana-token-file grafana.token", "--pager-secret-file pagerduty"}) {
    EXPECT_THAT(HelpText(), HasSubstr(word));
  }
}

TEST(OptionsTest, SplitsAddresses) {
  EXPECT_EQ(SplitAddress("[2001:db8::1]:7443", "listen")->host, "2001:db8::1");
  EXPECT_EQ(SplitAddress("localhost:0", "listen")->port, 0);
  EXPECT_FALSE(SplitAddress("localhost:", "listen").ok());
  EXPECT_FALSE(SplitAddress(":7443", "listen").ok());
  EXPECT_FALSE(SplitAddress("localhost:7443x", "listen").ok());
}

}  // namespace
}  // namespace firedrill::controller
