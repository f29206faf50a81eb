// SPDX-License-Identifier: Apache-2.0
#include "controller/cli/ca/certificate.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "absl/strings/str_join.h"
#include "proto/support/status_macros.h"

namespace firedrill::cli {
namespace {

template <auto function>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Number = std::unique_ptr<BIGNUM, Deleter<BN_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;
using File = std::unique_ptr<std::FILE, Deleter<std::fclose>>;

absl::Status OpenSslError(const char* what) {
  char reason[256] = "unknown";
  const unsigned long code = ERR_get_error();
  if (code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return absl::InternalError(fmt::format("{}: {}", what, reason));
}

// 127 random bits: never negative, and never the same twice.
absl::Status SetSerial(X509* certificate) {
  const Number number(BN_new());
  if (!number || BN_rand(number.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return OpenSslError("choose a serial number");
  }
  return absl::OkStatus();
}

absl::Status AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return OpenSslError(OBJ_nid2sn(nid));
  }
  return absl::OkStatus();
}

absl::Status AddExtensions(const Subject& subject, X509* certificate, X509* issuer) {
  const auto add = [&](int nid, const char* value) {
    return AddExtension(certificate, issuer, nid, value);
  };
  RETURN_IF_ERROR(add(NID_basic_constraints,
                      subject.authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE"));
  RETURN_IF_ERROR(add(NID_key_usage, subject.authority ? "critical,keyCertSign,cRLSign"
                                                       : "critical,digitalSignature"));
  if (!subject.authority) RETURN_IF_ERROR(add(NID_ext_key_usage, "serverAuth,clientAuth"));
  RETURN_IF_ERROR(add(NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(add(NID_authority_key_identifier, "keyid"));
  if (!subject.alternatives.empty()) {
    RETURN_IF_ERROR(add(NID_subject_alt_name, absl::StrJoin(subject.alternatives, ",").c_str()));
  }
  return absl::OkStatus();
}

std::string Contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

absl::StatusOr<File> Open(const std::string& path) {
  File file(std::fopen(path.c_str(), "re"));
  if (file) return file;
  const char* advice =
      errno == ENOENT ? "; `firedrill ca init` makes an authority, --ca-dir says where it is" : "";
  return absl::InvalidArgumentError(
      fmt::format("cannot read {}: {}{}", path, std::strerror(errno), advice));
}

}  // namespace

void KeyDeleter::operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
void CertificateDeleter::operator()(X509* certificate) const { X509_free(certificate); }

absl::StatusOr<Key> MakeKey() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslError("make a key");
  return key;
}

absl::StatusOr<Certificate> MakeCertificate(const Subject& subject, EVP_PKEY* key, X509* issuer,
                                            EVP_PKEY* issuer_key) {
  // Back-dated, so that hosts whose clocks are a little behind take it at once.
  constexpr long kBackdatedSeconds = 3600;
  Certificate certificate(X509_new());
  if (!certificate) return OpenSslError("make a certificate");
  X509* const self = certificate.get();
  X509* const signer = issuer == nullptr ? self : issuer;
  RETURN_IF_ERROR(SetSerial(self));
  X509_NAME* const name = X509_get_subject_name(self);
  const auto* text = reinterpret_cast<const unsigned char*>(subject.common_name.c_str());
  const bool built =
      X509_set_version(self, X509_VERSION_3) == 1 &&
      X509_gmtime_adj(X509_getm_notBefore(self), -kBackdatedSeconds) != nullptr &&
      X509_time_adj_ex(X509_getm_notAfter(self), subject.days, 0, nullptr) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>("Firedrill"), -1, -1,
                                 0) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, text, -1, -1, 0) == 1 &&
      X509_set_issuer_name(self, X509_get_subject_name(signer)) == 1 &&
      X509_set_pubkey(self, key) == 1;
  if (!built) return OpenSslError("fill a certificate");
  RETURN_IF_ERROR(AddExtensions(subject, self, signer));
  if (X509_sign(self, issuer_key == nullptr ? key : issuer_key, EVP_sha256()) == 0) {
    return OpenSslError("sign a certificate");
  }
  return certificate;
}

std::string ToPem(const X509& certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), &certificate);
  return Contents(bio.get());
}

std::string ToPem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return Contents(bio.get());
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(path));
  Certificate certificate(PEM_read_X509(file.get(), nullptr, nullptr, nullptr));
  if (certificate) return certificate;
  ERR_clear_error();
  return absl::InvalidArgumentError(path + " holds no certificate in PEM form");
}

absl::StatusOr<Key> ReadKey(const std::string& path) {
  ASSIGN_OR_RETURN(const File file, Open(path));
  // The callback keeps OpenSSL from asking for a password on the terminal.
  Key key(PEM_read_PrivateKey(
      file.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  if (key) return key;
  ERR_clear_error();
  return absl::InvalidArgumentError(path + " holds no private key in PEM form");
}

std::string ValidUntil(const X509& certificate) {
  std::tm time{};
  char text[32] = "";
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &time) != 1) return "unknown";
  std::strftime(text, sizeof(text), "%Y-%m-%d", &time);
  return text;
}

}  // namespace firedrill::cli
