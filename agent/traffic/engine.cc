// SPDX-License-Identifier: Apache-2.0
#include "agent/traffic/engine.h"

#include <fmt/format.h>
#include <net/if_arp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "agent/traffic/owner.h"
#include "proto/support/status_macros.h"

namespace firedrill::agent {
namespace {

std::uint64_t ToNs(SteadyTime time) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<Nanoseconds>(time.time_since_epoch()).count());
}

std::uint64_t Bit(std::uint32_t slot) { return std::uint64_t{1} << slot; }

void SetBit(__u64& mask, std::uint32_t slot, bool set) {
  if (set) {
    __atomic_fetch_or(&mask, Bit(slot), __ATOMIC_SEQ_CST);
  } else {
    __atomic_fetch_and(&mask, ~Bit(slot), __ATOMIC_SEQ_CST);
  }
}

std::pair<AddressBytes, std::uint16_t> Key(const fd_endpoint& endpoint) {
  AddressBytes address{};
  std::memcpy(address.data(), endpoint.address, address.size());
  return {address, endpoint.port};
}

}  // namespace

TrafficRule::~TrafficRule() { Remove().IgnoreError(); }

absl::Status TrafficRule::Remove() {
  absl::MutexLock lock(&mutex_);
  if (last_) return absl::OkStatus();
  const absl::StatusOr<TrafficRuleStats> before = engine_.Stats(slot_);
  const absl::Status status = engine_.Remove(slot_);
  last_ = engine_.Stats(slot_);
  // Whom it had chosen only a rule in force can tell.
  if (before.ok() && last_->ok()) {
    (*last_)->name_addresses = before->name_addresses;
    (*last_)->owner_processes = before->owner_processes;
    (*last_)->owner_processes_missed = before->owner_processes_missed;
  }
  return status;
}

absl::StatusOr<TrafficRuleStats> TrafficRule::Stats() const {
  absl::MutexLock lock(&mutex_);
  return last_ ? *last_ : engine_.Stats(slot_);
}

absl::Status TrafficRule::Verify() const {
  absl::MutexLock lock(&mutex_);
  if (last_) return absl::FailedPreconditionError("the traffic rule was taken out");
  return engine_.Verify(slot_);
}

absl::Status TrafficRule::Protect(const std::vector<ProtectedEndpoint>& endpoints) {
  absl::MutexLock lock(&mutex_);
  return last_ ? absl::OkStatus() : engine_.Protect(slot_, endpoints);
}

absl::StatusOr<std::unique_ptr<TrafficEngine>> TrafficEngine::Create(
    const TrafficOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<TrafficPrograms> programs, TrafficPrograms::Load());
  ASSIGN_OR_RETURN(Netlink netlink, Netlink::Open());
  const AttachMode mode = options.mode ? *options.mode : BestAttachMode(programs->egress());
  WriteOwner(programs->control());
  std::unique_ptr<TrafficEngine> engine(
      new TrafficEngine(options, std::move(programs), std::move(netlink), mode));
  engine->Renew(Clock::Real().Steady() + options.first_lease);
  return engine;
}

TrafficEngine::TrafficEngine(const TrafficOptions& options,
                             std::unique_ptr<TrafficPrograms> programs, Netlink netlink,
                             AttachMode mode)
    : options_(options),
      programs_(std::move(programs)),
      netlink_(std::move(netlink)),
      attacher_(mode, options.journal, netlink_),
      dns_names_(programs_->dns_names()) {}

TrafficEngine::~TrafficEngine() {
  absl::MutexLock lock(&mutex_);
  __atomic_store_n(&programs_->control().active, 0, __ATOMIC_SEQ_CST);
  hooks_.clear();
  // What leaves the wire line may enter the delay line.
  wire_line_ = nullptr;
  delay_line_ = nullptr;
}

void TrafficEngine::Renew(SteadyTime until) {
  __atomic_store_n(&programs_->control().lease_until_ns, ToNs(until), __ATOMIC_SEQ_CST);
}

int TrafficEngine::RuleCount() const {
  absl::MutexLock lock(&mutex_);
  int count = 0;
  for (const Rule& rule : rules_) count += rule.used ? 1 : 0;
  return count;
}

absl::StatusOr<std::uint32_t> TrafficEngine::FreeSlot() const {
  // The one that was free the longest: a packet that still sees its last rule is long gone.
  for (std::uint32_t step = 1; step <= FD_MAX_RULES; ++step) {
    const std::uint32_t slot = (last_slot_ + step) % FD_MAX_RULES;
    if (!rules_[slot].used) return slot;
  }
  return absl::ResourceExhaustedError(fmt::format(
      "{} traffic rules are in force on this host already, which is the most; end one first",
      FD_MAX_RULES));
}

absl::StatusOr<std::unique_ptr<TrafficRule>> TrafficEngine::AddRule(const TrafficRuleSpec& spec) {
  RETURN_IF_ERROR(CheckEffect(spec.effect));
  ASSIGN_OR_RETURN(TrafficMatch match, CompileMatch(spec.traffic));
  RETURN_IF_ERROR(ResolveInto(match));
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(std::vector<NetworkDevice> devices, ChooseDevices(spec, match));
  ASSIGN_OR_RETURN(const std::uint32_t slot, FreeSlot());
  rules_[slot] = {.used = true,
                  .match = std::move(match),
                  .devices = std::move(devices),
                  .needs_lines = NeedsLines(spec.effect),
                  .delays = HoldsBack(spec.effect),
                  .protect = {},
                  .watch = nullptr};
  absl::Status status = Install(slot, spec);
  if (!status.ok()) {
    RemoveLocked(slot).IgnoreError();  // The first error is what to tell.
    return status;
  }
  last_slot_ = slot;
  Watch(slot);
  return std::make_unique<TrafficRule>(*this, slot);
}

absl::Status TrafficEngine::Install(std::uint32_t slot, const TrafficRuleSpec& spec) {
  Rule& rule = rules_[slot];
  for (const NetworkDevice& device : rule.devices) {
    ASSIGN_OR_RETURN(const __u32 header_bytes, HeaderBytes(device));
    if (!rule.needs_lines || header_bytes != 0) continue;
    return absl::UnimplementedError(
        fmt::format("on {}: holding packets back, or cutting them to the wire's, needs a device "
                    "with Ethernet frames, or loopback",
                    device.name));
  }
  if (rule.needs_lines) RETURN_IF_ERROR(StartLine(LineKind::kDelay));
  if (IsOnWire(spec.effect)) RETURN_IF_ERROR(StartLine(LineKind::kWire));
  const std::vector<fd_endpoint> endpoints = ToEndpoints(spec.protect);
  RETURN_IF_ERROR(ProtectEndpoints(endpoints));
  rule.protect = endpoints;
  const fd_rule data = ToRule(spec);
  programs_->control().injection[slot] = HashInjection(spec.injection_id);
  RETURN_IF_ERROR(WriteTables(slot, data));
  WriteMasks(slot, spec.effect);
  if (const auto* dns = std::get_if<DnsEffect>(&spec.effect)) {
    RETURN_IF_ERROR(dns_names_.Set(slot, dns->names));
  }
  if (rule.match.owned) RETURN_IF_ERROR(MarkOwners(slot, spec));
  for (const auto& [device, direction] : HooksOf(rule)) {
    RETURN_IF_ERROR(AddToHook(slot, *device, direction));
  }
  if (wire_line_ != nullptr) wire_line_->reader->Expect(programs_->control().active | Bit(slot));
  SetBit(programs_->control().active, slot, true);
  ASSIGN_OR_RETURN(const fd_rule seen, programs_->Rule(slot));
  if (std::memcmp(&seen, &data, sizeof(data)) != 0) {
    return absl::DataLossError("the kernel's table does not show the traffic rule");
  }
  return VerifyHooks(slot);
}

// On loopback what is sent is what arrives: it is taken once, as it is sent.
std::vector<std::pair<const NetworkDevice*, fd_direction>> TrafficEngine::HooksOf(
    const Rule& rule) {
  std::vector<std::pair<const NetworkDevice*, fd_direction>> hooks;
  for (const NetworkDevice& device : rule.devices) {
    const bool loopback = device.type == ARPHRD_LOOPBACK;
    if (rule.match.egress || loopback) hooks.emplace_back(&device, FD_EGRESS);
    if (rule.match.ingress && !loopback) hooks.emplace_back(&device, FD_INGRESS);
  }
  return hooks;
}

absl::Status TrafficEngine::WriteTables(std::uint32_t slot, const fd_rule& rule) {
  RETURN_IF_ERROR(programs_->SetRule(slot, rule));
  RETURN_IF_ERROR(programs_->ClearStats(slot));
  programs_->MarkPorts(slot, rules_[slot].match, true);
  return WritePrefixes();
}

void TrafficEngine::WriteMasks(std::uint32_t slot, const TrafficEffect& effect) {
  const TrafficMatch& match = rules_[slot].match;
  fd_control& control = programs_->control();
  for (int kind = 0; kind < FD_EFFECTS; ++kind) {
    SetBit(control.effect[kind], slot, kind == KindOf(effect));
  }
  SetBit(control.wire, slot, IsOnWire(effect));
  SetBit(control.sent, slot, match.egress);
  SetBit(control.received, slot, match.ingress);
  SetBit(control.any_address, slot, match.addresses.empty());
  SetBit(control.any_local_address, slot, match.local_addresses.empty());
  SetBit(control.excludes_addresses, slot, !match.excluded_addresses.empty());
  SetBit(control.any_port, slot, match.ports.empty());
  SetBit(control.any_local_port, slot, match.local_ports.empty());
  SetBit(control.any_remote_port, slot, match.remote_ports.empty());
  SetBit(control.excludes_ports, slot, !match.excluded_ports.empty());
  SetBit(control.data_only, slot, match.data_only);
  SetBit(control.syn_only, slot, match.syn_only);
  SetBit(control.owned, slot, match.owned);
  for (int protocol = 0; protocol < FD_PROTOCOLS; ++protocol) {
    SetBit(control.protocol[protocol], slot, (match.protocols >> protocol & 1) != 0);
  }
}

absl::Status TrafficEngine::WritePrefixes() {
  MatchSlots slots{};
  for (std::uint32_t slot = 0; slot < FD_MAX_RULES; ++slot) {
    if (rules_[slot].used) slots[slot] = &rules_[slot].match;
  }
  const std::map<Prefix, fd_masks> table = BuildPrefixTable(slots);
  std::size_t ipv4 = 0;
  for (const auto& [prefix, masks] : table) ipv4 += prefix.ipv4 ? 1 : 0;
  if (ipv4 > FD_MAX_PREFIXES || table.size() - ipv4 > FD_MAX_PREFIXES) {
    return absl::ResourceExhaustedError(fmt::format(
        "all traffic rules of a host together may name {} addresses of a family", FD_MAX_PREFIXES));
  }
  return programs_->SetPrefixes(table);
}

absl::Status TrafficEngine::ProtectEndpoints(const std::vector<fd_endpoint>& endpoints) {
  std::size_t added = 0;
  for (const fd_endpoint& endpoint : endpoints) added += protected_.contains(Key(endpoint)) ? 0 : 1;
  if (protected_.size() + added > FD_MAX_PROTECTED) {
    return absl::ResourceExhaustedError(
        fmt::format("at most {} endpoints can be protected", FD_MAX_PROTECTED / 2));
  }
  for (const fd_endpoint& endpoint : endpoints) {
    SetBit(programs_->control().protected_ports, fd_port_bit(endpoint.port), true);
    RETURN_IF_ERROR(programs_->Protect(endpoint));
    ++protected_[Key(endpoint)];
  }
  return absl::OkStatus();
}

absl::Status TrafficEngine::UnprotectEndpoints(const std::vector<fd_endpoint>& endpoints) {
  for (const fd_endpoint& endpoint : endpoints) {
    const auto found = protected_.find(Key(endpoint));
    if (found == protected_.end() || --found->second > 0) continue;
    protected_.erase(found);
    RETURN_IF_ERROR(programs_->Unprotect(endpoint));
  }
  std::uint64_t ports = 0;
  for (const auto& entry : protected_) ports |= Bit(fd_port_bit(entry.first.second));
  __atomic_store_n(&programs_->control().protected_ports, ports, __ATOMIC_SEQ_CST);
  return absl::OkStatus();
}

absl::Status TrafficEngine::AddToHook(std::uint32_t slot, const NetworkDevice& device,
                                      fd_direction direction) {
  const HookKey key{device.index, direction};
  if (!hooks_.contains(key)) {
    if (hooks_.size() >= FD_MAX_HOOKS) {
      return absl::ResourceExhaustedError(
          fmt::format("traffic rules can be on {} devices at a time", FD_MAX_HOOKS / 2));
    }
    const int program = direction == FD_EGRESS ? programs_->egress() : programs_->ingress();
    ASSIGN_OR_RETURN(std::unique_ptr<Attachment> attachment,
                     attacher_.Attach(program, device, direction));
    ASSIGN_OR_RETURN(const __u32 header_bytes, HeaderBytes(device));
    hooks_[key] = {.device = {.rules = 0,
                              .ifindex = static_cast<__u32>(device.index),
                              .header_bytes = static_cast<__u16>(header_bytes),
                              .loopback = device.type == ARPHRD_LOOPBACK},
                   .attachment = std::move(attachment)};
  }
  Hook& hook = hooks_[key];
  hook.device.rules |= Bit(slot);
  return programs_->SetDevice({static_cast<__u32>(device.index), direction}, hook.device);
}

absl::Status TrafficEngine::RemoveFromHooks(std::uint32_t slot) {
  absl::Status first;
  for (auto hook = hooks_.begin(); hook != hooks_.end();) {
    auto& [key, state] = *hook;
    if ((state.device.rules & Bit(slot)) == 0) {
      ++hook;
      continue;
    }
    state.device.rules &= ~Bit(slot);
    first.Update(programs_->SetDevice({static_cast<__u32>(key.first), key.second}, state.device));
    if (state.device.rules == 0) {
      first.Update(state.attachment->Detach());
      hook = hooks_.erase(hook);
    } else {
      ++hook;
    }
  }
  return first;
}

absl::Status TrafficEngine::VerifyHooks(std::uint32_t slot) {
  const Rule& rule = rules_[slot];
  for (const auto& [device, direction] : HooksOf(rule)) {
    const HookKey key(device->index, direction);
    RETURN_IF_ERROR(hooks_[key].attachment->Verify());
    ASSIGN_OR_RETURN(const fd_device seen,
                     programs_->Device({static_cast<__u32>(device->index), direction}));
    if ((seen.rules & Bit(slot)) == 0) {
      return absl::DataLossError("the kernel's table does not show the rule on its device");
    }
  }
  if (rule.needs_lines) RETURN_IF_ERROR(VerifyLine(LineKind::kDelay));
  const bool wire = (programs_->control().wire & Bit(slot)) != 0;
  return wire ? VerifyLine(LineKind::kWire) : absl::OkStatus();
}

absl::Status TrafficEngine::Verify(std::uint32_t slot) {
  absl::MutexLock lock(&mutex_);
  return VerifyHooks(slot);
}

absl::Status TrafficEngine::Protect(std::uint32_t slot,
                                    const std::vector<ProtectedEndpoint>& endpoints) {
  absl::MutexLock lock(&mutex_);
  std::vector<fd_endpoint> wanted = ToEndpoints(endpoints);
  RETURN_IF_ERROR(ProtectEndpoints(wanted));
  rules_[slot].protect.swap(wanted);
  return UnprotectEndpoints(wanted);
}

absl::Status TrafficEngine::Remove(std::uint32_t slot) {
  std::unique_ptr<NameWatch> watch;
  {
    absl::MutexLock lock(&mutex_);
    watch = std::move(rules_[slot].watch);
  }
  watch = nullptr;  // Without the lock, for which it may be waiting.
  absl::MutexLock lock(&mutex_);
  return RemoveLocked(slot);
}

absl::Status TrafficEngine::RemoveLocked(std::uint32_t slot) {
  Rule& rule = rules_[slot];
  SetBit(programs_->control().active, slot, false);
  absl::Status first = RemoveFromHooks(slot);
  const bool loopback =
      std::any_of(rule.devices.begin(), rule.devices.end(),
                  [](const NetworkDevice& device) { return device.type == ARPHRD_LOOPBACK; });
  if (delay_line_ != nullptr && rule.delays) delay_line_->reader->Release(Bit(slot), loopback);
  programs_->MarkPorts(slot, rule.match, false);
  first.Update(dns_names_.Clear(slot));
  first.Update(UnprotectEndpoints(rule.protect));
  if (rule.match.owned) first.Update(UnmarkOwners(slot));
  rule = {};
  first.Update(WritePrefixes());
  return first;
}

absl::StatusOr<TrafficRuleStats> TrafficEngine::Stats(std::uint32_t slot) const {
  absl::MutexLock lock(&mutex_);
  TrafficRuleStats stats;
  ASSIGN_OR_RETURN(stats.rule, programs_->Stats(slot));
  ASSIGN_OR_RETURN(stats.dns, programs_->DnsStats(slot));
  ASSIGN_OR_RETURN(stats.totals, programs_->Totals());
  const TrafficMatch& match = rules_[slot].match;
  if (!match.names.empty()) stats.name_addresses = match.named_addresses;
  if (match.owned && owners_ != nullptr) {
    stats.owner_processes = owners_->processes().MemberCount(slot);
    stats.owner_processes_missed = owners_->processes().missed();
  }
  for (const Line* line : {delay_line_.get(), wire_line_.get()}) {
    if (line == nullptr) continue;
    stats.line += line->reader->Stats();
    ASSIGN_OR_RETURN(const NetworkDevice tap, netlink_.Device(line->tap.device.index));
    stats.line_dropped += tap.transmit_dropped;
  }
  return stats;
}

}  // namespace firedrill::agent
