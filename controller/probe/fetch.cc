// SPDX-License-Identifier: Apache-2.0
#include "controller/probe/fetch.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>

namespace firedrill::controller {
namespace {

constexpr long kConnections = 8;  // at a time; Prometheus answers 20 questions at a time
constexpr Nanoseconds kBackoff = std::chrono::milliseconds(100);
constexpr Nanoseconds kLongestWait = std::chrono::milliseconds(500);  // between looks at the clock

void InitialiseOnce() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

long Milliseconds(Nanoseconds duration) {
  return std::max<long>(1, std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

// One request on its way.
struct Fetcher::Transfer {
  std::size_t index = 0;
  std::size_t limit = 0;
  int tries = 0;
  SteadyTime not_before{};
  CURL* easy = nullptr;
  FetchAnswer answer;
  bool too_long = false;
  char error[CURL_ERROR_SIZE] = {};

  static std::size_t Take(char* data, std::size_t size, std::size_t count, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    if (transfer->answer.body.size() + size * count > transfer->limit) {
      transfer->too_long = true;
      return 0;
    }
    transfer->answer.body.append(data, size * count);
    return size * count;
  }
};

// All requests of one Fetch.
class Fetcher::Batch {
 public:
  Batch(CURLM* multi, const Clock& clock, const FetchOptions& options,
        const std::vector<FetchRequest>& requests, SteadyTime deadline)
      : multi_(multi), clock_(clock), options_(options), requests_(requests), deadline_(deadline) {
    json_headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
    if (!options.bearer_token.empty()) {
      const std::string bearer = "Authorization: Bearer " + options.bearer_token;
      headers_ = curl_slist_append(nullptr, bearer.c_str());
      json_headers_ = curl_slist_append(json_headers_, bearer.c_str());
    }
    answers_.assign(requests.size(), absl::DeadlineExceededError(
                                         fmt::format("{} gave no answer in time", options.url)));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      transfers_.push_back(std::make_unique<Transfer>());
      transfers_.back()->index = i;
      transfers_.back()->limit = options.answer_bytes;
    }
  }

  ~Batch() {
    for (auto& transfer : transfers_) Drop(*transfer);
    curl_slist_free_all(headers_);
    curl_slist_free_all(json_headers_);
  }

  std::vector<absl::StatusOr<FetchAnswer>> Run() {
    while (true) {
      const SteadyTime now = clock_.Steady();
      if (now >= deadline_ || transfers_.empty()) break;
      SteadyTime wake = std::min(deadline_, now + kLongestWait);
      for (auto& transfer : transfers_) {
        if (transfer->easy != nullptr) continue;
        if (transfer->not_before <= now) {
          Begin(*transfer, deadline_ - now);
        } else {
          wake = std::min(wake, transfer->not_before);
        }
      }
      int running = 0;
      curl_multi_perform(multi_, &running);
      if (Collect()) continue;
      curl_multi_poll(multi_, nullptr, 0, static_cast<int>(Milliseconds(wake - now)), nullptr);
    }
    return std::move(answers_);
  }

 private:
  void Begin(Transfer& transfer, Nanoseconds left) {
    const FetchRequest& request = requests_[transfer.index];
    transfer.answer = {};
    transfer.error[0] = '\0';
    CURL* easy = transfer.easy = curl_easy_init();
    if (easy == nullptr) return;
    curl_easy_setopt(easy, CURLOPT_URL, (options_.url + request.path).c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // Or the end of a transfer waits for the thread that resolves the name, past every deadline.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, Milliseconds(left));
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::Take);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "firedrill");
    if (headers_ != nullptr) curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);
    if (!request.form.empty()) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.form.c_str());
    if (!request.json.empty()) {
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.json.c_str());
      curl_easy_setopt(easy, CURLOPT_HTTPHEADER, json_headers_);
    }
    if (!request.method.empty()) {
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    if (!options_.ca_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
      curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
    }
    if (!options_.certificate_file.empty()) {
      curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.certificate_file.c_str());
      curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.key_file.c_str());
    }
    if (!options_.user.empty()) {
      curl_easy_setopt(easy, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
      curl_easy_setopt(easy, CURLOPT_USERNAME, options_.user.c_str());
      curl_easy_setopt(easy, CURLOPT_PASSWORD, options_.password.c_str());
    }
    curl_multi_add_handle(multi_, easy);
  }

  void Drop(Transfer& transfer) {
    if (transfer.easy == nullptr) return;
    curl_multi_remove_handle(multi_, transfer.easy);
    curl_easy_cleanup(transfer.easy);
    transfer.easy = nullptr;
  }

  // Takes what is done; true if there was something.
  bool Collect() {
    bool any = false;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      any = true;
      const CURLcode code = message->data.result;
      Transfer* transfer = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
      long http_status = 0;
      curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &http_status);
      transfer->answer.http_status = static_cast<int>(http_status);
      Drop(*transfer);
      const bool unconnected = code == CURLE_COULDNT_CONNECT ||
                               code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_GOT_NOTHING;
      const bool busy =
          code == CURLE_OK && (http_status == 429 || http_status == 502 || http_status == 503);
      if ((unconnected || busy) && transfer->tries < options_.retries) {
        transfer->not_before = clock_.Steady() + kBackoff * (1 << transfer->tries++);
        // An answer kept for the case that there is no time for another try.
        answers_[transfer->index] = Result(*transfer, code);
        continue;
      }
      answers_[transfer->index] = Result(*transfer, code);
      const auto done = [transfer](const auto& other) { return other.get() == transfer; };
      transfers_.erase(std::remove_if(transfers_.begin(), transfers_.end(), done),
                       transfers_.end());
    }
    return any;
  }

  absl::StatusOr<FetchAnswer> Result(Transfer& transfer, CURLcode code) const {
    if (code == CURLE_OK) return std::move(transfer.answer);
    const std::string reason =
        transfer.error[0] != '\0' ? transfer.error : curl_easy_strerror(code);
    const std::string message = fmt::format("{}: {}", options_.url, reason);
    if (transfer.too_long) {
      return absl::ResourceExhaustedError(
          fmt::format("{}: the answer is longer than {} bytes", options_.url, transfer.limit));
    }
    if (code == CURLE_OPERATION_TIMEDOUT) return absl::DeadlineExceededError(message);
    return absl::UnavailableError(message);
  }

  CURLM* multi_;
  const Clock& clock_;
  const FetchOptions& options_;
  const std::vector<FetchRequest>& requests_;
  const SteadyTime deadline_;
  curl_slist* headers_ = nullptr;
  curl_slist* json_headers_ = nullptr;
  std::vector<std::unique_ptr<Transfer>> transfers_;
  std::vector<absl::StatusOr<FetchAnswer>> answers_;
};

Fetcher::Fetcher(const Clock& clock) : clock_(clock), multi_(nullptr) {
  InitialiseOnce();
  multi_ = curl_multi_init();
  curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, kConnections);
}

Fetcher::~Fetcher() { curl_multi_cleanup(multi_); }

std::vector<absl::StatusOr<FetchAnswer>> Fetcher::Fetch(const FetchOptions& options,
                                                        const std::vector<FetchRequest>& requests,
                                                        SteadyTime deadline) {
  return Batch(multi_, clock_, options, requests, deadline).Run();
}

std::string FormField(const std::string& name, const std::string& value) {
  InitialiseOnce();
  char* escaped = curl_easy_escape(nullptr, value.c_str(), static_cast<int>(value.size()));
  std::string field = name + "=" + (escaped != nullptr ? escaped : "");
  curl_free(escaped);
  return field;
}

absl::Status ValidateHttpUrl(const std::string& url) {
  const auto wrong = [&url](std::string_view why) {
    return absl::InvalidArgumentError(
        fmt::format("'{}' is no URL for this: {}; for example http://127.0.0.1:9090", url, why));
  };
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parsed(curl_url(), &curl_url_cleanup);
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) {
    return wrong("it wants http:// or https:// and a host");
  }
  const auto has = [&parsed](CURLUPart part) {
    char* text = nullptr;
    const bool found = curl_url_get(parsed.get(), part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return found;
  };
  if (url.rfind("http://", 0) != 0 && url.rfind("https://", 0) != 0) {
    return wrong("it wants http:// or https:// at its begin");
  }
  if (has(CURLUPART_USER) || has(CURLUPART_PASSWORD)) {
    return wrong("give user and password by their own options, not in the URL");
  }
  if (has(CURLUPART_QUERY) || has(CURLUPART_FRAGMENT)) return wrong("it must end with the path");
  return absl::OkStatus();
}

}  // namespace firedrill::controller
