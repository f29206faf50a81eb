// SPDX-License-Identifier: Apache-2.0
// A fault that restarts the host: its end is told by the agent of the next boot.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/support/time.h"
#include "tests/unit/supervisor_fixture.h"

namespace firedrill::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::HasSubstr;

class RestartTest : public SupervisorTest {
 protected:
  // A worker has asked for the restart of the host, and said so.
  void Begin() {
    SupervisorOptions options;
    options.allowed = {"reboot"};
    Restart(options);
    v1::Apply apply;
    apply.set_injection_id("a");
    apply.set_run_id("run");
    apply.mutable_fault()->mutable_reboot();
    supervisor_->Apply(apply);
    Pass(milliseconds(100));
    asked_at_ = clock_.System();
    ASSERT_TRUE(journal_->Record("reboot", {{kInjectionOfRecord, "a"}}).ok());
    wire::FromWorker seen;
    seen.mutable_observed()->set_id("a");
    seen.mutable_observed()->set_first_impact_ns(asked_at_.time_since_epoch().count());
    spawner_.workers[0]->says.push_back(seen);
    Pass(milliseconds(100));
    ASSERT_EQ(last_["a"].state(), v1::INJECTION_STATE_ACTIVE) << last_["a"].ShortDebugString();
  }
  SystemTime asked_at_;
};

TEST_F(RestartTest, EndsWithTheNextBootAndThisOneDoesNotWaitForItself) {
  Begin();
  supervisor_->Drain();
  Pass(minutes(1));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDING) << "the host has not restarted";
  EXPECT_TRUE(supervisor_->idle()) << "the agent's own end is part of the restart";
  journal_ = *Journal::Open(folder_.path() + "/journal", "the next boot", clock_);
  Restart();
  EXPECT_TRUE(supervisor_->Recover().ok());
  const auto known = supervisor_->Known();
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_EQ(known[0].end_reason(), v1::END_REASON_COMPLETED);
  EXPECT_TRUE(known[0].end_proven());
  EXPECT_EQ(known[0].error(), "");
  EXPECT_EQ(FromProto(known[0].first_impact_at()), asked_at_);
  ASSERT_EQ(known[0].events_size(), 1);
  EXPECT_EQ(known[0].events(0).name(), "rebooted");
  EXPECT_TRUE(journal_->Read()->records.empty());
}

TEST_F(RestartTest, OneThatNeverComesIsNotProven) {
  Begin();
  supervisor_->End("a", v1::END_REASON_REQUESTED);
  Pass(minutes(9));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDING);
  Pass(minutes(2));
  EXPECT_EQ(last_["a"].state(), v1::INJECTION_STATE_ENDED);
  EXPECT_FALSE(last_["a"].end_proven());
  EXPECT_THAT(last_["a"].error(), HasSubstr("'reboot' is still to be undone"));
}

TEST_F(RestartTest, AnotherRestartOfTheHostIsNotTakenForIt) {
  Begin();
  ASSERT_TRUE(journal_->Forget(journal_->Read()->records.back().id).ok());
  journal_ = *Journal::Open(folder_.path() + "/journal", "the next boot", clock_);
  Restart();
  EXPECT_TRUE(supervisor_->Recover().ok());
  EXPECT_EQ(supervisor_->Known()[0].end_reason(), v1::END_REASON_WORKER_DIED);
}

}  // namespace
}  // namespace firedrill::agent
