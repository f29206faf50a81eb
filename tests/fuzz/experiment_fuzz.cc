// SPDX-License-Identifier: Apache-2.0
// Any text gives an experiment or findings that say something; an accepted one is written and read
// back to the same.
#include <google/protobuf/util/message_differencer.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "controller/experiment/reader.h"
#include "controller/experiment/writer.h"

namespace {

void Fail(const char* why, const std::string& text) {
  std::fprintf(stderr, "%s\n%s\n", why, text.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using firedrill::controller::ReadExperiment;
  const firedrill::controller::Reading reading =
      ReadExperiment(std::string_view(reinterpret_cast<const char*>(data), size));
  for (const auto& finding : reading.findings) {
    if (finding.problem.found.empty()) Fail("a finding without words", "");
    if (ToString(finding, "file.yaml").size() < sizeof("file.yaml: ")) Fail("an empty finding", "");
  }
  if (!reading.findings.empty()) return 0;
  const std::string written = firedrill::controller::WriteExperiment(reading.experiment);
  const firedrill::controller::Reading again = ReadExperiment(written);
  if (!again.findings.empty()) Fail(ToString(again.findings[0], "written").c_str(), written);
  if (!google::protobuf::util::MessageDifferencer::Equals(reading.experiment, again.experiment)) {
    Fail("read back to another experiment", written);
  }
  return 0;
}
