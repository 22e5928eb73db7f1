"""The last good checkpoint is never deleted: a run that keeps two checkpoints goes through kills of worker and daemon, a full disk,
rot, deletions, pins and sweeps, while a watcher reads every byte of what is there, over and over."""
import hashlib
import json
import os
import pathlib
import random
import signal
import threading
import time


from harness import Daemon, wait_until
from outcome import SHORT_RUN, seed
from power_cut import Disk

CYCLES = int(os.environ.get("IJEPAD_CYCLES", "0"))
ENDLESS = {**SHORT_RUN, "epochs": 100000, "checkpoint_every_steps": 2, "keep_checkpoints": 2, "eval_every_epochs": 0}
SECTIONS = ("model.safetensors", "optimizer.safetensors")


def is_whole(checkpoint):
    """Every byte is what state.json says, and state.json what its seal says."""
    text = (checkpoint / "state.json").read_bytes()
    body, _, seal = text.rpartition(b',\n  "sha256": "')
    if hashlib.sha256(body).hexdigest().encode() != seal[:64]:
        return False
    files = json.loads(text)["files"]
    return all(hashlib.sha256((checkpoint / name).read_bytes()).hexdigest() == files[name]["sha256"] for name in SECTIONS)


def present(folder):
    return sorted((p for p in folder.iterdir() if len(p.name) == 17 and p.is_dir()), reverse=True)


def whole_ones(folder):
    found = []
    for checkpoint in present(folder):
        try:
            if is_whole(checkpoint):
                found.append(checkpoint)
        except (FileNotFoundError, NotADirectoryError):
            pass  # it went while it was read
    return found


class Watcher(threading.Thread):
    """Looks all the time. A look counts if the list of checkpoints was the same before and after it."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder, self.stop, self.looks, self.bad = folder, False, 0, None

    def look(self):
        before = present(self.folder)
        for checkpoint in before:
            try:
                if is_whole(checkpoint):
                    self.looks += 1
                    return
            except (FileNotFoundError, NotADirectoryError):
                pass
        if present(self.folder) == before and self.bad is None:
            self.bad = [p.name for p in before]

    def run(self):
        while not self.stop:
            self.look()
            time.sleep(0.0005)


class Stage:
    def __init__(self, disk, scenes, rng):
        self.disk, self.rng = disk, rng
        self.daemon = Daemon(disk.mount_point, retry_base_ms=1, retry_cap_ms=20, retry_failures_max=1000, retry_stuck_max=1000,
                             stop_grace_s=10, disk_floor_bytes=0).start()
        self.run = self.daemon.submit("pretrain", dataset=str(scenes), **ENDLESS)
        self.folder = self.daemon.state / "runs" / self.run / "checkpoints"
        wait_until("two checkpoints", lambda: self.folder.exists() and len(whole_ones(self.folder)) >= 2)

    def verb(self, verb):
        self.daemon.api("POST", f"/v1/runs/{self.run}/{verb}")

    def rows(self, *states):
        items = self.daemon.api("GET", f"/v1/runs/{self.run}/checkpoints").json()["items"]
        return [item for item in items if item["state"] in states]

    def newest(self):
        names = [p.name for p in present(self.folder)]
        return (names[0], (self.folder / names[0]).stat().st_ino) if names else None

    # ---- Faults ---------------------------------------------------------------------------------

    def worker_dies(self):
        for pid in self.daemon.worker_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def daemon_dies(self):
        self.daemon.kill()
        self.daemon.start()

    def disk_is_full(self):
        filler = self.disk.mount_point / "filler"
        with open(filler, "wb") as file:
            try:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            except OSError:
                pass
            try:
                file.close()
            except OSError:
                pass
        os.truncate(filler, max(0, filler.stat().st_size - self.rng.choice([0, 10000, 60000, 200000])))
        time.sleep(self.rng.uniform(0.05, 0.3))
        filler.unlink()
        if self.daemon.process.poll() is not None:
            self.daemon.start()

    def bits_rot(self):
        """While the run is paused, one bit of one checkpoint; then every one of them is asked to go."""
        def paused():
            self.verb("pause")
            return self.daemon.run(self.run)["state"] == "paused"
        wait_until("it is paused", paused, 60, 0.05)
        wait_until("nothing is being deleted", lambda: not self.rows("deleting"))
        good = whole_ones(self.folder)
        if len(good) >= 2:
            victim = self.rng.choice(good) / self.rng.choice(SECTIONS + ("state.json",))
            data = bytearray(victim.read_bytes())
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            victim.write_bytes(data)
        for item in self.rows("valid"):
            self.daemon.api("DELETE", f"/v1/checkpoints/{item['id']}")
        wait_until("nothing is being deleted", lambda: not self.rows("deleting"))

    def deletions(self):
        for item in self.rows("valid"):
            if self.rng.random() < 0.3:
                self.daemon.api("PATCH", f"/v1/checkpoints/{item['id']}", json={"pinned": self.rng.random() < 0.3})
            self.daemon.api("DELETE", f"/v1/checkpoints/{item['id']}")
        self.daemon.api("POST", "/v1/admin/gc", json={"keep": 1})

    FAULTS = [worker_dies, daemon_dies, disk_is_full, bits_rot, deletions]

    def cycle(self):
        fault = self.rng.choice(self.FAULTS)
        time.sleep(self.rng.uniform(0, 0.15))  # the random moment
        fault(self)
        before = self.newest()
        if self.daemon.run(self.run)["state"] == "paused":
            self.verb("resume")
        wait_until(f"it goes on after {fault.__name__}", lambda: self.newest() != before, 120, 0.01)
        return fault.__name__


def test_a_whole_checkpoint_is_there_at_every_moment(tmp_path, scenes, thorough):
    rng, disk = random.Random(seed()), Disk(tmp_path, "ext4")
    watcher, stage, counts = None, None, {}
    try:
        stage = Stage(disk, scenes, rng)
        watcher = Watcher(stage.folder)
        watcher.start()
        for _ in range(CYCLES or (500 if thorough else 12)):
            name = stage.cycle()
            counts[name] = counts.get(name, 0) + 1
            assert watcher.bad is None, f"after {counts}: none of {watcher.bad} is whole"
        print(f"{sum(counts.values())} cycles, {counts}, {watcher.looks} looks: a whole checkpoint every time")
        assert watcher.is_alive() and watcher.looks > 0
    finally:
        if watcher:
            watcher.stop = True
            watcher.join()
        if stage:
            stage.daemon.kill()
        disk.close()


def test_the_watcher_sees_what_it_is_there_for(tmp_path):
    """One whole checkpoint is enough, a damaged one is not."""
    def put(step, spoiled=False):
        folder = tmp_path / f"step-{step:012d}"
        folder.mkdir()
        files = {name: {"sha256": hashlib.sha256(name.encode()).hexdigest()} for name in SECTIONS}
        for name in SECTIONS:
            (folder / name).write_text(name + ("x" if spoiled else ""))
        body = json.dumps({"files": files})[:-1]
        (folder / "state.json").write_text(f'{body},\n  "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n')
    put(1, spoiled=True)
    watcher = Watcher(tmp_path)
    watcher.look()
    assert watcher.bad == ["step-000000000001"] and watcher.looks == 0
    put(2)
    assert [p.name for p in whole_ones(tmp_path)] == ["step-000000000002"]
    watcher.look()
    assert watcher.looks == 1
