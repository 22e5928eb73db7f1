"""The programs are built hard to misuse, and a secret is nowhere but where it must be."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import BUILD, Daemon, sanitized
from outcome import SHORT_RUN

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("ijepad", "ijepad-worker")
# Debian 12's packages with the fixes that this project counts on (docs/reliability.md).
PACKAGES = {"libsqlite3-0": "3.40.1-2+deb12u2", "libmicrohttpd12": "0.9.75-6"}


def readelf(program, *options):
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    return subprocess.run(["readelf", "-W", *options, BUILD / program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_how_it_is_linked(program):
    assert re.search(r"Type:\s+DYN \(Position-Independent Executable", readelf(program, "-h")), "PIE"
    segments = readelf(program, "-l")
    assert re.search(r"GNU_STACK\s+(\S+\s+){5}RW\s", segments), "a stack that is not executable"
    assert "GNU_RELRO" in segments
    dynamic = readelf(program, "-d")
    assert re.search(r"FLAGS.*\bNOW\b", dynamic), "all symbols bound at start"
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    symbols = readelf(program, "--dyn-syms")
    assert "__stack_chk_fail" in symbols, "stack protector"
    assert "_chk@" in symbols or sanitized(program), "FORTIFY"


def test_the_daemon_links_no_cuda_and_no_decoder():
    libraries = re.findall(r"NEEDED.*\[(.*)\]", readelf("ijepad", "-d"))
    assert not [l for l in libraries if re.search(r"cuda|cublas|nccl|nvidia|jpeg|spng|dnnl", l)], libraries


def test_the_analysers_find_nothing():
    made = subprocess.run(["make", "--no-print-directory", "-j2", "analyzed"], cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, f"make analyze\n{made.stdout[-1000:]}{made.stderr[-5000:]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_versions(package):
    release = pathlib.Path("/etc/os-release").read_text()
    if "bookworm" not in release:
        pytest.skip("not Debian 12")
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True).stdout
    good = subprocess.run(["dpkg", "--compare-versions", version, "ge", PACKAGES[package]]).returncode == 0
    assert good, f"{package} {version}"


def holders(folder, secret):
    """Files below `folder` that hold the secret's bytes."""
    return {p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and secret in p.read_bytes()}


def processes_showing(pids, secret):
    shown = []
    for pid in pids:
        for name in ("cmdline", "environ"):
            if secret in pathlib.Path(f"/proc/{pid}/{name}").read_bytes():
                shown.append(f"{name} of {pid}")
    return shown


def test_a_token_is_nowhere_to_be_found(scenes, tmp_path):
    """Used in every way it can be, also wrong ones; then searched in the state folder (databases with their
    logs, backups, run folders), the daemon's words and the processes' arguments and environments."""
    daemon = Daemon(tmp_path)
    daemon.start()
    made = daemon.api("POST", "/v1/tokens", json={"user": "canary", "role": "submitter"}).json()
    token = made["token"]
    used = {"Authorization": f"Bearer {token}"}
    body = {"kind": "pretrain", "params": {**SHORT_RUN, "dataset": str(scenes), "epochs": 1000}}
    run = daemon.api("POST", "/v1/runs", json=body, headers=used).json()["id"]
    daemon.wait_for_step(run, 1)
    for headers in (used, {"Authorization": f"Basic {token}"}, {"Authorization": f"Bearer {token}x"}):
        daemon.api("GET", "/v1/runs", headers=headers)
        daemon.api("POST", "/v1/runs", json={"kind": token}, headers=headers)
    pids = [daemon.process.pid, *daemon.worker_pids()]
    assert len(pids) == 2
    assert not processes_showing(pids, token.encode())
    admin = daemon.token.encode()
    assert not processes_showing(pids, admin)
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.wait_for_state(run, "canceled")
    backup = tmp_path / "copy.db"
    subprocess.run([BUILD / "ijepad", "backup", "--config", tmp_path / "ijepad.conf", backup], check=True,
                   capture_output=True)
    daemon.stop()
    assert holders(tmp_path, admin) == {daemon.state / "admin.token"}
    assert not holders(tmp_path, token.encode())
    assert os.stat(daemon.state / "admin.token").st_mode & 0o077 == 0
