# shellcheck shell=bash
# Starts and stops the demo's broker and worker. Each has a session of its own, so that Ctrl-C reaches the script, which
# then stops them in order.

broker_pid=''
worker_pid=''

# explain_exit PID NAME LOG: why a service that should run does not.
explain_exit() {
  local status=0
  wait "$1" || status=$?
  if [[ "$1" == "$broker_pid" ]]; then broker_pid=''; else worker_pid=''; fi
  tail -n 10 -- "$3" | indent >&2
  fail "$2 ended with exit code $status; its last lines are above, all of them in $3."
}

# http_ready PORT: whether GET /readyz answers 200. With bash alone: a fresh Debian has no curl.
http_ready() {
  local line=''
  exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&9
  IFS= read -r -t 5 line <&9 || true
  exec 9>&-
  [[ "$line" == 'HTTP/1.'?' 200'* ]]
}

# start_broker PROGRAM GRPC_PORT HTTP_PORT DATA LOG: returns when it is ready.
start_broker() {
  setsid "$1" --grpc.address "127.0.0.1:$2" --http.address "127.0.0.1:$3" --data-dir "$4" >"$5" 2>&1 </dev/null &
  broker_pid=$!
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    if (http_ready "$3") 2>/dev/null; then return; fi
    kill -0 "$broker_pid" 2>/dev/null || explain_exit "$broker_pid" 'the broker' "$5"
    sleep 0.1
  done
  fail "the broker is not ready after a minute; see $5."
}

# start_worker PROGRAM CONFIG LOG
start_worker() {
  setsid "$1" --config "$2" >"$3" 2>&1 </dev/null &
  worker_pid=$!
}

# stop_service PID NAME: SIGTERM, then waits; a service that does not end within 40 s is killed.
stop_service() {
  local pid=$1 name=$2 tries status=0
  [[ -n "$pid" ]] || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 800; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  if kill -0 "$pid" 2>/dev/null; then
    warn "$name (process $pid) did not stop within 40 s, and is killed"
    kill -KILL "$pid" 2>/dev/null || true
  fi
  wait "$pid" || status=$?
  # 143: it had not got so far that it could answer SIGTERM.
  if ((status != 0 && status != 143)); then
    warn "$name ended with exit code $status"
    return 1
  fi
}

# stop_services: the worker first, so that it hands back what it has.
stop_services() {
  local status=0
  stop_service "$worker_pid" 'the worker' || status=1
  worker_pid=''
  stop_service "$broker_pid" 'the broker' || status=1
  broker_pid=''
  return "$status"
}
