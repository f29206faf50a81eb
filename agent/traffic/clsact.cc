// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/clsact.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/pkt_sched.h>

#include <cerrno>
#include <charconv>

#include "agent/journal/journal.h"
#include "agent/traffic/attachment.h"
#include "agent/traffic/leftovers.h"
#include "agent/traffic/programs.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

bpf_tc_attach_point Point(fd_direction direction) {
  return direction == FD_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

std::string ValueOf(const UndoRecord& record, const std::string& name) {
  const auto found = record.values.find(name);
  return found == record.values.end() ? "" : found->second;
}

absl::Status RemoveIfEmpty(int device_index, Netlink& netlink) {
  ASSIGN_OR_RETURN(const bool there, netlink.HasQdisc(device_index, "clsact"));
  if (!there) return absl::OkStatus();
  ASSIGN_OR_RETURN(const int filters, netlink.CountClsactFilters(device_index));
  return filters == 0 ? netlink.DeleteClsact(device_index) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Clsact> Clsact::Open(const NetworkDevice& device, Journal* journal,
                                    Netlink& netlink) {
  Clsact clsact;
  clsact.device_index_ = device.index;
  ASSIGN_OR_RETURN(const bool there, netlink.HasQdisc(device.index, "clsact"));
  // The two cannot be on one device, and a filter meant for clsact would land on the other, where
  // packets that leave never come by.
  ASSIGN_OR_RETURN(const bool other, netlink.HasQdisc(device.index, "ingress"));
  if (other) {
    return absl::FailedPreconditionError(fmt::format(
        "{0} has an ingress qdisc, beside which a clsact qdisc cannot be: replace it by a clsact "
        "one (tc qdisc show dev {0}), or use Linux 6.6 or newer",
        device.name));
  }
  clsact.made_ = !there;
  if (journal != nullptr) {
    ASSIGN_OR_RETURN(clsact.record_,
                     journal->Record(kClsactRecord, {{"device", device.name},
                                                     {"device_index", std::to_string(device.index)},
                                                     {"made_qdisc", clsact.made_ ? "yes" : "no"}}));
    clsact.journal_ = journal;
  }
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = device.index;
  hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  const int result = there ? 0 : bpf_tc_hook_create(&hook);
  if (result == -EEXIST) clsact.made_ = false;
  if (result < 0 && result != -EEXIST) {
    clsact.made_ = false;
    clsact.Close(netlink).IgnoreError();
    if (result == -ENOENT || result == -EOPNOTSUPP) {
      return absl::UnimplementedError(
          "this kernel has neither TCX links (Linux 6.6) nor the clsact qdisc "
          "(CONFIG_NET_SCH_INGRESS)");
    }
    return absl::ErrnoToStatus(-result, fmt::format("add a clsact qdisc to {}", device.name));
  }
  return clsact;
}

absl::Status Clsact::Close(Netlink& netlink) {
  if (!open_) return absl::OkStatus();
  open_ = false;
  // A device that is gone has taken its qdisc along.
  if (made_ && netlink.Device(device_index_).ok()) {
    RETURN_IF_ERROR(RemoveIfEmpty(device_index_, netlink));
  }
  return journal_ == nullptr ? absl::OkStatus() : journal_->Forget(record_);
}

absl::StatusOr<BpfFilter> AddClsactFilter(int program, const NetworkDevice& device,
                                          fd_direction direction, Netlink& netlink) {
  const std::uint32_t parent =
      TC_H_MAKE(TC_H_CLSACT, direction == FD_EGRESS ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS);
  ASSIGN_OR_RETURN(const std::uint32_t lowest, netlink.LowestPriority(device.index, parent));
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = device.index;
  hook.attach_point = Point(direction);
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.prog_fd = program;
  // In front of all others. Left to itself the kernel chooses from its upper half, behind users'
  // own numbers; of BPF filters with the same number the newest comes first. 0: no others.
  options.priority = lowest > 1 ? lowest - 1 : lowest;
  int result = bpf_tc_attach(&hook, &options);
  if (result == -EINVAL && lowest == 1) {
    options.priority = 0;
    result = bpf_tc_attach(&hook, &options);
  }
  if (result < 0) {
    return absl::ErrnoToStatus(-result, fmt::format("attach traffic filter to {} {}", device.name,
                                                    direction == FD_EGRESS ? "egress" : "ingress"));
  }
  ASSIGN_OR_RETURN(const std::uint32_t id, ProgramId(program));
  return BpfFilter{.device_index = device.index,
                   .parent = parent,
                   .handle = options.handle,
                   .priority = options.priority,
                   .program_id = id};
}

absl::Status UndoClsact(const UndoRecord& record, const Host&) {
  if (!record.same_boot) return absl::OkStatus();
  const std::string name = ValueOf(record, "device");
  const std::string number = ValueOf(record, "device_index");
  int index = 0;
  std::from_chars(number.data(), number.data() + number.size(), index);
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  const absl::StatusOr<NetworkDevice> device = netlink.Device(index);
  if (!device.ok()) return absl::OkStatus();  // Gone, and with it all that was on it.
  RETURN_IF_ERROR(RemoveDeadFilters(*device, netlink));
  ASSIGN_OR_RETURN(const bool in_use, HasFiltersOf(record.writer, *device, netlink));
  if (in_use) {
    return absl::FailedPreconditionError(fmt::format(
        "traffic filters on {} belong to worker {}, which lives", device->name, record.writer));
  }
  const bool same = device->name == name;
  return same && ValueOf(record, "made_qdisc") == "yes" ? RemoveIfEmpty(index, netlink)
                                                        : absl::OkStatus();
}

}  // namespace firedrill::agent
