// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <grpcpp/security/auth_context.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "controller/service/roles.h"
#include "proto/support/credentials.h"

namespace firedrill::controller {
namespace {

using ::testing::HasSubstr;

using Properties = std::map<std::string, std::string>;

// What gRPC says of a peer's certificate.
class FakeContext : public grpc::AuthContext {
 public:
  explicit FakeContext(Properties properties) : properties_(std::move(properties)) {}
  std::vector<grpc::string_ref> FindPropertyValues(const std::string& name) const override {
    const auto found = properties_.find(name);
    if (found == properties_.end()) return {};
    return {grpc::string_ref(found->second)};
  }
  bool IsPeerAuthenticated() const override { return true; }
  std::vector<grpc::string_ref> GetPeerIdentity() const override { return {}; }
  std::string GetPeerIdentityPropertyName() const override { return ""; }
  grpc::AuthPropertyIterator begin() const override { return Nothing(); }
  grpc::AuthPropertyIterator end() const override { return Nothing(); }
  void AddProperty(const std::string& /*key*/, const grpc::string_ref& /*value*/) override {}
  bool SetPeerIdentityPropertyName(const std::string& /*name*/) override { return false; }

 private:
  struct Nothing : grpc::AuthPropertyIterator {};
  const Properties properties_;
};

TEST(RolesTest, ACommonNameGivesNoRole) {
  const FakeContext right(
      {{"peer_spiffe_id", "spiffe://firedrill/operator/ana"}, {"x509_common_name", "someone"}});
  EXPECT_EQ(AuthorizeOperator(PeerName(right), false).value(), "ana");
  const FakeContext operator_name(
      Properties{{"x509_common_name", "spiffe://firedrill/operator/ana"}});
  const absl::Status refused = AuthorizeOperator(PeerName(operator_name), false).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("the certificate is of CN=spiffe://firedrill/operator/ana"));
  const FakeContext agent_name(Properties{{"x509_common_name", "spiffe://firedrill/agent/web1"}});
  EXPECT_FALSE(AuthorizeAgent(PeerName(agent_name), "web1", false).ok());
}

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
