// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace firedrill::agent {

/// While one lives, what libbpf warns of in its thread is kept instead of printed. Not to be
/// nested.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  /// The last words: those of the verifier are long, and their end says why.
  static std::string Text();
};

}  // namespace firedrill::agent
