#!/usr/bin/env python3
"""proto_comments_test.py SOURCE_FOLDER: in the API, every field, enum value, rpc, enum and message has a comment of its own that says more than its name,
and the comment of an rpc says its status codes. Not asked of requests and responses, which their rpc explains, and of values that mean "left out"."""
import pathlib
import re
import sys

CODES = ("INVALID_ARGUMENT|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|UNAVAILABLE|DATA_LOSS|"
         "DEADLINE_EXCEEDED|CANCELLED|Codes as [A-Z]")
BLOCK = re.compile(r"(message|enum|service|oneof) (\w+) \{")
RPC = re.compile(r"rpc (\w+)\(")
FIELD = re.compile(r"(?:optional |repeated )?(?:map<[^>]+>|[\w.]+) (\w+) = \d+;")
VALUE = re.compile(r"([A-Z][A-Z0-9_]*) = (\d+);")


def words(text):
    """Plain forms, so that a comment which only repeats a name is found."""
    return {re.sub(r"s$", "", word) for word in re.findall(r"[a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ").lower())}


def problem_of(kind, name, comment):
    if not comment:
        return "has no comment of its own"
    if words(comment) <= words(name) | {"a", "an", "the", "of", "it", "this"}:
        return "has a comment that only repeats its name"
    if kind == "rpc" and not re.search(CODES, comment):
        return "does not say its status codes"
    return None


def named(line):
    """What a line defines: kind and name."""
    if block := BLOCK.match(line):
        return block.groups()
    if rpc := RPC.match(line):
        return "rpc", rpc[1]
    if value := VALUE.match(line):
        return ("unspecified" if value[1].endswith("_UNSPECIFIED") and value[2] == "0" else "value"), value[1]
    if field := FIELD.match(line):
        return "field", field[1]
    return None, None


def main():
    seen, problems = 0, []
    for path in sorted((pathlib.Path(sys.argv[1]) / "proto/penstock/v1").glob("*.proto")):
        comment = []
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.strip()
            if line.startswith("//"):
                comment.append(line[2:])
                continue
            kind, name = named(line)
            explained_by_rpc = kind == "message" and name.endswith(("Request", "Response"))
            if kind and kind not in ("service", "unspecified") and not explained_by_rpc:
                seen += 1
                own = comment + ([line.split("//", 1)[1]] if "//" in line else [])
                if problem := problem_of(kind, name, "\n".join(own)):
                    problems.append(f"{path.name}:{number}: {kind} {name} {problem}")
            comment = []
    if seen < 600:
        problems.append(f"only {seen} definitions found: the API has more")
    print("\n".join(problems) or f"{seen} definitions have comments")
    sys.exit(1 if problems else 0)


main()
