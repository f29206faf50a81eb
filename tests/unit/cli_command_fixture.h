// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "controller/cli/commands/dispatch.h"
#include "controller/cli/commands/invocation.h"
#include "tests/lib/process.h"
#include "tests/unit/cli_fake_controller.h"

namespace firedrill::cli {

inline constexpr const char* kExperiment = R"(name: cache-loss
hypothesis: It holds.
environment: staging
targets: {cache: {labels: {role: cache}}}
method:
  - {name: lose, target: cache, duration: 1m, fault: {packet_loss: {percent: 33}}}
)";

/// What one command left.
struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

/// Runs commands in this process, with a home of their own and a controller that a test plays.
class CommandTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) const {
    return folder_.Write(name, text);
  }

  Result Run(const std::vector<std::string>& argv) {
    std::ostringstream out, err;
    Context context{out, err, [this](const std::string& name) { return environment_[name]; },
                    Clock::Real(), "firedrill"};
    const int code = static_cast<int>(Dispatch(context, argv));
    return {code, out.str(), err.str()};
  }

  /// With the fake controller's address.
  Result Ask(std::vector<std::string> argv) {
    for (const char* word : {"--insecure", "--controller"}) argv.emplace_back(word);
    argv.push_back(fake_.address());
    return Run(argv);
  }

  test::TemporaryFolder folder_;
  std::map<std::string, std::string> environment_{{"HOME", folder_.path()}};
  test::FakeController fake_;
};

}  // namespace firedrill::cli
