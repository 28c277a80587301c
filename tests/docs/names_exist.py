#!/usr/bin/env python3
"""names_exist.py SOURCE_FOLDER: what the documentation names is there.

Every row of docs/features.md names a test, and each that it names exists: `program`: `Suite.Test`, where a name of a test
may have * in it and go without its suite; a program alone; a scenario script; a file; "rule" or "rules" and names of the
checker's. In all documents, paths in backquotes and links lead to something."""
import fnmatch
import pathlib
import re
import sys


def tests_of(sources):
    """Suite.Test for every test in the files."""
    names = set()
    for source in sources:
        for suite, name in re.findall(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", source.read_text(), re.M):
            names.add(f"{suite}.{name}")
        for suite, name in re.findall(r"^TYPED_TEST(?:_P)?\((\w+),\s*(\w+)\)", source.read_text(), re.M):
            names.add(f"{suite}.{name}")
    return names


def programs_of(root):
    """The tests of each program, by the program's name; none of those that are not GoogleTest's."""
    programs = {}
    for cmake in sorted(root.glob("tests/**/CMakeLists.txt")):
        text = re.sub(r"#.*", "", cmake.read_text()).replace("${PROJECT_SOURCE_DIR}", str(root))
        for variable, values, body in re.findall(r"foreach\((\w+) ([^)]*)\)(.*?)endforeach\(\)", text, re.S):
            text += "".join(body.replace("${%s}" % variable, value) for value in values.split())
        for name, rest in re.findall(r"penstock_test\((\S+)([^)]*)\)", text):
            sources = [cmake.parent / word for word in re.findall(r"\S+\.cc\b", rest)]
            programs[name] = tests_of([source for source in sources if source.exists()])
        for name in re.findall(r"add_test\(NAME\s+(\S+)", text):
            programs.setdefault(name, set())
    return programs


def rules_of(root):
    """What the checker of histories reports."""
    return {rule for source in root.glob("tests/checker/*.cc") for rule in re.findall(r'Report\(\s*"(\w+)"', source.read_text())}


def fits(pattern, name):
    suite, test = name.split(".")
    return any(fnmatch.fnmatchcase(whole, pattern) for whole in (name, suite, test))


def wrong_names(cell, programs, rules, is_there):
    """What the second column of a row names and is not there."""
    program = None
    named_rules = r",? rules? ((?:`\w+`(?:, )?)+)"
    for names in re.findall(named_rules, cell):
        yield from (f"rule {name}" for name in re.findall(r"`(\w+)`", names) if name not in rules)
    cell = re.sub(named_rules, "; ", cell)
    for name, colon in re.findall(r"`([^`]+)`(:?)", cell):
        if colon and name in programs:
            program = name
        elif program and any(fits(name, test) for test in programs[program]):
            continue
        elif colon or not is_there(name):
            yield f"{program}: {name}" if program else name


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    programs = programs_of(root)
    rules = rules_of(root)
    scenarios = {path.stem for path in root.glob("tests/scenario/testdata/*.txt")}

    def is_there(name):
        return name in programs or name in scenarios or ("/" in name and (root / name).exists())

    wrong = []
    rows = 0
    for number, line in enumerate((root / "docs/features.md").read_text().splitlines(), 1):
        cells = re.split(r"(?<!\\)\|", line)
        if not line.startswith("| ") or line.startswith("| promise"):
            continue
        rows += 1
        if "`" not in cells[-2]:
            wrong.append(f"docs/features.md:{number}: no test is named")
        wrong += [f"docs/features.md:{number}: {name}" for name in wrong_names(cells[-2], programs, rules, is_there)]

    folders = "|".join(path.name for path in root.iterdir() if (path / "CMakeLists.txt").exists()) + "|docs|deploy"
    for document in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = document.read_text()
        # NAME and vN stand for any; a class may be named without its endings.
        paths = {re.sub(r"NAME|vN", "*", path) for path in re.findall(rf"`((?:{folders})/[\w./+-]*)`", text)}
        wrong += [f"{document.relative_to(root)}: {path}" for path in sorted(paths) if not any(root.glob(f"{path}*"))]
        for link in sorted(set(re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text))):
            if not (document.parent / link).exists():
                wrong.append(f"{document.relative_to(root)}: link to {link}")

    for what in wrong:
        print("not there: " + what)
    print(f"{rows} rows, {len(programs)} programs, {sum(map(len, programs.values()))} tests, {len(scenarios)} scenarios")
    sys.exit(1 if wrong or rows < 50 else 0)


main()
