#!/usr/bin/env python3
"""make_corpus.py [FOLDER]: writes the corpora of tests/fuzz anew (default: tests/fuzz/corpus).

What is stored comes from the log of a golden data folder, requests have every field set, texts are as people write
them. Done when a target or a message is new; what fuzzers found besides stays where it is. Needs protoc and
python3-protobuf.
"""

import importlib
import pathlib
import struct
import subprocess
import sys
import tempfile

from google.protobuf.descriptor import FieldDescriptor as Field

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/testdata/golden/v1/live/db"
OUT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/fuzz/corpus"
TASK_ID = "0000000002001"
# In the order of api_fuzz.cc and records_fuzz.cc.
REQUESTS = [
    "EnqueueRequest", "EnqueueManyRequest", "EnqueueStreamRequest", "CancelTaskRequest", "RetryTaskRequest",
    "CreateQueueRequest", "UpdateQueueRequest", "RedriveDeadTasksRequest", "PurgeDeadTasksRequest", "ListKeysRequest",
    "ReleaseKeyRequest", "DrainWorkerRequest", "CreateScheduleRequest", "UpdateScheduleRequest", "ListSchedulesRequest",
    "PreviewScheduleRequest", "CreateThrottleRequest", "UpdateThrottleRequest", "ListThrottlesRequest",
]
NAMES = len(REQUESTS)
RECORDS = [
    "QueueRecord", "TypeRecord", "SessionRecord", "TaskRecord", "AttemptRecord", "LogRecord", "ResultRecord",
    "UniqueRecord", "RequestRecord", "SpecRecord", "BulkJobRecord", "ScheduleProgressRecord", "ThrottleRecord",
    "ScheduleRecord",
]
# Family of a key, as RocksDB numbers them.
META, BLOCKS, DELTAS, TASKS, INDEX, HISTORY = range(6)


def write(target, name, content):
    (OUT / target).mkdir(parents=True, exist_ok=True)
    (OUT / target / name).write_bytes(content)


def messages(folder):
    """The generated classes by name."""
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    subprocess.check_call(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", *protos])
    sys.path.insert(0, folder)
    found = {}
    for proto in protos:
        module = importlib.import_module(proto.removesuffix(".proto").replace("/", ".") + "_pb2")
        found.update({name: getattr(module, name) for name in module.DESCRIPTOR.message_types_by_name})
    return found


def text_of(field):
    if "task_id" in field.name:
        return TASK_ID
    return {"producer_id": "0123456789abcdef", "cron": "*/5 * * * *", "time_zone": "UTC"}.get(field.name, field.name)


def fill(message, depth=6):
    """Sets every field, the deep ones too, to something that may be right; of a choice the first."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and oneof.fields[0] is not field:
            continue
        repeated = field.label == Field.LABEL_REPEATED
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                value = field.message_type.fields_by_name["value"]
                getattr(message, field.name)["name"] = 1.0 if value.type == Field.TYPE_DOUBLE else "value"
            elif depth > 0:
                part = getattr(message, field.name)
                part = part.add() if repeated else part
                part.SetInParent() if not repeated else None
                fill(part, depth - 1)
            continue
        value = {Field.TYPE_STRING: text_of(field), Field.TYPE_BYTES: text_of(field).encode(), Field.TYPE_BOOL: True,
                 Field.TYPE_DOUBLE: 1.0, Field.TYPE_ENUM: 1}.get(field.type, 3)
        if repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def write_requests(classes):
    for tag, name in enumerate(REQUESTS):
        write("api", name, bytes([tag]) + fill(classes[name]()).SerializeToString())
    plain = classes["EnqueueRequest"]()
    plain.task.queue, plain.task.type, plain.task.payload = "q", "t", b"x"
    write("api", "plain", bytes([0]) + plain.SerializeToString())
    write("api", "names", bytes([NAMES]) + b"mail.send")
    write("api", "task_id", bytes([NAMES]) + TASK_ID.encode())
    write("api", "page_token", bytes([NAMES]) + b"0" * 50)
    write("work", "everything", fill(classes["WorkRequest"]()).SerializeToString())
    hello = classes["WorkRequest"]()
    hello.hello.worker_name, hello.hello.concurrency = "w", 2
    hello.hello.queues.append("q")
    hello.hello.types.add().type = "t"
    write("work", "hello", hello.SerializeToString())
    report = classes["WorkRequest"]()
    report.credit, report.frame_number = 2, 1
    for i, kind in enumerate(["completed", "failed", "snoozed", "released", "cancelled"]):
        outcome = report.outcomes.add()
        outcome.task_id, outcome.fencing_token = TASK_ID, 7 + i
        getattr(outcome, kind).SetInParent()
    report.outcomes[1].failed.error.message = "m"
    report.outcomes[2].snoozed.delay.seconds = 3
    write("work", "outcomes", report.SerializeToString())


def write_records(classes):
    for tag, name in enumerate(RECORDS):
        # And a field that nobody knows yet.
        write("records", name, bytes([tag]) + fill(classes[name]()).SerializeToString() + b"\xfa\x7d\x03new")


def log_records(content):
    """The records of a log file: broker/storage/wal_scan.h has the format."""
    record, at = b"", 0
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7:at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield record
            record = b""


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def leb(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def text(data, at):
    size, at = varint(data, at)
    return data[at:at + size], at + size


def puts(record):
    """Family, key and value of what a write batch puts."""
    at = 12
    while at < len(record):
        tag = record[at]
        at += 1
        family = 0
        if tag in (0x4, 0x5, 0x8, 0xE):
            family, at = varint(record, at)
        key, at = text(record, at)
        if tag in (0x1, 0x5):
            value, at = text(record, at)
            yield family, key, value
        elif tag in (0xE, 0xF):
            _, at = text(record, at)


def write_stored():
    log = next(GOLDEN.glob("*.log")).read_bytes()
    write("wal", "log", log)
    write("wal", "manifest", next(GOLDEN.glob("MANIFEST-*")).read_bytes())
    records = list(log_records(log))
    for number, record in enumerate(records[:3]):
        write("wal", f"record{number}", record)
    kinds = {}
    for record in records:
        for family, key, value in puts(record):
            kind = {BLOCKS: 0, HISTORY: 1, DELTAS: 5}.get(family)
            if family == INDEX:
                kind = {ord("F"): 2, ord("S"): 3}.get(key[1])
            if family == META:
                kind = {ord("c"): 5, ord("a"): 7}.get(key[1])
            if kind is not None:
                kinds.setdefault(kind, set()).add(value[5:])  # behind its envelope
    for kind, bodies in kinds.items():
        for number, body in enumerate(sorted(bodies, key=len)[-8:]):
            if len(body) <= 6000:
                write("stored", f"kind{kind}_{number}", bytes([kind]) + body)
    # As the encoders' comments describe them: broker/storage/task_block.h, history.h, core/state_codec.h.
    write("stored", "block", bytes([0, 1, 0, 2, 1, 1, 1, 5, 2, 1, 1, 0x15]) + b"namename" +
          bytes([3, 0, 3, 4, 8, 1, 1, 16, 3]) + b"key" + bytes([9, 1, 0, 0, 1]) + b"abc")
    write("stored", "history", bytes([1, 0, 1, 1]) + b"w" + bytes([2, 2, 1, 1, 0, 1, 1, 5, 0, 0, 2]) + b"ok" +
          bytes([2, 2, 0, 0, 3]))
    # Broken ones that once did harm: bits of slots that are not there, a lane twice, times that overflow.
    numbers = bytes([1, 1, 1, 1, 1])
    write("stored", "short_bits", bytes([5]) + numbers + bytes([13, 1, 0xC8, 1, 0, 1]) + b"\0" * 8 + bytes([0, 0]) +
          bytes([9, 1]) + leb(2 * ((1 << 14) + 150)) + bytes([2]))
    lane = bytes([12, 1, 1, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    write("stored", "lane_twice", bytes([5]) + numbers + lane + lane.replace(b"\1\1\1\5", b"\1\2\1\5") + bytes([3, 1]))
    most = leb((1 << 64) - 2)
    write("stored", "block_overflow", bytes([0, 1]) + most + bytes([1, 1, 1, 1, 5, 1, 0, 3]) + most + most + bytes([0]))
    write("stored", "history_overflow", bytes([1]) + most + bytes([1, 1]) + b"w" + bytes([2, 2]) + most + most +
          bytes([2, 1, 1, 5, 0]))
    write("stored", "addresses", bytes([2]) + bytes([1, 2, 3]))
    write("stored", "runs", bytes([3]) + bytes([2, 1, 4, 0, 0, 2, 2, 0, 1]))
    write("stored", "fifo_runs", bytes([4]) + bytes([1, 1, 4, 0, 0, 5]))
    write("stored", "timer", bytes([8]) + b"\0T\0\0\0\1" + struct.pack(">qQ", 1, 1))
    return kinds


def write_texts():
    for name, request in {
        "metrics": "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
        "two": "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.0\r\n\r\n",
        "post": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "chunked": "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "form": "POST /?a=b&c=%20 HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                "Content-Length: 56\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--x--",
        "range": "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,3-\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    }.items():
        write("http", name, request.encode())
    config = (ROOT / "deploy/broker.yaml").read_text()
    write("yaml", "broker", config[:config.index("\n", 3000) + 1].encode())
    write("yaml", "small", b"data_dir: /var/lib/penstock\ngrpc:\n  address: \"127.0.0.1:0\"\nlimits: {payload: 2MiB, "
                           b"result: '1 MiB'}\nsessions:\n  grace: 1.5s\nlog:\n  level: info,engine=debug\n")
    write("yaml", "lists", b"a:\n- b\n- [c, d]\n- {e: 1}\nf: |\n  text\n  more\ng: >-\n  folded\n")
    for name, cron in {"steps": "*/5 * * * *", "names": "0 9-17/2 * JAN,MAR MON-FRI", "last": "0 0 L * *",
                       "seconds": "30 0 2 * * SUN", "daily": "@daily"}.items():
        write("cron", name, cron.encode())
    payload = b'{"customer": 42, "plan": "free", "items": [{"sku": "x", "n": 1.5e3}], "gone": null, "ok": true}'
    for name, where in {"and_or": 'payload.customer == 42 && (payload.plan != "free" || payload.items[0].sku == "x")',
                        "in": 'payload.plan in ["free", "pro"]', "numbers": "payload.items[0].n >= 1500",
                        "contains": 'payload.plan contains "re"', "not": "!(payload.ok == true)",
                        "null": "payload.gone == null", "wrong": "payload.customer ="}.items():
        write("where", name, where.encode() + b"\n" + payload)
    write("report_request", "files", b'{"title":"T","files":["/a.xml"],"suite":"s","output":"/tmp/r.html"}')
    write("report_request", "inline", b'{"inline":["<testsuite/>"],"output":"/tmp"}')
    write("report_request", "options", b'{"folders":["/srv/ci"]}')
    for document in sorted((ROOT / "tests/testdata/junit").iterdir()):
        write("junit", document.name, b"\x07" + document.read_bytes())


def main():
    with tempfile.TemporaryDirectory() as folder:
        classes = messages(folder)
        write_requests(classes)
        write_records(classes)
    kinds = write_stored()
    write_texts()
    print({kind: len(bodies) for kind, bodies in kinds.items()})


if __name__ == "__main__":
    main()
