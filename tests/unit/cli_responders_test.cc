// SPDX-License-Identifier: Apache-2.0
// `firedrill ack` and `firedrill mitigated` against a controller that a test plays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nlohmann/json.hpp"
#include "tests/unit/cli_command_fixture.h"

namespace firedrill::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RespondersCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    fake_.Update("r1", [](v1::Run& run) {
      run.set_state(v1::RUN_STATE_INJECTING);
      *run.add_marks() =
          test::MakeMark(v1::MARK_KIND_FIRST_IMPACT, 1, v1::MARK_SOURCE_KERNEL, "injection1");
    });
  }
};

TEST_F(RespondersCommandTest, AckTellsWhatWasNotedAndHowLongAfterTheImpact) {
  const Result result = Ask({"ack", "--note", "looking"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "r1: acknowledged 30s after the first impact\n");
  ASSERT_EQ(fake_.words().size(), 1U);
  const test::FakeController::Word word = fake_.words()[0];
  EXPECT_EQ(word.kind, v1::MARK_KIND_ACKNOWLEDGED);
  EXPECT_EQ(word.run_id, "");  // the one that is under way
  EXPECT_EQ(word.note, "looking");
}

TEST_F(RespondersCommandTest, MitigatedNamesTheRunWhatWasDoneAndByWhom) {
  const Result result = Ask({"mitigated", "r1", "--note", "moved the traffic", "--by", "bob"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("r1: mitigated 30s after the first impact"));
  ASSERT_EQ(fake_.words().size(), 1U);
  const test::FakeController::Word word = fake_.words()[0];
  EXPECT_EQ(word.kind, v1::MARK_KIND_MITIGATED);
  EXPECT_EQ(word.run_id, "r1");
  EXPECT_EQ(word.note, "moved the traffic");
  EXPECT_EQ(word.by, "bob");
}

TEST_F(RespondersCommandTest, AMitigationWithoutANoteNeverReachesTheController) {
  const Result result = Ask({"mitigated", "r1"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("mitigated needs --note TEXT: what was done"));
  EXPECT_THAT(fake_.words(), IsEmpty());
}

TEST_F(RespondersCommandTest, WhatTheControllerRefusesIsSaidInItsWords) {
  fake_.refuse = absl::FailedPreconditionError("no fault of run r1 has had an impact yet");
  const Result result = Ask({"ack"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, HasSubstr("firedrill: no fault of run r1 has had an impact yet"));
  EXPECT_THAT(result.out, IsEmpty());
}

TEST_F(RespondersCommandTest, ForProgramsTheWholeRunIsPrinted) {
  const auto json = nlohmann::json::parse(Ask({"ack", "-o", "json"}).out);
  EXPECT_EQ(json["id"], "r1");
  EXPECT_EQ(json["marks"][1]["kind"], "MARK_KIND_ACKNOWLEDGED");
}

}  // namespace
}  // namespace firedrill::cli
