// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include "agent/traffic/programs.h"

namespace firedrill::testing {
namespace {

// Instructions that the verifier walked. Some 300 a millisecond, in the kernel: of a processor
// quota that the agent shares with others (a small host's) they are taken at once, and the others
// wait.
std::uint32_t VerifiedInstructions(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  EXPECT_EQ(bpf_obj_get_info_by_fd(program, &info, &size), 0);
  EXPECT_GT(info.verified_insns, 0U);
  return info.verified_insns;
}

TEST(TrafficProgramsTest, TakeTheVerifierLittleTime) {
  const auto programs = agent::TrafficPrograms::Load();
  ASSERT_TRUE(programs.ok()) << programs.status();
  std::uint32_t sum = 0;
  for (const int program : {(*programs)->egress(), (*programs)->ingress(), (*programs)->give_back(),
                            (*programs)->wire()}) {
    sum += VerifiedInstructions(program);
  }
  RecordProperty("verified_instructions", static_cast<int>(sum));
  EXPECT_LE(sum, 250'000U);
}

}  // namespace
}  // namespace firedrill::testing
