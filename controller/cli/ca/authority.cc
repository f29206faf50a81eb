// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/ca/authority.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "controller/cli/ca/certificate.h"
#include "controller/cli/ca/secret_file.h"
#include "proto/support/field_rules.h"
#include "proto/support/problem.h"
#include "proto/support/status_macros.h"

namespace firedrill::cli {
namespace {

constexpr mode_t kSecret = 0600;
constexpr mode_t kPublic = 0644;

absl::Status CheckDays(int days) {
  if (days >= 1 && days <= 3650) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("--days: found {}; allowed: 1 to 3650", days));
}

// A comma or a colon would smuggle further names into the certificate.
absl::Status CheckDns(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 253 && name.front() != '.' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '*';
                    });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "--dns: found {}; allowed: a host's name, such as chaos.example.org", Quoted(name)));
}

absl::Status CheckIp(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1 ||
      inet_pton(AF_INET6, address.c_str(), &v6) == 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("--ip: found {}; allowed: an address, such as 192.0.2.1", Quoted(address)));
}

absl::StatusOr<std::vector<std::string>> Alternatives(const IssueRequest& request) {
  std::vector<std::string> names = {
      fmt::format("URI:spiffe://firedrill/{}/{}", request.role, request.name)};
  std::vector<std::string> dns = request.dns, ip = request.ip;
  if (request.role == "controller" && dns.empty() && ip.empty()) {
    dns = {"localhost"};
    ip = {"127.0.0.1", "::1"};
  }
  for (const std::string& name : dns) {
    RETURN_IF_ERROR(CheckDns(name));
    names.push_back("DNS:" + name);
  }
  for (const std::string& address : ip) {
    RETURN_IF_ERROR(CheckIp(address));
    names.push_back("IP:" + address);
  }
  return names;
}

// Certificate and key are one thing: neither is touched when the other cannot be written.
absl::StatusOr<Issued> Save(const std::string& directory, const std::string& name,
                            const X509& certificate, EVP_PKEY* key, bool force) {
  Issued issued{directory + "/" + name + ".crt", directory + "/" + name + ".key",
                ValidUntil(certificate)};
  for (const std::string& path : {issued.certificate, issued.key}) {
    if (!force && access(path.c_str(), F_OK) == 0) {
      return absl::AlreadyExistsError(path + " exists already; --force replaces it");
    }
  }
  RETURN_IF_ERROR(WriteWhole(issued.key, ToPem(key), kSecret, force));
  RETURN_IF_ERROR(WriteWhole(issued.certificate, ToPem(certificate), kPublic, force));
  return issued;
}

}  // namespace

absl::StatusOr<Issued> InitAuthority(const std::string& directory, int days, bool force) {
  RETURN_IF_ERROR(CheckDays(days));
  RETURN_IF_ERROR(MakeDirectory(directory));
  ASSIGN_OR_RETURN(const Key key, MakeKey());
  const Subject subject{"Firedrill CA", true, {}, days};
  ASSIGN_OR_RETURN(const Certificate certificate,
                   MakeCertificate(subject, key.get(), nullptr, nullptr));
  return Save(directory, "ca", *certificate, key.get(), force);
}

absl::StatusOr<Issued> IssueCertificate(const std::string& directory, const std::string& out,
                                        const IssueRequest& request) {
  const std::vector<std::string> roles = {"controller", "agent", "operator"};
  if (std::find(roles.begin(), roles.end(), request.role) == roles.end()) {
    return absl::InvalidArgumentError(
        fmt::format("found {}; {}", Quoted(request.role), SuggestFrom(request.role, roles)));
  }
  if (const absl::Status name = CheckFormat(v1::FORMAT_NAME, request.name); !name.ok()) {
    return absl::InvalidArgumentError(
        fmt::format("NAME: found {}; {}", Quoted(request.name), std::string(name.message())));
  }
  if (request.name == "ca") {
    return absl::InvalidArgumentError("NAME: ca is the authority's own; choose another");
  }
  RETURN_IF_ERROR(CheckDays(request.days));
  ASSIGN_OR_RETURN(const std::vector<std::string> alternatives, Alternatives(request));
  ASSIGN_OR_RETURN(const Certificate ca, ReadCertificate(directory + "/ca.crt"));
  ASSIGN_OR_RETURN(const Key ca_key, ReadKey(directory + "/ca.key"));
  if (X509_check_private_key(ca.get(), ca_key.get()) != 1) {
    return absl::InvalidArgumentError(
        fmt::format("{0}/ca.key does not belong to {0}/ca.crt", directory));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(ca.get())) < 0) {
    return absl::InvalidArgumentError(fmt::format(
        "{}/ca.crt expired on {}; `firedrill ca init --force` makes a new one, and every "
        "certificate must then be issued anew",
        directory, ValidUntil(*ca)));
  }
  RETURN_IF_ERROR(MakeDirectory(out));
  ASSIGN_OR_RETURN(const Key key, MakeKey());
  const Subject subject{request.name, false, alternatives, request.days};
  ASSIGN_OR_RETURN(const Certificate certificate,
                   MakeCertificate(subject, key.get(), ca.get(), ca_key.get()));
  return Save(out, request.name, *certificate, key.get(), request.force);
}

}  // namespace firedrill::cli
