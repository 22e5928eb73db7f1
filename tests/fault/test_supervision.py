"""The daemon's rule over its workers and itself, where tests/e2e/test_worker_faults.py does not look: many
starts at once, workers that outlive nothing, steps that did not happen, answers while all goes wrong."""
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest

from fake_worker import BEHAVIOURS, ignores_stop
from harness import BUILD, Daemon, wait_until
from injection import need_strace
from outcome import SHORT_RUN, Outcome, seed

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture
def folder_of_images(tmp_path, scenes):
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(sorted(p for p in scenes.rglob("*") if p.suffix in (".jpg", ".png"))[:8]):
        (folder / f"{i}{image.suffix}").write_bytes(image.read_bytes())
    return folder


def test_fifty_starts_at_once(tmp_path, thorough):
    """One runs, the others end soon with a clear message, and the state is whole."""
    count = 50 if thorough else 15
    conf = tmp_path / "ijepad.conf"
    conf.write_text(f"state_dir = {tmp_path / 'state'}\nlisten = off\n")
    began = time.monotonic()
    daemons = [subprocess.Popen([BUILD / "ijepad", "--config", conf], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        wait_until("one is left", lambda: sum(d.poll() is None for d in daemons) == 1, 60)
        took = time.monotonic() - began
        losers = [d for d in daemons if d.poll() is not None]
        assert {d.returncode for d in losers} == {75}
        for d in losers:
            assert "another ijepad is running" in d.stderr.read()
        winner = next(d for d in daemons if d.poll() is None)
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(20) == 0
        print(f"{count} starts: {len(losers)} refused, all within {took:.1f} s")
    finally:
        for d in daemons:
            if d.poll() is None:
                d.kill()
            d.wait()
            d.stderr.close()


def test_what_did_not_happen_is_not_shown(tmp_path, folder_of_images):
    """Metrics after the point from which a run went on belong to no step of its history."""
    daemon = Daemon(tmp_path, worker=HERE / "rewinding_worker.py", retry_base_ms=1, retry_cap_ms=20).start()
    try:
        run = daemon.submit("pretrain", dataset=str(folder_of_images), batch=1, labels="none")

        def shown():
            tables = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none").json()["tables"]
            return dict(zip(tables[0]["step"], tables[0]["series"][0]["last"])) if tables else {}
        wait_until("the second life has reported", lambda: shown().get(7) == 14)
        assert shown() == {**{step: step * 0.5 for step in range(1, 7)}, 7: 14}
        daemon.api("POST", f"/v1/runs/{run}/kill")
    finally:
        daemon.stop()


def test_no_worker_outlives_its_daemon(tmp_path, folder_of_images, thorough):
    daemon = Daemon(tmp_path, worker=HERE / "acked_worker.py", slots=3, retry_base_ms=1, retry_cap_ms=20,
                    retry_failures_max=1000, retry_stuck_max=1000, stop_grace_s=3).start()
    try:
        for _ in range(3):
            daemon.submit("pretrain", dataset=str(folder_of_images), batch=1, labels="none")
        slowest = 0
        for _ in range(50 if thorough else 6):
            pids = wait_until("three workers", lambda: len(daemon.worker_pids()) == 3 and daemon.worker_pids())
            daemon.kill()
            began = time.monotonic()
            wait_until("they are gone", lambda: not [p for p in pids if alive(p)], 5, 0.005)
            slowest = max(slowest, time.monotonic() - began)
            daemon.start()
        print(f"workers ended at most {slowest:.2f} s after their daemon")
    finally:
        daemon.stop()


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_stopped_daemon_worker_pair_recovers(tmp_path, folder_of_images):
    """SIGSTOP of the daemon, then SIGCONT: nobody is killed for the daemon's own absence."""
    daemon = Daemon(tmp_path, worker=HERE / "acked_worker.py", hang_timeout_s=2, stop_grace_s=3).start()
    try:
        run = daemon.submit("pretrain", dataset=str(folder_of_images), batch=1, labels="none")
        pids = wait_until("a worker", daemon.worker_pids)
        daemon.wait_for_state(run, "running")
        os.kill(daemon.process.pid, signal.SIGSTOP)
        time.sleep(4)  # longer than the hang timeout
        os.kill(daemon.process.pid, signal.SIGCONT)
        before = (folder_of_images / "acknowledged").read_bytes()
        wait_until("it goes on", lambda: (folder_of_images / "acknowledged").read_bytes() != before)
        assert daemon.worker_pids() == pids and daemon.run(run)["attempts"] == 1, "a worker was taken to hang"
        daemon.api("POST", f"/v1/runs/{run}/kill")
    finally:
        daemon.stop()


def test_a_worker_that_survives_sigkill(tmp_path, folder_of_images):
    """The daemon's signals do nothing, as for a process in a call that never returns: this is told once, the
    devices stay taken, others go on, and the end is noticed when it comes after all."""
    need_strace(tmp_path)
    hang, good = 1, 0
    daemon = Daemon(tmp_path, worker=HERE / "fake_worker.py", slots=2, hang_timeout_s=4, unkillable_s=1,
                    retry_failures_max=1)
    calls = "pidfd_send_signal,kill"
    daemon.start(["strace", "-D", "-f", "-o", "/dev/null", "-e", f"trace={calls}", "-e",
                  f"inject={calls}:retval=0"])
    params = {"dataset": str(folder_of_images), "batch": 1, "labels": "none"}
    try:
        stuck = daemon.submit("pretrain", seed=hang, **params)

        def warnings():
            items = daemon.api("GET", f"/v1/runs/{stuck}/events").json()["items"]
            return [e for e in items if e["type"] == "run.warning" and e["data"]["code"] == "unkillable"]
        wait_until("it is told", warnings)
        other = daemon.submit("pretrain", seed=good, **params)
        daemon.wait_for_state(other, "succeeded")
        held = [g for g in daemon.api("GET", "/v1/gpus").json()["items"] if g["run"] == stuck]
        assert len(held) == 1 and len(warnings()) == 1
        for pid in daemon.worker_pids():
            os.kill(pid, signal.SIGKILL)
        assert daemon.wait_for_state(stuck, "failed", "quarantined")["state"] in ("failed", "quarantined")
        wait_until("its device is free", lambda: all(
            g["run"] is None for g in daemon.api("GET", "/v1/gpus").json()["items"]))
    finally:
        daemon.stop()


def test_a_worker_that_is_stopped_in_any_phase(tmp_path, scenes, thorough):
    """SIGSTOP at random moments of a run: found within the deadline and five seconds, and the run ends with the same bits."""
    rng, wanted = random.Random(seed()), 20 if thorough else 2
    daemon = Daemon(tmp_path, hang_timeout_s=2, stop_grace_s=3, retry_base_ms=1, retry_cap_ms=20, retry_failures_max=1000,
                    retry_stuck_max=1000).start()
    try:
        params = {**SHORT_RUN, "dataset": str(scenes), "epochs": 300 if thorough else 60}
        whole = daemon.submit("pretrain", **params)
        daemon.wait_for_state(whole, "succeeded")
        run, slowest, stopped = daemon.submit("pretrain", **params), 0, 0
        while stopped < wanted:
            pids = wait_until("a worker, or the end", lambda: daemon.worker_pids() or daemon.run(run)["state"] == "succeeded")
            if pids is True:
                break
            time.sleep(rng.uniform(0, 0.6))  # the random moment
            try:
                os.kill(pids[0], signal.SIGSTOP)
            except ProcessLookupError:
                continue
            began = time.monotonic()
            wait_until("it is found", lambda: not alive(pids[0]), 30, 0.01)
            slowest, stopped = max(slowest, time.monotonic() - began), stopped + 1
        daemon.wait_for_state(run, "succeeded")
        Outcome(daemon, run).assert_equals(Outcome(daemon, whole))
        causes = {a["cause"] for a in daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"]}
        print(f"stopped {stopped} times, found after at most {slowest:.1f} s, {causes}")
        assert stopped == wanted and causes & {"hung", "start_timeout"}
        assert slowest < 2 + 5 or not thorough
    finally:
        daemon.stop()


def test_a_second_stop_does_not_wait(tmp_path, scenes):
    """The first SIGTERM gives a worker its time, which this one would use up; the second ends both at once."""
    daemon = Daemon(tmp_path, worker=HERE / "fake_worker.py", stop_grace_s=600).start()
    try:
        run = daemon.submit("pretrain", dataset=str(scenes), batch=1, labels="none", seed=BEHAVIOURS.index(ignores_stop))
        daemon.wait_for_state(run, "running")
        pids = daemon.worker_pids()
        daemon.process.send_signal(signal.SIGTERM)
        wait_until("it is told", lambda: "running runs save a checkpoint first" in daemon.log())
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(1)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
        wait_until("the worker is gone", lambda: not [p for p in pids if alive(p)], 5)
    finally:
        daemon.kill()
