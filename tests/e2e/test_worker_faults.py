"""What the daemon makes of workers that hang, lie, flood, crash or will not stop."""
import json
import os
import pathlib
import sys
import time

import pytest
import requests

from harness import Daemon, wait_until

FAULT = pathlib.Path(__file__).resolve().parent.parent / "fault"
sys.path.insert(0, str(FAULT))
import fake_worker  # noqa: E402

HANG_S, GRACE_S = 2, 3


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("faults"), worker=FAULT / "fake_worker.py", slots=8,
               start_timeout_s=2, hang_timeout_s=HANG_S, stop_grace_s=GRACE_S,
               pause_grace_s=GRACE_S, retry_base_ms=20, retry_cap_ms=100, log_bytes_max=100000)
    d.start()
    yield d
    d.stop()


@pytest.fixture
def submit(daemon, images):
    def submit_(behaviour):
        return daemon.submit("pretrain", dataset=str(images), batch=4, labels="none",
                             seed=fake_worker.BEHAVIOURS.index(getattr(fake_worker, behaviour)))
    return submit_


def attempts(daemon, run):
    return sorted(daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"],
                  key=lambda item: item["n"])


def no_process_of(daemon):
    return wait_until("no worker is left", lambda: not daemon.worker_pids() or None, 20)


def test_good_worker_succeeds(daemon, submit):
    run = daemon.wait_for_state(submit("good"), "succeeded")
    assert (run["step"], run["attempts"], run["reason"]) == (10, 1, "done")


@pytest.mark.parametrize("behaviour, cause", [
    ("hang", "hung"), ("freezes", "hung"), ("mute", "start_timeout"), ("garbage", "protocol"),
    ("crash", "crash"), ("foreign_checkpoint", "protocol"), ("undeclared_stream", "protocol"),
    ("skips_a_frame", "protocol")])
def test_poison_is_quarantined_after_three_starts(daemon, submit, behaviour, cause):
    run = daemon.wait_for_state(submit(behaviour), "quarantined")
    assert run["reason"] == "no_progress"
    assert [item["cause"] for item in attempts(daemon, run["id"])] == [cause] * 3


@pytest.mark.parametrize("behaviour", ["bug", "lies_about_success"])
def test_a_bug_is_tried_twice(daemon, submit, behaviour):
    run = daemon.wait_for_state(submit(behaviour), "quarantined")
    assert len(attempts(daemon, run["id"])) == 2


def test_bad_configuration_is_not_tried_again(daemon, submit):
    run = daemon.wait_for_state(submit("refuses"), "failed")
    assert (run["reason"], run["reason_text"]) == ("invalid", "min_keep: nothing would be left")
    assert len(attempts(daemon, run["id"])) == 1


def test_progress_saves_from_quarantine_but_not_for_ever(daemon, submit):
    run = daemon.wait_for_state(submit("fails_after_progress"), "failed")
    assert run["reason"] == "retries_spent"
    assert len(attempts(daemon, run["id"])) == 5

    def kept():
        items = daemon.api("GET", f"/v1/runs/{run['id']}/checkpoints").json()["items"]
        return sorted(item["step"] for item in items if item["state"] == "valid")
    wait_until("the newest three are left, as keep_checkpoints says", lambda: kept() == [3, 4, 5])


def test_flood_is_stored_and_its_log_is_capped(daemon, submit):
    run = daemon.wait_for_state(submit("floods"), "succeeded")
    answer = daemon.api("GET", f"/v1/metrics?runs={run['id']}&keys=loss&agg=none").json()
    assert answer["tables"][0]["step"] == list(range(1, 5001))
    log = daemon.state / "logs" / f"{run['id']}-a1.log"
    assert 100000 <= log.stat().st_size < 101000
    assert "the log is full" in log.read_text()[-200:]


def test_listeners_hear_little_of_a_flood_but_its_end(daemon, submit):
    """5,000 frames at once: some five a second reach a stream, the last one for certain."""
    headers = {"Authorization": f"Bearer {daemon.token}"}
    with requests.get(daemon.url + "/v1/events?topics=runs,metrics", headers=headers, stream=True, timeout=30) as stream:
        run, steps, start, kind = submit("floods"), [], time.monotonic(), None
        for line in stream.iter_lines():
            name, _, text = line.decode().partition(": ")
            kind = text if name == "event" else kind
            data = json.loads(text) if name == "data" else {}
            if data.get("run") == run and kind == "metric.frame":
                steps.append(data["step"])
            if data.get("run") == run and kind == "run.state" and data["state"] == "succeeded":
                break
        took_s = time.monotonic() - start
    assert steps == sorted(steps) and steps[-1] == 5000, steps
    assert len(steps) <= took_s * 6 + 2, steps


def test_children_of_a_worker_do_not_outlive_it(daemon, submit):
    daemon.wait_for_state(submit("leaves_children"), "succeeded")

    def sleepers():
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"/bin/sleep\0600\0":
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    found += [entry.name] if state != "Z" else []
            except OSError:
                pass
        return found
    wait_until("the children are gone", lambda: not sleepers() or None, 5)


def test_cancel_kills_who_does_not_stop(daemon, submit):
    run = submit("ignores_stop")
    daemon.wait_for_state(run, "running")
    begin = time.monotonic()
    answer = daemon.api("POST", f"/v1/runs/{run}/cancel")
    assert answer.status_code == 202 and answer.json()["deadline"], answer.text
    row = daemon.wait_for_state(run, "canceled")
    # The hang watch may be faster than the grace time; it must not change what was asked for.
    assert time.monotonic() - begin < GRACE_S + 2
    assert "killed" in row["reason_text"]


def test_a_pause_that_had_to_be_forced_says_what_it_cost(daemon, submit):
    run = submit("ignores_stop")
    daemon.wait_for_step(run, 1)
    assert daemon.api("POST", f"/v1/runs/{run}/pause").status_code == 202
    row = daemon.wait_for_state(run, "paused")
    assert row["reason"] == "forced" and row["reason_text"].endswith("; 1 steps are lost"), row
    daemon.api("POST", f"/v1/runs/{run}/cancel")


def test_kill_is_at_once_and_pause_keeps_its_word(daemon, submit):
    run = submit("stops_when_asked")
    daemon.wait_for_state(run, "running")
    assert daemon.api("POST", f"/v1/runs/{run}/pause").status_code == 202
    assert daemon.wait_for_state(run, "paused")["reason"] == "user"
    assert daemon.api("POST", f"/v1/runs/{run}/pause").status_code == 200, "it holds already"
    assert daemon.api("POST", f"/v1/runs/{run}/resume").status_code in (200, 202)
    daemon.wait_for_state(run, "running")
    daemon.api("POST", f"/v1/runs/{run}/kill")
    daemon.wait_for_state(run, "canceled", deadline_s=5)
    assert len(attempts(daemon, run)) == 2


def test_api_answers_while_workers_misbehave(daemon, submit):
    runs = [submit(name) for name in ("hang", "floods", "garbage", "crash")]
    slowest, end = 0, time.monotonic() + 3
    while time.monotonic() < end:
        begin = time.monotonic()
        assert daemon.api("GET", "/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - begin)
    assert slowest < 1, "the loop or the API was blocked"
    for run in runs:
        daemon.wait_for_state(run, "quarantined", "succeeded")


def test_second_daemon_is_refused_and_changes_nothing(daemon):
    import subprocess
    from harness import BUILD
    before = (daemon.state / "state.db").stat().st_ino
    begin = time.monotonic()
    second = subprocess.run([BUILD / "ijepad", "--config", daemon.folder / "ijepad.conf"],
                            capture_output=True, text=True, timeout=30)
    assert second.returncode == 75 and "another ijepad is running" in second.stderr
    assert time.monotonic() - begin < 5
    assert (daemon.state / "state.db").stat().st_ino == before
    assert daemon.api("GET", "/readyz").status_code == 200


def test_stop_and_start_bring_the_run_back(tmp_path, images):
    daemon = Daemon(tmp_path, worker=FAULT / "fake_worker.py", stop_grace_s=5).start()
    try:
        run = daemon.submit("pretrain", dataset=str(images), batch=4, labels="none",
                            seed=fake_worker.BEHAVIOURS.index(fake_worker.stops_when_asked))
        daemon.wait_for_state(run, "running")
        pids = daemon.worker_pids()
        daemon.stop(10)
        assert daemon.process.returncode == 0
        assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        daemon.start()
        row = daemon.wait_for_state(run, "running")
        assert row["attempts"] == 2 and row["failures"] == 0
        assert attempts(daemon, run)[0]["cause"] == "daemon_restart"
        daemon.kill()
        daemon.start()
        assert daemon.wait_for_state(run, "running")["attempts"] == 3
    finally:
        daemon.stop(10)
