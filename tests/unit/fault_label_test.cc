// SPDX-License-Identifier: Apache-2.0
#include "controller/statistics/fault_label.h"

#include <gtest/gtest.h>

namespace firedrill::controller {
namespace {

TEST(FaultLabelTest, NamesEachKindOnceHoweverTheStepsStand) {
  v1::Experiment experiment;
  experiment.add_method()->mutable_fault()->mutable_packet_loss();
  experiment.add_method()->mutable_fault()->mutable_cpu();
  experiment.add_method();  // what is not valid has no kind
  experiment.add_method()->mutable_fault()->mutable_packet_loss();
  EXPECT_EQ(FaultLabel(experiment), "cpu+packet_loss");
  EXPECT_EQ(FaultLabel(v1::Experiment()), "");
}

TEST(FaultLabelTest, FindsAKindByItsWholeName) {
  v1::Experiment experiment;
  experiment.add_method()->mutable_fault()->mutable_cpu();
  experiment.add_method()->mutable_fault()->mutable_packet_loss();
  EXPECT_TRUE(HasFaultKind(experiment, "cpu"));
  EXPECT_TRUE(HasFaultKind(experiment, "packet_loss"));
  EXPECT_FALSE(HasFaultKind(experiment, "packet"));
}

}  // namespace
}  // namespace firedrill::controller
