// SPDX-License-Identifier: Apache-2.0
#include "controller/pager/signature.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace firedrill::controller {
namespace {

std::string Hex(std::string_view body, const std::string& secret) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest.data(), &size);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace

bool IsSignedBy(std::string_view header, std::string_view body,
                const std::vector<std::string>& secrets) {
  bool good = false;
  for (const std::string& secret : secrets) {
    const std::string wanted = Hex(body, secret);
    for (absl::string_view given :
         absl::StrSplit(absl::string_view(header.data(), header.size()), ',')) {
      given = absl::StripAsciiWhitespace(given);
      if (!absl::ConsumePrefix(&given, "v1=") || given.size() != wanted.size()) continue;
      good |= CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
    }
  }
  return good;
}

}  // namespace firedrill::controller
