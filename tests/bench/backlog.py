#!/usr/bin/env python3
"""What a large backlog costs: memory, disk, `penstock status`, rates beside it, and the time until a killed broker delivers again.

  backlog.py --tasks 10000000                    ten million waiting tasks in one queue
  backlog.py --tasks 10000000 --delay 1h         scheduled for the same second
  backlog.py --tasks 10000000 --queues 10000     in ten thousand queues
  backlog.py --tasks 10000000 --keys 1000000     with a million FIFO keys
  backlog.py --tasks 10000000 --groups 1000000   in a million groups
"""

import argparse
import pathlib
import subprocess
import time

from bench_broker import Broker

ROOT = pathlib.Path(__file__).resolve().parents[2]


def rates(broker, text):
    enqueue = broker.bench("enqueue", "--queue", "beside", "--tasks", 1_000_000)
    both = broker.bench("both", "--queue", "beside", "--tasks", 1_000_000)
    print(f"{text}: enqueue {enqueue['tasks_per_second']:,.0f}/s S {enqueue['broker']['cpu_seconds_per_million']:.2f}, "
          f"both {both['tasks_per_second']:,.0f}/s S {both['broker']['cpu_seconds_per_million']:.2f}", flush=True)


def status_seconds(broker):
    began = time.monotonic()
    broker.penstock("status", check=False)  # which fails, as nobody takes these tasks
    return time.monotonic() - began


def settle(broker):
    """Until the broker writes no more: compaction has settled."""
    before = broker.written()
    while True:
        time.sleep(3)
        now = broker.written()
        if now - before < 1 << 20:
            return
        before = now


def first_delivery(broker, queue):
    """Seconds from the start of the process until a worker's handler has run."""
    began = time.monotonic()
    broker.start()
    listening = time.monotonic() - began
    config = broker.folder / "worker.yaml"
    config.write_text(f"broker: {broker.address}\nqueues: [{queue}]\nconcurrency: 1\nprefetch: 0\n"
                      "handlers:\n  - type: bench\n    command: [/bin/sh, -c, 'echo ran >&2; exec sleep 1000']\n")
    worker = subprocess.Popen([broker.bin / "penstock-worker", "--config", config], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    while '"running": "1"' not in broker.penstock("queue", "get", queue, "-o", "json"):
        time.sleep(0.005)
    delivered = time.monotonic() - began
    worker.kill()
    worker.wait()
    return listening, delivered


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000_000)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--keys", type=int)
    parser.add_argument("--groups", type=int)
    parser.add_argument("--payload", type=int, default=256)
    parser.add_argument("--delay")
    parser.add_argument("--bin", default=ROOT / "build/release/bin", help="folder of the programs")
    arguments = parser.parse_args()
    with Broker(arguments.bin, options=["--limits.queues", str(max(10_000, arguments.queues + 10))]) as broker:
        rates(broker, "empty broker")
        written, cpu = broker.written(), broker.cpu()
        fill = ["fill", "--tasks", arguments.tasks, "--batch", 100, "--queues", arguments.queues]
        for option in ("delay", "keys", "groups", "payload"):
            if getattr(arguments, option):
                fill += [f"--{option}", getattr(arguments, option)]
        filled = broker.bench(*fill)
        print(f"filled in: {filled['tasks_per_second']:,.0f}/s, S {filled['broker']['cpu_seconds_per_million']:.2f}", flush=True)
        settle(broker)
        payload = arguments.tasks * arguments.payload
        print(f"settled: {broker.rss() / 2**20:.0f} MiB resident, {broker.disk() / 2**20:.0f} MiB on disk, written "
              f"{(broker.written() - written) / payload:.2f} times the payload, S {(broker.cpu() - cpu) / arguments.tasks * 1e6:.2f}")
        print(f"penstock status: {min(status_seconds(broker) for _ in range(5)) * 1e3:.0f} ms", flush=True)
        rates(broker, "beside it")
        print(f"then: {broker.rss() / 2**20:.0f} MiB resident")
        broker.kill()
        if not arguments.delay:
            queue = "penstock-bench" if arguments.queues == 1 else "penstock-bench-1"
            listening, delivered = first_delivery(broker, queue)
            print(f"killed and started again: listens after {listening:.2f} s, first delivery after {delivered:.2f} s, "
                  f"{broker.rss() / 2**20:.0f} MiB resident")


if __name__ == "__main__":
    main()
