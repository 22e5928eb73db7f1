"""The wall clock is set while the daemon runs: nothing ends early, nothing waits for ever, no duration is negative. And a worker
that prints without end costs a bounded log, and no memory."""
import pathlib
import re
import struct
import time

import pytest

import fake_worker
from bench_client import memory_mib
from harness import Daemon
from injection import shim

DAY_S = 86400


@pytest.fixture
def daemon(tmp_path):
    """A daemon whose wall clock is `set_clock(seconds)` away from the real one."""
    library, offset = shim("clock_shim", tmp_path), tmp_path / "offset"
    offset.write_bytes(struct.pack("<q", 0))
    daemon = Daemon(tmp_path, worker=pathlib.Path(fake_worker.__file__), slots=4, hang_timeout_s=3600, start_timeout_s=3600,
                    retry_base_ms=3600000, retry_cap_ms=3600000, stop_grace_s=1, log_bytes_max=1000000)
    daemon.start(under=["env", f"LD_PRELOAD={library}", f"CLOCK_SHIM={offset}"])

    def set_clock(seconds):
        with open(offset, "r+b") as file:
            file.write(struct.pack("<q", int(seconds * 1e9)))
    daemon.set_clock = set_clock
    yield daemon
    daemon.stop()


@pytest.fixture
def submit(daemon, scenes):
    def submit_(behaviour):
        seed = fake_worker.BEHAVIOURS.index(getattr(fake_worker, behaviour))
        return daemon.submit("pretrain", dataset=str(scenes), labels="none", batch=4, seed=seed)
    return submit_


def test_steps_of_the_wall_clock(daemon, submit):
    hanging, crashing = submit("hang"), submit("crash")
    daemon.wait_for_state(hanging, "running")
    daemon.wait_for_state(crashing, "backoff")
    now, pids = time.time(), daemon.worker_pids()
    for name, step in {"ten days on": 10 * DAY_S, "ten days back": -10 * DAY_S, "1970": 2 * DAY_S - now,
                       "2038": 2147558400 - now, "as it was": 0}.items():
        daemon.set_clock(step)
        shown = daemon.api("GET", "/version").headers["Request-Id"]
        run = daemon.wait_for_state(submit("good"), "succeeded", deadline_s=60)
        assert shown and run["created"][:4] == time.strftime("%Y", time.gmtime(now + step)), (name, run["created"])
        assert daemon.run(hanging)["state"] == "running" and daemon.worker_pids() == pids, name
        assert (daemon.run(crashing)["state"], daemon.run(crashing)["attempts"]) == ("backoff", 1), name
        assert daemon.api("GET", "/readyz").status_code == 200
        text = daemon.api("GET", "/metrics").text
        assert not re.search(r"^[^#].* -[0-9]", text, flags=re.M), (name, [line for line in text.splitlines() if " -" in line])
        for item in daemon.api("GET", "/v1/runs").json()["items"]:
            assert (item["eta_s"] or 0) >= 0 and (item["images_per_s"] or 0) >= 0, (name, item)
    daemon.api("POST", f"/v1/runs/{hanging}/kill")
    daemon.wait_for_state(hanging, "canceled", deadline_s=20)


def test_a_log_without_end(daemon, submit, thorough):
    """1 GB in `make fault`, 64 MB else: the file stays below its limit and the daemon below 16 MiB more."""
    before = memory_mib(daemon.process.pid)[0]
    run = submit("prints_a_gigabyte" if thorough else "prints_64_megabytes")
    daemon.wait_for_state(run, "succeeded", deadline_s=120)
    log = daemon.state / "logs" / f"{run}-a1.log"
    assert 1000000 <= log.stat().st_size < 1001000
    assert memory_mib(daemon.process.pid)[1] < before + 16
