#!/usr/bin/env python3
"""Plants one mistake after another in a copy of the tree and shows that the tests find it.

A mutation is a file in list/: what it breaks, what must find it, and the edits. Every old text must stand in its file
exactly once, so that a mutation which the code has outgrown is noticed; --check looks for nothing else, and is a test.

    what: a lease's token is not compared
    rules: stale completion
    file: broker/core/sessions.cc
    <<<<
    old text
    ====
    new text
    >>>>

`rules` are those of the simulation that may find it. What other tests must find has `tests` instead: a program in
tests/ of the build, and its arguments.

    tests: rocksdb_storage_test --gtest_filter=WalRecoveryTest.*

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
        rules = re.search(r"^rules: (.*)$", text, re.M)
        tests = re.search(r"^tests: (.*)$", text, re.M)
        if (rules is None) == (tests is None):
            raise ValueError(f"{path}: needs either rules or tests")
        self.rules = rules.group(1).split() if rules else []
        self.tests = tests.group(1) if tests else None
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


    def problem(self, tree):
        """Why it does not fit the tree; None: it does."""
        texts = {}
        for file, old, new in self.edits:
            path = tree / file
            if not path.is_file():
                return f"there is no {file}"
            text = texts.setdefault(path, path.read_text())
            if text.count(old) != 1:
                return f"the old text stands {text.count(old)} times in {file}"
            texts[path] = text.replace(old, new)
        return None


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


def build(build_dir, jobs, target):
    result = run(["cmake", "--build", str(build_dir), "--target", target, "-j", str(jobs)])
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


def run_tests(build_dir, tests, timeout):
    """Tests that failed (None: none did)."""
    words = tests.split()
    try:
        result = run([str(build_dir / "tests" / words[0]), *words[1:]], timeout=timeout)
    except subprocess.TimeoutExpired:
        return ["hangs"]
    if result.returncode == 0:
        # A filter that fits nothing is content with everything.
        return None if re.search(r"\[  PASSED  \] [1-9]", result.stdout) else ["no test ran"]
    failed = sorted(set(re.findall(r"^\[  FAILED  \] (\w+[.]\w+)", result.stdout, re.M)))
    return failed[:3] or ["crash"]


def check(mutations):
    bad = 0
    for mutation in mutations:
        problem = mutation.problem(ROOT)
        if problem:
            bad += 1
            print(f"{mutation.name} does not fit: {problem}")
    print(f"{len(mutations) - bad} of {len(mutations)} mutations fit the tree")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description="Plants mistakes and shows that the tests find them.")
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--check", action="store_true", help="only look whether all fit the tree; builds nothing")
    parser.add_argument("--seeds", type=int, default=4000, help="of the simulation")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=int, default=600, help="of one run, in seconds; a hang is a find, too")
    parser.add_argument("--folder", help="where the copy is built and kept; default: a temporary folder")
    arguments = parser.parse_args()
    mutations = [Mutation(path) for path in sorted(LIST.glob("*.txt"))]
    if arguments.names:
        unknown = set(arguments.names) - {mutation.name for mutation in mutations}
        if unknown:
            parser.error(f"there is no mutation {', '.join(sorted(unknown))}")
        mutations = [mutation for mutation in mutations if mutation.name in arguments.names]
    if arguments.check:
        return check(mutations)
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="penstock-mutations-"))
    tree, build_dir = folder / "tree", folder / "build"
    shutil.rmtree(tree, ignore_errors=True)
    copy_tree(tree)
    configured = run(["cmake", "-S", str(tree), "-B", str(build_dir), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                      "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1", "-DPENSTOCK_WERROR=OFF",
                      "-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"])
    if configured.returncode != 0:
        print(configured.stdout)
        return 1

    def judge(mutation):
        """What finds the tree as it is, and a seed that does. None: nothing does; text: it does not build."""
        target = mutation.tests.split()[0] if mutation.tests else "penstock-sim"
        problem = build(build_dir, arguments.jobs, target)
        if problem:
            return problem, ""
        if mutation.tests:
            return run_tests(build_dir, mutation.tests, arguments.timeout), ""
        rules, _, seed = simulate(build_dir, arguments.seeds, arguments.jobs, arguments.timeout)
        return rules, seed

    # Every way of judging must be content with the tree itself.
    for mutation in {mutation.tests: mutation for mutation in mutations}.values():
        found, _ = judge(mutation)
        name = mutation.tests or f"{arguments.seeds} worlds of the simulation"
        if found is not None:
            print(f"the tree itself is red ({name}): {found if isinstance(found, str) else ' '.join(found)}")
            return 1
        print(f"the tree itself is green: {name}", flush=True)
    print("\n| mutation | what | found by | seed |\n|---|---|---|---|", flush=True)
    bad = []
    for mutation in mutations:
        try:
            originals = mutation.apply(tree)
        except ValueError as error:
            found, seed = f"**does not fit**: {error}", ""
            bad.append(mutation.name)
        else:
            result, seed = judge(mutation)
            if isinstance(result, str):
                found = "**does not build**"
                bad.append(mutation.name)
            elif result is None:
                found = "**survived**"
                bad.append(mutation.name)
            else:
                found = " ".join(result)
                if mutation.rules and not set(result) & set(mutation.rules):
                    found += f" (expected {' '.join(mutation.rules)})"
            restore(originals)
        print(f"| {mutation.name} | {mutation.what} | {found} | {seed} |", flush=True)
    if not arguments.folder:
        shutil.rmtree(folder)
    print(f"\n{len(mutations) - len(bad)} of {len(mutations)} found" + (f"; not: {', '.join(bad)}" if bad else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
