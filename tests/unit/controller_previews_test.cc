// SPDX-License-Identifier: Apache-2.0
// Previews as the controller keeps them, with agents that are channels and a clock that moves when
// told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "controller/service/previews.h"
#include "proto/support/time.h"
#include "proto/support/version.h"

namespace firedrill::controller {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::HasSubstr;

class Channel : public AgentChannel {
 public:
  bool Send(const v1::ConnectResponse& message) override {
    absl::MutexLock lock(&mutex_);
    sent_.push_back(message);
    return true;
  }
  void Close(const absl::Status&) override {}
  std::vector<v1::ConnectResponse> Sent() {
    absl::MutexLock lock(&mutex_);
    return sent_;
  }
  int Count(bool (v1::ConnectResponse::*has)() const) {
    int count = 0;
    for (const v1::ConnectResponse& message : Sent()) count += (message.*has)() ? 1 : 0;
    return count;
  }

 private:
  absl::Mutex mutex_;
  std::vector<v1::ConnectResponse> sent_ ABSL_GUARDED_BY(mutex_);
};

class Listener : public PreviewListener {
 public:
  bool OnCounts(const v1::PreviewResponse& response) override {
    absl::MutexLock lock(&mutex_);
    responses_.push_back(response);
    return listens_;
  }
  void OnEnd(const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    end_ = status;
  }
  // Waits for real: the previews' own thread tells.
  std::vector<v1::PreviewResponse> WaitFor(std::size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return responses_.size() >= count;
    };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20)));
    return responses_;
  }
  absl::Status WaitForEnd() {
    absl::MutexLock lock(&mutex_);
    const auto ended = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&ended), absl::Seconds(20))) {
      return absl::DeadlineExceededError("no end");
    }
    return *end_;
  }
  void StopListening() {
    absl::MutexLock lock(&mutex_);
    listens_ = false;
  }

 private:
  absl::Mutex mutex_;
  std::vector<v1::PreviewResponse> responses_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool listens_ ABSL_GUARDED_BY(mutex_) = true;
};

// Moves when told; then it waits until the previews' thread has seen where it stands.
class WatchedClock : public Clock {
 public:
  SteadyTime Steady() const override {
    absl::MutexLock lock(&mutex_);
    ++reads_;
    return clock_.Steady();
  }
  SystemTime System() const override {
    absl::MutexLock lock(&mutex_);
    return clock_.System();
  }
  void Advance(Nanoseconds by) {
    absl::MutexLock lock(&mutex_);
    clock_.Advance(by);
    // It reads once a round: with the second time it has done what it wanted at the first.
    const int before = reads_;
    const auto seen = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return reads_ >= before + 2; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&seen), absl::Seconds(20)));
  }

 private:
  mutable absl::Mutex mutex_;
  mutable int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  FakeClock clock_ ABSL_GUARDED_BY(mutex_);
};

class PreviewsTest : public ::testing::Test {
 protected:
  std::shared_ptr<Channel> Connect(const std::string& id, bool old = false) {
    auto channel = std::make_shared<Channel>();
    v1::Hello hello;
    hello.set_agent_id(id);
    hello.set_software_version("0.1.0");
    *hello.mutable_version() = OwnProtocolVersion();
    if (old) hello.mutable_version()->set_minor(0);
    (*hello.mutable_labels())["role"] = "cache";
    EXPECT_TRUE(registry_.Connect(hello, id, channel).ok());
    return channel;
  }
  static v1::PreviewRequest Loss() {
    v1::PreviewRequest request;
    request.mutable_fault()->mutable_packet_loss()->set_percent(10);
    (*request.mutable_target()->mutable_labels())["role"] = "cache";
    request.mutable_target()->mutable_pick()->set_all(true);
    return request;
  }
  static v1::Apply ApplyOf(Channel& channel) {
    for (const v1::ConnectResponse& message : channel.Sent()) {
      if (message.has_apply()) return message.apply();
    }
    return {};
  }
  static v1::InjectionUpdate Update(const v1::Apply& apply, v1::InjectionState state,
                                    double packets) {
    v1::InjectionUpdate update;
    update.set_injection_id(apply.injection_id());
    update.set_run_id(apply.run_id());
    update.set_state(state);
    (*update.mutable_counters())["packets_matched"] = packets;
    if (state == v1::INJECTION_STATE_ENDED) {
      update.set_end_reason(v1::END_REASON_DURATION);
      update.set_end_proven(true);
    }
    return update;
  }
  template <typename Condition>
  void AdvanceUntil(Nanoseconds step, const Condition& done) {
    for (int i = 0; i < 100 && !done(); ++i) clock_.Advance(step);
    EXPECT_TRUE(done());
  }

  WatchedClock clock_;
  AgentRegistry registry_{clock_};
  Previews previews_{registry_, clock_, seconds(15)};
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
};

TEST_F(PreviewsTest, CountsOnEveryChosenHostUntilTheEnd) {
  const auto one = Connect("cache1");
  const auto two = Connect("cache2");
  ASSERT_TRUE(previews_.Begin(Loss(), listener_).ok());
  const v1::Apply apply = ApplyOf(*one);
  EXPECT_TRUE(apply.preview());
  EXPECT_EQ(FromProto(apply.duration()), seconds(5)) << "unless told otherwise";
  EXPECT_EQ(FromProto(apply.lease()), seconds(15));
  EXPECT_NE(apply.injection_id(), ApplyOf(*two).injection_id());
  EXPECT_TRUE(previews_.Take("cache1", Update(apply, v1::INJECTION_STATE_ACTIVE, 7)));
  EXPECT_FALSE(previews_.Take("cache2", Update(apply, v1::INJECTION_STATE_ACTIVE, 9)))
      << "a host speaks for itself alone";
  clock_.Advance(seconds(1));
  const auto counts = listener_->WaitFor(2);
  EXPECT_EQ(counts[0].host(), "cache1");
  EXPECT_EQ(counts[0].counters().at("packets_matched"), 7);
  EXPECT_EQ(counts[1].counters_size(), 0);
  previews_.Take("cache1", Update(apply, v1::INJECTION_STATE_ENDED, 12));
  v1::InjectionUpdate failed = Update(ApplyOf(*two), v1::INJECTION_STATE_FAILED, 0);
  failed.set_error("this kernel lacks something");
  previews_.Take("cache2", failed);
  EXPECT_TRUE(listener_->WaitForEnd().ok());
  const auto all = listener_->WaitFor(4);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_TRUE(all[2].done());
  EXPECT_EQ(all[2].counters().at("packets_matched"), 12);
  EXPECT_TRUE(all[3].done());
  EXPECT_EQ(all[3].error(), "this kernel lacks something");
  EXPECT_FALSE(previews_.Take("cache1", Update(apply, v1::INJECTION_STATE_ENDED, 12)))
      << "over and forgotten";
}

TEST_F(PreviewsTest, RenewsTheLeaseAndGivesUpOnAnAgentThatDoesNotEnd) {
  const auto one = Connect("cache1");
  v1::PreviewRequest request = Loss();
  *request.mutable_duration() = ToProto(seconds(30));
  ASSERT_TRUE(previews_.Begin(request, listener_).ok());
  AdvanceUntil(seconds(2), [&] { return one->Count(&v1::ConnectResponse::has_renew) >= 2; });
  EXPECT_EQ(one->Count(&v1::ConnectResponse::has_end), 0);
  AdvanceUntil(seconds(5), [&] { return one->Count(&v1::ConnectResponse::has_end) == 1; });
  EXPECT_TRUE(listener_->WaitForEnd().ok());
  EXPECT_EQ(listener_->WaitFor(1).back().error(), "its agent did not report the end");
}

TEST_F(PreviewsTest, EndsOnEveryHostWhenCancelledOrNobodyListens) {
  const auto one = Connect("cache1");
  const auto id = previews_.Begin(Loss(), listener_);
  ASSERT_TRUE(id.ok());
  previews_.Cancel(*id);
  EXPECT_TRUE(absl::IsCancelled(listener_->WaitForEnd()));
  EXPECT_EQ(one->Count(&v1::ConnectResponse::has_end), 1);

  listener_ = std::make_shared<Listener>();
  listener_->StopListening();
  ASSERT_TRUE(previews_.Begin(Loss(), listener_).ok());
  clock_.Advance(seconds(1));
  EXPECT_TRUE(absl::IsCancelled(listener_->WaitForEnd()));
  EXPECT_EQ(one->Count(&v1::ConnectResponse::has_end), 2);
}

TEST_F(PreviewsTest, AHostThatGoesAwayIsToldAndTheOthersGoOn) {
  const auto one = Connect("cache1");
  const auto two = Connect("cache2");
  ASSERT_TRUE(previews_.Begin(Loss(), listener_).ok());
  previews_.AgentGone("cache1");
  const auto counts = listener_->WaitFor(1);
  EXPECT_EQ(counts[0].host(), "cache1");
  EXPECT_EQ(counts[0].error(), "its agent is gone");
  previews_.Take("cache2", Update(ApplyOf(*two), v1::INJECTION_STATE_ENDED, 3));
  EXPECT_TRUE(listener_->WaitForEnd().ok());
}

TEST_F(PreviewsTest, SaysWhyItCannotBegin) {
  const auto begin = [this](const v1::PreviewRequest& request) {
    return std::string(previews_.Begin(request, listener_).status().message());
  };
  EXPECT_THAT(begin(Loss()), HasSubstr("no connected agent qualifies; no agent is connected"));
  // An agent that does not know the word would inject.
  const auto old = Connect("cache0", /*old=*/true);
  EXPECT_THAT(begin(Loss()), HasSubstr("cache0 (version 0.1.0) knows no previews: upgrade it"));
  EXPECT_TRUE(old->Sent().empty());
  Connect("cache1");
  v1::PreviewRequest request = Loss();
  request.mutable_target()->clear_labels();
  EXPECT_THAT(begin(request), HasSubstr("target: chooses no host"));
  request = Loss();
  *request.mutable_duration() = ToProto(minutes(6));
  EXPECT_THAT(begin(request), HasSubstr("duration: found 6m; allowed: over 0s, at most 5m"));
  request = Loss();
  request.mutable_fault()->mutable_packet_loss()->set_percent(200);
  EXPECT_THAT(begin(request), HasSubstr("fault.packet_loss.percent: found 200 %"));
  request.mutable_fault()->mutable_partition()->set_from("databases");
  EXPECT_THAT(begin(request), HasSubstr("fault.partition.addresses: missing"));
  for (int i = 0; i < 16; ++i) EXPECT_EQ(begin(Loss()), "");
  EXPECT_THAT(begin(Loss()), HasSubstr("16 previews are under way"));
}

}  // namespace
}  // namespace firedrill::controller
