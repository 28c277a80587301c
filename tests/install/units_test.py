#!/usr/bin/env python3
"""units_test.py SOURCE_FOLDER PROGRAMS_FOLDER CMAKE: systemd starts broker and worker again whatever ended them, but for what a start does not help,
and understands the units, whatever the prefix that they are installed with."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

root, programs, cmake = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
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


def verify(prefix, folder):
    """Installs the units with this prefix, as `cmake --install` does, and lets systemd read them."""
    prefix.mkdir()
    (prefix / "bin").symlink_to(programs)
    # With another libdir than the units have in the sources: worker.yaml follows it.
    places = {"CMAKE_INSTALL_PREFIX": prefix, "PLACED_SOURCE_DIR": root, "PLACED_BINDIR": "bin", "PLACED_LIBDIR": "lib/here", "PLACED_DATADIR": "share"}
    subprocess.run([cmake, *(f"-D{name}={value}" for name, value in places.items()), "-P", root / "cmake/PenstockPlaced.cmake"],
                   check=True, capture_output=True)
    plugin = str(prefix / "lib/here/penstock/plugins/penstock-report.so").replace("'", "''")
    if f"plugin: '{plugin}'\n" not in (prefix / "share/penstock/worker.yaml").read_text():
        problems.append(f"worker.yaml does not name the plug-in {plugin}")
    if not shutil.which("systemd-analyze"):
        return
    for file, instance in units.items():
        # Here, as the name of a unit's folder is nothing that systemd would have to understand.
        (folder / instance).write_text((prefix / "lib/systemd/system" / file).read_text())
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", folder / instance], capture_output=True, text=True)
        # What it says of the machine's other units is nobody's fault here.
        problems.extend(line for line in verified.stderr.splitlines() if "penstock" in line)


for file in units:
    settings = settings_of((root / "deploy/systemd" / file).read_text())
    for (section, key), value in expected.items():
        if settings.get((section, key)) != value:
            problems.append(f"{file}: [{section}] {key}= is {settings.get((section, key))}, not {value}")
with tempfile.TemporaryDirectory() as name:
    verify(pathlib.Path(name, "prefix"), pathlib.Path(name))
    verify(pathlib.Path(name, "100% pre fix %h"), pathlib.Path(name))
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
