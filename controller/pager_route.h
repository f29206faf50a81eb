// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "controller/http/server.h"
#include "controller/run/engine.h"
#include "controller/service/audit.h"

namespace firedrill::controller {

/// Who may post to the pager's webhook.
struct PagerAccess {
  bool token = false;       ///< The bearer token of the server's token file is demanded.
  std::string secret_file;  ///< PagerDuty's form must be signed by one of its secrets; empty: not.
};

/// POST /webhook/pager: what a pager says of a run becomes a mark. 200: it is on disk; 202: there
/// is nothing to note; 400: not understood; 401: not signed; 409: no run is meant. PagerDuty
/// switches a subscription off for a day after three refusals, and pages when nobody drills too:
/// its form gets 202 in place of 409. The references must outlive the server.
Route MakePagerRoute(RunEngine& engine, Auditor& auditor, PagerAccess access);

}  // namespace firedrill::controller
