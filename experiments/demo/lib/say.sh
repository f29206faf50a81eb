# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What a person sees: progress, failures with the end of the log that explains them.

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' green='' red='' plain=''
fi

headline() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }

# begin TEXT, then done_with TEXT: one line such as "starting cache ... ok (redis answers PONG)".
begin() { printf '  %s ... ' "$*"; }
done_with() { printf '%sok%s (%s)\n' "$green" "$plain" "$*"; }

# Ends the demo with a reason and the end of the log file $1 ("" when there is none); clean-up is the exit trap's.
fail_with_log() {
  local log=$1
  shift
  printf '\n%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
  if [[ -n $log && -s $log ]]; then
    printf 'the end of %s:\n' "$log" >&2
    tail -n 20 "$log" | sed 's/^/    /' >&2
  elif [[ -n $log ]]; then
    printf '(nothing was written to %s)\n' "$log" >&2
  fi
  exit 1
}
fail() { fail_with_log '' "$@"; }

# wait_until SECONDS COMMAND...: calls it every 0.2 s until it succeeds; 1 when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}
