# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A "host" of the staging: one process (host-init) that is pid 1 of its own network, pid, uts and mount namespace, in
# a cgroup with a CPU quota. Killing it ends everything in it and removes its namespaces and network devices.
# The bridge between the hosts is in a namespace of its own; nothing is added to the machine's own network.

declare -A host_pid=()       # host -> pid of its pid 1, as this machine sees it
declare -A host_started=()   # host -> that process' start time (field 22 of its stat): a pid alone can be reused
declare -A host_namespaces=() # host -> inodes of its namespaces

process_start() { [[ -r /proc/$1/stat ]] && sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
process_is() { [[ -n ${2:-} && $(process_start "$1") == "$2" ]]; }

# host_spawn NAME UNSHARE-FLAGS COMMAND...: runs the command in new namespaces and records it under NAME. Unless the
# demo is to be kept, the kernel kills it when this script dies, however that happens.
host_spawn() {
  local name=$1 flags=$2 group=/dev/null leash=()
  shift 2
  mkdir -p "$demo_dir/$name"
  [[ ! -d $cgroup_demo/$name ]] || group=$cgroup_demo/$name/cgroup.procs
  ((keep)) || leash=(setpriv --pdeathsig KILL)
  # shellcheck disable=SC2016,SC2086  # $0 and $@ are the inner shell's; flags is a list of words
  FIREDRILL_DEMO=$demo_id setsid "${leash[@]}" bash -c 'echo $$ >"$0"; exec "$@"' "$group" \
    unshare $flags --fork --kill-child -- "$@" </dev/null >>"$demo_dir/$name/init.log" 2>&1 &
  local outer=$!
  disown "$outer"
  wait_until 5 pgrep -P "$outer" || fail_with_log "$demo_dir/$name/init.log" "cannot start the host $name"
  host_pid[$name]=$(pgrep -P "$outer")
  host_started[$name]=$(process_start "${host_pid[$name]}")
  host_namespaces[$name]=$(readlink /proc/"${host_pid[$name]}"/ns/{net,pid,mnt,uts} | paste -sd' ')
  state_save
}

# The network that joins the hosts: a bridge, alone in a namespace.
host_open_wire() {
  host_spawn wire --net sleep infinity
  wait_until 5 test "$(readlink /proc/self/ns/net)" != "$(readlink "/proc/${host_pid[wire]}/ns/net")" ||
    fail "cannot make a network namespace"
  on_wire ip link add hub type bridge forward_delay 0 || fail "cannot make a bridge (does this kernel have bridge and veth?)"
  on_wire ip address add "$gateway/24" dev hub
  on_wire ip link set hub up
}

on_wire() { nsenter --target "${host_pid[wire]}" --net "$@"; }

# host_add NAME PERCENT-OF-A-CORE ADDRESS
host_add() {
  local name=$1 percent=$2 address=$3 inbox=$demo_dir/$1/inbox
  cgroup_add "$name" "$percent"
  mkdir -p "$demo_dir/$name/units"
  mkfifo "$inbox"
  host_spawn "$name" "--net --pid --mount --uts --propagation unchanged" bash "$demo_source/host-init" "$name" "$demo_dir/$name" "$project"
  wait_until 5 test -e "$demo_dir/$name/ready" || fail_with_log "$demo_dir/$name/init.log" "the host $name does not come up"
  on_wire ip link add "$name" type veth peer name eth0 netns "${host_pid[$name]}"
  on_wire ip link set "$name" master hub up
  nsenter --target "${host_pid[$name]}" --net ip address add "$address/24" dev eth0
  nsenter --target "${host_pid[$name]}" --net ip link set eth0 up
  nsenter --target "${host_pid[$name]}" --net ip route add default via "$gateway"
}

# on HOST COMMAND...: runs it inside, with this project as the working directory.
on() {
  local name=$1
  shift
  nsenter --target "${host_pid[$name]}" --mount --net --uts --pid --root --wd "$@"
}

# host_service HOST UNIT RESTART-SECONDS COMMAND...: has the host's supervisor run the command, and again RESTART-SECONDS after
# each exit. Its output goes to host_log HOST UNIT.
host_service() {
  local name=$1 unit=$2 restart_seconds=$3
  shift 3
  local command=("$@")
  declare -p restart_seconds command >"$demo_dir/$name/units/$unit"
  echo "$unit" >"$demo_dir/$name/inbox"
}
host_log() { printf '%s/%s/%s.log' "$demo_dir" "$1" "$2"; }

# Ends every host with all that runs in it. 1 when one does not end.
host_end_all() {
  local name
  for name in "${!host_pid[@]}"; do
    ! process_is "${host_pid[$name]}" "${host_started[$name]}" || kill -KILL "${host_pid[$name]}" 2>/dev/null || true
  done
  for name in "${!host_pid[@]}"; do
    wait_until 5 host_is_gone "$name" || return 1
  done
}
host_is_gone() { ! process_is "${host_pid[$1]}" "${host_started[$1]}"; }
