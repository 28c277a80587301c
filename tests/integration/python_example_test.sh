#!/usr/bin/env bash
# Runs client/examples/enqueue_and_wait.py against real daemons: python_example_test.sh BROKER WORKER SOURCE_DIR
set -euo pipefail
broker=$1 worker=$2 source=$3
folder=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait || true; rm -rf "$folder"' EXIT

mkdir "$folder/gen"
protoc -I "$source/proto" --python_out="$folder/gen" --grpc_out="$folder/gen" \
  --plugin=protoc-gen-grpc="$(command -v grpc_python_plugin)" "$source"/proto/penstock/v1/*.proto
: >"$folder/broker.log"  # it is read before the broker has begun
"$broker" --data-dir "$folder/data" --grpc.address 127.0.0.1:0 --http.address '' 2>"$folder/broker.log" &
pids+=($!)
# The log tells the port once the broker is ready.
port=''
until [[ -n "$port" ]]; do
  kill -0 "${pids[0]}" || exit 1
  port=$(sed -n 's/.*ready grpc=\([0-9]*\).*/\1/p' "$folder/broker.log")
done
cat >"$folder/worker.yaml" <<YAML
broker: 127.0.0.1:$port
queues: [texts]
handlers:
  - type: text.upper
    command: [tr, a-z, A-Z]
YAML
"$worker" --config "$folder/worker.yaml" 2>"$folder/worker.log" &
pids+=($!)
result=$(PYTHONPATH="$folder/gen" PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python /usr/bin/python3 \
  "$source/client/examples/enqueue_and_wait.py" "127.0.0.1:$port" texts text.upper hello)
[[ "$result" == HELLO ]] || {
  echo "expected HELLO, got: $result"
  cat "$folder"/*.log
  exit 1
}
