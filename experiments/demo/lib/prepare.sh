# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What must be there before the staging can start: rights, tools, the services' programs, Firedrill's own.

prepare_rights() {
  [[ $EUID == 0 ]] || fail "needs root, for its network namespaces and cgroups: sudo experiments/demo/run"
  unshare --net --pid --mount --uts --fork --propagation unchanged true 2>/dev/null ||
    fail "cannot make namespaces here (in a container? it needs --privileged, or a virtual machine)"
}

# Installs the base tools that are missing; none of them brings a service.
prepare_tools() {
  local -A package_of=([ip]=iproute2 [nsenter]=util-linux [setpriv]=util-linux [pgrep]=procps [jq]=jq [curl]=curl)
  local tool missing=()
  for tool in "${!package_of[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${package_of[$tool]}")
  done
  ((${#missing[@]})) || return 0
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  say "installing ${missing[*]}"
  command -v apt-get >/dev/null || fail "needs ${missing[*]}: please install"
  local log=$demo_home/apt.log
  mkdir -p "$demo_home"
  install_packages "${missing[@]}" >"$log" 2>&1 || fail_with_log "$log" "cannot install ${missing[*]}"
  rm -f "$log"
}

install_packages() {
  local -x DEBIAN_FRONTEND=noninteractive
  apt-get install -y -q --no-install-recommends "$@" || {
    apt-get update -q && apt-get install -y -q --no-install-recommends "$@"
  }
}

# The services' programs, unpacked into build/services.
prepare_services() {
  "$project/tests/lib/services" demo | sed 's/^/  /' || fail "the services are not available (the reason is above)"
  # shellcheck source=/dev/null
  source "${FIREDRILL_SERVICES:-$project/build/services}/env"
}

# Firedrill's programs: from FIREDRILL_BIN when that is set, else built. Sets firedrill_bin to one folder of all three.
prepare_firedrill() {
  local name file from=${FIREDRILL_BIN:-}
  if [[ -z $from ]]; then
    headline "Building Firedrill"
    from=$project/build/release
    "$project/tests/lib/build" release --target firedrill --target firedrill-controller --target firedrill-agent || fail "the build failed (its messages are above)"
  fi
  [[ -d $from ]] || fail "FIREDRILL_BIN: there is no folder $from"
  firedrill_bin=$demo_dir/bin
  mkdir -p "$firedrill_bin"
  for name in firedrill firedrill-controller firedrill-agent; do
    file=$(find -L "$from" -type f -name "$name" -perm -u+x -print -quit)
    [[ -n $file ]] || fail "no program $name in $from"
    ln -sf "$(realpath "$file")" "$firedrill_bin/$name"
  done
}
