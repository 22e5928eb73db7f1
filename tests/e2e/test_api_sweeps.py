"""Sweeps: what runs they make, that they make all or none, how many run at a time; and the audit log."""
import math

import pytest

from harness import Daemon, idle_worker, wait_until
from test_api import PARAMS, as_user, make_token, submit, verb


def body(images, **extra):
    return {"kind": "pretrain", "name": "sweep", "hold": True, "params": {**PARAMS, "dataset": str(images)}, **extra}


def sweep(daemon, sent, expect=201, query="", **kwargs):
    answer = daemon.api("POST", f"/v1/sweeps{query}", json=sent, **kwargs)
    assert answer.status_code == expect, answer.text
    return answer.json()


def params_of(daemon, run):
    return daemon.api("GET", f"/v1/runs/{run}/config").json()["submitted"]


def test_a_grid_makes_every_combination_once(idle_daemon, images):
    made = sweep(idle_daemon, body(images, grid={"lr": [0.0005, 0.001], "seed": [1, 2, 3]}, tags=["g"], priority=-7))
    assert made["count"] == 6 and made["max_parallel"] == 1 and made["ended"] == 0
    rows = [idle_daemon.run(run) for run in made["runs"]]
    assert [row["name"] for row in rows] == [f"sweep-{i}" for i in range(1, 7)]
    assert all(row["sweep"] == made["id"] and row["state"] == "held" and row["tags"] == ["g"] and row["priority"] == -7
               for row in rows)
    points = [(p["lr"], p["seed"]) for p in (params_of(idle_daemon, run) for run in made["runs"])]
    assert points == [(lr, seed) for lr in (0.0005, 0.001) for seed in (1, 2, 3)]
    bulk = idle_daemon.api("POST", "/v1/runs/bulk", json={"action": "cancel", "ids": made["runs"]}).json()
    assert bulk["done"] == 6
    again = idle_daemon.api("GET", f"/v1/sweeps/{made['id']}").json()
    assert again["ended"] == 6 and again["spec"]["grid"] == {"lr": [0.0005, 0.001], "seed": [1, 2, 3]}
    assert made["id"] in [item["id"] for item in idle_daemon.api("GET", "/v1/sweeps").json()["items"]]


def test_random_draws_stay_inside_and_repeat_with_the_seed(idle_daemon, images):
    space = {"lr": {"log": [1e-5, 1e-2]}, "weight_decay": {"uniform": [0.01, 0.04]}, "seed": {"integer": [3, 5]},
             "model": ["vit_tiny", "vit_small"]}
    sent = body(images, random={"count": 60, "seed": 7, "space": space})
    first, second = (sweep(idle_daemon, sent, 200, "?dry_run=1") for _ in range(2))
    assert first == second and first["count"] == 60
    drawn = [run["params"] for run in first["runs"]]
    assert all(1e-5 <= p["lr"] <= 1e-2 and 0.01 <= p["weight_decay"] <= 0.04 for p in drawn)
    assert {p["seed"] for p in drawn} == {3, 4, 5} and {p["model"] for p in drawn} == {"vit_tiny", "vit_small"}
    # Uniform in the logarithm: of 60 draws over three decades each decade gets about 20; 4 are 5 sigma away.
    for low in (-5, -4, -3):
        assert sum(low <= math.log10(p["lr"]) < low + 1 for p in drawn) > 4
    sent["random"]["seed"] = 8
    assert sweep(idle_daemon, sent, 200, "?dry_run=1") != first


@pytest.mark.parametrize("extra,pointer", [
    ({}, "/grid"), ({"grid": {"lr": [1e-3]}, "random": {"count": 1, "space": {"lr": [1]}}}, "/grid"),
    ({"grid": {}}, "/grid"), ({"grid": {"lr": []}}, "/grid/lr"), ({"grid": {"lr": 1}}, "/grid/lr"),
    ({"grid": {"seed": list(range(201))}}, "/grid/seed"), ({"grid": {"seed": list(range(15)), "lr": [1e-3] * 14}}, "/grid"),
    ({"grid": {"lrr": [1e-3]}}, "/params/lrr"), ({"grid": {"lr": [1e-3, "x"]}}, "/params/lr"),
    ({"grid": {"lr": [1e-3]}, "max_parallel": 0}, "/max_parallel"), ({"grid": {"lr": [1e-3]}, "max_parallel": 65}, "/max_parallel"),
    ({"grid": {"lr": [1e-3]}, "after": ["r1"]}, "/after"), ({"grid": {"lr": [1e-3]}, "name": "x" * 59}, "/name"),
    ({"grid": {"lr": [1e-3]}, "gird": 1}, "/gird"),
    ({"random": {"count": 0, "space": {"lr": [1]}}}, "/random/count"), ({"random": {"count": 201, "space": {"lr": [1]}}}, "/random/count"),
    ({"random": {"count": 2}}, "/random"), ({"random": {"count": 2, "space": {}}}, "/random/space"),
    ({"random": {"count": 2, "space": {"lr": {"log": [0, 1]}}}}, "/random/space/lr"),
    ({"random": {"count": 2, "space": {"lr": {"uniform": [2, 1]}}}}, "/random/space/lr"),
    ({"random": {"count": 2, "space": {"seed": {"integer": [1, 2.5]}}}}, "/random/space/seed"),
    ({"random": {"count": 2, "seed": -1, "space": {"lr": [1]}}}, "/random/seed"),
])
def test_a_wrong_sweep_makes_nothing(idle_daemon, images, extra, pointer):
    def totals():
        return (idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"],
                [s["id"] for s in idle_daemon.api("GET", "/v1/sweeps").json()["items"]])
    before = totals()
    for query in ("", "?dry_run=1"):
        answer = sweep(idle_daemon, body(images, **extra), 422, query)
        assert answer["code"] == "invalid" and answer["errors"][0]["pointer"] == pointer, answer
    assert totals() == before


def test_the_largest_sweep(idle_daemon, images):
    made = sweep(idle_daemon, body(images, grid={"seed": list(range(20)), "epochs": list(range(1, 11))}))
    assert made["count"] == len(set(made["runs"])) == 200
    idle_daemon.api("POST", "/v1/runs/bulk", json={"action": "cancel", "ids": made["runs"]})


def test_a_sweep_that_is_sent_again_is_made_once(idle_daemon, images):
    key = {"Idempotency-Key": "sweep-1"}
    first = sweep(idle_daemon, body(images, grid={"seed": [1, 2]}), headers=key)
    count = idle_daemon.api("GET", "/v1/runs?count=1").json()["total"]
    again = idle_daemon.api("POST", "/v1/sweeps", json=body(images, grid={"seed": [1, 2]}), headers=key)
    assert again.headers["Idempotent-Replayed"] == "true" and again.json()["id"] == first["id"]
    assert idle_daemon.api("GET", "/v1/runs?count=1").json()["total"] == count
    other = sweep(idle_daemon, body(images, grid={"seed": [3]}), 422, headers=key)
    assert other["code"] == "idempotency_key_reused"
    idle_daemon.api("POST", "/v1/runs/bulk", json={"action": "cancel", "ids": first["runs"]})


def test_no_more_of_a_sweep_run_than_it_allows(tmp_path, images):
    worker = idle_worker(tmp_path)
    daemon = Daemon(tmp_path, worker=worker, slots=4, start_timeout_s=600, stop_grace_s=1).start()
    try:
        made = sweep(daemon, body(images, hold=False, max_parallel=2, grid={"seed": [1, 2, 3, 4]}))
        states = wait_until("two of them start", lambda: (s := [daemon.run(r)["state"] for r in made["runs"]]).count("starting") == 2 and s)
        assert states == ["starting", "starting", "queued", "queued"]
        wait_until("the others say why", lambda: daemon.run(made["runs"][2])["pending"]["code"] == "sweep")
        other = submit(daemon, images, hold=False).json()["id"]
        daemon.wait_for_state(other, "starting")
        daemon.kill()
        daemon.start()
        wait_until("two again after a crash", lambda: [daemon.run(r)["state"] for r in made["runs"]].count("starting") == 2)
        verb(daemon, made["runs"][0], "kill", 202)
        daemon.wait_for_state(made["runs"][2], "starting")
        assert daemon.run(made["runs"][3])["state"] == "queued"
    finally:
        daemon.kill()


# ---- Audit --------------------------------------------------------------------------------------

def test_the_audit_log_names_who_did_what(idle_daemon, images):
    token = make_token(idle_daemon, "auditee", "submitter")
    run = submit(idle_daemon, images, headers=as_user(token)).json()["id"]
    verb(idle_daemon, run, "cancel", 200, headers=as_user(token))
    verb(idle_daemon, run, "pause", 409, headers=as_user(token))
    entries = idle_daemon.api("GET", "/v1/audit?limit=500").json()["items"]
    mine = [entry for entry in entries if entry["target"] == run]
    assert [(entry["actor"], entry["action"], entry["address"]) for entry in mine] == \
        [("auditee", "run.cancel", "127.0.0.1"), ("auditee", "run.submit", "127.0.0.1")]
    assert any(entry["action"] == "token_create" and entry["detail"]["user"] == "auditee" for entry in entries)
    assert token["token"] not in str(entries)


def test_pages_of_the_audit_log(idle_daemon, images):
    for _ in range(5):
        submit(idle_daemon, images)
    whole = [entry["id"] for entry in idle_daemon.api("GET", "/v1/audit?limit=500").json()["items"]]
    first = idle_daemon.api("GET", "/v1/audit?limit=3").json()
    second = idle_daemon.api("GET", f"/v1/audit?limit=3&before={first['next_before']}").json()
    assert [entry["id"] for entry in first["items"] + second["items"]] == whole[:6]
    last = idle_daemon.api("GET", f"/v1/audit?before={whole[-1]}").json() if len(whole) < 500 else {"items": [], "next_before": None}
    assert last == {"items": [], "next_before": None}


# ---- Roles --------------------------------------------------------------------------------------

RANK = ["none", "viewer", "submitter", "operator", "admin"]
EXAMPLES = {"{id}": "r999999", "{kind}": "pretrain", "{code}": "conflict", "{file}": "app.js"}


def test_every_route_under_every_role(idle_daemon):
    """401 without a token, 403 exactly where the role is too low. Ids that do not exist: no route changes anything."""
    document = idle_daemon.api("GET", "/v1/openapi.json").json()
    tokens = {role: make_token(idle_daemon, f"matrix-{role}", role) for role in RANK[1:]}
    checked = 0
    for path, item in document["paths"].items():
        concrete = path
        for name, value in EXAMPLES.items():
            concrete = concrete.replace(name, value.replace("r9", "zz9") if path.startswith("/v1/tokens") else value)
        for method, operation in item.items():
            need = RANK.index(operation["x-role"])
            for role in RANK[1:]:
                rank = RANK.index(role)
                if (method, path) == ("delete", "/v1/session"):
                    continue
                # A body that no route takes: whoever is let in is told so, and nothing is done.
                answer = idle_daemon.session.request(
                    method, idle_daemon.url + concrete, headers={**as_user(tokens[role]), "Content-Type": "application/json"},
                    data=None if method == "get" else '{"no_such_key": 1}', timeout=30, stream=True)
                status = answer.status_code
                answer.close()
                assert (status == 403) == (rank < need), (method, path, role, status)
                assert status != 401 and status < 500, (method, path, role, status)
                checked += 1
    assert checked >= 200
