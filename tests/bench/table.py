#!/usr/bin/env python3
"""The table of docs/performance.md: every scenario several times, each on a fresh broker, as medians.

  table.py                           all rows, 5 runs each (about 5 minutes)
  table.py --runs 3 enqueue both     only these rows

Prints a row of Markdown for each scenario: median (lowest to highest), S (CPU seconds of the broker for a million
tasks), resident memory, bytes written to the disk for each byte of payload.
"""

import argparse
import pathlib
import statistics
import subprocess
import time

from bench_broker import Broker

ROOT = pathlib.Path(__file__).resolve().parents[2]
NO_RETENTION = ["--retention", "0s"]
ROWS = {
    "enqueue": ["enqueue", "--tasks", 1_000_000],
    "both": ["both", "--tasks", 1_000_000],
    "drain": ["drain", "--tasks", 1_000_000],
    "enqueue_no_retention": ["enqueue", "--tasks", 1_000_000, *NO_RETENTION],
    "both_no_retention": ["both", "--tasks", 1_000_000, *NO_RETENTION],
    "drain_no_retention": ["drain", "--tasks", 1_000_000, *NO_RETENTION],
    "callers": ["enqueue", "--tasks", 400_000, "--callers", 64],
    "one_at_a_time": ["both", "--tasks", 100_000, "--producers", 32, "--in-flight", 32, "--workers", 32, "--slots", 1],
    "4KiB": ["both", "--tasks", 200_000, "--payload", "4KiB"],
    "short_lived": ["latency", "--rate", 100_000, "--duration", "8s"],
    "latency": ["latency", "--rate", 200, "--duration", "15s"],
    "latency_beside_a_full_queue": ["latency", "--rate", 200, "--duration", "15s"],
    "idle": ["idle", "--workers", 1_000, "--slots", 1, "--duration", "30s"],
}


def full_queue(broker):
    """Another queue, loaded to the full until it is ended."""
    command = [broker.bin / "penstock", "--broker", broker.address, "bench", "both", "--queue", "full", "--tasks",
               "1000000000"]
    load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(2)  # until it runs at its rate; a benchmark, not a test
    return load


def run(bin, name):
    with Broker(bin) as broker:
        load = full_queue(broker) if name == "latency_beside_a_full_queue" else None
        figures = broker.bench(*ROWS[name])
        if load:
            load.terminate()
            load.wait()
        return figures


def spread(values, text):
    values = sorted(values)
    return f"{text(statistics.median(values))} ({text(values[0])} to {text(values[-1])})"


def describe(name, runs):
    def all_of(*path):
        values = runs
        for key in path:
            values = [value[key] for value in values]
        return values

    memory = spread([bytes / 2**20 for bytes in all_of("broker", "memory_bytes")], "{:.0f}".format) + " MiB"
    if name == "idle":
        return [spread([100 * cores for cores in all_of("broker", "cores")], "{:.1f}".format) + " % of a core", "",
                memory, spread([bytes / 1024 for bytes in all_of("broker", "memory_bytes_per_worker")],
                               "{:.0f}".format) + " KiB a worker"]
    if name.startswith("latency"):
        micros = [spread([seconds * 1e3 for seconds in all_of("start_seconds", key)], "{:.2f}".format)
                  for key in ("p50", "p99")]
        result = f"p50 {micros[0]} ms, p99 {micros[1]} ms"
    else:
        result = spread(all_of("tasks_per_second"), "{:,.0f}".format) + "/s"
    written = [json["broker"]["written_bytes"] / (json["tasks"] * json["payload_bytes"]) for json in runs]
    return [result, spread(all_of("broker", "cpu_seconds_per_million"), "{:.2f}".format), memory,
            spread(written, "{:.2f}".format)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS], help="default: all")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bin", default=ROOT / "build/release/bin", help="folder of the programs")
    arguments = parser.parse_args()
    print("| scenario | result | S | memory | written a payload byte |\n|---|---|---|---|---|")
    syncs = []
    for name in arguments.rows or ROWS:
        runs = [run(arguments.bin, name) for _ in range(arguments.runs)]
        syncs += [json["machine"]["fdatasync_seconds"] for json in runs]
        print(f"| {name} | " + " | ".join(describe(name, runs)) + " |", flush=True)
    for key in ("p50", "p99"):
        print(f"fdatasync {key}: {spread([sync[key] * 1e3 for sync in syncs], '{:.3f}'.format)} ms")


if __name__ == "__main__":
    main()
