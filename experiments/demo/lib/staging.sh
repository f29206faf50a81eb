# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The staging: five hosts and their services.
#
#   visitors (control) --> edge: HAProxy --> web1, web2: nginx --> cache: redis
#   control: Prometheus, Alertmanager, the visitors, Firedrill's controller

declare -A address_of=([control]=10.77.0.2 [edge]=10.77.0.10 [web1]=10.77.0.21 [web2]=10.77.0.22 [cache]=10.77.0.30)
declare -A role_of=([edge]=edge [web1]=web [web2]=web [cache]=cache)
readonly gateway=10.77.0.1  # of the bridge; leads nowhere
readonly prometheus_url=http://127.0.0.1:9090

# staging_service HOST UNIT RESTART-SECONDS CHECK WHAT-IT-SHOWS COMMAND...: starts it and waits until the check passes.
staging_service() {
  local name=$1 unit=$2 restart_seconds=$3 check=$4 shows=$5
  shift 5
  begin "starting $unit on $name"
  host_service "$name" "$unit" "$restart_seconds" "$@"
  wait_until 20 "$check" "$name" || {
    echo failed
    grep "$unit: exited" "$demo_dir/$name/supervisor.log" | tail -n 3 | sed 's/^/  /' || true
    fail_with_log "$(host_log "$name" "$unit")" "$unit on $name does not come up within 20 s"
  }
  done_with "$shows"
}

answers() { on "$1" curl -fsS --max-time 2 -o /dev/null "$2"; }
redis_answers() { [[ $(on "$1" "$SERVICES_BIN/redis-cli" ping) == PONG ]]; }
exporter_answers() { on "$1" curl -fsS --max-time 2 http://127.0.0.1:9121/metrics | grep -qx 'redis_up 1'; }
web_answers() { answers "$1" http://127.0.0.1/item1; }
haproxy_answers() { answers "$1" http://127.0.0.1/item1; }
prometheus_answers() { answers "$1" "$prometheus_url/-/ready"; }
alertmanager_answers() { answers "$1" http://127.0.0.1:9093/-/ready; }
load_runs() { [[ $(prometheus_value 'sum(rate(shop_requests_total[5s])) > bool 30') == 1 ]]; }

# The value of an instant query's first result; nothing when there is none.
prometheus_value() {
  on control curl -fsS --max-time 2 --get --data-urlencode "query=$1" "$prometheus_url/api/v1/query" |
    jq -r '.data.result[0].value[1] // empty'
}

staging_hosts() {
  begin "making five hosts"
  local name
  {
    echo 127.0.0.1 localhost
    for name in "${!address_of[@]}"; do echo "${address_of[$name]} $name"; done
  } >"$demo_dir/hosts"
  echo nameserver 127.0.0.1 >"$demo_dir/resolv.conf"
  cgroup_open
  host_open_wire
  host_add edge 50 "${address_of[edge]}"
  host_add web1 20 "${address_of[web1]}"
  host_add web2 20 "${address_of[web2]}"
  host_add cache 40 "${address_of[cache]}"
  host_add control 150 "${address_of[control]}"
  on control curl --version >/dev/null || fail "cannot run a program inside the host control"
  done_with "own network, processes, mounts and CPU quota each; cgroup v$cgroup_version"
}

staging_services() {
  local name
  # As redis' own unit would with RestartSec=8: long enough for the team's alert, which waits for 2 s and so fires within
  # 4 s, or within 7 s if a scrape is lost and it waits anew.
  staging_service cache redis 8 redis_answers "redis answers PONG" \
    "$SERVICES_BIN/redis-server" --dir "$demo_dir/cache" --save '' --protected-mode no
  staging_service cache redis-exporter 1 exporter_answers "redis_up is 1" \
    "$SERVICES_BIN/redis_exporter" --redis.addr redis://127.0.0.1:6379 --connection-timeout 500ms
  for name in web1 web2; do
    fill_in nginx.conf "$demo_dir/$name/nginx.conf"  "$demo_dir/$name"
    staging_service "$name" nginx 1 web_answers "a page through redis" \
      "$SERVICES_BIN/nginx" -p "$demo_dir/$name" -e stderr -c "$demo_dir/$name/nginx.conf"
  done
  staging_service edge haproxy 1 haproxy_answers "a page through nginx" \
    "$SERVICES_BIN/haproxy" -db -f "$demo_source/config/haproxy.cfg"
  cp "$demo_source"/config/{prometheus,rules,alertmanager}.yml "$demo_dir/control/"
  staging_service control alertmanager 1 alertmanager_answers "ready" \
    "$SERVICES_BIN/alertmanager" --config.file="$demo_dir/control/alertmanager.yml" \
    --storage.path="$demo_dir/control/alertmanager" --cluster.listen-address=
  staging_service control prometheus 1 prometheus_answers "ready" \
    "$SERVICES_BIN/prometheus" --config.file="$demo_dir/control/prometheus.yml" \
    --storage.tsdb.path="$demo_dir/control/prometheus" --web.local-assets="$SERVICES_ROOT/usr/share/prometheus/web/"
  staging_service control visitors 1 load_runs "about 60 requests a second" \
    "$SERVICES_BIN/wrk" -t1 -c30 -d24h -s "$demo_source/config/load.lua" "http://${address_of[edge]}:80/"
}

# fill_in TEMPLATE FILE DIRECTORY
fill_in() {
  sed -e "s|@MODULES@|$SERVICES_NGINX_MODULES|" -e "s|@LUA_PATH@|$SERVICES_LUA_PATH|" -e "s|@LUA_CPATH@|$SERVICES_LUA_CPATH|" \
    -e "s|@SOURCE@|$demo_source|" -e "s|@DIR@|$3|" "$demo_source/config/$1" >"$2"
}

# Well for five seconds, and no alert: what every experiment's steady state asks for.
staging_steady() {
  begin "waiting until the shop is steady"
  wait_until 30 staging_is_steady || {
    echo no
    fail_with_log "$(host_log control prometheus)" "the shop does not become steady: $(staging_figures)"
  }
  done_with "$(staging_figures)"
}
staging_is_steady() {
  [[ $(prometheus_value 'count_over_time(shop:responses:success_ratio_5s[6s]) >= bool 5') == 1 &&
    $(prometheus_value 'min_over_time(shop:responses:success_ratio_5s[5s]) >= bool 0.99') == 1 &&
    $(prometheus_value 'max_over_time(shop:request_seconds:p90_5s[5s]) <= bool 0.02') == 1 &&
    -z $(prometheus_value 'ALERTS') ]]
}
staging_figures() {
  printf '%.1f %% of requests succeed, 90 %% of them within %.0f ms' \
    "$(prometheus_value 'shop:responses:success_ratio_5s * 100')" "$(prometheus_value 'shop:request_seconds:p90_5s * 1000')"
}
