# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# One CPU-quota cgroup a host, on either version of the cgroup file system.

# Sets cgroup_version and cgroup_root: where groups with a CPU quota can be made.
cgroup_find() {
  local mount
  # Fields of mountinfo: 5 the mount point; after " - " the type, the source, the super options.
  mount=$(awk '{ split($0, half, " - "); split(half[2], fs, " ")
                 if (fs[1] == "cgroup" && ("," fs[3] ",") ~ /,cpu,/) { print $5; exit } }' /proc/self/mountinfo)
  if [[ -n $mount ]]; then
    cgroup_version=1 cgroup_root=$mount
    return 0
  fi
  mount=$(awk '{ split($0, half, " - "); split(half[2], fs, " "); if (fs[1] == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
  if [[ -n $mount ]] && grep -qw cpu "$mount/cgroup.controllers"; then
    cgroup_version=2 cgroup_root=$mount
    return 0
  fi
  fail "finds no cgroup file system with the cpu controller (neither v1 nor v2 in /proc/self/mountinfo)"
}

# Makes the demo's group, in which each host gets its own.
cgroup_open() {
  cgroup_find
  cgroup_demo=$cgroup_root/firedrill-demo-$demo_id
  cgroup_enabled_here=0
  state_save
  if [[ $cgroup_version == 2 ]] && ! grep -qw cpu "$cgroup_root/cgroup.subtree_control"; then
    echo +cpu >"$cgroup_root/cgroup.subtree_control" || fail "cannot enable the cpu controller in $cgroup_root"
    cgroup_enabled_here=1
  fi
  mkdir "$cgroup_demo" || fail "cannot make the cgroup $cgroup_demo"
  # Eight times an ordinary group's weight: a machine that is busy otherwise does not starve the hosts, and their quotas
  # see to it that they do not starve it.
  if [[ $cgroup_version == 1 ]]; then
    echo 8192 >"$cgroup_demo/cpu.shares"
  else
    echo +cpu >"$cgroup_demo/cgroup.subtree_control"
    echo 800 >"$cgroup_demo/cpu.weight"
  fi
}

# cgroup_add HOST PERCENT: a group with that share of one core.
cgroup_add() {
  local group=$cgroup_demo/$1 quota_us=$(($2 * 1000))
  mkdir "$group"
  if [[ $cgroup_version == 1 ]]; then
    echo 100000 >"$group/cpu.cfs_period_us"
    echo "$quota_us" >"$group/cpu.cfs_quota_us"
  else
    echo "$quota_us 100000" >"$group/cpu.max"
  fi
}

# Removes the demo's groups once their processes are gone. 1 when one is still in use.
cgroup_close() {
  [[ -n ${cgroup_demo:-} ]] || return 0
  wait_until 5 cgroup_remove || return 1
  # Only when nobody else has come to need it meanwhile.
  if ((cgroup_enabled_here)); then echo -cpu 2>/dev/null >"$cgroup_root/cgroup.subtree_control" || true; fi
}

cgroup_remove() {
  [[ ! -d $cgroup_demo ]] || find "$cgroup_demo" -depth -type d -exec rmdir {} \; 2>/dev/null
  [[ ! -d $cgroup_demo ]]
}
