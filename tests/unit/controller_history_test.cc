// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/notification.h"
#include "controller/service/background.h"
#include "controller/service/trend_reader.h"
#include "controller/store/sqlite_store.h"
#include "proto/support/time.h"
#include "tests/lib/process.h"

namespace firedrill::controller {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

const SystemTime kBegin{seconds(1'800'000'000)};

class TrendReaderTest : public testing::Test {
 protected:
  // One an hour, that was detected after `number` seconds.
  void Save(int number, bool finished = true, bool cut_short = false) {
    v1::Run run;
    run.set_id(fmt::format("run{:04}", number));
    run.set_state(finished ? v1::RUN_STATE_FINISHED : v1::RUN_STATE_INJECTING);
    *run.mutable_created_at() = ToProto(kBegin + hours(number));
    v1::Experiment& experiment = *run.mutable_experiment();
    experiment.set_name(number % 2 == 0 ? "even" : "odd");
    v1::Fault& fault = *experiment.add_method()->mutable_fault();
    if (number % 3 == 0) {
      fault.mutable_cpu();
    } else {
      fault.mutable_packet_loss();
    }
    run.mutable_evidence()->set_cut_short(cut_short);
    run.set_detection(v1::DETECTION_OUTCOME_DETECTED);
    *run.mutable_time_to_detect()->mutable_value() = ToProto(seconds(number));
    ASSERT_TRUE(store_->SaveRun(run, {}).ok());
  }

  v1::GetTrendResponse Read(const v1::GetTrendRequest& request) {
    absl::StatusOr<v1::GetTrendResponse> trend = ReadTrend(*store_, request);
    EXPECT_TRUE(trend.ok()) << trend.status();
    return trend.ok() ? *std::move(trend) : v1::GetTrendResponse();
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<Store> store_ = OpenSqliteStore(folder_.path()).value();
};

TEST_F(TrendReaderTest, ReadsEveryFinishedRunOverManyPages) {
  for (int i = 1; i <= 401; ++i) Save(i);
  Save(402, /*finished=*/false);
  const v1::GetTrendResponse trend = Read({});
  ASSERT_EQ(trend.points_size(), 401);
  EXPECT_EQ(trend.points(0).run_id(), "run0001");  // the oldest first
  EXPECT_EQ(trend.points(400).run_id(), "run0401");
  EXPECT_EQ(trend.detection().events(), 401U);
  EXPECT_EQ(FromProto(trend.detection().quantiles(0).value()), seconds(201));
}

TEST_F(TrendReaderTest, ReadsWhatWasAskedFor) {
  for (int i = 1; i <= 12; ++i) Save(i);
  v1::GetTrendRequest request;
  request.set_experiment_name("even");
  EXPECT_EQ(Read(request).points_size(), 6);
  request.set_fault("cpu");
  EXPECT_EQ(Read(request).points_size(), 2);  // 6 and 12
  request.clear_experiment_name();
  EXPECT_EQ(Read(request).points_size(), 4);
  request.clear_fault();
  *request.mutable_since() = ToProto(kBegin + hours(3));
  *request.mutable_until() = ToProto(kBegin + hours(9));
  const v1::GetTrendResponse between = Read(request);
  ASSERT_EQ(between.points_size(), 6);  // the third counts in, the ninth does not
  EXPECT_EQ(between.points(0).run_id(), "run0003");
  EXPECT_EQ(between.points(5).run_id(), "run0008");
  request.set_limit(2);
  const v1::GetTrendResponse newest = Read(request);
  ASSERT_EQ(newest.points_size(), 2);
  EXPECT_EQ(newest.points(0).run_id(), "run0007");
}

TEST_F(TrendReaderTest, KnowsWhichRunsWereCutShort) {
  Save(1);
  Save(2, /*finished=*/true, /*cut_short=*/true);
  const v1::GetTrendResponse trend = Read({});
  ASSERT_EQ(trend.points_size(), 2);
  EXPECT_EQ(trend.points(0).aborted() + trend.points(1).aborted(), 1);
  EXPECT_EQ(trend.detection().runs(), 1U);
}

TEST_F(TrendReaderTest, RefusesWhatIsNoKindOrTooMuch) {
  v1::GetTrendRequest request;
  request.set_fault("packet_los");
  EXPECT_THAT(ReadTrend(*store_, request).status().ToString(),
              HasSubstr("did you mean packet_loss?"));
  request.clear_fault();
  request.set_limit(10'001);
  EXPECT_EQ(ReadTrend(*store_, request).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BackgroundWorkTest, DoesWhatWaitsAndRefusesMore) {
  std::atomic<int> done{0};
  {
    absl::Notification begun, go;
    BackgroundWork work(1, 2);
    ASSERT_TRUE(work.Add([&] {
                      begun.Notify();
                      go.WaitForNotification();
                      ++done;
                    })
                    .ok());
    begun.WaitForNotification();
    EXPECT_TRUE(work.Add([&] { ++done; }).ok());
    EXPECT_TRUE(work.Add([&] { ++done; }).ok());
    EXPECT_EQ(work.Add([&] { ++done; }).code(), absl::StatusCode::kResourceExhausted);
    go.Notify();
  }
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace firedrill::controller
