// SPDX-License-Identifier: Apache-2.0
#include "controller/http/router.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/support/secret_file.h"

namespace firedrill::controller {
namespace {

HttpResponse Plain(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::move(text) + "\n"};
}

// Takes as long for a wrong token as for the right one.
bool Same(const std::string& left, const std::string& right) {
  unsigned difference = left.size() == right.size() ? 0 : 1;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const char other = right.empty() ? '\0' : right[i % right.size()];
    difference |= static_cast<unsigned char>(left[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

bool IsBearer(const std::string& authorization) {
  const std::string scheme = "bearer ";
  if (authorization.size() < scheme.size()) return false;
  return std::equal(scheme.begin(), scheme.end(), authorization.begin(), [](char want, char have) {
    return want == std::tolower(static_cast<unsigned char>(have));
  });
}

}  // namespace

Router::Router(std::vector<Route> routes, std::string token_file)
    : routes_(std::move(routes)), token_file_(std::move(token_file)) {}

RoutedResponse Router::Answer(HttpRequest request, const std::string& authorization) const {
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  RoutedResponse response;
  for (const Route& route : routes_) {
    if (route.path != request.path) continue;
    if (route.method == method) {
      request.method = method;
      return {Ask(route, request, authorization), ""};
    }
    response.allow += (response.allow.empty() ? "" : ", ") + route.method;
    if (route.method == "GET") response.allow += ", HEAD";
  }
  static_cast<HttpResponse&>(response) = response.allow.empty()
                                             ? Plain(404, "there is nothing at " + request.path)
                                             : Plain(405, "this wants " + response.allow);
  return response;
}

HttpResponse Router::Ask(const Route& route, const HttpRequest& request,
                         const std::string& authorization) const {
  if (route.token) {
    const absl::StatusOr<std::string> token = ReadSecretFile(token_file_);
    // A file without a token lets nobody in; whoever asks is told no path.
    if (!token.ok()) return Plain(500, "the server's token file does not hold a token");
    if (!IsBearer(authorization) || !Same(authorization.substr(7), *token)) {
      return Plain(401, "this wants the header Authorization: Bearer with the token");
    }
  }
  try {
    return route.handler(request);
  } catch (const std::exception& error) {
    return Plain(500, std::string("failed: ") + error.what());
  }
}

}  // namespace firedrill::controller
