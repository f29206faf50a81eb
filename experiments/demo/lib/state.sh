# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What a demo has made is written down in build/demo/ID/state, so that another call can enter it or take it down.

state_save() {
  local owner=$$ owner_started
  owner_started=$(process_start $$)
  declare -p demo_id keep owner owner_started host_pid host_started host_namespaces cgroup_root cgroup_version cgroup_demo \
    cgroup_enabled_here >"$demo_dir/state.new"
  mv "$demo_dir/state.new" "$demo_dir/state"
}

# state_load ID: takes over what that demo has made.
state_load() {
  demo_dir=$demo_home/$1
  [[ -r $demo_dir/state ]] || return 1
  # `declare -p` wrote declarations; -g makes them global although we are in a function.
  # shellcheck source=/dev/null
  source <(sed -E 's/^declare -- /declare -g /; s/^declare -([a-zA-Z]+) /declare -g\1 /' "$demo_dir/state")
}

# Ids of all demos that this project has made and not yet removed.
state_ids() {
  local file
  for file in "$demo_home"/*/state; do
    [[ ! -e $file ]] || basename "$(dirname "$file")"
  done
}

# Removes what demos left whose script was killed before it could; kept and running ones stay.
state_sweep() {
  local id folder
  for folder in "$demo_home"/*/; do  # an id is the script's pid in hexadecimal
    id=$(basename "$folder")
    [[ ! $id =~ ^[0-9a-f]+$ || -e $folder/state || -d /proc/$((16#$id)) ]] || rm -rf "$folder"
  done
  for id in $(state_ids); do
    (
      state_load "$id"
      # shellcheck disable=SC2154  # owner comes from the state
      if ((keep)) || process_is "$owner" "$owner_started"; then exit 0; fi
      say "removing what a demo left that was killed ($id)"
      take_down
    )
  done
}

# Removes all that this demo has made. 1 when something resists.
take_down() {
  local result=0
  host_end_all || result=1
  cgroup_close || result=1
  traces_compare || result=1
  ((result)) || rm -rf "$demo_dir"
  return "$result"
}
