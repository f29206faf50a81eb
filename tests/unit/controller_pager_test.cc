// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "controller/pager/pager.h"
#include "controller/pager/signature.h"
#include "proto/support/time.h"

namespace firedrill::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Words(const absl::Status& status) { return std::string(status.message()); }

// As PagerDuty's documentation shows an event of an incident.
std::string Incident(const std::string& type, const std::string& agent = "user_reference",
                     const std::string& reason = "null") {
  return fmt::format(R"text({{"event": {{"id": "5ac64822", "event_type": "{}",
    "resource_type": "incident", "occurred_at": "2026-11-22T18:45:22.169Z",
    "agent": {{"html_url": "https://acme.pagerduty.com/users/PLH1HKV", "id": "PLH1HKV",
               "summary": "Tenex Engineer", "type": "{}"}},
    "client": {{"name": "PagerDuty"}},
    "data": {{"id": "PGR0VU2", "type": "incident", "number": 2, "status": "acknowledged",
              "incident_key": "d3640fbd41094207a1c11e58e46b1662",
              "title": "[FIRING:1] ShopSlow (critical)", "assignees": [{{"id": "PTUXL6G"}}],
              "resolve_reason": {}}}}}}})text",
                     type, agent, reason);
}

TEST(PagerTest, AnAcknowledgementNamesWhoWhatAndWhen) {
  const auto message = ParsePagerWebhook(Incident("incident.acknowledged"));
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_TRUE(message->pagerduty);
  EXPECT_EQ(message->kind, v1::MARK_KIND_ACKNOWLEDGED);
  EXPECT_EQ(message->key, "d3640fbd41094207a1c11e58e46b1662");
  EXPECT_EQ(DetailOf(*message),
            "Tenex Engineer; incident PGR0VU2 \"[FIRING:1] ShopSlow (critical)\"; by the pager's "
            "clock at 2026-11-22T18:45:22.169Z");
}

TEST(PagerTest, OfTheResolvedOnlyWhatAPersonResolvedIsAMitigation) {
  EXPECT_EQ(ParsePagerWebhook(Incident("incident.resolved"))->kind, v1::MARK_KIND_MITIGATED);
  // Alertmanager resolves what it raised once the alert is over: nobody did anything.
  for (const char* agent : {"service_reference", "inbound_integration_reference"}) {
    const auto message = ParsePagerWebhook(Incident("incident.resolved", agent));
    ASSERT_TRUE(message.ok());
    EXPECT_FALSE(message->kind.has_value());
    EXPECT_THAT(message->why_not, HasSubstr("no person did it"));
  }
  const auto merged = ParsePagerWebhook(
      Incident("incident.resolved", "user_reference", R"({"type": "merge_resolve_reason"})"));
  EXPECT_FALSE(merged->kind.has_value());
  EXPECT_THAT(merged->why_not, HasSubstr("merging"));
  const auto nobody = ParsePagerWebhook(
      R"({"event": {"event_type": "incident.resolved", "agent": null, "data": {"id": "P1"}}})");
  ASSERT_TRUE(nobody.ok());
  EXPECT_FALSE(nobody->kind.has_value());
}

TEST(PagerTest, OfNotesThoseCountThatBeginWithMitigated) {
  const auto note = [](const std::string& content) {
    return ParsePagerWebhook(fmt::format(
        R"({{"event": {{"event_type": "incident.annotated", "agent": {{"type": "user_reference",
           "summary": "Bob"}}, "data": {{"incident": {{"id": "PGR0VU2", "summary": "ShopSlow"}},
           "id": "P2LA89X", "content": "{}", "type": "incident_note"}}}}}})",
        content));
  };
  const auto done = note("Mitigated: moved the traffic");
  ASSERT_TRUE(done.ok()) << done.status();
  EXPECT_EQ(done->kind, v1::MARK_KIND_MITIGATED);
  EXPECT_EQ(DetailOf(*done), "Bob: Mitigated: moved the traffic; incident PGR0VU2 \"ShopSlow\"");
  EXPECT_FALSE(note("looking")->kind.has_value());
}

TEST(PagerTest, OtherEventsSayNothing) {
  for (const char* body :
       {R"({"event": {"event_type": "pagey.ping", "data": {"message": "Hello", "type": "ping"}}})",
        R"({"event": {"event_type": "service.updated", "agent": null, "data": {}}})",
        R"({"event": {"event_type": "incident.triggered", "data": null}})"}) {
    const auto message = ParsePagerWebhook(body);
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_FALSE(message->kind.has_value());
    EXPECT_THAT(message->why_not, HasSubstr("says nothing"));
  }
}

TEST(PagerTest, ThePlainFormIsWhatItSays) {
  const auto message = ParsePagerWebhook(
      R"({"action": "mitigated", "run": "20261122-1705", "by": "bob", "note": "restarted redis",
          "at": "2026-11-22T17:06:01+01:00"})");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_FALSE(message->pagerduty);
  EXPECT_EQ(message->kind, v1::MARK_KIND_MITIGATED);
  EXPECT_EQ(message->run, "20261122-1705");
  EXPECT_EQ(DetailOf(*message),
            "bob: restarted redis; by the pager's clock at 2026-11-22T17:06:01+01:00");
  EXPECT_EQ(DetailOf(*ParsePagerWebhook(R"({"action": "acknowledged"})")), "somebody");
}

TEST(PagerTest, MistakesAreNamedWithTheirPlace) {
  const struct {
    const char* body;
    const char* what;
  } mistakes[] = {
      {"", "body: must be a JSON object"},
      {"[]", "body: must be a JSON object"},
      {"{\"action\": \"acknowledged\"", "body: must be a JSON object"},
      {"{}", "body: has neither event (PagerDuty's v3 webhooks) nor action (the plain form)"},
      {R"({"action": "acked"})", "action: must be \"acknowledged\" or \"mitigated\""},
      {R"({"action": 1})", "action: must be a text"},
      {R"({"action": "acknowledged", "notes": "x"})",
       "notes: is unknown; allowed: action, run, by, note, at"},
      {R"({"action": "acknowledged", "at": "yesterday"})", "at: must be a time as 2026-"},
      {R"({"event": 3})", "event: must be an object"},
      {R"({"event": {}})", "event.event_type: is missing"},
      {R"({"event": {"event_type": "incident.resolved"}})", "event.data: is missing"},
      {R"({"event": {"event_type": "incident.resolved", "data": []}})",
       "event.data: must be an object"},
      {R"({"event": {"event_type": "incident.resolved", "data": {"title": 1}}})",
       "event.data.title: must be a text"},
      {R"({"event": {"event_type": "x", "occurred_at": "soon"}})",
       "event.occurred_at: must be a time"},
      {R"({"event": {"event_type": "x", "agent": {"summary": {}}}})",
       "event.agent.summary: must be a text"},
      {R"([[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]])", "body: is nested too deeply"},
      {"{\"action\": \"acknowledged\", \"by\": \"\xff\"}", "body: must be a JSON object"},
  };
  for (const auto& mistake : mistakes) {
    const auto message = ParsePagerWebhook(mistake.body);
    ASSERT_FALSE(message.ok()) << mistake.body;
    EXPECT_TRUE(absl::IsInvalidArgument(message.status()));
    EXPECT_THAT(Words(message.status()), HasSubstr(mistake.what)) << mistake.body;
  }
}

TEST(PagerTest, TextsAreOnOneLineAndBounded) {
  std::string note;
  for (int i = 0; i < 400; ++i) note += "é";
  const auto message = ParsePagerWebhook(
      "{\"action\": \"mitigated\", \"by\": \"a\\nb\\u0007\", \"note\": \"" + note + "\"}");
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->who, "a b ");
  EXPECT_EQ(message->note, note.substr(0, 500) + "…");  // 250 characters of two bytes
}

std::shared_ptr<v1::Run> MakeRun(const std::string& id, const std::vector<std::string>& alerts,
                                 const std::vector<std::string>& notified = {}) {
  auto run = std::make_shared<v1::Run>();
  run->set_id(id);
  run->set_state(v1::RUN_STATE_INJECTING);
  for (const std::string& alert : alerts) {
    run->mutable_experiment()->add_detection()->set_alert(alert);
  }
  for (const std::string& alert : notified) {
    v1::Mark* mark = run->add_marks();
    mark->set_kind(v1::MARK_KIND_NOTIFIED);
    mark->set_subject(alert);
  }
  return run;
}

PagerMessage Titled(const std::string& title, const std::string& key = "") {
  PagerMessage message;
  message.title = title;
  message.key = key;
  return message;
}

std::vector<std::string> Chosen(const PagerMessage& message,
                                const std::vector<std::shared_ptr<const v1::Run>>& runs) {
  const auto subject = SubjectOf(message, runs);
  if (!subject.ok()) return {Words(subject.status())};
  return {subject->run_id, subject->alert};
}

TEST(PagerTest, TheRunIsTheOneThatIsNamed) {
  const auto first = MakeRun("20261122-a", {"ShopSlow"}), second = MakeRun("20261123-b", {});
  PagerMessage message = Titled("ShopSlow");
  message.run = "20261123";
  EXPECT_THAT(Chosen(message, {first, second}), ElementsAre("20261123-b", ""));
  message.run = "2026112";
  EXPECT_THAT(Chosen(message, {first, second}),
              ElementsAre("several runs under way begin with 2026112"));
  message.run = "2025";
  EXPECT_THAT(Chosen(message, {first, second}), ElementsAre("run 2025 is not under way"));
  second->set_state(v1::RUN_STATE_FINISHED);
  message.run = "20261123-b";
  EXPECT_THAT(Chosen(message, {first, second}), ElementsAre("run 20261123-b is not under way"));
}

TEST(PagerTest, ElseTheOneWhoseAlertTheIncidentNames) {
  const auto first = MakeRun("a", {"ShopSlow", "Shop"}),
             second = MakeRun("b", {"Shop", "CacheDown"});
  EXPECT_THAT(Chosen(Titled("[FIRING:1] ShopSlow (critical)"), {first, second}),
              ElementsAre("a", "ShopSlow"));
  EXPECT_THAT(Chosen(Titled("something", "CacheDown/cache1"), {first, second}),
              ElementsAre("b", "CacheDown"));
  // What was notified goes before what is only expected.
  const auto paged = MakeRun("c", {"Shop"}, {"Shop"});
  EXPECT_THAT(Chosen(Titled("Shop is down"), {first, second, paged}), ElementsAre("c", "Shop"));
  EXPECT_THAT(
      Chosen(Titled("ShopSlower, eShop, Shop_x"), {first, second}),
      ElementsAre("several runs are under way, and the incident names none of their alerts"));
}

TEST(PagerTest, ElseTheOnlyOneThatIsUnderWay) {
  const auto run = MakeRun("a", {"ShopSlow"}), over = MakeRun("b", {"ShopSlow"});
  over->set_state(v1::RUN_STATE_FINISHED);
  EXPECT_THAT(Chosen(Titled("the shop is slow"), {run, over}), ElementsAre("a", ""));
  EXPECT_THAT(Chosen(Titled("ShopSlow"), {over}), ElementsAre("no run is under way"));
  EXPECT_THAT(Chosen(PagerMessage(), {}), ElementsAre("no run is under way"));
}

TEST(SignatureTest, IsTheHmacOfTheBodyByOneOfTheSecrets) {
  // RFC 4231, test case 2.
  const std::string jefe = "v1=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
  const std::string body = "what do ya want for nothing?";
  EXPECT_TRUE(IsSignedBy(jefe, body, {"Jefe"}));
  EXPECT_TRUE(IsSignedBy("v1=00, " + jefe, body, {"other", "Jefe"}));
  EXPECT_FALSE(IsSignedBy(jefe, body + "!", {"Jefe"}));
  EXPECT_FALSE(IsSignedBy(jefe, body, {"Jeff"}));
  EXPECT_FALSE(IsSignedBy(jefe, body, {}));
  EXPECT_FALSE(IsSignedBy("", body, {"Jefe"}));
  EXPECT_FALSE(IsSignedBy("v1=", body, {"Jefe"}));
  EXPECT_FALSE(IsSignedBy(jefe.substr(3), body, {"Jefe"}));
  EXPECT_FALSE(IsSignedBy("v0=" + jefe.substr(3), body, {"Jefe"}));
}

}  // namespace
}  // namespace firedrill::controller
