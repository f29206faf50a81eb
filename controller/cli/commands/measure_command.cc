// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "controller/cli/commands/history_commands.h"
#include "controller/cli/commands/runners.h"
#include "controller/cli/view/flatten.h"
#include "controller/cli/view/table.h"
#include "controller/cli/view/text_width.h"
#include "controller/measure/measure.h"
#include "controller/measure/record.h"

namespace firedrill::cli {
namespace {

using Json = nlohmann::ordered_json;

// What is measured, and nothing that it is measured from: each value by its place, as exactly as it
// is stored ("/alerts/0/time_to_detect/value": "18.4s").
absl::StatusOr<nlohmann::json> ValuesOf(const v1::Run& run) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto written =
      google::protobuf::util::MessageToJsonString(controller::MeasuredPart(run), &text, options);
  const nlohmann::json values = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!written.ok() || !values.is_object()) {
    return absl::DataLossError(
        fmt::format("read the figures of run {}: {}", run.id(), written.ToString()));
  }
  return values.empty() ? values : values.flatten();
}

std::string TextOf(const nlohmann::json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::vector<Change> ChangesOf(const nlohmann::json& stored, const nlohmann::json& again) {
  std::vector<Change> changes;
  for (const auto& [place, value] : stored.items()) {
    const auto now = again.find(place);
    if (now == again.end()) {
      changes.push_back({place.substr(1), TextOf(value), ""});
    } else if (*now != value) {
      changes.push_back({place.substr(1), TextOf(value), TextOf(*now)});
    }
  }
  for (const auto& [place, value] : again.items()) {
    if (!stored.contains(place)) changes.push_back({place.substr(1), "", TextOf(value)});
  }
  return changes;
}

struct Kept {
  int samples = 0;
  int notifications = 0;
};

Kept KeptOf(const v1::Run& run) {
  Kept kept;
  for (const v1::Series& series : run.series()) kept.samples += series.samples_size();
  for (const v1::AlertEvidence& alert : run.evidence().alerts()) {
    kept.notifications += alert.notifications_size();
  }
  return kept;
}

std::string ForPrograms(const v1::Run& run, const Kept& kept, std::size_t values,
                        const std::vector<Change>& changes) {
  Json differing = Json::array();
  for (const Change& change : changes) {
    differing.push_back(
        {{"field", change.field}, {"stored", change.first}, {"again", change.second}});
  }
  return Json({{"run_id", run.id()},
               {"same", changes.empty()},
               {"values", values},
               {"samples", kept.samples},
               {"notifications", kept.notifications},
               {"differing", differing}})
      .dump();
}

std::string OrDash(const std::string& text) { return text.empty() ? "—" : Clean(OneLine(text)); }

std::string ForPeople(const Invocation& invocation, const v1::Run& run, const Kept& kept,
                      std::size_t values, const std::vector<Change>& changes) {
  const auto many = [](auto number, const char* what) {
    return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
  };
  const std::string from = fmt::format("{} and {}", many(kept.samples, "raw sample"),
                                       many(kept.notifications, "notification"));
  if (changes.empty()) {
    return fmt::format("run {}: the same. {}, computed again from {}.\n", Clean(run.id()),
                       many(values, "value"), from);
  }
  Table table({"FIELD", "STORED", "COMPUTED AGAIN"});
  for (const Change& change : changes) {
    table.Add({Clean(change.field), OrDash(change.first), OrDash(change.second)});
  }
  return fmt::format("run {}: {} differ from what is computed again from {}.\n\n{}",
                     Clean(run.id()), many(changes.size(), "value"), from,
                     table.Render(invocation.style, invocation.width));
}

}  // namespace

ExitCode RunMeasure(Invocation& invocation) {
  const absl::StatusOr<Client*> client = invocation.Controller();
  if (!client.ok()) return invocation.Fail(client.status());
  const absl::StatusOr<v1::Run> run = (*client)->GetRun(invocation.arguments.words[0]);
  if (!run.ok()) return invocation.Fail(run.status());
  if (run->state() != v1::RUN_STATE_FINISHED) {
    return invocation.Fail(absl::FailedPreconditionError(
        fmt::format("run {} is not finished: its figures still change", run->id())));
  }
  v1::Run computed = *run;
  if (const absl::Status again = controller::MeasureAgain(computed); !again.ok()) {
    invocation.Fail(again);
    return ExitCode::kInconclusive;
  }
  const absl::StatusOr<nlohmann::json> stored = ValuesOf(*run);
  if (!stored.ok()) return invocation.Fail(stored.status());
  const absl::StatusOr<nlohmann::json> again = ValuesOf(computed);
  if (!again.ok()) return invocation.Fail(again.status());
  const std::vector<Change> changes = ChangesOf(*stored, *again);
  const Kept kept = KeptOf(*run);
  if (invocation.settings.format != Format::kTable) {
    invocation.context.out << SerializeJson(ForPrograms(*run, kept, stored->size(), changes),
                                            invocation.settings.format);
  } else {
    invocation.context.out << ForPeople(invocation, *run, kept, stored->size(), changes);
  }
  return changes.empty() ? ExitCode::kPassed : ExitCode::kFailed;
}

}  // namespace firedrill::cli
