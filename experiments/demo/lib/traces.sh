# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The machine before and after: what the demo made must be gone, and what was there must still be there.

# What this machine has that a demo could leave behind, one thing a line.
traces_take() {
  ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/link \1/'
  # Without counters and handles, which change by themselves.
  tc qdisc show 2>/dev/null | sed -E 's/^/qdisc /; s/ refcnt [0-9]+//'
  local device
  for device in /sys/class/net/*/; do
    device=$(basename "$device")
    tc filter show dev "$device" ingress 2>/dev/null | sed "s/^/filter on $device in: /"
    tc filter show dev "$device" egress 2>/dev/null | sed "s/^/filter on $device out: /"
  done
  if command -v bpftool >/dev/null; then
    bpftool -j prog show 2>/dev/null | jq -r '.[]? | "BPF program \(.name // .id) (\(.type))"'
    bpftool -j link show 2>/dev/null | jq -r '.[]? | "BPF link \(.id) (\(.type))"'
  fi
  ip -o netns list 2>/dev/null | sed 's/^/named network namespace /'
  awk '{print "mount " $5}' /proc/self/mountinfo
  find "$cgroup_root" -mindepth 1 -maxdepth 1 -type d -not -name 'firedrill-demo-*' -printf 'cgroup %f\n'
}

# What of this demo is still there, one thing a line; nothing when all is gone.
traces_left() {
  local process name inode
  for process in /proc/[0-9]*; do
    [[ ${process#/proc/} == "$$" || ${process#/proc/} == "$BASHPID" ]] ||
      ! tr '\0' '\n' 2>/dev/null <"$process/environ" | grep -qx "FIREDRILL_DEMO=$demo_id" ||
      echo "process ${process#/proc/} ($(tr '\0' ' ' 2>/dev/null <"$process/cmdline" | cut -c1-80))"
  done 2>/dev/null
  local in_use
  in_use=$(readlink /proc/[0-9]*/ns/{net,pid,mnt,uts} 2>/dev/null | sort -u || true)
  for name in "${!host_namespaces[@]}"; do
    for inode in ${host_namespaces[$name]}; do
      ! grep -qxF "$inode" <<<"$in_use" || own_namespace "$inode" || echo "namespace $inode of $name"
    done
  done
  [[ ! -d ${cgroup_demo:-/nowhere} ]] || echo "cgroup $cgroup_demo"
  awk -v dir="$demo_dir/" 'index($5, dir) == 1 {print "mount " $5}' /proc/self/mountinfo
}
traces_changes() { diff <(sort "$demo_dir/before") <(traces_take | sort) | sed -n 's/^< /    gone: /p; s/^> /    new: /p'; }
traces_are_gone() { [[ -z $(traces_left) && (! -s $demo_dir/before || -z $(traces_changes)) ]]; }
own_namespace() { readlink /proc/self/ns/* | grep -qxF "$1"; }

# Says whether the machine is as it was; 1 when something of the demo is left.
traces_compare() {
  local left changes
  # The kernel takes namespaces, devices and programs apart a moment after their last owner has died.
  wait_until 5 traces_are_gone || true
  left=$(traces_left)
  if [[ -n $left ]]; then
    say "${red}left behind:${plain}"
    printf '%s\n' "$left" | sed 's/^/    /'
    return 1
  fi
  [[ -s $demo_dir/before ]] || return 0
  changes=$(traces_changes)
  if [[ -z $changes ]]; then
    say "the machine is as it was: links, queueing disciplines, filters, BPF programs, namespaces, mounts, cgroups, processes"
  else
    say "all of the demo is gone: processes, namespaces, cgroups, mounts. Meanwhile others changed:"
    printf '%s\n' "$changes"
  fi
}
