// SPDX-License-Identifier: Apache-2.0
// What the contract says of faults is held to what the agent has.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "agent/doctor/doctor.h"
#include "agent/faults/fault.h"
#include "agent/host/host.h"
#include "agent/supervisor/limits.h"
#include "google/protobuf/descriptor.h"
#include "proto/support/fault_rules.h"
#include "proto/support/field_rules.h"

namespace firedrill::agent {
namespace {

TEST(FaultTableTest, HasEveryKindOfTheContractInItsOrder) {
  const auto* kinds = v1::Fault::descriptor()->FindOneofByName("kind");
  ASSERT_EQ(FaultKinds().size(), static_cast<std::size_t>(kinds->field_count()));
  for (int i = 0; i < kinds->field_count(); ++i) {
    const FaultKind& kind = FaultKinds()[static_cast<std::size_t>(i)];
    EXPECT_EQ(static_cast<int>(kind.kind), kinds->field(i)->number()) << kinds->field(i)->name();
    EXPECT_NE(kind.supported, nullptr);
    EXPECT_NE(kind.apply, nullptr);
    EXPECT_NE(kind.verify_gone, nullptr);
  }
}

// What a field, a value or a field of a field needs, however deep.
void Collect(const google::protobuf::Descriptor& type, std::set<std::string>* needs) {
  for (int i = 0; i < type.field_count(); ++i) {
    const auto& field = *type.field(i);
    needs->insert(RulesOf(field).needs().begin(), RulesOf(field).needs().end());
    for (int j = 0; field.enum_type() != nullptr && j < field.enum_type()->value_count(); ++j) {
      const auto& value = RulesOf(*field.enum_type()->value(j));
      needs->insert(value.needs().begin(), value.needs().end());
    }
    if (field.message_type() != nullptr && !IsDuration(field))
      Collect(*field.message_type(), needs);
  }
}

TEST(DoctorTest, EveryNeedOfTheContractIsAnAbilityThatTheAgentTells) {
  std::set<std::string> needs;
  for (const FaultKind& kind : FaultKinds()) {
    const auto& of_kind = FaultRulesOf(kind.kind).needs();
    needs.insert(of_kind.begin(), of_kind.end());
  }
  Collect(*v1::Fault::descriptor(), &needs);
  ASSERT_GE(needs.size(), 5U);
  v1::Hello hello;
  DescribeHost(Host(), FaultKinds(), Limits(8, {}), hello);
  std::set<std::string> abilities;
  for (const v1::Ability& ability : hello.abilities()) {
    EXPECT_TRUE(abilities.insert(ability.name()).second) << ability.name() << " is told twice";
    EXPECT_FALSE(ability.reason().empty()) << ability.name();
  }
  for (const std::string& need : needs) {
    EXPECT_TRUE(abilities.count(need) > 0) << "no ability is named " << need;
  }
}

// A kind's support and its needs must not contradict each other: both are shown side by side.
TEST(DoctorTest, AKindWhoseNeedIsMissingIsNotSupported) {
  v1::Hello hello;
  DescribeHost(Host(), FaultKinds(), Limits(8, {"process_kill", "reboot"}), hello);
  std::set<std::string> lacking;
  for (const v1::Ability& ability : hello.abilities()) {
    if (!ability.available()) lacking.insert(ability.name());
  }
  for (const v1::FaultSupport& support : hello.faults()) {
    const auto* field = v1::Fault::descriptor()->FindFieldByName(support.fault());
    ASSERT_NE(field, nullptr) << support.fault();
    const auto kind = static_cast<v1::Fault::KindCase>(field->number());
    for (const std::string& need : FaultRulesOf(kind).needs()) {
      EXPECT_FALSE(support.supported() && lacking.count(need) > 0)
          << support.fault() << " is told to work without " << need;
    }
  }
}

}  // namespace
}  // namespace firedrill::agent
