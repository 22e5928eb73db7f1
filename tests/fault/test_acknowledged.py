"""What was acknowledged is never lost: metrics under kill -9 of the daemon and under power cuts,
checkpoints under power cuts. A power cut is FS_IOC_SHUTDOWN of a file system on a loop device:
whatever was not durable by then is gone."""
import contextlib
import itertools
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import time

import pytest

from harness import Daemon, wait_until
from outcome import SHORT_RUN, file_hashes, seed
from power_cut import Disk
from wire_host import WireHost

HERE = pathlib.Path(__file__).resolve().parent
PAGE = 5000
CYCLES = int(os.environ.get("IJEPAD_CYCLES", "0"))


def cycles(thorough, few, many):
    return CYCLES or (many if thorough else few)


@pytest.fixture(params=["ext4", "xfs"])
def disk(request, tmp_path):
    disk = Disk(tmp_path, request.param)
    yield disk
    disk.close()


class Recording:
    """A daemon in `folder` with the worker that notes what is acknowledged in `notes`."""

    def __init__(self, folder, notes, image):
        notes.mkdir()
        shutil.copy(image, notes / "0.png")
        self.note = notes / "acknowledged"
        self.daemon = Daemon(folder, worker=HERE / "acked_worker.py", retry_base_ms=1, retry_cap_ms=20,
                             retry_failures_max=1000, retry_stuck_max=1000, stop_grace_s=5, disk_floor_bytes=0)
        self.daemon.start()
        self.run = self.daemon.submit("pretrain", dataset=str(notes), batch=1, labels="none")

    def acknowledged(self):
        return int(self.note.read_bytes() or 0) if self.note.exists() else 0

    def stored(self, begin=1):
        """The last step that the API shows; each from `begin` must be there once, with its own value."""
        for first in itertools.count(begin, PAGE):
            answer = self.daemon.api("GET", f"/v1/metrics?runs={self.run}&keys=train/loss&agg=none"
                                            f"&from={first}&to={first + PAGE}")
            assert answer.status_code == 200, answer.text
            tables = answer.json()["tables"]
            steps = tables[0]["step"] if tables else []
            assert steps == list(range(first, first + len(steps))), "rows are missing or double"
            if steps:
                assert tables[0]["series"][0]["last"] == [step * 0.5 for step in steps], "another row's value"
            if len(steps) < PAGE:
                return first + len(steps) - 1

    def work_for_a_while(self, rng):
        before = self.acknowledged()
        wait_until("something new is acknowledged", lambda: self.acknowledged() > before, 60, 0.005)
        time.sleep(rng.uniform(0, 0.15))  # the random moment; nothing is assumed of it

    def check(self, acknowledged, begin=None):
        """`acknowledged`: what must be stored; rows from 1,000 steps before that (or `begin`) are read."""
        for name in ("state.db", "metrics.db"):
            with contextlib.closing(sqlite3.connect(f"file:{self.daemon.state / name}?mode=ro", uri=True)) as db:
                assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name
        stored = self.stored(begin or max(1, acknowledged - 1000))
        assert stored >= acknowledged, f"step {acknowledged} was acknowledged, {stored} are stored"


@pytest.fixture
def image(scenes):
    return next(p for p in sorted(scenes.rglob("*")) if p.suffix in (".jpg", ".png"))


def test_kills_lose_nothing(tmp_path, image, thorough):
    rng, count = random.Random(seed()), cycles(thorough, 8, 200)
    recording, slowest = Recording(tmp_path, tmp_path / "notes", image), 0
    try:
        for _ in range(count):
            recording.work_for_a_while(rng)
            recording.daemon.kill()
            begin = time.monotonic()
            recording.daemon.start()
            slowest = max(slowest, time.monotonic() - begin)
            acknowledged = recording.acknowledged()
            recording.check(acknowledged)
        recording.check(acknowledged, 1)
        print(f"{count} kills, {acknowledged} rows acknowledged, none lost; ready after at most {slowest:.2f} s")
    finally:
        recording.daemon.stop()


def test_power_cuts_lose_no_row(tmp_path, disk, image, thorough):
    rng, count = random.Random(seed()), cycles(thorough, 4, 60 if disk.kind == "ext4" else 40)
    recording, late = Recording(disk.mount_point, tmp_path / "notes", image), 0
    try:
        for _ in range(count):
            recording.work_for_a_while(rng)
            acknowledged = recording.acknowledged()
            disk.cut()
            recording.daemon.kill()
            # Nothing is acknowledged by a machine without power, but this one ran on for a moment.
            late += recording.acknowledged() > acknowledged
            recording.note.write_bytes(b"%12d" % acknowledged)
            disk.revive()
            recording.daemon.start()
            recording.check(acknowledged)
        recording.check(acknowledged, 1)
        print(f"{count} power cuts on {disk.kind}, {acknowledged} rows acknowledged, none lost; "
              f"{late} times an answer came after the cut began")
    finally:
        recording.daemon.stop()


# ---- Checkpoints --------------------------------------------------------------------------------------

class CutAtCheckpoint(WireHost):
    """Cuts the power the moment the worker tells of its nth checkpoint."""

    def __init__(self, directory, params, disk, nth):
        self.disk, self.nth = disk, nth
        super().__init__(directory, params)

    def frames(self):
        for kind, fields in super().frames():
            yield kind, fields
            if kind == "checkpoint" and len(self.checkpoints) == self.nth:
                self.disk.cut()
                self.process.send_signal(signal.SIGKILL)
                return


def test_power_cuts_lose_no_checkpoint(tmp_path, disk, scenes, thorough):
    """What is on disk afterwards loads, and none of it is older than what was told last."""
    rng, count = random.Random(seed()), cycles(thorough, 4, 60 if disk.kind == "ext4" else 40)
    params = {**SHORT_RUN, "dataset": str(scenes), "epochs": 30, "eval_every_epochs": 0, "checkpoint_every_steps": 3}
    told, hashes = 0, {}
    for i in range(count):
        directory = disk.mount_point / f"run{i // 8}"  # a new run now and then: it starts without any checkpoint
        told = told if i % 8 else 0
        host = CutAtCheckpoint(directory, params, disk, rng.randrange(1, 5))
        host.log.close()
        host.log = open(os.devnull, "ab")
        host.run()
        assert host.checkpoints or i % 8, "it ended before its first checkpoint"
        assert "checkpoint_corrupt" not in host.warnings
        told = max([told] + [c["step"] for c in host.checkpoints])
        disk.revive()
        present = sorted(p for p in (directory / "checkpoints").iterdir() if ".tmp" not in p.name)
        assert present and int(present[-1].name[5:]) >= told, f"{told} was told, {[p.name for p in present]} is there"
        state = file_hashes(present[-1])
        record = disk.read_json(present[-1] / "state.json")
        for name in ("model.safetensors", "optimizer.safetensors"):
            assert state[name] in str(record), f"{name} of {present[-1].name} is not what state.json says"
        hashes.setdefault(present[-1].name, state["model.safetensors"])
        assert hashes[present[-1].name] == state["model.safetensors"], "the same step has other weights"
    print(f"{count} power cuts on {disk.kind}: every told checkpoint was there and whole")
