"""Processes at the daemon's edge: what a worker leaves behind, what the kernel kills, whose number was somebody else's."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

import fake_worker
from harness import Daemon, wait_until

MEMORY = pathlib.Path("/sys/fs/cgroup/memory")  # version 1
UNIFIED = pathlib.Path("/sys/fs/cgroup")


@pytest.fixture
def daemon_with(tmp_path):
    daemons = []

    def start(worker, **config):
        daemons.append(Daemon(tmp_path, worker=worker, retry_base_ms=1, retry_cap_ms=20, stop_grace_s=3, **config).start())
        return daemons[0]
    yield start
    daemons[0].stop()


def submit(daemon, scenes, behaviour):
    seed = fake_worker.BEHAVIOURS.index(getattr(fake_worker, behaviour))
    return daemon.submit("pretrain", dataset=str(scenes), labels="none", batch=4, seed=seed)


def sleepers():
    """Of leaves_daemons: its processes have a duration of their own."""
    found = subprocess.run(["pgrep", "-af", r"^sleep 600\.[0-9]+"], capture_output=True, text=True).stdout.splitlines()
    return [int(line.split()[0]) for line in found]


def test_daemonised_descendants_do_not_stay(daemon_with, scenes, thorough):
    """200 of them, in sessions of their own, are gone soon after the worker's end, and nobody waits for them."""
    daemon = daemon_with(fake_worker.__file__)
    before = set(sleepers())
    run = submit(daemon, scenes, "leaves_daemons")
    daemon.wait_for_state(run, "succeeded")
    began = time.monotonic()
    wait_until("all are gone", lambda: not set(sleepers()) - before, 60)
    took = time.monotonic() - began
    print(f"gone {took:.1f} s after the run's end")
    assert took < 2.5 or not thorough
    assert len(re.findall(r"a worker left behind, is killed", daemon.log())) > 0
    wait_until("all are reaped", lambda: not daemon.worker_pids(), 10)
    daemon.wait_for_state(submit(daemon, scenes, "good"), "succeeded")


# ---- Out of memory ---------------------------------------------------------------------------------

@contextlib.contextmanager
def small_group(megabytes):
    """A control group whose processes may use so much memory; its folder."""
    unified = (UNIFIED / "cgroup.controllers").exists()
    parent, limit = (UNIFIED, "memory.max") if unified else (MEMORY, "memory.limit_in_bytes")
    group = parent / f"ijepad-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes << 20))
    except OSError as error:
        if group.exists():
            group.rmdir()
        pytest.skip(f"no control group with a memory limit can be made here: {error}")
    try:
        yield group
    finally:
        wait_until("the group is empty", lambda: not (group / "cgroup.procs").read_text().split(), 20)
        wait_until("the group is removed", lambda: not remove(group), 20)


def remove(group):
    try:
        group.rmdir()
    except OSError as error:
        return error
    return None


def test_the_kernel_kills_a_worker_that_takes_too_much_memory(daemon_with, scenes, tmp_path):
    """The cause is told, the daemon goes on, and the run is not tried again: it would take as much."""
    with small_group(64) as group:
        worker = tmp_path / "small-worker"
        worker.write_text(f"#!/bin/sh\necho $$ > {group}/cgroup.procs\nexec {fake_worker.__file__} \"$@\"\n")
        worker.chmod(0o755)
        daemon = daemon_with(worker)
        run = submit(daemon, scenes, "hogs")
        row = daemon.wait_for_state(run, "failed", deadline_s=60)
        attempts = daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"]
        assert {(a["cause"], a["signal"]) for a in attempts} == {("oom_host", signal.SIGKILL)}, attempts
        assert "memory had run out" in row["reason_text"] and len(attempts) == 1
        daemon.wait_for_state(submit(daemon, scenes, "good"), "succeeded")


# ---- Numbers that are used again ---------------------------------------------------------------------

STRANGER = """
import os, signal, sys
def note(number, frame):
    open(sys.argv[1], "a").write(f"{number}\\n")
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, note)
open(sys.argv[1], "a").close()
while True:
    signal.pause()
"""


def process_with_number(pid, note):
    """A process of that number, or None where another one was faster; skips where numbers cannot be chosen."""
    try:
        pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    except OSError as error:
        pytest.skip(f"process numbers cannot be chosen here: {error}")
    child = os.fork()
    if child == 0:
        if os.getpid() != pid:
            os._exit(0)
        os.setsid()
        os.execv(sys.executable, [sys.executable, "-ES", "-c", STRANGER, str(note)])
    if child == pid:
        return child
    os.waitpid(child, 0)
    return None


def test_a_stranger_with_a_workers_number_is_left_alone(daemon_with, scenes, tmp_path):
    """The worker's number, which the database holds, belongs to somebody else when the daemon starts again."""
    daemon, note = daemon_with(fake_worker.__file__, hang_timeout_s=3600), tmp_path / "signals"
    run = submit(daemon, scenes, "hang")
    daemon.wait_for_state(run, "running")
    pid, = daemon.worker_pids()
    daemon.kill()
    wait_until("the worker is gone", lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10)
    stranger = None
    for _ in range(500):
        stranger = stranger or process_with_number(pid, note)
    if not stranger:
        pytest.skip("other processes took the number, 500 times")
    try:
        wait_until("it listens", note.exists)
        daemon.start()
        daemon.wait_for_state(run, "running")
        assert daemon.worker_pids() != [pid]
        for verb in ("checkpoint", "pause", "resume", "kill"):
            daemon.api("POST", f"/v1/runs/{run}/{verb}")
        daemon.wait_for_state(run, "canceled", deadline_s=30)
        daemon.stop()
        assert note.read_text() == "" and os.waitpid(stranger, os.WNOHANG) == (0, 0), "it was signalled"
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
