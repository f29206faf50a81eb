// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "controller/cli/ca/authority.h"
#include "controller/cli/ca/certificate.h"
#include "controller/cli/ca/secret_file.h"
#include "tests/lib/process.h"

namespace firedrill::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class AuthorityTest : public ::testing::Test {
 protected:
  std::string ca() const { return folder_.path() + "/ca"; }
  std::string Path(const std::string& name) const { return ca() + "/" + name; }

  Issued Issue(const std::string& role, const std::string& name, std::vector<std::string> dns = {},
               std::vector<std::string> ip = {}) {
    const auto issued = IssueCertificate(ca(), ca(), {role, name, dns, ip, 30, false});
    EXPECT_TRUE(issued.ok()) << issued.status();
    return issued.ok() ? *issued : Issued();
  }

  test::TemporaryFolder folder_;
};

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

// Whether `certificate` holds against the authority, for a client or a server, by OpenSSL's rules.
int Verify(const std::string& ca_path, const std::string& path, int purpose) {
  const Certificate ca = ReadCertificate(ca_path).value();
  const Certificate certificate = ReadCertificate(path).value();
  const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                      X509_STORE_free);
  X509_STORE_add_cert(store.get(), ca.get());
  X509_STORE_set_flags(store.get(), X509_V_FLAG_X509_STRICT);
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(
      X509_STORE_CTX_new(), X509_STORE_CTX_free);
  X509_STORE_CTX_init(context.get(), store.get(), certificate.get(), nullptr);
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

std::string Alternatives(const std::string& path) {
  const Certificate certificate = ReadCertificate(path).value();
  const int index = X509_get_ext_by_NID(certificate.get(), NID_subject_alt_name, -1);
  BIO* bio = BIO_new(BIO_s_mem());
  X509V3_EXT_print(bio, X509_get_ext(certificate.get(), index), 0, 0);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  const std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

TEST_F(AuthorityTest, MakesCertificatesThatHold) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("controller", "main", {"chaos.example.org"}, {"192.0.2.1", "2001:db8::1"});
  Issue("agent", "web1");
  Issue("operator", "alice");
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    for (const char* name : {"main.crt", "web1.crt", "alice.crt"}) {
      EXPECT_EQ(Verify(Path("ca.crt"), Path(name), purpose), X509_V_OK) << name;
    }
  }
  EXPECT_EQ(Alternatives(Path("main.crt")),
            "URI:spiffe://firedrill/controller/main, DNS:chaos.example.org, IP Address:192.0.2.1, "
            "IP Address:2001:DB8:0:0:0:0:0:1");
  EXPECT_EQ(Alternatives(Path("web1.crt")), "URI:spiffe://firedrill/agent/web1");
  EXPECT_EQ(Alternatives(Path("alice.crt")), "URI:spiffe://firedrill/operator/alice");
}

TEST_F(AuthorityTest, AControllerWithoutNamesIsOnLoopback) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("controller", "main");
  EXPECT_THAT(Alternatives(Path("main.crt")), HasSubstr("DNS:localhost, IP Address:127.0.0.1"));
}

TEST_F(AuthorityTest, ACertificateOfAnotherAuthorityDoesNotHold) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("agent", "web1");
  ASSERT_TRUE(InitAuthority(folder_.path() + "/other", 365, false).ok());
  EXPECT_NE(Verify(folder_.path() + "/other/ca.crt", Path("web1.crt"), X509_PURPOSE_SSL_CLIENT),
            X509_V_OK);
}

// An agent's certificate must not be able to make further ones.
TEST_F(AuthorityTest, OnlyTheAuthorityIsOne) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("agent", "web1");
  EXPECT_EQ(X509_check_ca(ReadCertificate(Path("web1.crt"))->get()), 0);
  EXPECT_EQ(X509_check_ca(ReadCertificate(Path("ca.crt"))->get()), 1);
}

TEST_F(AuthorityTest, KeysAreSecretAndNothingElseIsLeft) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("agent", "web1");
  EXPECT_EQ(ModeOf(Path("ca.key")), 0600U);
  EXPECT_EQ(ModeOf(Path("web1.key")), 0600U);
  EXPECT_EQ(ModeOf(Path("web1.crt")), 0644U);
  EXPECT_EQ(ModeOf(ca()), 0700U);
  EXPECT_EQ(std::distance(fs::directory_iterator(ca()), fs::directory_iterator()), 4);
}

TEST_F(AuthorityTest, NeverReplacesUnlessForced) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("agent", "web1");
  const std::string key = test::ReadFile(Path("web1.key"));
  const std::string ca_key = test::ReadFile(Path("ca.key"));
  EXPECT_EQ(InitAuthority(ca(), 365, false).status().code(), absl::StatusCode::kAlreadyExists);
  const auto again = IssueCertificate(ca(), ca(), {"agent", "web1", {}, {}, 30, false});
  EXPECT_THAT(std::string(again.status().message()), HasSubstr("exists already; --force"));
  EXPECT_EQ(test::ReadFile(Path("web1.key")), key);
  EXPECT_EQ(test::ReadFile(Path("ca.key")), ca_key);
  ASSERT_TRUE(IssueCertificate(ca(), ca(), {"agent", "web1", {}, {}, 30, true}).ok());
  EXPECT_NE(test::ReadFile(Path("web1.key")), key);
  EXPECT_EQ(ModeOf(Path("web1.key")), 0600U);
  // Either half alone is enough to refuse: a key without its certificate may still be in use.
  fs::remove(Path("web1.crt"));
  EXPECT_FALSE(IssueCertificate(ca(), ca(), {"agent", "web1", {}, {}, 30, false}).ok());
}

TEST_F(AuthorityTest, RefusesBadRequests) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  const IssueRequest bad[] = {
      {"agnt", "web1", {}, {}, 30, false},
      {"agent", "../web1", {}, {}, 30, false},
      {"agent", "", {}, {}, 30, false},
      {"agent", "ca", {}, {}, 30, true},
      {"agent", "web1", {}, {}, 0, false},
      {"agent", "web1", {}, {}, 4000, false},
      {"controller", "main", {"a.org,URI:spiffe://firedrill/operator/root"}, {}, 30, false},
      {"controller", "main", {}, {"1.2.3"}, 30, false},
  };
  for (const IssueRequest& request : bad) {
    EXPECT_EQ(IssueCertificate(ca(), ca(), request).status().code(),
              absl::StatusCode::kInvalidArgument)
        << request.role << " " << request.name;
  }
  EXPECT_THAT(std::string(IssueCertificate(ca(), ca(), bad[0]).status().message()),
              HasSubstr("did you mean agent?"));
  EXPECT_EQ(std::distance(fs::directory_iterator(ca()), fs::directory_iterator()), 2);
}

TEST_F(AuthorityTest, SaysWhatIsWrongWithTheAuthority) {
  EXPECT_THAT(
      std::string(
          IssueCertificate(ca(), ca(), {"agent", "a", {}, {}, 30, false}).status().message()),
      HasSubstr("ca/ca.crt: No such file or directory; `firedrill ca init` makes"));
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  ASSERT_TRUE(InitAuthority(folder_.path() + "/other", 365, false).ok());
  fs::copy_file(folder_.path() + "/other/ca.key", Path("ca.key"),
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(
      std::string(
          IssueCertificate(ca(), ca(), {"agent", "a", {}, {}, 30, false}).status().message()),
      HasSubstr("does not belong to"));
}

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Context MakeContext(const std::string& ca, const std::string& certificate, const std::string& key) {
  Context context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  SSL_CTX_load_verify_file(context.get(), ca.c_str());
  SSL_CTX_use_certificate_file(context.get(), certificate.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

// A handshake through memory, as both programs do it.
bool ShakeHands(SSL_CTX* server_context, SSL_CTX* client_context, const char* host) {
  const std::unique_ptr<SSL, decltype(&SSL_free)> server(SSL_new(server_context), SSL_free);
  const std::unique_ptr<SSL, decltype(&SSL_free)> client(SSL_new(client_context), SSL_free);
  BIO *server_end = nullptr, *client_end = nullptr;
  BIO_new_bio_pair(&server_end, 0, &client_end, 0);
  SSL_set_bio(server.get(), server_end, server_end);
  SSL_set_bio(client.get(), client_end, client_end);
  SSL_set1_host(client.get(), host);
  SSL_set_accept_state(server.get());
  SSL_set_connect_state(client.get());
  int server_done = 0, client_done = 0;
  for (int i = 0; i < 10 && (server_done != 1 || client_done != 1); ++i) {
    client_done = SSL_do_handshake(client.get());
    server_done = SSL_do_handshake(server.get());
  }
  return server_done == 1 && client_done == 1;
}

TEST_F(AuthorityTest, ProgramsShakeHandsWithThem) {
  ASSERT_TRUE(InitAuthority(ca(), 365, false).ok());
  Issue("controller", "main", {"chaos.example.org"});
  Issue("agent", "web1");
  const Context server = MakeContext(Path("ca.crt"), Path("main.crt"), Path("main.key"));
  const Context client = MakeContext(Path("ca.crt"), Path("web1.crt"), Path("web1.key"));
  EXPECT_TRUE(ShakeHands(server.get(), client.get(), "chaos.example.org"));
  EXPECT_FALSE(ShakeHands(server.get(), client.get(), "other.example.org"));

  ASSERT_TRUE(InitAuthority(folder_.path() + "/other", 365, false).ok());
  const auto strange = IssueCertificate(folder_.path() + "/other", folder_.path() + "/other",
                                        {"agent", "web1", {}, {}, 30, false});
  ASSERT_TRUE(strange.ok());
  const Context stranger = MakeContext(Path("ca.crt"), strange->certificate, strange->key);
  EXPECT_FALSE(ShakeHands(server.get(), stranger.get(), "chaos.example.org"));
}

}  // namespace
}  // namespace firedrill::cli
