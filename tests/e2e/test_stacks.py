"""Where a worker's threads are: written to its log before one that hangs is killed, and on SIGQUIT by hand."""
import json
import re
import signal
import subprocess

from harness import BUILD, Daemon, wait_until
from injection import shim
from outcome import SHORT_RUN

ENDLESS = {**SHORT_RUN, "epochs": 100000, "eval_every_epochs": 0, "loader_threads": 2}


def stacks(text):
    """{name of a thread: [frames of each thread of that name]} of the first whole dump; None while there is none."""
    dump = re.search(r"^--- stacks of process \d+, (\d+) threads ---\n(.*?)^--- end of stacks ---$", text, re.M | re.S)
    if not dump:
        return None
    found = {}
    for name, frames in re.findall(r'^thread \d+ "([^"]*)", state .*\n((?:(?!thread ).*\n)*)', dump.group(2), re.M):
        found.setdefault(name, []).append(frames.splitlines())
    assert sum(len(threads) for threads in found.values()) == int(dump.group(1)), dump.group(0)
    return found


def test_a_hung_worker_tells_where_it_hangs(tmp_path, scenes):
    """Images that cannot be opened any more: the reading threads are named, those that wait for them too, in whatever jail."""
    marker = tmp_path / "stuck"
    daemon = Daemon(tmp_path, hang_timeout_s=3, retry_base_ms=20, retry_cap_ms=50)
    daemon.start(under=["env", f"LD_PRELOAD={shim('stuck_shim', tmp_path)}", f"STUCK_SHIM={marker}"])
    try:
        run = daemon.submit("pretrain", dataset=str(scenes), **ENDLESS)
        daemon.wait_for_step(run, 3)
        marker.touch()
        wait_until("it is given up", lambda: daemon.run(run)["attempts"] > 1 or daemon.run(run)["state"] == "backoff")
        marker.unlink()
        attempt = min(daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"], key=lambda item: item["n"])
        assert (attempt["cause"], attempt["signal"]) == ("hung", signal.SIGKILL)
        log = daemon.api("GET", f"/v1/runs/{run}/logs?attempt=1&tail=2000").text
        found = stacks(log)
        assert len(found["loader"]) == 2, "threads in the decoders' jail answer as well"
        assert all(any("+0x" in frame for frame in frames) for threads in found.values() for frames in threads), found
        assert any("loader_next" in frame for frame in found["ijepad-worker"][0]), found["ijepad-worker"]
        assert any("stuck_shim.so" in frame for threads in found.values() for frames in threads for frame in frames)
        assert re.search(r'^thread \d+ "ijepad-worker" sleeps \(S\)', log, re.M), "what the kernel says is there too"
        daemon.wait_for_state(run, "running")
        daemon.api("POST", f"/v1/runs/{run}/kill")
        daemon.wait_for_state(run, "canceled")
    finally:
        daemon.stop()


def test_a_stopped_worker_is_told_to_be_stopped(tmp_path, scenes):
    """It writes nothing; the daemon's own look says why."""
    daemon = Daemon(tmp_path, hang_timeout_s=2, retry_base_ms=20, retry_cap_ms=50).start()
    try:
        run = daemon.submit("pretrain", dataset=str(scenes), **ENDLESS)
        daemon.wait_for_step(run, 3)
        (pid,) = daemon.worker_pids()
        subprocess.run(["kill", "-STOP", str(pid)], check=True)
        wait_until("it is given up", lambda: daemon.run(run)["attempts"] > 1 or daemon.run(run)["state"] == "backoff")
        log = daemon.api("GET", f"/v1/runs/{run}/logs?attempt=1&tail=2000").text
        assert f"the daemon looks at process {pid}" in log
        assert re.search(r'^thread \d+ "ijepad-worker" is stopped by a signal \(T\)', log, re.M), log
        daemon.api("POST", f"/v1/runs/{run}/kill")
        daemon.wait_for_state(run, "canceled")
    finally:
        daemon.stop()


def test_by_hand_it_goes_on_afterwards(tmp_path, scenes):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"kind": "pretrain", "params": {**ENDLESS, "dataset": str(scenes)}}))
    errors = tmp_path / "errors"
    with open(tmp_path / "lines", "wb") as out, open(errors, "wb") as err:
        worker = subprocess.Popen([BUILD / "ijepad-worker", "run", "--spec", spec, "--directory", tmp_path / "run"],
                                  stdout=out, stderr=err)
    def lines():
        return (tmp_path / "lines").read_text().count("\n")
    try:
        wait_until("it trains", lambda: '"event":"metrics"' in (tmp_path / "lines").read_text())
        for _ in range(20):  # those that come while one is answered are one
            worker.send_signal(signal.SIGQUIT)
        found = wait_until("its stacks", lambda: stacks(errors.read_text()))
        assert set(found) >= {"ijepad-worker", "loader"}
        before = lines()
        wait_until("it goes on", lambda: lines() > before + 5)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 75
    finally:
        worker.kill()
        worker.wait()
