#!/usr/bin/env python3
"""units_test.py SOURCE_FOLDER PROGRAMS_FOLDER: systemd starts broker and worker again whatever ended them, but for what a start does not help,
and understands the units."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

root, programs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
units = {"penstock-broker.service": "penstock-broker.service", "penstock-worker@.service": "penstock-worker@reports.service"}
expected = {
    # A signal (a crash, an abort) and every other exit code than 0.
    ("Service", "Restart"): "on-failure",
    # kExitConfig of common/config/loader.h: the configuration is wrong.
    ("Service", "RestartPreventExitStatus"): "78",
    # Five crashes in ten seconds would otherwise be the last: several tasks that crash a plug-in are enough for that.
    ("Unit", "StartLimitIntervalSec"): "0",
}
problems = []


def settings_of(text):
    """A setting that is given twice has its last value here; those looked at are not."""
    settings, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            settings[section, key] = value
    return settings


with tempfile.TemporaryDirectory() as folder:
    # The programs are where they were built, as nobody has installed them; a unit would have to quote a path with spaces.
    pathlib.Path(folder, "bin").symlink_to(programs)
    for file, instance in units.items():
        text = (root / "deploy/systemd" / file).read_text()
        settings = settings_of(text)
        for (section, key), value in expected.items():
            if settings.get((section, key)) != value:
                problems.append(f"{file}: [{section}] {key}= is {settings.get((section, key))}, not {value}")
        if not shutil.which("systemd-analyze"):
            continue
        pathlib.Path(folder, file).write_text(text.replace("/usr/bin/", f"{folder}/bin/"))
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", f"{folder}/{instance}"], capture_output=True, text=True)
        # What it says of the machine's other units is nobody's fault here.
        problems += [line for line in verified.stderr.splitlines() if "penstock" in line]
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
