// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "agent/host/libbpf_log.h"
#include "agent/traffic/jitter_table.h"
#include "bpf/traffic.skel.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

absl::Status LoadError(int error) {
  if (error == EPERM || error == EACCES) {
    return absl::PermissionDeniedError(
        fmt::format("load the traffic programs: {}; needs root, or CAP_BPF with CAP_NET_ADMIN. {}",
                    std::strerror(error), LibbpfLog::Text()));
  }
  return absl::UnimplementedError(fmt::format(
      "load the traffic programs: {}; this kernel lacks BPF classifiers or one of their "
      "helpers (CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF, Linux 5.15 or newer). {}",
      std::strerror(error), LibbpfLog::Text()));
}

template <typename Element>
Element* MapArray(const bpf_map* map, std::size_t count) {
  void* memory = mmap(nullptr, count * sizeof(Element), PROT_READ | PROT_WRITE, MAP_SHARED,
                      bpf_map__fd(map), 0);
  return memory == MAP_FAILED ? nullptr : static_cast<Element*>(memory);
}

// One element of a per-processor array, an entry a processor.
template <typename Element>
absl::StatusOr<std::vector<Element>> PerProcessor(const bpf_map* map, std::uint32_t key) {
  static_assert(sizeof(Element) % 8 == 0);  // The kernel rounds up to it.
  const int processors = libbpf_num_possible_cpus();
  if (processors < 0) return absl::ErrnoToStatus(-processors, "count processors");
  std::vector<Element> values(static_cast<std::size_t>(processors));
  const int result = bpf_map_lookup_elem(bpf_map__fd(map), &key, values.data());
  if (result < 0) return absl::ErrnoToStatus(-result, "read traffic counters");
  return values;
}

absl::Status ToStatus(int result, const char* action) {
  return result < 0 ? absl::ErrnoToStatus(-result, action) : absl::OkStatus();
}

absl::Status ChangePrefix(const traffic_bpf& skeleton, const Prefix& prefix,
                          const fd_masks* masks) {
  fd_prefix4 key4{.bits = static_cast<__u32>(prefix.bits), .address = {}};
  fd_prefix6 key6{.bits = static_cast<__u32>(prefix.bits), .address = {}};
  std::memcpy(key4.address, prefix.address.data() + 12, sizeof(key4.address));
  std::memcpy(key6.address, prefix.address.data(), sizeof(key6.address));
  const void* key = prefix.ipv4 ? static_cast<const void*>(&key4) : &key6;
  const int map =
      bpf_map__fd(prefix.ipv4 ? skeleton.maps.fd_prefixes4 : skeleton.maps.fd_prefixes6);
  if (masks == nullptr) return ToStatus(bpf_map_delete_elem(map, key), "remove a traffic address");
  return ToStatus(bpf_map_update_elem(map, key, masks, BPF_ANY), "add a traffic address");
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrafficPrograms>> TrafficPrograms::Load() {
  libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
  const LibbpfLog log;
  traffic_bpf* skeleton = traffic_bpf__open_and_load();
  if (skeleton == nullptr) return LoadError(errno);
  std::unique_ptr<TrafficPrograms> programs(new TrafficPrograms(skeleton));
  RETURN_IF_ERROR(programs->MapMemory());
  RETURN_IF_ERROR(programs->FillJitter());
  return programs;
}

absl::Status TrafficPrograms::MapMemory() {
  control_ = MapArray<fd_control>(skeleton_->maps.fd_control, 1);
  ports_ = MapArray<fd_masks>(skeleton_->maps.fd_ports, FD_PORTS);
  near_ = MapArray<fd_device>(skeleton_->maps.fd_near, FD_NEAR_DEVICES);
  if (control_ == nullptr || ports_ == nullptr || near_ == nullptr) {
    return absl::ErrnoToStatus(errno, "map the traffic programs' tables into memory");
  }
  return absl::OkStatus();
}

absl::Status TrafficPrograms::FillJitter() {
  std::vector<std::int32_t> table;
  for (const fd_distribution distribution : {FD_NORMAL, FD_PARETO}) {
    const std::vector<std::int32_t> quantiles = JitterTable(distribution);
    table.insert(table.end(), quantiles.begin(), quantiles.end());
  }
  std::vector<std::uint32_t> keys(table.size());
  std::iota(keys.begin(), keys.end(), 0u);
  auto count = static_cast<__u32>(keys.size());
  return ToStatus(bpf_map_update_batch(bpf_map__fd(skeleton_->maps.fd_jitter), keys.data(),
                                       table.data(), &count, nullptr),
                  "write the tables of jitter");
}

TrafficPrograms::~TrafficPrograms() {
  if (control_ != nullptr) munmap(control_, sizeof(fd_control));
  if (ports_ != nullptr) munmap(ports_, FD_PORTS * sizeof(fd_masks));
  if (near_ != nullptr) munmap(near_, FD_NEAR_DEVICES * sizeof(fd_device));
  traffic_bpf__destroy(skeleton_);
}

int TrafficPrograms::egress() const { return bpf_program__fd(skeleton_->progs.fd_egress); }
int TrafficPrograms::ingress() const { return bpf_program__fd(skeleton_->progs.fd_ingress); }
int TrafficPrograms::sockets_map() const { return bpf_map__fd(skeleton_->maps.fd_sockets); }
int TrafficPrograms::dns_names() const { return bpf_map__fd(skeleton_->maps.fd_dns_names); }
int TrafficPrograms::give_back() const { return bpf_program__fd(skeleton_->progs.fd_return); }
int TrafficPrograms::wire() const { return bpf_program__fd(skeleton_->progs.fd_wire); }

absl::Status TrafficPrograms::SetRule(std::uint32_t slot, const fd_rule& rule) {
  return ToStatus(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_rules), &slot, &rule, BPF_ANY),
                  "write a traffic rule");
}

absl::StatusOr<fd_rule> TrafficPrograms::Rule(std::uint32_t slot) const {
  fd_rule rule{};
  RETURN_IF_ERROR(ToStatus(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.fd_rules), &slot, &rule),
                           "read a traffic rule"));
  return rule;
}

void TrafficPrograms::MarkPorts(std::uint32_t slot, const TrafficMatch& match, bool set) {
  const std::uint64_t bit = std::uint64_t{1} << slot;
  const auto mark = [&](const std::vector<PortRange>& ranges, __u64 fd_masks::*masks) {
    for (const PortRange& range : ranges) {
      for (std::uint32_t port = range.first; port <= range.last; ++port) {
        if (set) {
          __atomic_fetch_or(&(ports_[port].*masks), bit, __ATOMIC_RELEASE);
        } else {
          __atomic_fetch_and(&(ports_[port].*masks), ~bit, __ATOMIC_RELEASE);
        }
      }
    }
  };
  mark(match.ports, &fd_masks::include);
  mark(match.excluded_ports, &fd_masks::exclude);
  mark(match.local_ports, &fd_masks::local);
  mark(match.remote_ports, &fd_masks::remote);
}

absl::Status TrafficPrograms::SetPrefixes(const std::map<Prefix, fd_masks>& table) {
  // Longer prefixes first when adding, so that none of what they cover is read without them; then
  // what is no longer needed.
  for (auto entry = table.rbegin(); entry != table.rend(); ++entry) {
    const auto present = prefixes_.find(entry->first);
    if (present != prefixes_.end() &&
        std::memcmp(&present->second, &entry->second, sizeof(fd_masks)) == 0)
      continue;
    RETURN_IF_ERROR(ChangePrefix(*skeleton_, entry->first, &entry->second));
    prefixes_[entry->first] = entry->second;
  }
  for (auto present = prefixes_.begin(); present != prefixes_.end();) {
    if (table.contains(present->first)) {
      ++present;
      continue;
    }
    RETURN_IF_ERROR(ChangePrefix(*skeleton_, present->first, nullptr));
    present = prefixes_.erase(present);
  }
  return absl::OkStatus();
}

absl::Status TrafficPrograms::SetDevice(const fd_hook& hook, const fd_device& device) {
  const int map = bpf_map__fd(skeleton_->maps.fd_devices);
  if (device.rules != 0) {
    RETURN_IF_ERROR(
        ToStatus(bpf_map_update_elem(map, &hook, &device, BPF_ANY), "add a traffic device"));
    devices_[{hook.ifindex, hook.direction}] = device;
    WriteNear(hook);
    return absl::OkStatus();
  }
  devices_.erase({hook.ifindex, hook.direction});
  WriteNear(hook);
  const int result = bpf_map_delete_elem(map, &hook);
  return ToStatus(result == -ENOENT ? 0 : result, "remove a traffic device");
}

// Packets read the entry while it is written: its rules are in it only while it is whole.
void TrafficPrograms::WriteNear(const fd_hook& hook) {
  const std::uint32_t slot = fd_near_slot(hook.ifindex, hook.direction);
  fd_device wanted{};
  for (const auto& [key, device] : devices_) {
    if (fd_near_slot(key.first, key.second) != slot) continue;
    const bool crowded = wanted.ifindex != 0;
    wanted = device;
    if (crowded) wanted = {.rules = 0, .ifindex = FD_CROWDED, .header_bytes = 0, .loopback = 0};
    if (crowded) break;
  }
  fd_device& entry = near_[slot];
  if (entry.ifindex != wanted.ifindex) {
    __atomic_store_n(&entry.rules, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry.ifindex, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry.header_bytes, wanted.header_bytes, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry.loopback, wanted.loopback, __ATOMIC_SEQ_CST);
    __atomic_store_n(&entry.ifindex, wanted.ifindex, __ATOMIC_SEQ_CST);
  }
  __atomic_store_n(&entry.rules, wanted.rules, __ATOMIC_SEQ_CST);
}

absl::StatusOr<fd_device> TrafficPrograms::Device(const fd_hook& hook) const {
  fd_device device{};
  RETURN_IF_ERROR(
      ToStatus(bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.fd_devices), &hook, &device),
               "read a traffic device"));
  return device;
}

absl::Status TrafficPrograms::Protect(const fd_endpoint& endpoint) {
  const __u32 yes = 1;
  return ToStatus(
      bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_protected), &endpoint, &yes, BPF_ANY),
      "protect an endpoint");
}

absl::Status TrafficPrograms::Unprotect(const fd_endpoint& endpoint) {
  const int result = bpf_map_delete_elem(bpf_map__fd(skeleton_->maps.fd_protected), &endpoint);
  return ToStatus(result == -ENOENT ? 0 : result, "unprotect an endpoint");
}

absl::Status TrafficPrograms::ClearStats(std::uint32_t slot) {
  ASSIGN_OR_RETURN(std::vector<fd_stats> values,
                   PerProcessor<fd_stats>(skeleton_->maps.fd_stats, slot));
  std::fill(values.begin(), values.end(), fd_stats{});
  const fd_state fresh{};
  for (const std::uint32_t direction : {FD_EGRESS, FD_INGRESS}) {
    const std::uint32_t state = slot * 2 + direction;
    RETURN_IF_ERROR(ToStatus(
        bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_states), &state, &fresh, BPF_ANY),
        "clear a traffic rule's state"));
  }
  const std::vector<fd_dns_stats> none(values.size());
  RETURN_IF_ERROR(ToStatus(
      bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_dns_stats), &slot, none.data(), BPF_ANY),
      "clear the counters of queries"));
  return ToStatus(
      bpf_map_update_elem(bpf_map__fd(skeleton_->maps.fd_stats), &slot, values.data(), BPF_ANY),
      "clear traffic counters");
}

absl::StatusOr<fd_stats> TrafficPrograms::Stats(std::uint32_t slot) const {
  ASSIGN_OR_RETURN(const std::vector<fd_stats> values,
                   PerProcessor<fd_stats>(skeleton_->maps.fd_stats, slot));
  fd_stats sum{};
  for (const fd_stats& value : values) {
    sum.matched_packets += value.matched_packets;
    sum.matched_bytes += value.matched_bytes;
    sum.hit_packets += value.hit_packets;
    sum.hit_bytes += value.hit_bytes;
    sum.queue_dropped_packets += value.queue_dropped_packets;
    sum.queue_dropped_bytes += value.queue_dropped_bytes;
    if (value.first_hit_ns != 0 && (sum.first_hit_ns == 0 || value.first_hit_ns < sum.first_hit_ns))
      sum.first_hit_ns = value.first_hit_ns;
  }
  return sum;
}

absl::StatusOr<fd_dns_stats> TrafficPrograms::DnsStats(std::uint32_t slot) const {
  ASSIGN_OR_RETURN(const std::vector<fd_dns_stats> values,
                   PerProcessor<fd_dns_stats>(skeleton_->maps.fd_dns_stats, slot));
  fd_dns_stats sum{};
  for (const fd_dns_stats& value : values) {
    sum.queries_matched += value.queries_matched;
    sum.queries_hit += value.queries_hit;
    sum.malformed_passed += value.malformed_passed;
    sum.tcp_queries_untouched += value.tcp_queries_untouched;
  }
  return sum;
}

absl::StatusOr<fd_totals> TrafficPrograms::Totals() const {
  ASSIGN_OR_RETURN(const std::vector<fd_totals> values,
                   PerProcessor<fd_totals>(skeleton_->maps.fd_totals, 0));
  fd_totals sum{};
  for (const fd_totals& value : values) {
    sum.later_fragments += value.later_fragments;
    sum.not_held += value.not_held;
    sum.unread += value.unread;
    sum.ownerless += value.ownerless;
    sum.not_returned += value.not_returned;
  }
  return sum;
}

absl::StatusOr<std::uint32_t> ProgramId(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  const int result = bpf_obj_get_info_by_fd(program, &info, &size);
  if (result < 0) return absl::ErrnoToStatus(-result, "read a BPF program's id");
  return info.id;
}

}  // namespace firedrill::agent
