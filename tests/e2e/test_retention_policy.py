"""What a run's retention says stays, and nothing else: the newest, the best by k-NN or RankMe, one per epochs, the pinned."""
import pathlib

import pytest

import fake_worker
from harness import Daemon, wait_until


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    worker = pathlib.Path(fake_worker.__file__)
    daemon = Daemon(tmp_path_factory.mktemp("policy"), worker=worker, slots=2, stop_grace_s=5).start()
    yield daemon
    daemon.stop()


def submit(daemon, images, batch=4, **extra):
    seed = fake_worker.BEHAVIOURS.index(fake_worker.saves_and_measures)
    return daemon.submit("pretrain", dataset=str(images), labels="none", batch=batch, seed=seed, keep_checkpoints=2, **extra)


def patch(daemon, run, retention, expect=200):
    answer = daemon.api("PATCH", f"/v1/runs/{run}", json={"retention": retention})
    assert answer.status_code == expect, answer.text
    return answer.json()


def kept(daemon, run):
    """{step: why} of the checkpoints that are valid and there. A row learns of what the worker removed at the next checkpoint."""
    items = [c for c in daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"] if c["state"] == "valid"]
    return {item["step"]: item["kept_for"] for item in items if pathlib.Path(item["path"]).is_dir()}


def on_disk(daemon, run):
    return sorted(int(p.name[5:]) for p in (daemon.state / "runs" / run / "checkpoints").glob("step-*") if p.is_dir() and p.name[5:].isdigit())


def expect_kept(daemon, run, expected):
    wait_until(f"{sorted(expected)} are left", lambda: on_disk(daemon, run) == sorted(expected), 20)
    assert kept(daemon, run) == expected


def test_the_best_by_knn_stays_beside_the_newest(daemon, images):
    run = daemon.wait_for_state(submit(daemon, images), "succeeded")["id"]
    expect_kept(daemon, run, {8: ["latest"], 7: ["latest"], 3: ["best"]})
    scores = {c["step"]: c["score"] for c in daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"] if c["state"] == "valid"}
    assert scores == {8: 0.5, 7: pytest.approx(0.4), 3: pytest.approx(0.7)}
    swept = daemon.api("POST", "/v1/admin/gc?dry_run=1", json={}).json()
    assert [item["step"] for item in swept["items"] if item["run"] == run] == [7], "the best is not swept"


def test_a_change_acts_at_once_and_says_what_holds(daemon, images):
    run = daemon.wait_for_state(submit(daemon, images), "succeeded")["id"]
    expect_kept(daemon, run, {8: ["latest"], 7: ["latest"], 3: ["best"]})
    assert patch(daemon, run, {"best_by": "rankme"})["retention"] == {"latest": 2, "best": 1, "best_by": "rankme", "every_epochs": 0}
    expect_kept(daemon, run, {8: ["latest", "best"], 7: ["latest"]})
    assert patch(daemon, run, {"latest": 1, "best": 0})["retention"]["best_by"] == "rankme"
    expect_kept(daemon, run, {8: ["latest"]})
    assert daemon.run(run)["retention"] == {"latest": 1, "best": 0, "best_by": "rankme", "every_epochs": 0}


def test_changes_reach_a_run_that_trains(daemon, images):
    """Held, changed, then released: the worker hears of `latest`, the files tell it of the rest."""
    answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {
        "dataset": str(images), "labels": "none", "batch": 5, "keep_checkpoints": 2,
        "seed": fake_worker.BEHAVIOURS.index(fake_worker.saves_and_measures)}})
    run = answer.json()["id"]
    patch(daemon, run, {"latest": 1, "best": 2, "every_epochs": 4})
    daemon.api("POST", f"/v1/runs/{run}/release")
    daemon.wait_for_step(run, 8)
    expected = {8: ["latest", "epoch"], 5: ["best"], 4: ["epoch"], 3: ["best"]}
    expect_kept(daemon, run, expected)
    folder = daemon.state / "runs" / run / "checkpoints"
    assert sorted(p.name for p in folder.glob("*.pinned")) == [f"step-{s:012d}.pinned" for s in (3, 4, 5, 8)]
    patch(daemon, run, {"latest": 3, "best": 0, "every_epochs": 0})
    assert sorted(p.name for p in folder.glob("*.pinned")) == [f"step-{s:012d}.pinned" for s in (4, 5, 8)], "its worker keeps one"
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.wait_for_state(run, "canceled")
    expect_kept(daemon, run, {8: ["latest"], 5: ["latest"], 4: ["latest"]})


@pytest.mark.parametrize("retention,pointer", [
    ({"latest": 0}, "/retention/latest"), ({"latest": 10001}, "/retention/latest"), ({"best": 101}, "/retention/best"),
    ({"best_by": "loss"}, "/retention/best_by"), ({"every_epochs": -1}, "/retention/every_epochs"),
    ({"latst": 3}, "/retention/latst"), ([], "/retention"), ("all", "/retention")])
def test_a_wrong_policy_is_refused(daemon, images, retention, pointer):
    run = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {"dataset": str(images)}}).json()["id"]
    problem = patch(daemon, run, retention, 422)
    assert problem["errors"][0]["pointer"] == pointer and daemon.run(run)["retention"] == {}
    daemon.api("POST", f"/v1/runs/{run}/cancel")


def test_a_policy_given_at_submission_holds_from_the_start_and_stays_with_clones(daemon, images):
    wanted = {"latest": 1, "best": 2, "every_epochs": 4}
    whole = {**wanted, "best_by": "knn"}
    seed = fake_worker.BEHAVIOURS.index(fake_worker.saves_and_measures)
    body = {"kind": "pretrain", "retention": wanted, "params": {
        "dataset": str(images), "labels": "none", "batch": 4, "seed": seed, "keep_checkpoints": 2}}
    assert daemon.api("POST", "/v1/runs?dry_run=1", json=body).json()["resolved"]["retention"] == whole
    run = daemon.api("POST", "/v1/runs", json=body).json()
    assert run["retention"] == whole
    daemon.wait_for_state(run["id"], "succeeded")
    expect_kept(daemon, run["id"], {8: ["latest", "epoch"], 5: ["best"], 4: ["epoch"], 3: ["best"]})
    clone = daemon.api("POST", f"/v1/runs/{run['id']}/clone", json={"hold": True}).json()
    assert clone["retention"] == whole
    clone = daemon.api("POST", f"/v1/runs/{run['id']}/clone", json={"hold": True, "retention": {"best": 0}}).json()
    assert clone["retention"] == {"latest": 2, "best": 0, "best_by": "knn", "every_epochs": 0}


@pytest.mark.parametrize("retention,pointer", [
    ({"latest": 0}, "/retention/latest"), ({"best_by": "loss"}, "/retention/best_by"), ({"latst": 3}, "/retention/latst"),
    ([], "/retention"), (None, "/retention")])
def test_a_wrong_policy_makes_no_run(daemon, images, retention, pointer):
    body = {"kind": "pretrain", "hold": True, "retention": retention, "params": {"dataset": str(images)}}
    answer = daemon.api("POST", "/v1/runs", json=body)
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == pointer
    sweep = daemon.api("POST", "/v1/sweeps", json={**body, "grid": {"seed": [1, 2]}})
    assert sweep.status_code == 422, sweep.text
