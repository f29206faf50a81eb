// SPDX-License-Identifier: Apache-2.0
#include "controller/grafana/client.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "proto/support/secret_file.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kAnswerBytes = 1 << 20;

absl::Status StatusOf(const FetchAnswer& answer) {
  const int code = answer.http_status;
  if (code >= 200 && code < 300) return absl::OkStatus();
  const std::string what = fmt::format("HTTP {}: {}", code, answer.body.substr(0, 200));
  if (code == 401 || code == 403) return absl::PermissionDeniedError(what);
  if (code == 408 || code == 429 || code >= 500) return absl::UnavailableError(what);
  return absl::InvalidArgumentError(what);
}

}  // namespace

GrafanaClient::GrafanaClient(std::string url, std::string token_file, const Clock& clock)
    : url_(std::move(url)), token_file_(std::move(token_file)), fetcher_(clock) {}

absl::Status GrafanaClient::Check(const std::string& url, const std::string& token_file) {
  RETURN_IF_ERROR(ValidateHttpUrl(url));
  return ReadSecretFile(token_file).status();
}

absl::StatusOr<std::string> GrafanaClient::Ask(FetchRequest request, SteadyTime deadline) {
  FetchOptions options;
  options.url = url_;
  while (!options.url.empty() && options.url.back() == '/') options.url.pop_back();
  const absl::StatusOr<std::string> token = ReadSecretFile(token_file_);
  // A file that is just being replaced: as a token that is refused.
  if (!token.ok()) return absl::PermissionDeniedError(token.status().message());
  options.bearer_token = *token;
  options.retries = 0;  // the annotator's own
  options.answer_bytes = kAnswerBytes;
  auto answers = fetcher_.Fetch(options, {std::move(request)}, deadline);
  RETURN_IF_ERROR(answers.front().status());
  RETURN_IF_ERROR(StatusOf(*answers.front()));
  return std::move(answers.front()->body);
}

absl::StatusOr<std::int64_t> GrafanaClient::Add(const Annotation& annotation, SteadyTime deadline) {
  FetchRequest request;
  request.path = "/api/annotations";
  request.json = annotation.Json();
  ASSIGN_OR_RETURN(const std::string body, Ask(std::move(request), deadline));
  const Json answer = Json::parse(body, nullptr, false);
  if (!answer.is_object() || !answer.contains("id") || !answer["id"].is_number_integer()) {
    return absl::DataLossError("the answer holds no id: " + body.substr(0, 200));
  }
  return answer["id"].get<std::int64_t>();
}

absl::Status GrafanaClient::SetEnd(std::int64_t id, const Annotation& annotation,
                                   SteadyTime deadline) {
  FetchRequest request;
  request.path = fmt::format("/api/annotations/{}", id);
  request.method = "PATCH";
  request.json = annotation.EndJson();
  return Ask(std::move(request), deadline).status();
}

absl::StatusOr<std::optional<std::int64_t>> GrafanaClient::Find(const Annotation& annotation,
                                                                SteadyTime deadline) {
  FetchRequest request;
  request.path = "/api/annotations?limit=1&" + FormField("tags", "firedrill") + "&" +
                 FormField("tags", "injection:" + annotation.injection);
  ASSIGN_OR_RETURN(const std::string body, Ask(std::move(request), deadline));
  const Json answer = Json::parse(body, nullptr, false);
  if (!answer.is_array()) {
    return absl::DataLossError("the answer is no list: " + body.substr(0, 200));
  }
  if (answer.empty()) return std::optional<std::int64_t>();
  const Json& first = answer.front();
  if (!first.is_object() || !first.contains("id") || !first["id"].is_number_integer()) {
    return absl::DataLossError("the answer holds no id: " + body.substr(0, 200));
  }
  return std::optional<std::int64_t>(first["id"].get<std::int64_t>());
}

}  // namespace firedrill::controller
