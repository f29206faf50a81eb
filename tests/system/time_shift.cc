// SPDX-License-Identifier: Apache-2.0
#include "tests/system/time_shift.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace firedrill::test {
namespace {

using Json = nlohmann::json;

// The form's field `name` moved by `seconds`, where it is given.
std::string MoveField(std::string form, const std::string& name, double seconds) {
  const std::string key = name + "=";
  std::size_t at = form.rfind(key, 0) == 0 ? 0 : form.find("&" + key);
  if (at == std::string::npos) return form;
  at = form.find('=', at) + 1;
  const std::size_t end = std::min(form.find('&', at), form.size());
  const double value = std::strtod(form.substr(at, end - at).c_str(), nullptr);
  return form.replace(at, end - at, fmt::format("{:.3f}", value + seconds));
}

// [instant, "value"]
void MovePoint(Json& point, double seconds, bool value_too) {
  if (!point.is_array() || point.size() != 2) return;
  point[0] = std::round((point[0].get<double>() + seconds) * 1000) / 1000;
  if (!value_too) return;
  point[1] =
      fmt::format("{:.3f}", std::strtod(point[1].get<std::string>().c_str(), nullptr) + seconds);
}

}  // namespace

TimeShift::TimeShift(int prometheus_port, std::int64_t ahead_ms)
    : port_(prometheus_port),
      ahead_ms_(ahead_ms),
      peer_([this](const std::string& request) { return Answer(request); }) {}

std::string TimeShift::Answer(const std::string& request) const {
  const double ahead = static_cast<double>(ahead_ms_) / 1000;
  const std::string line = request.substr(0, request.find("\r\n"));
  std::string form = BodyOf(request);
  for (const char* field : {"time", "start", "end"}) form = MoveField(form, field, -ahead);
  // The question's values are instants, too, where it asks for instants.
  const bool instants = form.find("timestamp%28") != std::string::npos ||
                        form.find("timestamp(") != std::string::npos ||
                        form.find("query=time%28%29") != std::string::npos ||
                        form.find("query=time()") != std::string::npos;
  const auto answer = Exchange(
      port_, fmt::format("{}\r\nHost: prometheus\r\nConnection: close\r\n"
                         "Content-Type: application/x-www-form-urlencoded\r\n"
                         "Content-Length: {}\r\n\r\n{}",
                         line.substr(0, line.rfind("HTTP/")) + "HTTP/1.0", form.size(), form));
  if (!answer.ok()) return HttpAnswer(502, "text/plain", std::string(answer.status().message()));
  Json json = Json::parse(BodyOf(*answer), nullptr, /*allow_exceptions=*/false);
  const int status = std::atoi(answer->c_str() + answer->find(' '));
  if (json.is_discarded() || !json.contains("data") || !json["data"].is_object() ||
      !json["data"].contains("result")) {
    return HttpAnswer(status, "application/json", BodyOf(*answer));
  }
  Json& result = json["data"]["result"];
  if (json["data"]["resultType"] == "scalar") MovePoint(result, ahead, instants);
  for (Json& series : result) {
    if (!series.is_object()) continue;
    if (series.contains("value")) MovePoint(series["value"], ahead, instants);
    if (!series.contains("values")) continue;
    for (Json& point : series["values"]) MovePoint(point, ahead, instants);
  }
  return HttpAnswer(status, "application/json", json.dump());
}

}  // namespace firedrill::test
