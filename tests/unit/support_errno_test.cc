// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cerrno>

#include "proto/support/errno_names.h"

namespace firedrill {
namespace {

TEST(ErrnoNamesTest, KnowsTheErrorsThatFaultsGive) {
  EXPECT_EQ(ErrnoByName("ECONNREFUSED"), ECONNREFUSED);
  EXPECT_EQ(ErrnoByName("ENETUNREACH"), ENETUNREACH);
  EXPECT_EQ(ErrnoByName("EMFILE"), EMFILE);
  EXPECT_EQ(ErrnoByName("EPERM"), EPERM);
  EXPECT_EQ(ErrnoByName("EIO"), EIO);
  EXPECT_EQ(ErrnoName(ECONNREFUSED), "ECONNREFUSED");
}

TEST(ErrnoNamesTest, KnowsBothNamesOfOneError) {
  EXPECT_EQ(ErrnoByName("EWOULDBLOCK"), ErrnoByName("EAGAIN"));
  EXPECT_EQ(ErrnoByName("ENOTSUP"), ENOTSUP);
  EXPECT_EQ(ErrnoByName("EDEADLOCK"), EDEADLK);
}

TEST(ErrnoNamesTest, EveryNameLeadsBackToItsNumber) {
  int names = 0;
  for (int number = 1; number <= kLargestErrno; ++number) {
    if (ErrnoName(number).empty()) continue;
    ++names;
    EXPECT_EQ(ErrnoByName(ErrnoName(number)), number) << ErrnoName(number);
  }
  EXPECT_GT(names, 100);
}

TEST(ErrnoNamesTest, WhatIsNoErrorHasNeitherNameNorNumber) {
  for (const char* name : {"", "ENOSUCH", "econnrefused", "111", "E", " EIO", "EIO ", "0"}) {
    EXPECT_FALSE(ErrnoByName(name)) << name;
  }
  for (const int number : {-1, 0, 41, kLargestErrno, kLargestErrno + 1}) {
    EXPECT_EQ(ErrnoName(number), "") << number;
  }
}

}  // namespace
}  // namespace firedrill
