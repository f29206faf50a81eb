// SPDX-License-Identifier: Apache-2.0
#include "controller/service/audit.h"

#include <spdlog/spdlog.h>

namespace firedrill::controller {

absl::Status Auditor::Write(const std::string& who, const std::string& action,
                            const std::string& subject, const std::string& detail) {
  spdlog::info("audit who={} action={} subject={} {}", who, action, subject, detail);
  return store_.Audit({clock_.System(), who, action, subject, detail});
}

void Auditor::Note(const std::string& who, const std::string& action, const std::string& subject,
                   const std::string& detail) {
  if (const absl::Status noted = Write(who, action, subject, detail); !noted.ok()) {
    spdlog::error("audit line not stored: {}", std::string(noted.message()));
  }
}

}  // namespace firedrill::controller
