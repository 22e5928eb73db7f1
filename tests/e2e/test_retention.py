"""Checkpoints and runs that are pinned, deleted and swept: what goes is gone from the disk, what must stay stays."""
import pathlib
import sqlite3

import pytest

from harness import Daemon, wait_until
from test_api import as_user, make_token

TINY = dict(labels="none", crop=32, patch=8, model="custom", width=32, depth=1, heads=2, pred_width=16, pred_depth=1, pred_heads=2,
            batch=8, warmup_epochs=0, min_keep=0, sampler="unbiased", threads=1, loader_threads=1, eval_every_epochs=0)


def train(daemon, images, **extra):
    """A run that has ended with four checkpoints, as many as it keeps; its id. One that would have to wait for the one before
    is left out, hence the many steps."""
    params = {**TINY, "epochs": 300, "checkpoint_every_steps": 25, "keep_checkpoints": 4, **extra}
    run = daemon.submit("pretrain", dataset=str(images), **params)
    daemon.wait_for_state(run, "succeeded")
    wait_until("what it does not keep is gone", lambda: len(checkpoints(daemon, run)) <= params["keep_checkpoints"])
    return run


def checkpoints(daemon, run):
    items = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]
    return [item for item in items if item["state"] == "valid"]


def delete(daemon, path, expect=200, **kwargs):
    answer = daemon.api("DELETE", path, **kwargs)
    assert answer.status_code == expect, answer.text
    return answer.json()


def pin(daemon, checkpoint, value, expect=200):
    answer = daemon.api("PATCH", f"/v1/checkpoints/{checkpoint}", json={"pinned": value})
    assert answer.status_code == expect, answer.text
    return answer.json()


def files_of(path):
    return sum(f.stat().st_size for f in pathlib.Path(path).rglob("*") if f.is_file())


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("retention"), slots=1).start()
    yield daemon
    daemon.stop()


def test_a_deleted_checkpoint_is_gone_from_the_disk(daemon, images):
    run = train(daemon, images)
    newest, *rest = checkpoints(daemon, run)
    assert len(rest) == 3
    victim = rest[0]
    bytes_there = files_of(victim["path"])
    dry = delete(daemon, f"/v1/checkpoints/{victim['id']}?dry_run=1")
    assert dry == {"id": victim["id"], "dry_run": True, "freed_bytes": bytes_there} and bytes_there > 1000
    assert pathlib.Path(victim["path"]).is_dir()
    assert delete(daemon, f"/v1/checkpoints/{victim['id']}")["freed_bytes"] == bytes_there
    wait_until("its files are gone", lambda: daemon.api("GET", f"/v1/checkpoints/{victim['id']}").json()["state"] == "gone")
    assert not pathlib.Path(victim["path"]).exists() and not list(pathlib.Path(victim["path"]).parent.glob("*removed*"))
    assert delete(daemon, f"/v1/checkpoints/{victim['id']}", 409)["code"] == "conflict"
    events = [e for e in daemon.api("GET", f"/v1/runs/{run}/events").json()["items"] if e["type"] == "run.checkpoint_deleted"]
    assert len(events) == 1 and events[0]["data"]["bytes"] == bytes_there


def test_the_newest_valid_checkpoint_is_never_deleted(daemon, images):
    run = train(daemon, images)
    for item in checkpoints(daemon, run)[1:]:
        delete(daemon, f"/v1/checkpoints/{item['id']}")
    (last,) = checkpoints(daemon, run)
    for query in ("", "?dry_run=1"):
        assert "newest" in delete(daemon, f"/v1/checkpoints/{last['id']}{query}", 409)["detail"]
    assert pathlib.Path(last["path"]).is_dir()


def test_the_last_whole_checkpoint_is_never_deleted(daemon, images):
    """The newest one has rotted, which nobody knows: what is deleted stays, and the run's history says why."""
    run = train(daemon, images)
    newest, older, *_ = checkpoints(daemon, run)
    model = pathlib.Path(newest["path"]) / "model.safetensors"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    delete(daemon, f"/v1/checkpoints/{older['id']}")

    def state(item):
        return daemon.api("GET", f"/v1/checkpoints/{item['id']}").json()["state"]
    wait_until("it stays", lambda: state(older) == "valid")
    assert state(newest) == "corrupt" and pathlib.Path(older["path"], "state.json").exists()
    events = daemon.api("GET", f"/v1/runs/{run}/events").json()["items"]
    told = [e["data"]["text"] for e in events if e["type"] == "run.warning" and e["data"]["code"] == "checkpoint_corrupt"]
    assert len(told) == 1 and "model.safetensors is damaged" in told[0] and f"{older['id']} is not deleted" in told[0]
    assert "newest" in delete(daemon, f"/v1/checkpoints/{older['id']}", 409)["detail"]


def test_a_pinned_checkpoint_stays(daemon, images):
    run = train(daemon, images)
    oldest = checkpoints(daemon, run)[-1]
    assert pin(daemon, oldest["id"], True)["pinned"] is True
    assert "pinned" in delete(daemon, f"/v1/checkpoints/{oldest['id']}", 409)["detail"]
    assert "pinned" in delete(daemon, f"/v1/runs/{run}", 409)["detail"]
    swept = daemon.api("POST", "/v1/admin/gc", json={}).json()
    assert oldest["id"] not in [item["id"] for item in swept["items"]]
    assert pathlib.Path(oldest["path"]).is_dir()
    assert pin(daemon, oldest["id"], False)["pinned"] is False
    delete(daemon, f"/v1/checkpoints/{oldest['id']}")
    pin(daemon, oldest["id"], True, 409)


def test_the_worker_keeps_a_pinned_checkpoint(daemon, images):
    """The worker removes old checkpoints itself while it trains: it must heed the pin."""
    run = daemon.submit("pretrain", dataset=str(images), **TINY, epochs=100000, checkpoint_every_steps=200, keep_checkpoints=3)
    first = wait_until("a checkpoint", lambda: checkpoints(daemon, run))[-1]
    pin(daemon, first["id"], True)

    def later():
        steps = [item["step"] for item in checkpoints(daemon, run)]
        return steps if max(steps) >= first["step"] + 1200 else None
    steps = wait_until("six more checkpoints", later)
    assert first["step"] in steps and pathlib.Path(first["path"]).is_dir()
    assert first["step"] + 200 not in steps, "what is not pinned goes as before"
    daemon.api("POST", f"/v1/runs/{run}/kill")
    daemon.wait_for_state(run, "canceled")
    pin(daemon, first["id"], False)


def test_what_a_waiting_run_reads_stays(daemon, images):
    run = train(daemon, images)
    victim = checkpoints(daemon, run)[-1]
    body = {"kind": "knn", "hold": True, "params": {"dataset": str(images), "checkpoint": victim["id"]}}
    reader = daemon.api("POST", "/v1/runs", json=body)
    assert reader.status_code == 201, reader.text
    reader = reader.json()["id"]
    assert reader in delete(daemon, f"/v1/checkpoints/{victim['id']}", 409)["detail"]
    assert reader in delete(daemon, f"/v1/runs/{run}", 409)["detail"]
    assert reader in delete(daemon, f"/v1/runs/{run}?dry_run=1", 409)["detail"]
    daemon.api("POST", f"/v1/runs/{reader}/cancel")
    delete(daemon, f"/v1/checkpoints/{victim['id']}")
    delete(daemon, f"/v1/runs/{run}")


def test_a_deleted_run_is_gone_with_all_that_was_its(daemon, images):
    run = train(daemon, images)
    folder, logs = daemon.state / "runs" / run, daemon.state / "logs"
    expected = files_of(folder) + sum(f.stat().st_size for f in logs.glob(f"{run}-*"))
    assert delete(daemon, f"/v1/runs/{run}?dry_run=1") == {"id": run, "dry_run": True, "freed_bytes": expected}
    assert daemon.run(run)["state"] == "succeeded"
    assert delete(daemon, f"/v1/runs/{run}")["freed_bytes"] == expected > 0
    assert not folder.exists()
    wait_until("its files are gone", lambda: not list(logs.glob(f"{run}-*")) and not list((daemon.state / "runs").glob("*.deleted")))
    for path in ("", "/metrics", "/events", "/checkpoints", "/logs"):
        assert daemon.api("GET", f"/v1/runs/{run}{path}").status_code == 404, path
    metrics = sqlite3.connect(f"file:{daemon.state}/metrics.db?mode=ro", uri=True)
    assert metrics.execute("SELECT count(*) FROM stream WHERE run=?", (run[1:],)).fetchone() == (0,)
    delete(daemon, f"/v1/runs/{run}", 404)


def test_a_run_that_lives_is_not_deleted(daemon, images):
    run = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {**TINY, "dataset": str(images)}})
    run = run.json()["id"]
    for query in ("", "?dry_run=1"):
        answer = delete(daemon, f"/v1/runs/{run}{query}", 409)
        assert answer["state"] == "held" and answer["allowed"] == ["cancel", "kill"]
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    delete(daemon, f"/v1/runs/{run}")


def test_gc_keeps_the_newest_of_each(daemon, images):
    runs = [train(daemon, images), train(daemon, images)]
    daemon.api("POST", "/v1/admin/gc", json={"keep": 4})
    dry = daemon.api("POST", "/v1/admin/gc?dry_run=1", json={"keep": 3}).json()
    ours = [item for item in dry["items"] if item["run"] in runs]
    assert len(ours) == 2 and dry["dry_run"] and dry["freed_bytes"] >= sum(item["freed_bytes"] for item in ours) > 0
    assert all(len(checkpoints(daemon, run)) == 4 for run in runs)
    swept = daemon.api("POST", "/v1/admin/gc", json={"keep": 3}).json()
    assert swept["freed_bytes"] == dry["freed_bytes"] and not swept["more"]
    daemon.api("POST", "/v1/admin/gc", json={})
    for run in runs:
        (left,) = checkpoints(daemon, run)
        assert left["step"] == daemon.run(run)["steps"] and pathlib.Path(left["path"]).is_dir()
    for body in ({"keep": 0}, {"keep": 1001}, {"keep": "1"}, {"kep": 1}):
        assert daemon.api("POST", "/v1/admin/gc", json=body).status_code == 422, body


def test_a_submitter_deletes_only_his_own(daemon, images):
    run = train(daemon, images)
    oldest = checkpoints(daemon, run)[-1]["id"]
    headers = as_user(make_token(daemon, "stranger", "submitter"))
    delete(daemon, f"/v1/checkpoints/{oldest}", 403, headers=headers)
    delete(daemon, f"/v1/runs/{run}", 403, headers=headers)
    assert daemon.api("PATCH", f"/v1/checkpoints/{oldest}", json={"pinned": True}, headers=headers).status_code == 403
    assert daemon.api("POST", "/v1/admin/gc", json={}, headers=headers).status_code == 403


def test_the_next_start_finishes_what_a_crash_left(daemon, images):
    first, second = train(daemon, images), train(daemon, images)
    victim = checkpoints(daemon, first)[-1]
    daemon.kill()
    with sqlite3.connect(daemon.state / "state.db") as db:
        db.execute("UPDATE checkpoint SET state='deleting' WHERE id=?", (victim["id"][1:],))
        db.execute("DELETE FROM run WHERE id=?", (second[1:],))
    db.close()
    runs = daemon.state / "runs"
    (runs / second).rename(runs / f"{second}.deleted")
    (runs / first).rename(runs / f"{first}.deleted")
    daemon.start()
    wait_until("the deletion is over", lambda: not (runs / f"{second}.deleted").exists())
    assert not list((daemon.state / "logs").glob(f"{second}-*"))
    assert (runs / first).is_dir(), "a run whose row is still there gets its folder back"
    assert len(checkpoints(daemon, first)) == 3
    wait_until("the checkpoint is gone", lambda: daemon.api("GET", f"/v1/checkpoints/{victim['id']}").json()["state"] == "gone")
    assert not pathlib.Path(victim["path"]).exists()
