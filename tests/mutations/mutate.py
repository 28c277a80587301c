#!/usr/bin/env python3
"""Plants one mistake after another in a copy of the tree and shows that the simulation finds it.

A mutation is a file in list/: what it breaks, the rules that may find it, and the edits. Every old text must stand in
its file exactly once, so that a mutation which the code has outgrown is noticed.

    what: a lease's token is not compared
    rules: stale completion
    file: broker/core/sessions.cc
    <<<<
    old text
    ====
    new text
    >>>>

The table goes to standard output. Exit code 1: the tree itself is red, a mutation does not fit or build, or one
survived.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = pathlib.Path(__file__).resolve().parent / "list"


class Mutation:
    def __init__(self, path):
        self.name = path.stem
        text = path.read_text()
        self.what = re.search(r"^what: (.*)$", text, re.M).group(1)
        self.rules = re.search(r"^rules: (.*)$", text, re.M).group(1).split()
        self.edits = re.findall(r"^file: (\S+)\n<<<<\n(.*?)\n====\n(.*?)\n?>>>>$", text, re.M | re.S)
        if not self.edits:
            raise ValueError(f"{path}: no edits")

    def apply(self, tree):
        """Returns the original texts by file. Raises ValueError if an edit does not fit."""
        originals = {}
        try:
            for file, old, new in self.edits:
                path = tree / file
                text = path.read_text()
                originals.setdefault(path, text)
                if text.count(old) != 1:
                    raise ValueError(f"the old text stands {text.count(old)} times in {file}")
                path.write_text(text.replace(old, new))
        except ValueError:
            restore(originals)
            raise
        return originals


def restore(originals):
    for path, text in originals.items():
        path.write_text(text)


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def copy_tree(tree):
    """The files that git knows, as they are in the working tree."""
    files = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
    for name in files.decode().split("\0"):
        if name and (ROOT / name).is_file():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)


def build(build_dir, jobs):
    result = run(["cmake", "--build", str(build_dir), "--target", "penstock-sim", "-j", str(jobs)])
    return None if result.returncode == 0 else result.stdout


def simulate(build_dir, seeds, jobs, timeout):
    """Rules that were broken (None: the simulation was content), and how long it took."""
    begin = time.monotonic()
    command = [str(build_dir / "bin" / "penstock-sim"), "--seeds", str(seeds), "--jobs", str(jobs)]
    try:
        result = run(command, timeout=timeout)
    except subprocess.TimeoutExpired:
        return ["hangs"], time.monotonic() - begin, ""
    seconds = time.monotonic() - begin
    if result.returncode == 0:
        return None, seconds, ""
    rules = sorted(set(re.findall(r"^  ([a-z]+): ", result.stdout, re.M)))
    if "NEVER REACHED" in result.stdout:
        rules.append("coverage")
    if result.returncode < 0:
        rules.append("crash")
    seed = re.search(r"--seed (\d+)", result.stdout)
    return rules or ["?"], seconds, seed.group(1) if seed else ""


def main():
    parser = argparse.ArgumentParser(description="Plants mistakes and shows that the simulation finds them.")
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=int, default=600, help="of one run, in seconds; a hang is a find, too")
    parser.add_argument("--folder", help="where the copy is built and kept; default: a temporary folder")
    arguments = parser.parse_args()
    mutations = [Mutation(path) for path in sorted(LIST.glob("*.txt"))]
    if arguments.names:
        mutations = [mutation for mutation in mutations if mutation.name in arguments.names]
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="penstock-mutations-"))
    tree, build_dir = folder / "tree", folder / "build"
    shutil.rmtree(tree, ignore_errors=True)
    copy_tree(tree)
    configured = run(["cmake", "-S", str(tree), "-B", str(build_dir), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                      "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1", "-DPENSTOCK_WERROR=OFF",
                      "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"])
    problem = configured.stdout if configured.returncode != 0 else build(build_dir, arguments.jobs)
    if problem:
        print(problem)
        return 1
    rules, seconds, _ = simulate(build_dir, arguments.seeds, arguments.jobs, arguments.timeout)
    if rules is not None:
        print(f"the tree itself is red: {' '.join(rules)}")
        return 1
    print(f"the tree itself: {arguments.seeds} worlds, {seconds:.0f} s, no violation\n")
    print("| mutation | what | found by | seed |\n|---|---|---|---|", flush=True)
    bad = []
    for mutation in mutations:
        try:
            originals = mutation.apply(tree)
        except ValueError as error:
            found, seed = f"**does not fit**: {error}", ""
            bad.append(mutation.name)
        else:
            if build(build_dir, arguments.jobs):
                found, seed = "**does not build**", ""
                bad.append(mutation.name)
            else:
                rules, _, seed = simulate(build_dir, arguments.seeds, arguments.jobs, arguments.timeout)
                if rules is None:
                    found, seed = "**survived**", ""
                    bad.append(mutation.name)
                else:
                    found = " ".join(rules)
                    if not set(rules) & set(mutation.rules):
                        found += f" (expected {' '.join(mutation.rules)})"
            restore(originals)
        print(f"| {mutation.name} | {mutation.what} | {found} | {seed} |", flush=True)
    if not arguments.folder:
        shutil.rmtree(folder)
    print(f"\n{len(mutations) - len(bad)} of {len(mutations)} found" + (f"; not: {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
