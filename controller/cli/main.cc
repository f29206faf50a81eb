// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "controller/cli/commands/dispatch.h"

int main(int argc, char** argv) {
  return firedrill::cli::Main(std::vector<std::string>(argv, argv + argc));
}
