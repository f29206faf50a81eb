// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "controller/http/server.h"

namespace firedrill::controller {

/// An answer with what only the router has to say.
struct RoutedResponse : HttpResponse {
  std::string allow;  ///< The header of a 405.
};

/// Finds the route of a request and asks its handler. Thread-safe once set up.
class Router {
 public:
  Router(std::vector<Route> routes, std::string token_file);

  /// 404 and 405 for what is in no route; 401 without the right `authorization`, the header's text;
  /// 500 when the token cannot be read, or the handler throws.
  RoutedResponse Answer(HttpRequest request, const std::string& authorization) const;

 private:
  HttpResponse Ask(const Route& route, const HttpRequest& request,
                   const std::string& authorization) const;
  const std::vector<Route> routes_;
  const std::string token_file_;
};

}  // namespace firedrill::controller
