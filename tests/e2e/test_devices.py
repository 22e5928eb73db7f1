"""Runs on devices: each on its own, none on one that is out of use, and who gives way to whom."""
import datetime
import pathlib
import time

import pytest
from harness import Daemon, wait_until

WORKER = pathlib.Path(__file__).resolve().parent / "stepping_worker.py"
LONG = 100000  # steps: longer than any test


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("devices"), worker=WORKER, slots=2, preempt_min_runtime_s=0, preempt_max=2,
                    retry_base_ms=20, retry_cap_ms=100)
    yield daemon.start()
    daemon.stop()


@pytest.fixture
def daemon(machine):
    yield machine
    live = [run["id"] for run in machine.api("GET", "/v1/runs?state=live").json()["items"]]
    if live:
        machine.api("POST", "/v1/runs/bulk", json={"action": "kill", "ids": live})
    for slot in ("host-0", "host-1"):
        machine.api("POST", f"/v1/gpus/{slot}/uncordon")
    wait_until("everything is at rest", lambda: all(row["state"] == "free" for row in devices(machine).values()))


def devices(daemon):
    return {row["id"]: row for row in daemon.api("GET", "/v1/gpus").json()["items"] if row["kind"] == "host"}


def submit(daemon, images, steps=LONG, **extra):
    params = {"dataset": str(images), "batch": 4, "labels": "none", "max_steps": steps}
    answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "params": params, **extra})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def wait_for_code(daemon, run, code):
    return wait_until(f"{run} waits for {code}", lambda: (p := daemon.run(run)["pending"]) and p["code"] == code and p)


def running(daemon, run):
    return daemon.wait_for_state(run, "running")


def test_each_run_has_its_own_device(daemon, images):
    first, second = submit(daemon, images), submit(daemon, images)
    held = [running(daemon, first)["gpus"], running(daemon, second)["gpus"]]
    assert held == [["host-0"], ["host-1"]]
    assert {row["id"]: (row["state"], row["run"]) for row in devices(daemon).values()} == {
        "host-0": ("held", first), "host-1": ("held", second)}
    third = submit(daemon, images)
    pending = wait_for_code(daemon, third, "no_slots")
    assert sorted(pending["blocking_runs"]) == [first, second] and pending["eta"], pending
    daemon.api("POST", f"/v1/runs/{second}/kill")
    assert running(daemon, third)["gpus"] == ["host-1"]
    attempt = daemon.api("GET", f"/v1/runs/{second}/attempts").json()["items"][0]
    assert attempt["gpus"] == ["host-1"], "what it held is remembered"


def test_a_run_may_ask_for_several(daemon, images):
    small = submit(daemon, images)
    running(daemon, small)
    both, behind = submit(daemon, images, gpus=2), submit(daemon, images)
    assert wait_for_code(daemon, both, "no_slots")["blocking_runs"] == [small]
    assert both in wait_for_code(daemon, behind, "no_slots")["blocking_runs"], "it would take one of the two"
    daemon.api("POST", f"/v1/runs/{small}/kill")
    assert running(daemon, both)["gpus"] == ["host-0", "host-1"]
    assert running(daemon, both)["gpus_wanted"] == 2
    assert wait_for_code(daemon, submit(daemon, images, gpus=3), "too_big")["blocking_runs"] == []
    much = submit(daemon, images, gpu_memory_bytes=1 << 50)
    assert "GiB" in wait_for_code(daemon, much, "too_big")["text"]


def test_a_cordoned_device_is_drained(daemon, images):
    first = submit(daemon, images)
    running(daemon, first)
    for slot in ("host-0", "host-1"):
        assert daemon.api("POST", f"/v1/gpus/{slot}/cordon", json={"reason": "new fan"}).status_code == 200
    second = submit(daemon, images)
    assert "cordoned by admin: new fan" in wait_for_code(daemon, second, "unavailable")["text"]
    row = devices(daemon)["host-0"]
    assert (row["state"], row["run"], row["schedulable"]) == ("held", first, False)
    assert daemon.run(first)["state"] == "running", "it goes on"
    daemon.api("POST", "/v1/gpus/host-1/uncordon")
    assert running(daemon, second)["gpus"] == ["host-1"]


def test_a_cordon_can_send_the_run_elsewhere(daemon, images):
    run = submit(daemon, images)
    running(daemon, run)
    daemon.wait_for_step(run, 3)
    assert daemon.api("POST", "/v1/gpus/host-0/cordon", json={"reason": "smoke", "evict": True}).status_code == 200
    row = wait_until("it runs on the other device", lambda: (r := daemon.run(run))["gpus"] == ["host-1"] and
                     r["state"] == "running" and r)
    assert row["failures"] == 0 and row["preemptions"] == 0
    newest, oldest = daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"]
    assert oldest["cause"] == "evicted"
    wait_until("it goes on from its checkpoint", lambda: daemon.api(
        "GET", f"/v1/runs/{run}/attempts").json()["items"][0]["from_step"] >= 3)


def test_a_higher_priority_preempts_who_allows_it(daemon, images):
    firm, soft = submit(daemon, images), submit(daemon, images, preemptible=True)
    running(daemon, firm), running(daemon, soft)
    daemon.wait_for_step(soft, 3)
    urgent = submit(daemon, images, steps=20, priority=5)
    behind = submit(daemon, images, steps=20)
    daemon.wait_for_state(urgent, "succeeded")
    assert daemon.run(firm)["state"] == "running" and daemon.run(firm)["preemptions"] == 0
    row = running(daemon, soft)
    assert row["preemptions"] == 1 and row["attempts"] == 2 and row["failures"] == 0
    assert daemon.run(behind)["state"] == "queued", "the victim went to the front of its priority"
    states = [e["data"] for e in daemon.api("GET", f"/v1/runs/{soft}/events").json()["items"] if e["type"] == "run.state"]
    story = [(s["state"], s["reason"]) for s in states]
    at = story.index(("pausing", "preempted"))
    assert urgent in states[at]["reason_text"] and states[at]["deadline"]
    assert story[at + 1] == ("queued", "preempted")
    wait_until("it goes on from its checkpoint", lambda: daemon.api(
        "GET", f"/v1/runs/{soft}/attempts").json()["items"][0]["from_step"] >= 3)


def test_preemptions_of_a_run_are_bounded(daemon, images):
    daemon.api("POST", "/v1/gpus/host-1/cordon", json={"reason": "one slot is enough"})
    soft = submit(daemon, images, preemptible=True)
    for _ in range(2):
        running(daemon, soft)
        daemon.wait_for_state(submit(daemon, images, steps=5, priority=5), "succeeded")
    assert running(daemon, soft)["preemptions"] == 2
    urgent = submit(daemon, images, steps=5, priority=9)
    assert wait_for_code(daemon, urgent, "no_slots")["blocking_runs"] == [soft]
    assert daemon.run(soft)["state"] == "running"


def test_a_clone_asks_for_the_same(daemon, images):
    run = submit(daemon, images, gpus=2, gpu_memory_bytes=5, preemptible=True, hold=True)
    row = daemon.api("POST", f"/v1/runs/{run}/clone", json={"hold": True, "gpus": 1}).json()
    assert (row["gpus_wanted"], row["gpu_memory_bytes"], row["preemptible"]) == (1, 5, True)
    for one in (run, row["id"]):
        daemon.api("POST", f"/v1/runs/{one}/cancel")


@pytest.mark.parametrize("key, value, ok", [
    ("gpus", 0, False), ("gpus", 1, True), ("gpus", 16, True), ("gpus", 17, False), ("gpus", "2", False),
    ("gpu_memory_bytes", -1, False), ("gpu_memory_bytes", 0, True), ("gpu_memory_bytes", 1 << 50, True),
    ("gpu_memory_bytes", (1 << 50) + 1, False), ("gpu_memory_bytes", 1.5, False), ("preemptible", 1, False),
    ("preemptible", True, True)])
def test_limits(daemon, images, key, value, ok):
    params = {"dataset": str(images), "batch": 4, "labels": "none"}
    answer = daemon.api("POST", "/v1/runs?dry_run=1", json={"kind": "pretrain", "params": params, key: value})
    assert answer.status_code == (200 if ok else 422), answer.text
    if ok:
        assert answer.json()["resolved"][key] == value
    else:
        assert answer.json()["errors"][0]["pointer"] == f"/{key}"


def test_only_pretraining_runs_on_several(daemon, images):
    params = {"checkpoint": "", "dataset": str(images)}
    answer = daemon.api("POST", "/v1/runs?dry_run=1", json={"kind": "knn", "params": params, "gpus": 2})
    assert answer.status_code == 422 and "/gpus" in [e["pointer"] for e in answer.json()["errors"]]


def test_waiting_counts_as_priority(tmp_path, images):
    daemon = Daemon(tmp_path, worker=WORKER, slots=1, priority_age_s=1).start()
    try:
        busy, low, high = submit(daemon, images), submit(daemon, images), submit(daemon, images, priority=1)

        def order():
            return [run["id"] for run in daemon.api("GET", "/v1/queue").json()["waiting"]]
        running(daemon, busy)
        assert order() == [high, low]
        age_s = wait_until("it has waited", lambda: (a := time.time() - since(daemon, low)) > 2 and a)
        for verb in ("hold", "release"):
            assert daemon.api("POST", f"/v1/runs/{high}/{verb}").status_code == 200
        assert order() == [low, high], f"{age_s} s weigh more than one of priority"
        daemon.api("POST", f"/v1/runs/{busy}/kill")
        running(daemon, low)
    finally:
        daemon.process.kill()


def since(daemon, run):
    return datetime.datetime.fromisoformat(daemon.run(run)["queued"]).timestamp()
