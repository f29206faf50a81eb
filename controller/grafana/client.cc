// SPDX-License-Identifier: Apache-2.0
#include "controller/grafana/client.h"

#include <fmt/format.h>

#include <utility>

#include "controller/json/json_reader.h"
#include "proto/support/secret_file.h"
#include "proto/support/status_macros.h"

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kAnswerBytes = 1 << 20;
constexpr int kDeepest = 12;  // Grafana nests what we ask for three deep

absl::Status StatusOf(const FetchAnswer& answer) {
  const int code = answer.http_status;
  if (code >= 200 && code < 300) return absl::OkStatus();
  const std::string what = fmt::format("HTTP {}: {}", code, answer.body.substr(0, 200));
  if (code == 401 || code == 403) return absl::PermissionDeniedError(what);
  if (code == 408 || code == 429 || code >= 500) return absl::UnavailableError(what);
  return absl::InvalidArgumentError(what);
}

absl::Status NotGrafanas(const std::string& why, const std::string& body) {
  return absl::DataLossError(fmt::format("the answer {}: {}", why, body.substr(0, 200)));
}

absl::StatusOr<Json> Parse(const std::string& body) {
  absl::StatusOr<Json> answer = ParseJson(body, kDeepest);
  if (!answer.ok()) return NotGrafanas(std::string(answer.status().message()), body);
  return answer;
}

absl::StatusOr<std::int64_t> IdOf(const Json& annotation, const std::string& body) {
  const Json* id = Member(annotation, "id");
  if (id == nullptr || !id->is_number_integer()) return NotGrafanas("holds no id", body);
  return id->get<std::int64_t>();
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
  ASSIGN_OR_RETURN(const Json answer, Parse(body));
  return IdOf(answer, body);
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
  ASSIGN_OR_RETURN(const Json answer, Parse(body));
  if (!answer.is_array()) return NotGrafanas("is no list", body);
  if (answer.empty()) return std::nullopt;
  ASSIGN_OR_RETURN(const std::int64_t id, IdOf(answer.front(), body));
  return id;
}

}  // namespace firedrill::controller
