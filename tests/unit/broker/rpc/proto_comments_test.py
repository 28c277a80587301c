#!/usr/bin/env python3
"""proto_comments_test.py SOURCE_FOLDER: in the API, every field, enum value, rpc, enum and message has a comment of its own that says more than its name,
and the comment of an rpc says its status codes. Not asked of requests and responses, which their rpc explains, and of values that mean "left out".

And what a caller sends says its default and its limit: see unsaid()."""
import pathlib
import re
import sys

CODES = ("INVALID_ARGUMENT|NOT_FOUND|ALREADY_EXISTS|PERMISSION_DENIED|RESOURCE_EXHAUSTED|FAILED_PRECONDITION|ABORTED|UNAVAILABLE|DATA_LOSS|"
         "DEADLINE_EXCEEDED|CANCELLED|Codes as [A-Z]")
BLOCK = re.compile(r"(message|enum|service|oneof) (\w+) \{")
RPC = re.compile(r"rpc (\w+)\(")
FIELD = re.compile(r"(?P<repeated>repeated )?(?:optional )?(?P<type>map<[^>]+>|[\w.]+) (?P<name>\w+) = \d+;")
BROKERS = "From here on the broker's"
LIKE = r"[Aa]s in ([A-Z]\w+)(?:\.(\w+))?"
DEFAULT = re.compile(rf"Required|[Dd]efault|{LIKE}")
LIMIT = re.compile(rf"[Aa]t most|\d(?: \w+)? to |[Ff]rom \d|exactly \d|limits\.\w+|{LIKE}")
# What a caller makes as large as it likes. Not uint64, of which each value is one (a token, a count without a limit); not times, flags and enums.
SIZED = {"string", "bytes", "double", "int32", "uint32", "google.protobuf.Duration"}
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
        return "field", field["name"]
    return None, None


class Field:
    def __init__(self, place, match, comment, in_oneof):
        self.place, self.comment, self.in_oneof = place, comment, in_oneof
        self.name, self.type, self.repeated = match["name"], match["type"], bool(match["repeated"])


def messages_of(paths):
    """Each message's fields, without those that only the broker fills in."""
    messages = {}
    for path in paths:
        comment, open_blocks, sent = [], [], True
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.strip()
            if line.startswith("//"):
                comment.append(line[2:])
                sent = sent and BROKERS not in line
                continue
            if block := BLOCK.match(line):
                open_blocks += [] if line.endswith("}") else [block.groups()]
                if block[1] == "message":
                    messages[block[2]], sent = [], True
            elif line == "}":
                open_blocks.pop()
            elif (field := FIELD.match(line)) and sent:
                owner = next(name for kind, name in reversed(open_blocks) if kind == "message")
                messages[owner].append(Field(f"{path.name}:{number}", field, " ".join(text.strip() for text in comment), open_blocks[-1][0] == "oneof"))
            comment = []
    return messages


def unsaid(messages):
    """What a caller sends is a request and every message in one. Each of its fields says its default, or that it is required; a oneof says that for what is
    in it. What has a size says its limit as well. "As in Message.field" says both, and has to be there. A message says it in its own fields."""
    problems, sent, waiting = [], set(), [name for name in messages if name.endswith("Request")]
    while waiting:
        message = waiting.pop()
        if message in sent:
            continue
        sent.add(message)
        for field in messages[message]:
            at = f"{field.place}: {message}.{field.name}"
            kind = field.type.rsplit(".", 1)[-1]
            for other, its_field in re.findall(LIKE, field.comment):
                its_field = its_field or field.name
                if its_field not in {known.name for known in messages.get(other, [])}:
                    problems.append(f"{at} is as in {other}.{its_field}, which is not there")
            if kind in messages:
                waiting.append(kind)
                if not field.repeated:
                    continue
            if not field.in_oneof and not DEFAULT.search(field.comment):
                problems.append(f"{at} says neither that it is required nor its default")
            sized = field.type in SIZED or field.type.startswith("map<") or field.repeated and kind in messages
            if sized and not LIMIT.search(field.comment):
                problems.append(f"{at} does not say its limit")
    if len(sent) < 70:
        problems.append(f"only {len(sent)} messages found that a caller sends: there are more")
    return problems


def main():
    seen, problems = 0, []
    paths = sorted((pathlib.Path(sys.argv[1]) / "proto/penstock/v1").glob("*.proto"))
    for path in paths:
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
    problems += unsaid(messages_of(paths))
    print("\n".join(problems) or f"{seen} definitions have comments")
    sys.exit(1 if problems else 0)


main()
