"""A run whose loss breaks under on_nan "rewind", seen from the daemon: events, attempts, metrics, and an end."""
import pathlib

import pytest

import fake_worker
from harness import Daemon
from outcome import SHORT_RUN


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("rewind"), worker=pathlib.Path(fake_worker.__file__), retry_base_ms=20, retry_cap_ms=50).start()
    yield daemon
    daemon.stop()


def submit(daemon, images, behaviour):
    return daemon.submit("pretrain", dataset=str(images), batch=4, labels="none", on_nan="rewind",
                         seed=fake_worker.BEHAVIOURS.index(behaviour))


def attempts(daemon, run):
    return sorted(daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"], key=lambda item: item["n"])


def events(daemon, run, kind):
    return [e["data"] for e in daemon.api("GET", f"/v1/runs/{run}/events").json()["items"] if e["type"] == kind]


def test_it_goes_back_tells_so_and_has_not_failed(daemon, images):
    run = submit(daemon, images, fake_worker.goes_back)
    row = daemon.wait_for_state(run, "succeeded")
    assert (row["attempts"], row["failures"]) == (2, 0)
    assert [item["cause"] for item in attempts(daemon, run)] == ["nonfinite", "done"]
    told, = events(daemon, run, "run.rewind")
    assert {k: told[k] for k in told if k != "run"} == {
        "why": "nonfinite", "failed_step": 8, "back_to": 6, "skip_first": 6, "skip_count": 4, "number": 1, "max": 2}
    states = [(e["state"], e["reason"]) for e in events(daemon, run, "run.state")]
    assert ("queued", "nonfinite") in states and not any(state == "backoff" for state, _ in states)
    table, = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none").json()["tables"]
    assert dict(zip(table["step"], table["series"][0]["last"])) == {**{s: s for s in range(1, 7)}, **{s: s + 100 for s in range(7, 11)}}
    old, = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none&superseded=1").json()["tables"]
    assert old["step"] == [7], "what broke can still be seen"
    counted = daemon.api("GET", "/metrics").text
    assert 'ijepad_run_failures_total{reason="nonfinite"}' not in counted


def test_a_worker_that_goes_back_for_ever_fails(daemon, images):
    run = submit(daemon, images, fake_worker.goes_back_for_ever)
    row = daemon.wait_for_state(run, "failed")
    assert row["attempts"] == 5 and row["reason"] == "nonfinite", row


def test_a_rewind_that_makes_no_sense_is_refused(daemon, images):
    run = submit(daemon, images, fake_worker.goes_back_to_nowhere)
    daemon.wait_for_state(run, "quarantined")
    assert [item["cause"] for item in attempts(daemon, run)] == ["protocol"] * 3
    assert events(daemon, run, "run.rewind") == []


@pytest.mark.parametrize("policy, rewinds", [("stop", 0), ("rewind", 2)])
def test_a_real_run_that_cannot_be_saved(tmp_path, scenes, policy, rewinds):
    """Weights that grow ninefold with every step: whatever data is left out, the loss breaks again."""
    daemon = Daemon(tmp_path).start()
    try:
        run = daemon.submit("pretrain", dataset=str(scenes), **{
            **SHORT_RUN, "warmup_epochs": 0, "start_lr": 1, "lr": 1, "final_lr": 1, "weight_decay": 10, "final_weight_decay": 10,
            "checkpoint_every_steps": 5, "eval_every_epochs": 0, "on_nan": policy, "skip_steps": 3})
        row = daemon.wait_for_state(run, "failed")
        assert row["reason"] == "nonfinite" and row["attempts"] == rewinds + 1, row
        told = events(daemon, run, "run.rewind")
        assert [(e["number"], e["back_to"] % 5) for e in told] == [(n + 1, 0) for n in range(rewinds)]
        for e in told:
            assert e["skip_count"] == e["failed_step"] - e["back_to"] + 3
        assert ("gone back 2 times already" in row["reason_text"]) == (policy == "rewind"), row
        newest = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][0]
        assert newest["state"] == "valid" and newest["step"] > 0, "what was good is kept"
    finally:
        daemon.stop()
