// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

// Certificates and keys of OpenSSL 3: elliptic curve P-256, X.509 version 3, SHA-256.
namespace firedrill::cli {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const;
};
struct CertificateDeleter {
  void operator()(X509* certificate) const;
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;
using Certificate = std::unique_ptr<X509, CertificateDeleter>;

/// What a certificate says.
struct Subject {
  std::string common_name;
  bool authority = false;                 ///< May sign others, but not other authorities.
  std::vector<std::string> alternatives;  ///< "URI:spiffe://…", "DNS:localhost", "IP:127.0.0.1"
  int days = 0;
};

absl::StatusOr<Key> MakeKey();

/// Signs a certificate for `key`; `issuer` null: by itself.
absl::StatusOr<Certificate> MakeCertificate(const Subject& subject, EVP_PKEY* key, X509* issuer,
                                            EVP_PKEY* issuer_key);

std::string ToPem(const X509& certificate);
std::string ToPem(EVP_PKEY* key);
/// INVALID_ARGUMENT if the file holds none.
absl::StatusOr<Certificate> ReadCertificate(const std::string& path);
absl::StatusOr<Key> ReadKey(const std::string& path);

/// Last day of validity, 2026-11-22.
std::string ValidUntil(const X509& certificate);

}  // namespace firedrill::cli
