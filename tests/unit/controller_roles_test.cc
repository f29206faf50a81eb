// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "controller/service/roles.h"

namespace firedrill::controller {
namespace {

using ::testing::HasSubstr;

TEST(RolesTest, AnAgentIsWhoItsCertificateSays) {
  EXPECT_TRUE(AuthorizeAgent("spiffe://firedrill/agent/web1", "web1", false).ok());
  for (const char* peer :
       {"", "web1", "spiffe://firedrill/agent/web2", "spiffe://firedrill/agent/web10",
        "spiffe://firedrill/agent/", "spiffe://firedrill/operator/web1",
        "spiffe://elsewhere/agent/web1", "spiffe://firedrill/controller/web1"}) {
    const absl::Status status = AuthorizeAgent(peer, "web1", false);
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << peer;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("needs a certificate of spiffe://firedrill/agent/web1"));
  }
}

TEST(RolesTest, AnAgentWithoutANameIsNobody) {
  EXPECT_FALSE(AuthorizeAgent("spiffe://firedrill/agent/", "", false).ok());
  EXPECT_FALSE(AuthorizeAgent("", "", true).ok());
}

TEST(RolesTest, AnOperatorIsNoAgentAndNoController) {
  EXPECT_EQ(AuthorizeOperator("spiffe://firedrill/operator/ana", false).value(), "ana");
  for (const char* peer : {"", "ana", "spiffe://firedrill/agent/ana",
                           "spiffe://firedrill/operator/", "spiffe://firedrill/controller/main"}) {
    EXPECT_EQ(AuthorizeOperator(peer, false).status().code(), absl::StatusCode::kPermissionDenied)
        << peer;
  }
  EXPECT_THAT(std::string(AuthorizeOperator("", false).status().message()),
              HasSubstr("there is no certificate"));
}

TEST(RolesTest, WithoutCertificatesEverybodyOnLoopbackMay) {
  EXPECT_EQ(AuthorizeOperator("", true).value(), "local");
  EXPECT_TRUE(AuthorizeAgent("", "web1", true).ok());
}

}  // namespace
}  // namespace firedrill::controller
