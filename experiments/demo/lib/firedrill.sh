# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Firedrill in the staging: certificates, the controller on control, an agent on each other host, the experiments.

readonly controller_port=7443 controller_http_port=7480

firedrill_start() {
  local name
  begin "making certificates"
  firedrill_certify
  done_with "one for the controller, one for each agent, one for you"
  firedrill_environment

  staging_service control firedrill-controller 1 controller_answers "it knows you by your certificate" \
    "$firedrill_bin/firedrill-controller" --listen "${address_of[control]}:$controller_port" \
    --http-listen "127.0.0.1:$controller_http_port" --data "$demo_dir/control/firedrill" --prometheus "$prometheus_url" \
    --ca "$pki/ca.crt" --cert "$pki/controller.crt" --key "$pki/controller.key"
  begin "starting an agent on ${!role_of[*]}"
  for name in "${!role_of[@]}"; do
    host_service "$name" firedrill-agent 1 \
      "$firedrill_bin/firedrill-agent" --controller "${address_of[control]}:$controller_port" --id "$name" \
      --label "role=${role_of[$name]}" --environment staging --allow process_kill --state "$demo_dir/$name/firedrill" \
      --ca "$pki/ca.crt" --cert "$pki/$name.crt" --key "$pki/$name.key"
  done
  wait_until 20 agents_are_connected || {
    echo failed
    for name in "${!role_of[@]}"; do
      agents_connected | grep -qx "$name" || fail_with_log "$(host_log "$name" firedrill-agent)" "the agent on $name does not connect within 20 s"
    done
  }
  done_with "all connected to the controller"
}

# Everybody's certificates, in $pki, the controller's valid for its address.
firedrill_certify() {
  pki=$demo_dir/pki
  local name log=$demo_dir/pki.log
  local issue=("$firedrill_bin/firedrill" ca issue --ca-dir "$pki")
  {
    "$firedrill_bin/firedrill" ca init --out "$pki" &&
      "${issue[@]}" controller controller --ip "${address_of[control]}" &&
      "${issue[@]}" operator operator &&
      for name in "${!role_of[@]}"; do
        "${issue[@]}" agent "$name" || return 1
      done
  } >"$log" 2>&1 || fail_with_log "$log" "cannot make certificates"
}

# How the command line finds and convinces the controller.
firedrill_environment() {
  pki=$demo_dir/pki
  export FIREDRILL_CONTROLLER=${address_of[control]}:$controller_port
  export FIREDRILL_CA=$pki/ca.crt FIREDRILL_CERT=$pki/operator.crt FIREDRILL_KEY=$pki/operator.key
}

firedrill() { on control "$firedrill_bin/firedrill" "$@"; }

controller_answers() { firedrill get agents; }
agents_connected() {  # their ids, one a line
  firedrill get agents -o json | jq -r '.. | objects | select(.state? == "AGENT_STATE_CONNECTED") | .hello.agent_id'
}
agents_are_connected() { (($(agents_connected | wc -l) == ${#role_of[@]})); }

# Runs each experiment by the real command line, shows its timeline, and closes with the table.
run_experiments() {
  local file result=0 number=0
  for file in "$@"; do
    number=$((number + 1))
    headline "Experiment $number of $#: $(basename "$file" .yaml)"
    ((number == 1)) || wait_until 30 staging_is_steady || fail "the shop did not become steady again: $(staging_figures)"
    run_experiment "$file" "$number" || result=1
  done
  report_all "$demo_dir"/result-*.json || result=1
  return "$result"
}

# run_experiment FILE NUMBER: leaves the finished run in result-NUMBER.json; the command line's own status.
run_experiment() {
  local log=$demo_dir/control/run-$2.log run=$demo_dir/result-$2.json result=0
  : >"$log"
  # In the background, so that Ctrl-C comes to the trap at once; nothing of it outlives the host it runs in.
  firedrill run -o json "$1" </dev/null >"$run" 2>"$log" &
  local runner=$!
  tail -n +1 --pid="$runner" -s 0.2 -f "$log" | sed -u 's/^/  /' &
  wait "$runner" || result=$?
  wait $! || true
  # Wrong usage, a file with mistakes, no controller: there is no run to report.
  [[ -s $run ]] && jq -e .id "$run" >/dev/null 2>&1 ||
    fail_with_log "$(host_log control firedrill-controller)" "firedrill run $1 ended with status $result and without a run"
  return "$result"
}
