// SPDX-License-Identifier: Apache-2.0
#include "proto/support/credentials.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/match.h"
#include "proto/support/status_macros.h"

namespace firedrill {
namespace {

constexpr unsigned kRefreshSeconds = 10;
constexpr std::size_t kLargestFile = 1 << 20;

template <auto function>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};
using File = std::unique_ptr<std::FILE, Deleter<std::fclose>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;

absl::StatusOr<File> Open(const std::string& flag, const std::string& path) {
  File file(std::fopen(path.c_str(), "re"));
  struct stat about {};
  if (file && fstat(fileno(file.get()), &about) == 0 && S_ISDIR(about.st_mode)) {
    return absl::InvalidArgumentError(
        fmt::format("--{}: {} is a directory; a file is needed", flag, path));
  }
  if (file) return file;
  return absl::InvalidArgumentError(
      fmt::format("--{}: cannot read {}: {}", flag, path, std::strerror(errno)));
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& flag, const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(flag, path));
  Certificate certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  if (certificate) return certificate;
  return absl::InvalidArgumentError(fmt::format(
      "--{}: {} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)", flag, path));
}

absl::Status CheckDates(const std::string& flag, const std::string& path, const X509& certificate) {
  if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0) {
    return absl::InvalidArgumentError(
        fmt::format("--{}: the certificate in {} is not valid yet; is this machine's clock right?",
                    flag, path));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(&certificate)) < 0) {
    return absl::InvalidArgumentError(fmt::format(
        "--{}: the certificate in {} has expired; make a new one with `firedrill ca`", flag, path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWhole(const std::string& flag, const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(flag, path));
  std::string text(kLargestFile, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  return text;
}

}  // namespace

absl::Status CheckCredentials(const CredentialOptions& options) {
  const bool any_file = !options.ca.empty() || !options.cert.empty() || !options.key.empty();
  if (options.insecure) {
    if (!any_file) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "--insecure and --ca, --cert, --key exclude each other; give either");
  }
  const struct {
    const char* flag;
    const std::string& path;
  } files[] = {{"ca", options.ca}, {"cert", options.cert}, {"key", options.key}};
  for (const auto& [flag, path] : files) {
    if (!path.empty()) continue;
    return absl::InvalidArgumentError(
        fmt::format("--{} is missing: mutual TLS needs --ca, --cert and --key (`firedrill ca init` "
                    "and `firedrill ca issue` make them); --insecure works on loopback alone",
                    flag));
  }
  ASSIGN_OR_RETURN(const Certificate ca, ReadCertificate("ca", options.ca));
  RETURN_IF_ERROR(CheckDates("ca", options.ca, *ca));
  ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate("cert", options.cert));
  RETURN_IF_ERROR(CheckDates("cert", options.cert, *certificate));
  ASSIGN_OR_RETURN(const File key_file, Open("key", options.key));
  // The callback keeps OpenSSL from asking for a password on the terminal.
  const Key key(PEM_read_PrivateKey(
      key_file.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  if (!key) {
    return absl::InvalidArgumentError(fmt::format(
        "--key: {} holds no private key in PEM form, or one that needs a password", options.key));
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("--key: the key in {} does not belong to the certificate in {}", options.key,
                    options.cert));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const CredentialOptions& options) {
  RETURN_IF_ERROR(CheckCredentials(options));
  if (options.insecure) return grpc::InsecureServerCredentials();
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          options.key, options.cert, options.ca, kRefreshSeconds));
  tls.watch_root_certs();
  tls.watch_identity_key_cert_pairs();
  tls.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(tls);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const CredentialOptions& options) {
  RETURN_IF_ERROR(CheckCredentials(options));
  if (options.insecure) return grpc::InsecureChannelCredentials();
  // Not TlsCredentials with a file watcher: gRPC 1.51 aborts in a client whose files have changed.
  grpc::SslCredentialsOptions ssl;
  ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadWhole("ca", options.ca));
  ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadWhole("cert", options.cert));
  ASSIGN_OR_RETURN(ssl.pem_private_key, ReadWhole("key", options.key));
  return grpc::SslCredentials(ssl);
}

absl::Status CheckLoopback(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  in_addr v4{};
  in6_addr v6{};
  const bool loopback =
      host == "localhost" ||
      (inet_pton(AF_INET, host.c_str(), &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) ||
      (inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
  if (loopback) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "--insecure works on loopback alone (127.0.0.1, [::1], localhost), and {} is not; "
      "use --ca, --cert and --key",
      address));
}

std::string PeerName(const grpc::AuthContext& context) {
  const auto first = [&context](const char* property) {
    const auto values = context.FindPropertyValues(property);
    return values.empty() ? "" : std::string(values.front().data(), values.front().size());
  };
  const std::string uri = first(GRPC_PEER_SPIFFE_ID_PROPERTY_NAME);
  if (!uri.empty()) return uri;
  const std::string common_name = first(GRPC_X509_CN_PROPERTY_NAME);
  return common_name.empty() ? "" : "CN=" + common_name;
}

std::string ConnectionHint(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kUnavailable) return "";
  const absl::string_view message = status.message();
  if (absl::StrContains(message, "Connection refused")) {
    return "nothing listens there: is the controller running, and is the port right?";
  }
  if (absl::StrContains(message, "DNS resolution failed") ||
      absl::StrContains(message, "Domain name not found")) {
    return "the controller's name does not resolve";
  }
  if (absl::StrContains(message, "Hostname Verification Check failed") ||
      absl::StrContains(message, "is not in peer certificate") ||
      absl::StrContains(message, "CERTIFICATE_VERIFY_FAILED") ||
      absl::StrContains(message, "certificate verify failed")) {
    return "the controller's certificate is of another CA, has expired, or does not name the host "
           "that was dialled; see --ca";
  }
  if (absl::StrContains(message, "WRONG_VERSION_NUMBER") ||
      absl::StrContains(message, "wrong version number")) {
    return "what listens there does not speak TLS: is it the controller's port, and was the "
           "controller started with certificates?";
  }
  if (absl::StrContains(message, "tcp handshaker shutdown")) {
    return "nobody answers at that address: is it right, is the host up, and may this host reach "
           "it through the network and its firewalls?";
  }
  if (absl::StrContains(message, "Socket closed") || absl::StrContains(message, "Handshake") ||
      absl::StrContains(message, "handshake")) {
    return "the other end closed the connection during its handshake: is this program's "
           "certificate (--cert) of the controller's CA, and do both ends use TLS, or neither?";
  }
  return "";
}

}  // namespace firedrill
