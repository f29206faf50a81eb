// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class AuthContext;
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace firedrill {

/// How a program proves who it is. Mutual TLS from three PEM files, or, on loopback alone, nothing.
struct CredentialOptions {
  std::string ca;    ///< File of the certificates that peers' certificates must come from.
  std::string cert;  ///< File of this program's certificate (chain).
  std::string key;   ///< File of its private key.
  bool insecure = false;
};

/// Checks files and options without using them: exactly `insecure`, or all three files, readable,
/// the key belonging to the certificate, the certificate valid now.
/// INVALID_ARGUMENT names the flag or the file and what is wrong.
absl::Status CheckCredentials(const CredentialOptions& options);

/// For a server: clients must show a certificate of the CA. Changed files are taken up without a
/// restart, within ten seconds. Errors as CheckCredentials.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const CredentialOptions& options);

/// For a client: the server's certificate must come from the CA and name the host that was dialled.
/// The files are read now: make them anew for each dial, and changed files are taken up. Errors as
/// CheckCredentials.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const CredentialOptions& options);

/// OK if `address` (host:port, [v6]:port, localhost:port) is on loopback, where alone programs may
/// talk without TLS. INVALID_ARGUMENT otherwise. A name other than localhost counts as elsewhere.
absl::Status CheckLoopback(const std::string& address);

/// The name in the peer's certificate: the URI of its SPIFFE id if it has one, else "CN=" and its
/// common name, which is for messages: nobody checks what stands there, so it must not pass for a
/// URI. Empty for a peer without a certificate.
std::string PeerName(const grpc::AuthContext& context);

/// What a person ought to look at when a connection failed with `status`; empty when nothing helps.
/// A client whose certificate was refused sees only "Socket closed".
std::string ConnectionHint(const absl::Status& status);

}  // namespace firedrill
