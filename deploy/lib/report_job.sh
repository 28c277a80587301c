# shellcheck shell=bash
# The demo's job: JUnit XML from the project's own tests, reports from that.

job_pid=''

# run_suites FOLDER PROGRAM...: runs each suite of GoogleTest programs by itself, so that each has a file in FOLDER.
run_suites() {
  local folder=$1 program suite name count=0 failed=0
  shift
  mkdir -p "$folder"
  for program in "$@"; do
    while IFS= read -r suite; do
      count=$((count + 1))
      name=${suite%.}
      name=${program##*/}.${name//\//-}
      # A failed test is a fact for the report, not the end of the demo.
      "$program" --gtest_filter="$suite*" "--gtest_output=xml:$folder/$name.xml" >>"$folder/../tests.log" 2>&1 </dev/null ||
        failed=$((failed + 1))
    done < <("$program" --gtest_list_tests | sed -n 's/^\([A-Za-z0-9_/]*\.\).*/\1/p')
  done
  ((count > 0)) || fail "the test programs have no tests; the reason may be in $folder/../tests.log."
  note "$count suites ran, $failed of them with failures"
}

# write_worker_config FILE PORT PLUGIN
write_worker_config() {
  cat >"$1" <<TEXT
broker: 127.0.0.1:$2
queues: [reports]
concurrency: 2
handlers:
  - plugin: "$3"
TEXT
}

# live_status PENSTOCK BROKER LOG: what `penstock status` says and the client's newest line, while the client runs. A terminal shows
# it in place, ten times a second at most; elsewhere it is printed once.
live_status() {
  local lines=0 frame shown=0
  while kill -0 "$job_pid" 2>/dev/null; do
    frame=$("$1" --broker "$2" status 2>&1 && printf '\n%s' "$(tail -n 1 -- "$3")") || frame=''
    frame="    ${frame//$'\n'/$'\n'    }"
    if [[ -t 1 ]]; then
      if ((lines > 0)); then printf '\e[%dA\e[J' "$lines"; fi
      printf '%s\n' "$frame"
      lines=$(($(wc -l <<<"$frame")))
    elif ((shown == 0)) && [[ -n "${frame// /}" ]]; then
      printf '%s\n' "$frame"
      shown=1
    fi
    sleep 0.1
  done
}

# run_report_job PROGRAMS BROKER OUT RUN: the client enqueues and waits, as a service would; meanwhile the status is shown.
run_report_job() {
  local status=0
  "$1/report_demo" --broker "$2" --out "$3" "$4"/junit/*.xml >"$4/report_demo.log" 2>&1 </dev/null &
  job_pid=$!
  live_status "$1/penstock" "$2" "$4/report_demo.log"
  wait "$job_pid" || status=$?
  job_pid=''
  sed 's/^/    /' -- "$4/report_demo.log"
  if ((status != 0)); then
    kill -0 "$worker_pid" 2>/dev/null || explain_exit "$worker_pid" 'the worker' "$4/worker.log"
    fail 'not every report was made: the reason is above.'
  fi
}
