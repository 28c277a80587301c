#!/usr/bin/env bash
# install_consumer_test.sh CMAKE BUILD_FOLDER COMPILER: installs, follows the links of the installed documentation, lets systemd
# and the worker read what names other installed files, builds the example project (client/examples/greetings, as it was
# installed) against what was installed, and lets its two programs meet at the installed broker.
set -euo pipefail

cmake=$1 build=$2 compiler=$3
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
folder=$(mktemp -d -- "${TMPDIR:-/tmp}/penstock install.XXXXXX")
prefix="$folder/prefix"
broker_pid='' worker_pid=''

clean_up() {
  local status=$?
  trap - EXIT
  for pid in $worker_pid $broker_pid; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  if ((status != 0)); then
    tail -n 30 -- "$folder"/*.log >&2 || true
  fi
  rm -rf -- "$folder"
  exit "$status"
}
trap clean_up EXIT

"$cmake" --install "$build" --prefix "$prefix" >"$folder/install.log"
"$here/doc_links.py" "$prefix/share/doc/penstock"
# Of what systemd says only what is about these: the machine's own units are nobody's fault here.
units="$prefix/lib/systemd/system"
if command -v systemd-analyze >/dev/null; then
  cp -- "$units/penstock-worker@.service" "$folder/penstock-worker@reports.service"
  if systemd-analyze verify --man=no "$units/penstock-broker.service" "$folder/penstock-worker@reports.service" 2>&1 |
    grep penstock >&2; then
    exit 1
  fi
fi
# The plug-in that it names is loaded.
"$prefix/bin/penstock-worker" --config "$prefix/share/penstock/worker.yaml" --check-config >"$folder/check.log" 2>&1

example="$prefix/share/doc/penstock/client/examples/greetings"
"$cmake" -S "$example" -B "$folder/consumer" -G Ninja "-DCMAKE_PREFIX_PATH=$prefix" "-DCMAKE_CXX_COMPILER=$compiler" \
  -DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_BUILD_TYPE=Debug >"$folder/configure.log" 2>&1
"$cmake" --build "$folder/consumer" >"$folder/build.log" 2>&1

"$folder/consumer/greet_test" >"$folder/greet_test.log" 2>&1

# Port 0 takes any; the broker says which, in a log that is read before the broker has begun.
: >"$folder/broker.log"
"$prefix/bin/penstock-broker" --grpc.address 127.0.0.1:0 --http.address '' --data-dir "$folder/data" >"$folder/broker.log" 2>&1 &
broker_pid=$!
port=''
while [[ -z "$port" ]]; do
  kill -0 "$broker_pid"
  port=$(sed -n 's/.* ready grpc=\([0-9]*\).*/\1/p' "$folder/broker.log")
  sleep 0.05
done
"$folder/consumer/greet_worker" "127.0.0.1:$port" >"$folder/worker.log" 2>&1 &
worker_pid=$!
greeting=$("$folder/consumer/greet_enqueue" "127.0.0.1:$port" Ann)
if [[ "$greeting" != 'Hello, Ann' ]]; then
  echo "the greeting is \"$greeting\"" >&2
  exit 1
fi
kill -TERM "$worker_pid"
wait "$worker_pid"
worker_pid=''
kill -TERM "$broker_pid"
wait "$broker_pid"
broker_pid=''
echo 'installed, built against, enqueued, run and stopped'
