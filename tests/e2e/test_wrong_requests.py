"""Wrong requests and their exact answers. Nothing may change by any of them: the database has the same rows afterwards."""
import sqlite3

import pytest

from test_api import PARAMS, submit, verb

# method, path, body, status, code, JSON pointer of the first error (None: not told). {held}, {ended}: runs in that state.
TABLE = [
    # What is asked for does not exist, or not in this way.
    ("GET", "/v1/nothing", None, 404, "not_found", None),
    ("GET", "/v1/runs/r999999", None, 404, "not_found", None),
    ("GET", "/v1/runs/42", None, 404, "not_found", None),
    ("GET", "/v1/runs/r0", None, 404, "not_found", None),
    ("GET", "/v1/runs/r01", None, 404, "not_found", None),
    ("GET", "/v1/runs/r-1", None, 404, "not_found", None),
    ("GET", "/v1/runs/r99999999999999999999", None, 404, "not_found", None),
    ("GET", "/v1/runs/r999999/config", None, 404, "not_found", None),
    ("GET", "/v1/runs/r999999/events", None, 404, "not_found", None),
    ("GET", "/v1/runs/r999999/metrics", None, 404, "not_found", None),
    ("GET", "/v1/checkpoints/c999999", None, 404, "not_found", None),
    ("GET", "/v1/checkpoints/r1", None, 404, "not_found", None),
    ("GET", "/v1/sweeps/s999999", None, 404, "not_found", None),
    ("GET", "/v1/schema/cooking", None, 404, "not_found", None),
    ("GET", "/problems/none", None, 404, "not_found", None),
    ("PUT", "/v1/runs", {}, 405, "method_not_allowed", None),
    ("DELETE", "/v1/queue", None, 405, "method_not_allowed", None),
    ("PATCH", "/v1/audit", {}, 405, "method_not_allowed", None),
    ("POST", "/v1/runs/r999999/cancel", None, 404, "not_found", None),
    ("POST", "/v1/runs/r999999/clone", {}, 404, "not_found", None),
    ("DELETE", "/v1/runs/r999999", None, 404, "not_found", None),
    ("DELETE", "/v1/checkpoints/c999999", None, 404, "not_found", None),
    ("PATCH", "/v1/checkpoints/c999999", {"pinned": True}, 404, "not_found", None),
    ("PATCH", "/v1/runs/r999999", {"priority": 1}, 404, "not_found", None),
    # Queries.
    ("GET", "/v1/runs?limit=0", None, 422, "invalid", None),
    ("GET", "/v1/runs?limit=501", None, 422, "invalid", None),
    ("GET", "/v1/runs?limit=ten", None, 422, "invalid", None),
    ("GET", "/v1/runs?limti=10", None, 422, "invalid", None),
    ("GET", "/v1/runs?state=asleep", None, 422, "invalid", None),
    ("GET", "/v1/runs?state=" + "%F4%8E%97%8F" * 10, None, 422, "invalid", None),  # quoted, and cut within a character
    ("POST", "/v1/runs", {"kind": "pretrain", "€" * 50: 1}, 422, "invalid", None),
    ("GET", "/v1/runs?sort=beauty", None, 422, "invalid", None),
    ("GET", "/v1/runs?parent=42", None, 422, "invalid", None),
    ("GET", "/v1/runs?count=2", None, 422, "invalid", None),
    ("GET", "/v1/runs?name=%ff", None, 400, "malformed", None),
    ("GET", "/v1/metrics?keys=train/loss", None, 422, "invalid", None),
    ("GET", "/v1/metrics?runs=r1&keys=train/loss&max_points=0", None, 422, "invalid", None),
    ("GET", "/v1/metrics?runs=r1&keys=train/loss&agg=median", None, 422, "invalid", None),
    ("GET", "/v1/events?topics=gossip", None, 422, "invalid", None),
    ("GET", "/v1/audit?before=0", None, 422, "invalid", None),
    ("GET", "/v1/sweeps?limit=501", None, 422, "invalid", None),
    # Bodies that are no JSON object.
    ("POST", "/v1/runs", None, 400, "malformed", None),
    ("POST", "/v1/runs", "{", 400, "malformed", None),
    ("POST", "/v1/runs", "[]", 400, "malformed", None),
    ("POST", "/v1/runs", '{"kind":"pretrain","kind":"knn"}', 400, "malformed", None),
    ("POST", "/v1/runs", '{"kind":"pretrain"} {}', 400, "malformed", None),
    ("POST", "/v1/runs", '{"a":' * 40 + "1" + "}" * 40, 400, "malformed", None),
    ("POST", "/v1/runs", '{"name":"\\u0000"}', 400, "malformed", None),
    ("POST", "/v1/runs/bulk", None, 400, "malformed", None),
    ("POST", "/v1/queue/move", None, 400, "malformed", None),
    ("POST", "/v1/sweeps", None, 400, "malformed", None),
    ("PATCH", "/v1/runs/{held}", None, 400, "malformed", None),
    # Submissions.
    ("POST", "/v1/runs", {}, 422, "invalid", "/kind"),
    ("POST", "/v1/runs", {"kind": "pretran"}, 422, "invalid", "/kind"),
    ("POST", "/v1/runs", {"kind": 7}, 422, "invalid", "/kind"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": []}, 422, "invalid", "/params"),
    ("POST", "/v1/runs", {"kind": "pretrain", "prams": {}}, 422, "invalid", "/prams"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": {**PARAMS, "dataset": "/no/such/folder"}}, 422, "invalid", "/params/dataset"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": {**PARAMS, "dataset": "{data}", "lrr": 1}}, 422, "invalid", "/params/lrr"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": {**PARAMS, "dataset": "{data}", "lr": -1}}, 422, "invalid", "/params/lr"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": {**PARAMS, "dataset": "{data}", "batch": 1.5}}, 422, "invalid", "/params/batch"),
    ("POST", "/v1/runs", {"kind": "pretrain", "params": {**PARAMS, "dataset": "{data}", "model": "vit_tall"}}, 422, "invalid", "/params/model"),
    ("POST", "/v1/runs", {"kind": "pretrain", "priority": 1001, "params": {**PARAMS, "dataset": "{data}"}}, 422, "invalid", "/priority"),
    ("POST", "/v1/runs", {"kind": "pretrain", "name": "../x", "params": {**PARAMS, "dataset": "{data}"}}, 422, "invalid", "/name"),
    ("POST", "/v1/runs", {"kind": "pretrain", "tags": ["a b"], "params": {**PARAMS, "dataset": "{data}"}}, 422, "invalid", "/tags/0"),
    ("POST", "/v1/runs", {"kind": "pretrain", "hold": 1, "params": {**PARAMS, "dataset": "{data}"}}, 422, "invalid", "/hold"),
    ("POST", "/v1/runs", {"kind": "pretrain", "after": ["r999999"], "params": {**PARAMS, "dataset": "{data}"}}, 422, "invalid", "/after/0"),
    ("POST", "/v1/runs", {"kind": "knn", "params": {"dataset": "{data}", "checkpoint": "c999999"}}, 422, "invalid", "/params/checkpoint"),
    ("POST", "/v1/runs?dry_run=2", {"kind": "pretrain"}, 422, "invalid", None),
    # Changes and commands.
    ("PATCH", "/v1/runs/{held}", {}, 422, "invalid", None),
    ("PATCH", "/v1/runs/{held}", {"state": "running"}, 422, "invalid", "/state"),
    ("PATCH", "/v1/runs/{held}", {"priority": "high"}, 422, "invalid", "/priority"),
    ("PATCH", "/v1/runs/{held}", {"priority": 5, "name": ""}, 422, "invalid", "/name"),
    ("POST", "/v1/runs/{held}/pause", None, 409, "conflict", None),
    ("POST", "/v1/runs/{held}/checkpoint", None, 409, "conflict", None),
    ("POST", "/v1/runs/{held}/cancel", {"grace": 1}, 422, "invalid", "/grace"),
    ("POST", "/v1/runs/{ended}/resume", None, 409, "conflict", None),
    ("POST", "/v1/runs/{ended}/hold", None, 409, "conflict", None),
    ("POST", "/v1/runs/{ended}/requeue", {"from": "nowhere"}, 422, "invalid", "/from"),
    ("POST", "/v1/runs/{ended}/requeue", {"from": "Scratch"}, 422, "invalid", "/from"),
    ("DELETE", "/v1/runs/{held}", None, 409, "conflict", None),
    ("POST", "/v1/runs/{held}/clone", {"kind": "knn"}, 422, "invalid", "/kind"),
    ("POST", "/v1/runs/{held}/clone", {"params": {"lr": "fast"}}, 422, "invalid", "/params/lr"),
    ("POST", "/v1/runs/bulk", {"action": "dance", "ids": ["r1"]}, 422, "invalid", "/action"),
    ("POST", "/v1/runs/bulk", {"action": "cancel", "ids": []}, 422, "invalid", "/ids"),
    ("POST", "/v1/runs/bulk", {"action": "cancel", "ids": ["{held}", "{held}"]}, 422, "invalid", "/ids/1"),
    ("POST", "/v1/queue/move", {"run": "{held}"}, 422, "invalid", "/top"),
    ("POST", "/v1/queue/move", {"run": "{held}", "before": "{ended}"}, 409, "conflict", "/before"),
    ("POST", "/v1/queue/move", {"run": "{ended}", "top": True}, 409, "conflict", None),
    # Administration.
    ("POST", "/v1/tokens", {"user": "a b", "role": "viewer"}, 422, "invalid", "/user"),
    ("POST", "/v1/tokens", {"user": "ann", "role": "king"}, 422, "invalid", "/role"),
    ("POST", "/v1/tokens", {"user": "ann"}, 422, "invalid", "/role"),
    ("DELETE", "/v1/tokens/zzzzzzzz", None, 404, "not_found", None),
    ("POST", "/v1/admin/gc", {"keep": 0}, 422, "invalid", "/keep"),
    ("POST", "/v1/admin/backup", {"file": "copy.db"}, 422, "invalid", "/file"),
    ("POST", "/v1/preview/masks", {"params": {"patc": 16}}, 422, "invalid", None),
    ("POST", "/v1/admin/backup", {"flie": "/tmp/x"}, 422, "invalid", "/flie"),
    ("POST", "/v1/admin/drain", None, 400, "malformed", None),
    ("POST", "/v1/admin/drain", {}, 422, "invalid", "/reason"),
    ("POST", "/v1/admin/drain", {"reason": "x" * 256}, 422, "invalid", "/reason"),
    ("POST", "/v1/admin/undrain", {"why": "x"}, 422, "invalid", "/why"),
    ("POST", "/v1/admin/acknowledge", None, 409, "conflict", None),
    ("POST", "/v1/admin/acknowledge", {"really": True}, 422, "invalid", "/really"),
    ("DELETE", "/v1/admin/backups", None, 405, "method_not_allowed", None),
    ("GET", "/v1/status?full=1", None, 422, "invalid", None),
    ("GET", "/v1/audit?actr=admin", None, 422, "invalid", None),
    ("GET", "/v1/audit?limit=501", None, 422, "invalid", None),
    # Webhooks.
    ("POST", "/v1/webhooks", None, 400, "malformed", None),
    ("POST", "/v1/webhooks", {}, 422, "invalid", "/url"),
    ("POST", "/v1/webhooks", {"url": 7, "events": ["*"]}, 422, "invalid", "/url"),
    ("POST", "/v1/webhooks", {"url": "http://127.0.0.1/", "events": ["*"]}, 422, "invalid", "/url"),
    ("POST", "/v1/webhooks", {"url": "ftp://example.org/", "events": ["*"]}, 422, "invalid", "/url"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/"}, 422, "invalid", "/events"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/", "events": []}, 422, "invalid", "/events"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/", "events": "*"}, 422, "invalid", "/events"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/", "events": ["*", "run.fialed"]}, 422, "invalid", "/events/1"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/", "events": ["*"], "note": "x" * 129}, 422, "invalid", "/note"),
    ("POST", "/v1/webhooks", {"url": "http://example.org/", "event": ["*"]}, 422, "invalid", "/event"),
    ("GET", "/v1/webhooks/w999999", None, 404, "not_found", None),
    ("GET", "/v1/webhooks/7", None, 404, "not_found", None),
    ("GET", "/v1/webhooks/w999999/deliveries", None, 404, "not_found", None),
    ("PATCH", "/v1/webhooks/w999999", {"enabled": True}, 404, "not_found", None),
    ("PATCH", "/v1/webhooks/w999999", None, 400, "malformed", None),
    ("PATCH", "/v1/webhooks/w999999", {"enabled": "yes"}, 422, "invalid", "/enabled"),
    ("PATCH", "/v1/webhooks/w999999", {}, 422, "invalid", "/enabled"),
    ("PATCH", "/v1/webhooks/w999999", {"url": "http://example.org/"}, 422, "invalid", "/url"),
    ("DELETE", "/v1/webhooks/w999999", None, 404, "not_found", None),
    ("POST", "/v1/webhooks/w999999/test", None, 404, "not_found", None),
    ("POST", "/v1/webhooks/w999999/test", {"loud": True}, 422, "invalid", "/loud"),
    ("PUT", "/v1/webhooks/w1", {}, 405, "method_not_allowed", None),
]


@pytest.fixture(scope="module")
def runs(idle_daemon, images):
    held, ended = submit(idle_daemon, images).json()["id"], submit(idle_daemon, images).json()["id"]
    verb(idle_daemon, ended, "cancel", 200)
    return {"{held}": held, "{ended}": ended, "{data}": str(images)}


def fill(value, names):
    if isinstance(value, dict):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    for name, text in names.items():
        value = value.replace(name, text) if isinstance(value, str) else value
    return value


def rows(daemon):
    """Everything in state.db but when a token was last used."""
    with sqlite3.connect(f"file:{daemon.state}/state.db?mode=ro", uri=True) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite%'")]
        return {table: [tuple(row[key] for key in row.keys() if key != "used_ms") for row in named(db, table)] for table in tables}


def named(db, table):
    db.row_factory = sqlite3.Row
    return db.execute(f"SELECT * FROM {table}").fetchall()


def test_the_table_is_long_enough():
    assert len(TABLE) >= 60 and len({(m, p, str(b)) for m, p, b, *_ in TABLE}) == len(TABLE)


@pytest.mark.parametrize("method,path,body,status,code,pointer", TABLE)
def test_wrong_request(idle_daemon, runs, method, path, body, status, code, pointer):
    before = rows(idle_daemon)
    sent = fill(body, runs)
    kwargs = {"data": sent.encode()} if isinstance(sent, str) else {"json": sent}
    answer = idle_daemon.api(method, fill(path, runs), **kwargs)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status) and problem["detail"], answer.text
    if pointer:
        assert problem["errors"][0]["pointer"] == pointer, answer.text
    assert rows(idle_daemon) == before, "something changed"
