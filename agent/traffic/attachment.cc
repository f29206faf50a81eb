// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "agent/traffic/clsact.h"
#include "agent/traffic/programs.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

// Of newer kernels than the headers of Debian 12: uapi/linux/bpf.h of Linux 6.6.
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);
constexpr auto kTcxEgress = static_cast<bpf_attach_type>(47);
constexpr __u32 kTcxLinkType = 11;
constexpr __u32 kBefore = 1u << 3;  // BPF_F_BEFORE without a relative: in front of all

bpf_attach_type TcxType(fd_direction direction) {
  return direction == FD_EGRESS ? kTcxEgress : kTcxIngress;
}

const char* Name(fd_direction direction) { return direction == FD_EGRESS ? "egress" : "ingress"; }

}  // namespace

class Attacher::TcxLink : public Attachment {
 public:
  static absl::StatusOr<std::unique_ptr<Attachment>> Make(int program, const NetworkDevice& device,
                                                          fd_direction direction) {
    bpf_link_create_opts options{};
    options.sz = sizeof(options);
    options.flags = kBefore;
    const int link = bpf_link_create(program, device.index, TcxType(direction), &options);
    if (link < 0) {
      return absl::ErrnoToStatus(
          -link, fmt::format("attach traffic classifier to {} {}", device.name, Name(direction)));
    }
    ASSIGN_OR_RETURN(const std::uint32_t id, ProgramId(program));
    return std::make_unique<TcxLink>(Descriptor(link), id, device, direction);
  }

  TcxLink(Descriptor link, std::uint32_t program_id, NetworkDevice device, fd_direction direction)
      : link_(std::move(link)),
        program_id_(program_id),
        device_(std::move(device)),
        direction_(direction) {}

  absl::Status Verify() override {
    bpf_link_info info{};
    __u32 size = sizeof(info);
    if (!link_.valid()) return absl::FailedPreconditionError("traffic classifier was detached");
    const int result = bpf_obj_get_info_by_fd(link_.get(), &info, &size);
    if (result < 0) return absl::ErrnoToStatus(-result, "read a TCX link");
    // What it stands on: {ifindex, attach type} in the union, which these headers do not know yet.
    __u32 where[2];
    std::memcpy(where, &info.raw_tracepoint, sizeof(where));
    if (info.type != kTcxLinkType || info.prog_id != program_id_ ||
        where[0] != static_cast<__u32>(device_.index) || where[1] != TcxType(direction_)) {
      return absl::DataLossError(fmt::format("the kernel shows no traffic classifier on {} {}",
                                             device_.name, Name(direction_)));
    }
    return absl::OkStatus();
  }

  absl::Status Detach() override {
    if (!link_.valid()) return absl::OkStatus();
    const int result = bpf_link_detach(link_.get());
    link_ = Descriptor();
    // ENOENT, ENOLINK: the device went away and took the program with it.
    if (result < 0 && result != -ENOENT && result != -ENOLINK) {
      return absl::ErrnoToStatus(-result, fmt::format("detach traffic classifier from {} {}",
                                                      device_.name, Name(direction_)));
    }
    return absl::OkStatus();
  }

 private:
  Descriptor link_;
  const std::uint32_t program_id_;
  const NetworkDevice device_;
  const fd_direction direction_;
};

// The clsact qdisc of a device while filters of ours are on it, and the record of it.
class Attacher::ClsactDevice {
 public:
  ClsactDevice(Clsact clsact, Netlink& netlink) : clsact_(std::move(clsact)), netlink_(netlink) {}
  ~ClsactDevice() { Close().IgnoreError(); }
  Clsact& clsact() { return clsact_; }
  absl::Status Close() { return clsact_.Close(netlink_); }

 private:
  Clsact clsact_;
  Netlink& netlink_;
};

class Attacher::ClsactFilter : public Attachment {
 public:
  ClsactFilter(std::shared_ptr<ClsactDevice> device, BpfFilter filter, Netlink& netlink)
      : device_(std::move(device)), filter_(filter), netlink_(netlink) {}
  ~ClsactFilter() override { Detach().IgnoreError(); }

  absl::Status Verify() override {
    ASSIGN_OR_RETURN(const bool there, IsThere());
    return there ? absl::OkStatus()
                 : absl::DataLossError("the kernel does not show the traffic filter");
  }

  absl::Status Detach() override {
    if (device_ == nullptr) return absl::OkStatus();
    absl::Status status;
    absl::StatusOr<bool> there = IsThere();
    if (there.ok() && *there) status = netlink_.DeleteFilter(filter_);
    if (status.ok() && device_.use_count() == 1) status = device_->Close();
    device_ = nullptr;
    return status;
  }

 private:
  absl::StatusOr<bool> IsThere() {
    ASSIGN_OR_RETURN(const std::vector<BpfFilter> filters,
                     netlink_.BpfFilters(filter_.device_index));
    for (const BpfFilter& filter : filters) {
      if (filter.program_id == filter_.program_id && filter.parent == filter_.parent) return true;
    }
    return false;
  }

  std::shared_ptr<ClsactDevice> device_;
  const BpfFilter filter_;
  Netlink& netlink_;
};

AttachMode BestAttachMode(int program) {
  // A kernel that knows TCX misses the device, one that does not the attach type.
  constexpr int kNoDevice = 0x7ffffff;
  const int result = bpf_link_create(program, kNoDevice, kTcxEgress, nullptr);
  if (result >= 0) close(result);
  return result == -ENODEV ? AttachMode::kTcx : AttachMode::kClsact;
}

AttachMode BestAttachMode() {
  const auto programs = TrafficPrograms::Load();
  return programs.ok() ? BestAttachMode((*programs)->egress()) : AttachMode::kClsact;
}

absl::StatusOr<std::shared_ptr<Attacher::ClsactDevice>> Attacher::PrepareDevice(
    const NetworkDevice& device, bool own_device) {
  std::weak_ptr<ClsactDevice>& known = devices_[device.index];
  if (auto present = known.lock()) return present;
  if (!own_device && journal_ == nullptr) {
    return absl::FailedPreconditionError(
        "a clsact filter stays when its owner dies, so it needs a journal");
  }
  ASSIGN_OR_RETURN(Clsact clsact, Clsact::Open(device, own_device ? nullptr : journal_, netlink_));
  auto prepared = std::make_shared<ClsactDevice>(std::move(clsact), netlink_);
  known = prepared;
  return prepared;
}

absl::StatusOr<std::unique_ptr<Attachment>> Attacher::Attach(int program,
                                                             const NetworkDevice& device,
                                                             fd_direction direction,
                                                             bool own_device) {
  std::unique_ptr<Attachment> attachment;
  if (mode_ == AttachMode::kTcx) {
    ASSIGN_OR_RETURN(attachment, TcxLink::Make(program, device, direction));
  } else {
    ASSIGN_OR_RETURN(std::shared_ptr<ClsactDevice> prepared, PrepareDevice(device, own_device));
    ASSIGN_OR_RETURN(const BpfFilter filter, AddClsactFilter(program, device, direction, netlink_));
    attachment = std::make_unique<ClsactFilter>(std::move(prepared), filter, netlink_);
  }
  RETURN_IF_ERROR(attachment->Verify());
  return attachment;
}

absl::StatusOr<std::unique_ptr<Attachment>> Attacher::Attach(int program,
                                                             const NetworkDevice& device,
                                                             fd_direction direction) {
  return Attach(program, device, direction, false);
}

absl::StatusOr<std::unique_ptr<Attachment>> Attacher::AttachToOwnDevice(int program,
                                                                        const NetworkDevice& device,
                                                                        fd_direction direction) {
  return Attach(program, device, direction, true);
}

}  // namespace firedrill::agent
