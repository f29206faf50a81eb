// SPDX-License-Identifier: Apache-2.0
#include "agent/host/libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace firedrill::agent {
namespace {

thread_local std::string log_text;
thread_local libbpf_print_fn_t previous = nullptr;

int Collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level > LIBBPF_WARN) return 0;
  constexpr std::size_t kMost = 2000;
  char line[1024];
  vsnprintf(line, sizeof(line), format, arguments);
  log_text += line;
  if (log_text.size() > kMost) log_text.erase(0, log_text.size() - kMost);
  return 0;
}

}  // namespace

LibbpfLog::LibbpfLog() {
  log_text.clear();
  previous = libbpf_set_print(Collect);
}

LibbpfLog::~LibbpfLog() { libbpf_set_print(previous); }

std::string LibbpfLog::Text() { return log_text; }

}  // namespace firedrill::agent
