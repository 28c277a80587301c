"""A broker of its own for a benchmark: fresh data folder, port 0, ended when it is no longer needed."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time


class Broker:
    """A running penstock-broker. `bin` is the folder of the programs, `folder` keeps the data (default: a temporary one)."""

    def __init__(self, bin, folder=None, options=()):
        self.bin = pathlib.Path(bin)
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="penstock_bench_"))
        self.options = list(options)
        self.start()

    def start(self):
        """Returns the seconds until it listens."""
        self.log = self.folder / "broker.log"
        began = time.monotonic()
        with open(self.log, "ab") as log:
            begin = log.tell()
            self.process = subprocess.Popen(
                [self.bin / "penstock-broker", "--data-dir", self.folder / "data", "--grpc.address", "127.0.0.1:0",
                 "--http.address", "", *self.options], stdout=log, stderr=log)
        while True:
            with open(self.log, "rb") as log:
                log.seek(begin)
                ready = re.search(rb"ready grpc=(\d+)", log.read())
            if ready:
                break
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.002)
        self.address = f"127.0.0.1:{int(ready.group(1))}"
        return time.monotonic() - began

    def penstock(self, *arguments, check=True):
        ran = subprocess.run([self.bin / "penstock", "--broker", self.address, *map(str, arguments)],
                             capture_output=True, text=True, check=False)
        if check and ran.returncode != 0:
            raise SystemExit(f"penstock {' '.join(map(str, arguments))}: {ran.stderr}{ran.stdout}")
        return ran.stdout

    def bench(self, *arguments):
        return json.loads(self.penstock("bench", *arguments, "-o", "json", "--fsync-dir", self.folder))

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_text()

    def rss(self):
        """Resident bytes."""
        return int(re.search(r"VmRSS:\s+(\d+)", self.proc("status")).group(1)) * 1024

    def cpu(self):
        """CPU seconds used."""
        fields = self.proc("stat").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def written(self):
        """Bytes written to the disk."""
        return int(re.search(r"write_bytes: (\d+)", self.proc("io")).group(1))

    def disk(self):
        """Bytes of the data folder."""
        return sum(file.stat().st_size for file in (self.folder / "data").rglob("*") if file.is_file())

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.stop()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
