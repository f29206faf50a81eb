// SPDX-License-Identifier: Apache-2.0
#include "controller/plan/partitions.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_join.h"

namespace firedrill::controller {
namespace {

constexpr int kMostAddresses = 4096;

const v1::Hello* Find(const std::vector<v1::Agent>& agents, const std::string& id) {
  const auto found = std::find_if(agents.begin(), agents.end(), [&](const v1::Agent& agent) {
    return agent.hello().agent_id() == id;
  });
  return found == agents.end() ? nullptr : &found->hello();
}

}  // namespace

absl::StatusOr<CompiledPartition> CompilePartition(const v1::Partition& partition,
                                                   const std::string& host,
                                                   const std::vector<std::string>& others,
                                                   const std::vector<v1::Agent>& agents) {
  CompiledPartition compiled;
  compiled.partition = partition;
  compiled.partition.clear_addresses();
  std::set<std::string> own;
  if (const v1::Hello* hello = Find(agents, host)) {
    own.insert(hello->addresses().begin(), hello->addresses().end());
  }
  std::set<std::string> taken = own;
  for (const std::string& address : partition.addresses()) {
    if (taken.insert(address).second) compiled.partition.add_addresses(address);
  }
  for (const std::string& other : others) {
    if (other == host) continue;
    const v1::Hello* hello = Find(agents, other);
    if (hello == nullptr || hello->addresses().empty()) {
      return absl::FailedPreconditionError(
          fmt::format("{}, on the other side of the partition, has told no address", other));
    }
    std::vector<std::string> added;
    for (const std::string& address : hello->addresses()) {
      if (own.count(address) > 0) continue;
      added.push_back(address);
      if (taken.insert(address).second) compiled.partition.add_addresses(address);
    }
    if (!added.empty()) {
      compiled.others.push_back(fmt::format("{} ({})", other, absl::StrJoin(added, ", ")));
    }
  }
  if (compiled.partition.addresses_size() > kMostAddresses) {
    return absl::FailedPreconditionError(
        fmt::format("the other side of the partition has {} addresses; at most {} are allowed",
                    compiled.partition.addresses_size(), kMostAddresses));
  }
  if (compiled.partition.addresses().empty()) {
    return absl::FailedPreconditionError(
        fmt::format("nothing is on the other side of {}'s partition from {}: no host that has an "
                    "address of its own",
                    host, partition.from()));
  }
  return compiled;
}

}  // namespace firedrill::controller
