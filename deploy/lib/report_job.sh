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

# write_worker_config FILE BROKER PLUGIN
write_worker_config() {
  cat >"$1" <<TEXT
broker: $2
queues: [reports]
concurrency: 2
handlers:
  - plugin: "$3"
TEXT
}

# start_report_job PROGRAMS BROKER OUT RUN: starts the client; returns when its tasks are enqueued.
start_report_job() {
  local log="$4/report_demo.log"
  : >"$log"
  "$1/report_demo" --broker "$2" --out "$3" "$4"/junit/*.xml >>"$log" 2>&1 </dev/null &
  job_pid=$!
  until grep -q 'tasks are enqueued' "$log"; do
    if ! kill -0 "$job_pid" 2>/dev/null; then
      job_pid=''
      indent <"$log" >&2
      fail 'the tasks were not enqueued: the reason is above.'
    fi
    sleep 0.05
  done
  tail -n 1 -- "$log" | indent
}

# show_status PENSTOCK BROKER: one screen of `penstock status`, or nothing while it cannot tell.
show_status() {
  local frame
  # It goes through a pipe, so the colours have to be asked for.
  # 1: it has something to point out, such as a type without a worker.
  frame=$("$1" --broker "$2" --timeout 2s ${say_bold:+--color always} status 2>&1) || (($? == 1)) || return 0
  printf '%s\n' "$frame" | indent
}

# watch_report_job PENSTOCK BROKER RUN: the status and the client's newest line until the client ends. A terminal shows them in
# place; elsewhere only how it ended is printed. Then the reports, as the client prints them.
watch_report_job() {
  local log="$3/report_demo.log" lines=0 frame status=0
  while kill -0 "$job_pid" 2>/dev/null; do
    if [[ -t 1 ]]; then
      frame=$(
        show_status "$1" "$2"
        printf '\n'
        tail -n 1 -- "$log" | indent
      )
      if ((lines > 0)); then printf '\e[%dA\e[J' "$lines"; fi
      # Without wrapping, so that a line of text is a line of the screen.
      printf '\e[?7l%s\e[?7h\n' "$frame"
      lines=$(wc -l <<<"$frame")
    fi
    kill -0 "$worker_pid" 2>/dev/null || explain_exit "$worker_pid" 'the worker' "$3/worker.log"
    sleep 0.1
  done
  if ((lines > 0)); then printf '\e[%dA\e[J' "$lines"; fi
  wait "$job_pid" || status=$?
  job_pid=''
  show_status "$1" "$2"
  tail -n +2 -- "$log" | indent
  ((status == 0)) || fail 'not every report was made: the reason is above.'
}
