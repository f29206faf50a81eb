// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "tests/host/lib/traffic_fixture.h"

// The program starts itself again to have an engine in a process that can be killed.
int main(int argc, char** argv) {
  if (firedrill::testing::IsHolder(argc, argv)) return firedrill::testing::RunHolder(argc, argv);
  testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
