// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// BPF tables of any process, by the names that their programs gave them. What has gone meanwhile is
// no error; what cannot be read is one: it is not proven to be gone.
namespace firedrill::agent {

/// Element 0 of the table; false if it has gone, or is not of this name and size.
absl::StatusOr<bool> ReadBpfTable(std::uint32_t id, const char* name, void* value,
                                  std::size_t size);
/// Calls `visit` with the id of each table in the kernel, until it returns an error.
absl::Status VisitBpfTables(const std::function<absl::Status(std::uint32_t id)>& visit);

template <typename Value>
absl::StatusOr<std::optional<Value>> ReadBpfTable(std::uint32_t id, const char* name) {
  Value value{};
  const absl::StatusOr<bool> found = ReadBpfTable(id, name, &value, sizeof(value));
  if (!found.ok()) return found.status();
  return *found ? std::optional<Value>(value) : std::nullopt;
}

/// Of every table of this name and size.
template <typename Value>
absl::StatusOr<std::vector<Value>> ReadBpfTables(const char* name) {
  std::vector<Value> values;
  const absl::Status status = VisitBpfTables([&](std::uint32_t id) {
    const absl::StatusOr<std::optional<Value>> value = ReadBpfTable<Value>(id, name);
    if (value.ok() && *value) values.push_back(**value);
    return value.status();
  });
  if (!status.ok()) return status;
  return values;
}

}  // namespace firedrill::agent
