// SPDX-License-Identifier: Apache-2.0
#include "controller/experiment/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include "controller/experiment/defaults.h"
#include "controller/experiment/rules.h"
#include "controller/experiment/steps.h"
#include "controller/experiment/writer.h"
#include "google/protobuf/util/message_differencer.h"
#include "proto/support/text.h"

namespace firedrill::controller {
namespace {

namespace fs = std::filesystem;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

fs::path SourceDir() {
  const char* directory = std::getenv("FIREDRILL_SOURCE_DIR");
  return directory == nullptr ? fs::current_path() : fs::path(directory);
}

std::string Slurp(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<fs::path> Files(const fs::path& directory) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string Report(const fs::path& path) {
  const Reading reading = ReadExperiment(Slurp(path));
  std::string report;
  for (const Finding& finding : reading.findings) {
    report += ToString(finding, path.filename().string()) + "\n";
  }
  return report;
}

// Each reader_cases/X.yaml has its exact report beside it, in X.txt; an empty one for a good file.
TEST(ReaderTest, ReportsEveryMistakeWithPlaceAndAdvice) {
  const std::vector<fs::path> files = Files(SourceDir() / "tests/unit/reader_cases");
  ASSERT_GE(files.size(), 14U);
  for (const fs::path& path : files) {
    fs::path expected = path;
    expected.replace_extension(".txt");
    ASSERT_TRUE(fs::exists(expected)) << path << " reports:\n" << Report(path);
    EXPECT_EQ(Report(path), Slurp(expected)) << path;
  }
}

TEST(ReaderTest, ReadsEveryFieldOfTheDesignsExample) {
  const Reading reading = ReadExperiment(Slurp(SourceDir() / "tests/unit/reader_cases/good.yaml"));
  ASSERT_TRUE(reading.findings.empty());
  const v1::Experiment& experiment = reading.experiment;
  EXPECT_EQ(experiment.name(), "cache-loss");
  EXPECT_EQ(experiment.targets().at("cache").labels().at("role"), "cache");
  EXPECT_EQ(experiment.targets().at("cache").pick().count(), 1U);
  EXPECT_EQ(experiment.steady_state(0).expect().operator_(), v1::OPERATOR_GREATER_OR_EQUAL);
  EXPECT_EQ(experiment.steady_state(0).degraded().value(), 0.95);
  EXPECT_EQ(experiment.detection(0).expect(), v1::EXPECTATION_FIRES);
  EXPECT_EQ(experiment.method(0).duration().seconds(), 60);
  const v1::PacketLoss& loss = experiment.method(0).fault().packet_loss();
  EXPECT_EQ(loss.percent(), 33);
  EXPECT_EQ(loss.traffic().protocol(), v1::PROTOCOL_TCP);
  EXPECT_EQ(loss.traffic().ports(0), "6379");
  EXPECT_EQ(experiment.recover_within().seconds(), 120);
}

TEST(ReaderTest, ReadsBackWhatTheWriterWrites) {
  const std::string text = R"(
name: "007"
hypothesis: "yes: it's # odd"
environment: staging
targets:
  web: {labels: {role: "true", zone: "~"}, pick: 50%}
  cache: {hosts: [a, "1e3"], pick: all}
steady_state: [{name: ok, query: 'up{a="b"} == 1', expect: "!= 0", hold: 1500ms}]
detection: [{alert: A, expect: if_breached}]
method:
  - {name: one, target: web, duration: 1m30s, fault: {latency: {delay: 1.234567ms, jitter: 1us}}}
  - {name: two, target: cache, at: 30s, fault: {process_kill: {processes: {command_line: "a.*b"}, signal: TERM, pick: 2, grace: 5s}}}
  - {name: three, target: web, after: [one, two], duration: 5s, fault: {cpu: {percent: 12.5, mode: fill, cores: [0, 3]}}}
schedule: {cron: "0 10 * * tue", time_zone: Europe/Berlin, missed: run_once}
longest: 1h
)";
  const Reading first = ReadExperiment(text);
  ASSERT_TRUE(first.findings.empty()) << ToString(first.findings[0], "text");
  const std::string written = WriteExperiment(first.experiment);
  const Reading second = ReadExperiment(written);
  ASSERT_TRUE(second.findings.empty()) << ToString(second.findings[0], "text") << written;
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(first.experiment, second.experiment))
      << written;
  EXPECT_EQ(first.experiment.name(), "007");
}

// Every parameter of every kind, by file, message, file and message again.
TEST(ReaderTest, ReadsBackEveryFaultThatTheWriterWrites) {
  const Reading first =
      ReadExperiment(Slurp(SourceDir() / "tests/unit/reader_cases/every_fault.yaml"));
  ASSERT_TRUE(first.findings.empty()) << ToString(first.findings[0], "every_fault.yaml");
  const std::string written = WriteExperiment(first.experiment);
  const Reading second = ReadExperiment(written);
  ASSERT_TRUE(second.findings.empty()) << ToString(second.findings[0], "text") << written;
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(first.experiment, second.experiment))
      << written;
  std::set<int> kinds;
  std::set<std::string> unset;
  for (int i = 0; i < v1::Fault::descriptor()->field_count(); ++i) {
    const auto* type = v1::Fault::descriptor()->field(i)->message_type();
    for (int j = 0; j < type->field_count(); ++j) unset.insert(type->field(j)->full_name());
  }
  for (const v1::Step& step : first.experiment.method()) {
    kinds.insert(step.fault().kind_case());
    const auto* kind = v1::Fault::descriptor()->FindFieldByNumber(step.fault().kind_case());
    const auto& message = step.fault().GetReflection()->GetMessage(step.fault(), kind);
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const auto* field : fields) unset.erase(field->full_name());
  }
  // All but the one that stands beside no other.
  EXPECT_EQ(kinds.count(v1::Fault::kNone), 0u);
  EXPECT_EQ(kinds.size(), static_cast<std::size_t>(v1::Fault::descriptor()->field_count()) - 1);
  // All but "which packets", which the first step says whole.
  for (const std::string& field : unset) EXPECT_THAT(field, ::testing::EndsWith(".traffic"));
  EXPECT_EQ(first.experiment.method(7).fault().bandwidth().rate(), 1'500'000'000U);
  EXPECT_EQ(first.experiment.method(13).fault().memory().bytes(), 512U << 20);
  EXPECT_TRUE(first.experiment.method(13).fault().memory().has_floor());
  EXPECT_FALSE(first.experiment.method(14).fault().memory().has_ramp());
}

TEST(ReaderTest, BoundsTheSizeOfAFile) {
  const fs::path path = fs::path(::testing::TempDir()) / "firedrill_reader_test.yaml";
  std::ofstream(path) << "name: " << std::string(kLargestFile, 'x');
  const auto read = ReadExperimentFile(path.string());
  fs::remove(path);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("larger than 1 MiB"));
}

TEST(ReaderTest, SaysWhyAFileCannotBeRead) {
  EXPECT_THAT(std::string(ReadExperimentFile("/nonexistent.yaml").status().message()),
              HasSubstr("/nonexistent.yaml: cannot be opened: No such file"));
  EXPECT_THAT(std::string(ReadExperimentFile("/").status().message()),
              HasSubstr("/: cannot be read: Is a directory"));
}

TEST(ReaderTest, SurvivesHostileFiles) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'k'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += std::string(i == 0 ? "" : ",") + "*" + char(c - 1);
    bomb += "]\n";
  }
  const std::string many = "name: [" + std::string(40'000, ',') + "]";
  std::string nodes = "detection: [";
  for (int i = 0; i < 20'000; ++i) nodes += "1,";
  for (const std::string& text :
       {bomb, many, nodes + "]", std::string("\0\xff\xfe", 3), std::string(100'000, '['),
        std::string(100'000, '{'), std::string("? [a]\n: b\n"), std::string("!!binary x"),
        std::string("%YAML 9.9\n---\na"), std::string("<<: {name: x}\n"),
        std::string("- a\n- b")}) {
    EXPECT_FALSE(ReadExperiment(text).findings.empty()) << text.substr(0, 40);
  }
}

TEST(ReaderTest, EveryReadyExperimentIsGood) {
  const std::vector<fs::path> files = Files(SourceDir() / "experiments");
  ASSERT_GE(files.size(), 10U);
  for (const fs::path& path : files) EXPECT_EQ(Report(path), "") << path;
}

v1::Experiment Read(const std::string& method) {
  Reading reading = ReadExperiment(
      "name: x\nhypothesis: y\nenvironment: z\ntargets: {t: {labels: {a: b}}}\nmethod:\n" + method);
  EXPECT_TRUE(reading.findings.empty()) << ToString(reading.findings[0], "text");
  return reading.experiment;
}

TEST(StepsTest, PutsStepsInOrder) {
  const v1::Experiment experiment = Read(R"(
  - {name: a, target: t, duration: 10s, fault: {cpu: {percent: 50}}}
  - {name: b, target: t, duration: 20s, fault: {cpu: {percent: 50}}}
  - {name: c, target: t, at: 5s, duration: 1s, fault: {cpu: {percent: 50}}}
  - {name: d, target: t, after: [a, c], at: 2s, fault: {process_kill: {processes: {name: x}}}}
  - {name: e, target: t, duration: 7s, fault: {cpu: {percent: 50}}}
)");
  const auto steps = TimeSteps(experiment);
  ASSERT_TRUE(steps.ok()) << steps.status();
  EXPECT_EQ((*steps)[0].earliest, seconds(0));
  EXPECT_EQ((*steps)[1].earliest, seconds(10));  // after the step before it
  EXPECT_EQ((*steps)[2].earliest, seconds(5));   // from the start of the method
  EXPECT_EQ((*steps)[3].earliest, seconds(12));  // the later of its two, and two seconds more
  EXPECT_EQ((*steps)[4].earliest, seconds(12));
  EXPECT_EQ(MethodLength(*steps), seconds(30));
}

TEST(DefaultsTest, AreWhatTheSchemaSays) {
  EXPECT_EQ(RecoverWithin(v1::Experiment()), minutes(2));
  EXPECT_EQ(Longest(v1::Experiment()), minutes(15));
  EXPECT_EQ(Hold(v1::Indicator()), seconds(10));
  EXPECT_EQ(FormatAmount(Pick(v1::Target())), "1");
}

TEST(RulesTest, ValidatesWhatComesOverTheWireToo) {
  EXPECT_THAT(std::string(ValidateExperiment(v1::Experiment()).message()),
              HasSubstr("hypothesis: missing"));
  v1::Experiment experiment =
      Read("  - {name: a, target: t, duration: 10s, fault: {cpu: {percent: 50}}}");
  EXPECT_TRUE(ValidateExperiment(experiment).ok());
  experiment.mutable_method(0)->set_target("nobody");
  EXPECT_EQ(std::string(ValidateExperiment(experiment).message()),
            "method[0].target: found the unknown target \"nobody\"; allowed: t");
}

TEST(RulesTest, AnIndicatorCannotBearTheNameOfAnAlertsSamples) {
  v1::Experiment experiment =
      Read("  - {name: a, target: t, duration: 10s, fault: {cpu: {percent: 50}}}");
  v1::Indicator& indicator = *experiment.add_steady_state();
  indicator.set_name("ALERTS/0/1");
  indicator.set_query("up");
  indicator.mutable_expect()->set_operator_(v1::OPERATOR_EQUAL);
  EXPECT_EQ(std::string(ValidateExperiment(experiment).message()),
            "steady_state[0].name: found \"ALERTS/0/1\"; names that begin with ALERTS/ are "
            "Firedrill's own");
  indicator.set_name("ALERTS");
  EXPECT_TRUE(ValidateExperiment(experiment).ok());
}

}  // namespace
}  // namespace firedrill::controller
