// SPDX-License-Identifier: Apache-2.0
#include "controller/pager_route.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <future>
#include <memory>
#include <utility>

#include "controller/pager/pager.h"
#include "controller/pager/signature.h"
#include "controller/service/responders.h"
#include "proto/support/secret_file.h"

namespace firedrill::controller {
namespace {

// PagerDuty waits five seconds for an answer, and asks again after a 5xx.
constexpr std::chrono::seconds kPatience(3);

std::string Text(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

HttpResponse Answer(int status, const std::string& text) {
  return {.status = status, .body = text + "\n"};
}

// OK, or what to answer.
absl::Status CheckSender(const PagerMessage& message, const PagerAccess& access,
                         const HttpRequest& request) {
  if (access.secret_file.empty()) return absl::OkStatus();
  if (!message.pagerduty) {
    // Else it would be a way around the signature.
    return access.token ? absl::OkStatus()
                        : absl::UnauthenticatedError(
                              "the plain form has no signature: the controller takes it with "
                              "--webhook-token-file alone");
  }
  // One a line: each of PagerDuty's subscriptions has its own.
  const absl::StatusOr<std::vector<std::string>> secrets = ReadSecretLines(access.secret_file);
  if (!secrets.ok()) {
    spdlog::error("pager webhook: {}", Text(secrets.status()));
    return absl::FailedPreconditionError("the server's file of the pager's secrets cannot be used");
  }
  if (IsSignedBy(request.pagerduty_signature, request.body, *secrets)) return absl::OkStatus();
  return absl::UnauthenticatedError(
      "this wants the header X-PagerDuty-Signature with a signature by the subscription's secret");
}

// Blocks until the mark is on disk.
absl::StatusOr<v1::Run> TakeWord(RunEngine& engine, std::string run_id, ResponderWord word) {
  const auto promise = std::make_shared<std::promise<absl::StatusOr<v1::Run>>>();
  std::future<absl::StatusOr<v1::Run>> answer = promise->get_future();
  engine.TakeWord(std::move(run_id), std::move(word),
                  [promise](absl::StatusOr<v1::Run> run) { promise->set_value(std::move(run)); });
  if (answer.wait_for(kPatience) != std::future_status::ready) {
    return absl::DeadlineExceededError("the mark is not on disk yet: ask again");
  }
  return answer.get();
}

HttpResponse Refuse(const PagerMessage& message, const HttpRequest& request,
                    const absl::Status& why) {
  spdlog::warn("pager webhook from {}: {}", request.peer, Text(why));
  if (absl::IsDeadlineExceeded(why)) return Answer(503, Text(why));
  if (absl::IsFailedPrecondition(why) || absl::IsResourceExhausted(why)) {
    return message.pagerduty ? Answer(202, "nothing noted: " + Text(why)) : Answer(409, Text(why));
  }
  return Answer(500, Text(why));
}

HttpResponse TakePager(RunEngine& engine, Auditor& auditor, const PagerAccess& access,
                       const HttpRequest& request) {
  const absl::StatusOr<PagerMessage> message = ParsePagerWebhook(request.body);
  if (!message.ok()) {
    spdlog::warn("pager webhook from {} refused: {}", request.peer, Text(message.status()));
    return Answer(400, Text(message.status()));
  }
  if (absl::Status sender = CheckSender(*message, access, request); !sender.ok()) {
    spdlog::warn("pager webhook from {} refused: {}", request.peer, Text(sender));
    return Answer(absl::IsUnauthenticated(sender) ? 401 : 500, Text(sender));
  }
  if (!message->kind) return Answer(202, "nothing noted: " + message->why_not);
  const absl::StatusOr<PagerSubject> subject = SubjectOf(*message, engine.LiveRuns());
  if (!subject.ok()) return Refuse(*message, request, subject.status());
  ResponderWord word;
  word.kind = *message->kind;
  word.source = v1::MARK_SOURCE_PAGER;
  word.at = request.received;
  word.subject = subject->alert;
  word.detail = DetailOf(*message);
  auditor.Note("pager", ActionOf(word.kind), subject->run_id, word.detail);
  const absl::StatusOr<v1::Run> run = TakeWord(engine, subject->run_id, std::move(word));
  if (!run.ok()) return Refuse(*message, request, run.status());
  return Answer(
      200, fmt::format("run {} {}", run->id(),
                       *message->kind == v1::MARK_KIND_MITIGATED ? "mitigated" : "acknowledged"));
}

}  // namespace

Route MakePagerRoute(RunEngine& engine, Auditor& auditor, PagerAccess access) {
  const bool token = access.token;
  return {.method = "POST",
          .path = "/webhook/pager",
          .handler =
              [&engine, &auditor, access = std::move(access)](const HttpRequest& request) {
                return TakePager(engine, auditor, access, request);
              },
          .token = token};
}

}  // namespace firedrill::controller
