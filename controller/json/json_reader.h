// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "proto/support/clock.h"

// Reads JSON that strangers send: any text gives a value or a status.
namespace firedrill::controller {

/// OUT_OF_RANGE "is nested too deeply": a value in more than `deepest` lists and objects.
/// INVALID_ARGUMENT "is no JSON".
absl::StatusOr<nlohmann::json> ParseJson(std::string_view body, int deepest);

/// nullptr: `object` is none, or the member is missing or null.
const nlohmann::json* Member(const nlohmann::json& object, const char* name);

/// Reads the body of a webhook. Each error is INVALID_ARGUMENT and says where in the body something
/// is wrong: `where` is what stands before the member's name, such as "event.data.".
class JsonReader {
 public:
  /// `subject` begins each error: "pager webhook". It must outlive this object.
  explicit constexpr JsonReader(std::string_view subject) : subject_(subject) {}

  absl::Status Wrong(std::string_view where, std::string_view what) const;

  /// The whole body, which must be an object.
  absl::StatusOr<nlohmann::json> Body(std::string_view body, int deepest) const;

  /// nullptr: it is missing or null.
  absl::StatusOr<const nlohmann::json*> Object(const nlohmann::json& object, const char* name,
                                               const std::string& where) const;

  absl::StatusOr<std::string> Text(const nlohmann::json& object, const char* name,
                                   const std::string& where) const;
  /// Empty where it is missing or null.
  absl::StatusOr<std::string> OptionalText(const nlohmann::json& object, const char* name,
                                           const std::string& where) const;

  /// What a text says that was found at `where`. What nanoseconds cannot say, such as the year 1,
  /// becomes their first instant or their last.
  absl::StatusOr<SystemTime> Time(const std::string& text, const std::string& where) const;

 private:
  const std::string_view subject_;
};

}  // namespace firedrill::controller
