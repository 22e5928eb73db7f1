"""Backups on schedule, and the start with a database that is damaged: restored, degraded, acknowledged."""
import json
import os
import sqlite3

import pytest
import requests

from harness import Daemon, wait_until
from test_api import as_user, make_token, submit, verb

TINY = dict(labels="none", crop=32, patch=8, model="custom", width=32, depth=1, heads=2, pred_width=16, pred_depth=1, pred_heads=2,
            batch=8, epochs=3, warmup_epochs=1, min_keep=0, sampler="unbiased", threads=1, loader_threads=1, eval_every_epochs=0,
            checkpoint_every_steps=2, keep_checkpoints=100)


def names(daemon, kind="state"):
    return sorted(path.name for path in (daemon.state / "backups").glob(f"{kind}-*.db"))


def back_up(daemon):
    """One more backup, by request."""
    before = set(names(daemon))
    answer = daemon.api("POST", "/v1/admin/backup")
    assert answer.status_code == 202 and answer.json() == {"file": None}, answer.text
    return wait_until("a new backup", lambda: set(names(daemon)) - before).pop()


def status(daemon):
    answer = daemon.api("GET", "/v1/status")
    assert answer.status_code == 200, answer.text
    return answer.json()


def damage(path, offset=4096, bytes_=b"rubbish " * 512):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes_)


def test_backups_are_made_checked_and_pruned(tmp_path, images):
    daemon = Daemon(tmp_path, backup_period_s=1, backup_keep=2, backup_metrics_period_s=1).start()
    run = submit(daemon, images, name="kept").json()["id"]
    first = wait_until("two backups", lambda: len(names(daemon)) >= 2 and names(daemon))[0]
    wait_until("the first is gone", lambda: first not in names(daemon))
    wait_until("metrics too", lambda: names(daemon, "metrics"))
    daemon.stop()
    assert 2 <= len(names(daemon)) <= 3 and 1 <= len(names(daemon, "metrics")) <= 2
    for name in names(daemon) + names(daemon, "metrics"):
        with sqlite3.connect(f"file:{daemon.state}/backups/{name}?mode=ro", uri=True) as db:
            assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    with sqlite3.connect(f"file:{daemon.state}/backups/{names(daemon)[-1]}?mode=ro", uri=True) as db:
        assert db.execute("SELECT 'r' || id, name FROM run").fetchall() == [(run, "kept")]


def test_the_list_of_backups_and_one_more(idle_daemon):
    name = back_up(idle_daemon)
    items = idle_daemon.api("GET", "/v1/admin/backups").json()["items"]
    made = next(item for item in items if item["name"] == name)
    assert made["database"] == "state" and made["size_bytes"] == os.stat(idle_daemon.state / "backups" / name).st_size
    assert items == sorted(items, key=lambda item: item["made"], reverse=True)
    shown = wait_until("it is told", lambda: (s := status(idle_daemon))["backups"]["state"] == made["made"] and s)
    assert (shown["status"], shown["degraded"], shown["backups"]["error"]) == ("ok", None, None)
    token = as_user(make_token(idle_daemon, "sue", "submitter"))
    assert idle_daemon.api("GET", "/v1/admin/backups", headers=token).status_code == 403
    assert idle_daemon.api("GET", "/v1/status", headers=token).status_code == 200
    again = idle_daemon.api("POST", "/v1/admin/acknowledge")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_a_failed_backup_is_told(tmp_path):
    daemon = Daemon(tmp_path)
    daemon.state.mkdir()
    (daemon.state / "backups").write_text("no folder")
    daemon.start()
    shown = wait_until("the failure is told", lambda: (s := status(daemon))["backups"]["error"] and s)
    assert [alert["alert"] for alert in shown["alerts"]] == ["backup"] and "backups" in shown["alerts"][0]["text"]
    daemon.stop()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, images):
    """Two runs in the backup, one of which went on; a third came later; then state.db is damaged."""
    daemon = Daemon(tmp_path_factory.mktemp("damaged"), backup_metrics_period_s=0).start()
    body = {"kind": "pretrain", "hold": True, "params": {**TINY, "dataset": str(images)}}
    run, waits = [daemon.api("POST", "/v1/runs", json=body).json()["id"] for _ in range(2)]
    wait_until("the first backup", lambda: names(daemon))
    backup = back_up(daemon)
    verb(daemon, run, "release", 200)
    daemon.wait_for_state(run, "succeeded")
    checkpoints = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]
    lost = daemon.api("POST", "/v1/runs", json=body).json()["id"]
    verb(daemon, lost, "release", 200)
    daemon.wait_for_state(lost, "succeeded")
    daemon.stop()
    damage(daemon.state / "state.db")
    daemon.start()
    daemon.run, daemon.waits, daemon.lost, daemon.backup, daemon.checkpoints = run, waits, lost, backup, checkpoints
    yield daemon
    daemon.stop()


def test_degraded_is_told_everywhere(damaged):
    shown = status(damaged)
    assert shown["status"] == "degraded" and shown["alerts"][0]["alert"] == "degraded"
    account = shown["degraded"]
    assert [(f["file"], f["restored"]) for f in account["files"]] == [("state.db", damaged.backup)]
    assert "damaged" in account["reason"] and account["unknown_runs"] == [damaged.lost]
    assert (damaged.state / account["files"][0]["damaged"]).stat().st_size > 0, "the bad file is kept"
    for path in ("/healthz", "/readyz"):
        assert requests.get(damaged.url + path, timeout=10).json()["degraded"] is True
    assert "ijepad_degraded 1\n" in damaged.api("GET", "/metrics").text
    with damaged.api("GET", "/v1/events?topics=runs", headers={"Last-Event-ID": "0"}, stream=True) as stream:
        assert any(line == b"event: server.degraded" for line in stream.iter_lines(chunk_size=1))


def test_checkpoints_come_back_from_disk(damaged):
    items = damaged.api("GET", f"/v1/runs/{damaged.run}/checkpoints").json()["items"]
    same = ("step", "epoch", "sha256", "size_bytes", "path", "state", "pinned")
    assert [{k: item[k] for k in same} for item in items] == [{k: item[k] for k in same} for item in damaged.checkpoints]
    assert len(items) >= 2 and status(damaged)["degraded"]["checkpoints"] == len(items)
    assert not {item["id"] for item in items} & {item["id"] for item in damaged.checkpoints}, "no number is given twice"


def test_degraded_takes_no_submissions_until_an_operator_acknowledges(damaged, images):
    body = {"kind": "pretrain", "hold": True, "params": {**TINY, "dataset": str(images)}}
    sweep = {"kind": "pretrain", "params": {**TINY, "dataset": str(images)}, "grid": {"lr": [0.1, 0.2]}}
    calls = [("/v1/runs", body), ("/v1/sweeps", sweep), (f"/v1/runs/{damaged.waits}/clone", {})]
    for path, sent in calls:
        answer = damaged.api("POST", path, json=sent)
        assert (answer.status_code, answer.json()["code"]) == (503, "degraded"), answer.text
        assert "acknowledge" in answer.json()["detail"]
    assert damaged.api("POST", "/v1/runs?dry_run=1", json=body).status_code == 200
    verb(damaged, damaged.waits, "cancel", 200)
    damaged.kill()
    damaged.start()
    assert status(damaged)["status"] == "degraded", "it stays so over a restart"
    for role, expect in (("submitter", 403), ("operator", 200)):
        token = as_user(make_token(damaged, "someone", role))
        assert damaged.api("POST", "/v1/admin/acknowledge", headers=token).status_code == expect
    assert damaged.api("GET", "/v1/audit?limit=1").json()["items"][0]["action"] == "acknowledge"
    assert status(damaged)["degraded"] is None and not (damaged.state / "degraded.json").exists()
    fresh = damaged.api("POST", "/v1/runs", json=body).json()["id"]
    assert int(fresh[1:]) > int(damaged.lost[1:]), "no number is given twice"
    damaged.kill()
    damaged.start()
    assert status(damaged)["status"] == "ok"


@pytest.mark.parametrize("how", ["truncated", "missing", "cut short"])
def test_other_ways_to_lose_a_database(tmp_path, how):
    daemon = Daemon(tmp_path).start()
    token = daemon.token
    backup = back_up(daemon)
    daemon.stop()
    state = daemon.state / "state.db"
    if how == "truncated":
        os.truncate(state, 0)
    elif how == "missing":
        state.unlink()
    else:  # the marker of a restoration that the power cut short
        (daemon.state / "degraded.json").write_text(json.dumps({"pending": ["state.db"], "reason": "it was damaged"}))
    daemon.start()
    shown = status(daemon)
    assert shown["degraded"]["files"][0]["restored"] == backup and "pending" not in shown["degraded"]
    assert daemon.token == token
    daemon.stop()


def test_without_a_backup_it_does_not_start_and_touches_nothing(tmp_path):
    daemon = Daemon(tmp_path, backup_period_s=0, backup_metrics_period_s=0).start()
    daemon.stop()
    damage(daemon.state / "state.db")
    before = (daemon.state / "state.db").read_bytes()
    with pytest.raises(AssertionError, match="no backup"):
        daemon.start()
    assert daemon.process.wait(30) == 65
    assert (daemon.state / "state.db").read_bytes() == before and not (daemon.state / "degraded.json").exists()


def test_a_log_that_grows_is_told(tmp_path):
    daemon = Daemon(tmp_path, wal_alarm_bytes=1024).start()
    shown = wait_until("the alarm", lambda: (s := status(daemon))["alerts"] and s, 60)
    assert [alert["alert"] for alert in shown["alerts"]] == ["wal"] and shown["status"] == "ok"
    daemon.stop()


def test_metrics_are_looked_through_after_a_kill(tmp_path, images):
    daemon = Daemon(tmp_path, backup_metrics_period_s=0).start()
    run = daemon.submit("pretrain", dataset=str(images), **TINY)
    daemon.wait_for_state(run, "succeeded")
    daemon.stop()
    damage(daemon.state / "metrics.db", 3 * 4096)
    daemon.start()
    daemon.kill()  # the last life ended in order, this one does not
    daemon.start()
    shown = wait_until("the damage is told", lambda: (s := status(daemon))["alerts"] and s, 60)
    assert [alert["alert"] for alert in shown["alerts"]] == ["metrics"]
    daemon.stop()
