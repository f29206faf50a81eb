# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The closing table and build/demo/summary.json, from the runs as the controller gives them.

# Program text for jq: the summary's line of one run.
# shellcheck disable=SC2016
readonly report_program='
  def seconds: if . == null or .censored then null else (.value // "0s" | rtrimstr("s") | tonumber * 1000 | round / 1000) end;
  def word(prefix): (. // prefix + "UNSPECIFIED") | ltrimstr(prefix) | ascii_downcase | gsub("_"; " ")
    | {"after end": "after the end", "after responder": "after a responder acted", "self recovered": "self-recovered",
       "unspecified": "unknown"}[.] // .;
  def kind: .experiment.method[0].fault | keys[0];
  {
    name: .experiment.name,
    fault: kind,
    time_to_detect_seconds: (.time_to_detect | seconds),
    time_to_recover_seconds: (.time_to_recover | seconds),
    detection: (.detection | word("DETECTION_OUTCOME_")),
    recovery: (.recovery | word("RECOVERY_OUTCOME_")),
    verdict: (.verdict.verdict | word("VERDICT_")),
    alert: ([.alerts[]? | select(.outcome == "DETECTION_OUTCOME_DETECTED") | .expected.alert] | join(", "))
  }'

# report_all RESULT...: 1 unless every verdict is "passed".
report_all() {
  local lines=$demo_dir/lines.json summary=$demo_home/summary.json
  jq "$report_program" "$@" | jq -s . >"$lines"
  headline "What came of it"
  jq -r '
    def after: if . == null then "not" else (. * 10 | round) as $tenths | "after \($tenths / 10 | floor).\($tenths % 10) s" end;
    ["experiment", "fault", "detected", "by", "recovered", "how", "verdict"],
    (.[] | [.name, .fault, (.time_to_detect_seconds | after), (if .alert == "" then "-" else .alert end),
            (.time_to_recover_seconds | after), .recovery, .verdict])
    | @tsv' "$lines" | report_columns
  jq '{experiments: map(del(.alert))}' "$lines" >"$summary.new"
  mv "$summary.new" "$summary"
  say "times are from the fault's first impact; all of it is in ${summary#"$project/"}"
  jq -e 'length > 0 and all(.[]; .verdict == "passed")' "$lines" >/dev/null
}

# Aligns tab-separated columns, two blanks between them.
report_columns() {
  awk -F '\t' '
    { for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) } fields = NF }
    END { for (row = 1; row <= NR; row++) {
            line = " "
            for (i = 1; i <= fields; i++) line = line sprintf(" %-*s ", width[i], cell[row, i])
            sub(/ +$/, "", line); print line } }'
}
