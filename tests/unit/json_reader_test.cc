// SPDX-License-Identifier: Apache-2.0
#include "controller/json/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace firedrill::controller {
namespace {

using Json = nlohmann::json;

constexpr JsonReader kReader("a webhook");

template <typename T>
std::string Words(const absl::StatusOr<T>& read) {
  return std::string(read.status().message());
}

TEST(ParseJsonTest, IsBoundedInDepth) {
  EXPECT_EQ(*ParseJson("[[1]]", 2), Json::parse("[[1]]"));
  EXPECT_TRUE(absl::IsOutOfRange(ParseJson("[[[1]]]", 2).status()));
  EXPECT_TRUE(absl::IsOutOfRange(ParseJson(std::string(100'000, '['), 8).status()));
  for (const char* text : {"", "[1", "{\"a\": \"\xff\"}", "nonsense"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseJson(text, 8).status())) << text;
  }
}

TEST(JsonReaderTest, SaysWhatIsWrongAndWhere) {
  EXPECT_EQ(Words(kReader.Body("[]", 8)), "a webhook: body: must be a JSON object");
  EXPECT_EQ(Words(kReader.Body("{", 8)), "a webhook: body: must be a JSON object");
  EXPECT_EQ(Words(kReader.Body("{\"a\": [[1]]}", 2)), "a webhook: body: is nested too deeply");
  const Json object = Json::parse(R"({"text": "x", "number": 1, "null": null, "object": {}})");
  EXPECT_EQ(*kReader.Text(object, "text", "in."), "x");
  EXPECT_EQ(Words(kReader.Text(object, "number", "in.")), "a webhook: in.number: must be a text");
  EXPECT_EQ(Words(kReader.Text(object, "null", "in.")), "a webhook: in.null: is missing");
  EXPECT_EQ(*kReader.OptionalText(object, "null", "in."), "");
  EXPECT_EQ(*kReader.OptionalText(object, "none", "in."), "");
  EXPECT_EQ(Words(kReader.OptionalText(object, "object", "")), "a webhook: object: must be a text");
  EXPECT_EQ(*kReader.Object(object, "object", ""), &object.at("object"));
  EXPECT_EQ(*kReader.Object(object, "null", ""), nullptr);
  EXPECT_EQ(Words(kReader.Object(object, "text", "")), "a webhook: text: must be an object");
  EXPECT_EQ(Member(Json::parse("[1]"), "text"), nullptr);
}

TEST(JsonReaderTest, ReadsTimes) {
  EXPECT_EQ(*kReader.Time("2026-11-22T18:41:01.5+02:00", "at"),
            SystemTime(std::chrono::milliseconds(1'795'365'661'500)));
  EXPECT_EQ(Words(kReader.Time("soon", "at")),
            "a webhook: at: must be a time as 2026-11-22T16:41:01Z, not 'soon'");
}

}  // namespace
}  // namespace firedrill::controller
