#!/usr/bin/env python3
"""Counts the instructions that a task costs in the core, the wire and the store, and compares them with a budget.

  instructions.py PROGRAM              compares; fails if a scenario needs over 3 % more, or less, than its budget
  instructions.py PROGRAM --rewrite    writes what was counted as the new budget: a commit changes it knowingly

Callgrind's counts are the same on every machine for the same program, so this is a guard where a time would be noise.
Budgets are those of the compiler and libraries of Debian 12 and of the preset dev.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BUDGET = pathlib.Path(__file__).with_name("instructions.budget")
TOLERANCE = 0.03
# The C library copies and compares with what the processor has: the same everywhere, so that counts are, too. And "rep
# movsb" copies a block with one instruction, which callgrind counts once for every byte.
PLAIN_PROCESSOR = ("glibc.cpu.hwcaps=-AVX,-AVX2,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load:glibc.cpu.x86_rep_movsb_threshold=1000000000:"
                   "glibc.cpu.x86_rep_stosb_threshold=1000000000")


def count(program, scenario):
    """Instructions a task."""
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(
            ["setarch", os.uname().machine, "--addr-no-randomize", "valgrind", "--tool=callgrind", "--instr-atstart=no",
             f"--callgrind-out-file={folder}/out", program, scenario],
            capture_output=True, text=True, env={**os.environ, "TMPDIR": folder, "GLIBC_TUNABLES": PLAIN_PROCESSOR}, check=False)
    if ran.returncode != 0:
        sys.exit(f"{program} {scenario} failed:\n{ran.stdout}{ran.stderr}")
    collected = int(re.search(r"Collected : (\d+)", ran.stderr).group(1))
    return collected / int(re.search(r"tasks (\d+)", ran.stdout).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--rewrite", action="store_true", help="write the budget")
    arguments = parser.parse_args()
    scenarios = subprocess.run([arguments.program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(scenarios, pool.map(lambda name: count(arguments.program, name), scenarios)))
    if arguments.rewrite:
        BUDGET.write_text("".join(f"{name} {round(number)}\n" for name, number in counts.items()))
        return 0
    budget = {name: int(number) for name, number in (line.split() for line in BUDGET.read_text().splitlines())}
    wrong = sorted(set(budget) ^ set(counts))
    for name, number in counts.items():
        share = number / budget.get(name, number) - 1
        print(f"{name:28}{number:8.0f} instructions a task, budget {budget.get(name, 0):6} ({share:+.1%})")
        if abs(share) > TOLERANCE:
            wrong.append(name)
    if wrong:
        print(f"not as in {BUDGET.name}: {', '.join(wrong)}. If that is meant, or better: instructions.py --rewrite")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
