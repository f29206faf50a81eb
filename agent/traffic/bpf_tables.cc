// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/bpf_tables.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "agent/host/descriptor.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {

absl::StatusOr<bool> ReadBpfTable(std::uint32_t id, const char* name, void* value,
                                  std::size_t size) {
  const int opened = bpf_map_get_fd_by_id(id);
  if (opened == -ENOENT) return false;
  if (opened < 0) return absl::ErrnoToStatus(-opened, "open one of the kernel's BPF tables");
  const Descriptor map(opened);
  bpf_map_info info{};
  __u32 length = sizeof(info);
  int result = bpf_obj_get_info_by_fd(map.get(), &info, &length);
  if (result < 0) return absl::ErrnoToStatus(-result, "ask what one of the BPF tables is");
  if (std::strcmp(info.name, name) != 0 || info.value_size != size) return false;
  const __u32 zero = 0;
  result = bpf_map_lookup_elem(map.get(), &zero, value);
  if (result < 0) return absl::ErrnoToStatus(-result, fmt::format("read the BPF table {}", name));
  return true;
}

absl::Status VisitBpfTables(const std::function<absl::Status(std::uint32_t id)>& visit) {
  __u32 id = 0;
  int result = 0;
  while ((result = bpf_map_get_next_id(id, &id)) == 0) RETURN_IF_ERROR(visit(id));
  return result == -ENOENT ? absl::OkStatus()
                           : absl::ErrnoToStatus(-result, "list the kernel's BPF tables");
}

}  // namespace firedrill::agent
