// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/route_watch.h"

#include <algorithm>
#include <utility>

namespace firedrill::controller {
namespace {

constexpr Nanoseconds kEvery = std::chrono::minutes(1);
constexpr Nanoseconds kSoon = std::chrono::seconds(5);  // where it is not known yet
constexpr int kSureOfNone = 3;  // A Prometheus finds its Alertmanagers within some seconds.
constexpr Nanoseconds kDeadline = std::chrono::seconds(1);  // of each of the two questions
constexpr std::size_t kAnswerBytes = 4u << 20;

}  // namespace

RouteWatch::~RouteWatch() {
  std::thread thread;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

void RouteWatch::Refresh(const FetchOptions& prometheus) {
  absl::MutexLock lock(&mutex_);
  const SteadyTime now = clock_.Steady();
  if (stopping_ || (asked_at_ && now - *asked_at_ < (soon_ ? kSoon : kEvery))) return;
  asked_at_ = now;
  wanted_ = prometheus;
  if (!thread_.joinable()) thread_ = std::thread([this] { Loop(); });
}

std::shared_ptr<const std::vector<AlertRoutes>> RouteWatch::Known() const {
  absl::MutexLock lock(&mutex_);
  return known_;
}

void RouteWatch::Loop() {
  Fetcher fetcher(clock_);
  while (true) {
    FetchOptions prometheus;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &RouteWatch::Woken));
      if (stopping_) return;
      prometheus = *std::move(wanted_);
      wanted_.reset();
    }
    auto learnt = Learn(fetcher, prometheus);
    absl::MutexLock lock(&mutex_);
    if (learnt != nullptr) {
      none_told_ = learnt->empty() ? std::min(none_told_ + 1, kSureOfNone) : 0;
      const bool sure = none_told_ == 0 || none_told_ == kSureOfNone;
      if (known_ == nullptr || sure) known_ = std::move(learnt);
    }
    soon_ = known_ == nullptr || (none_told_ > 0 && none_told_ < kSureOfNone);
  }
}

std::shared_ptr<const std::vector<AlertRoutes>> RouteWatch::Learn(
    Fetcher& fetcher, const FetchOptions& prometheus) const {
  const auto get = [&](const FetchOptions& options, const std::string& path,
                       SteadyTime deadline) -> absl::StatusOr<std::string> {
    absl::StatusOr<FetchAnswer> answer = fetcher.Fetch(options, {{path, ""}}, deadline)[0];
    if (!answer.ok()) return answer.status();
    if (answer->http_status != 200) return HttpStatusError(answer->http_status, answer->body);
    return std::move(answer->body);
  };
  const auto told = get(prometheus, "/api/v1/alertmanagers", clock_.Steady() + kDeadline);
  if (!told.ok()) return nullptr;
  const auto urls = ParseAlertmanagers(*told);
  if (!urls.ok()) return nullptr;
  std::vector<AlertRoutes> routes;
  for (const std::string& url : *urls) {
    if (!ValidateHttpUrl(url).ok()) continue;
    FetchOptions options;
    options.url = url;
    options.ca_file = prometheus.ca_file;
    options.answer_bytes = kAnswerBytes;
    options.retries = 0;
    const Nanoseconds share = kDeadline / static_cast<int>(urls->size());
    const auto status = get(options, "/api/v2/status", clock_.Steady() + share);
    if (!status.ok()) continue;
    auto parsed = ParseAlertmanagerStatus(*status);
    if (parsed.ok()) routes.push_back(*std::move(parsed));
  }
  if (routes.empty() && !urls->empty()) return nullptr;
  return std::make_shared<const std::vector<AlertRoutes>>(std::move(routes));
}

}  // namespace firedrill::controller
