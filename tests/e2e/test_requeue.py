"""An ended run goes on from its newest checkpoint, or begins anew without mixing two histories."""
import csv
import io
import math

import pytest
from harness import Daemon, wait_until
from test_devices import WORKER, submit


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("requeue"), worker=WORKER, slots=2)
    yield daemon.start()
    daemon.stop()


def metrics(daemon, run, **query):
    extra = "".join(f"&{k}={v}" for k, v in query.items())
    table = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none{extra}", headers={"Accept": "text/csv"}).text
    rows = list(csv.DictReader(io.StringIO(table)))
    return {int(row["step"]): float(row["last"]) for row in rows}


def requeue(daemon, run, status=200, **body):
    answer = daemon.api("POST", f"/v1/runs/{run}/requeue", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def cancel_at(daemon, run, step):
    daemon.wait_for_step(run, step)
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.wait_for_state(run, "canceled")
    return max(c["step"] for c in daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"])


def test_from_the_newest_checkpoint(daemon, images):
    run = submit(daemon, images, steps=250)
    saved = cancel_at(daemon, run, 10)
    requeue(daemon, run)
    row = daemon.wait_for_state(run, "succeeded")
    assert row["attempts"] == 2 and row["step"] == 250
    newest = daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]
    assert newest["from_step"] == saved
    values = metrics(daemon, run)
    assert sorted(values) == list(range(1, 251))
    assert {math.floor(v) for s, v in values.items() if s <= saved} == {1}
    assert {math.floor(v) for s, v in values.items() if s > saved} == {2}


def test_from_scratch(daemon, images):
    run = submit(daemon, images, steps=250)
    saved = cancel_at(daemon, run, 10)
    row = requeue(daemon, run, **{"from": "scratch"})
    assert row["step"] == 0
    row = daemon.wait_for_state(run, "succeeded")
    newest = daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]
    assert newest["from_step"] == 0
    values = metrics(daemon, run)
    assert sorted(values) == list(range(1, 251)) and {math.floor(v) for v in values.values()} == {2}
    old = metrics(daemon, run, superseded=1)
    assert len(old) >= saved and {math.floor(v) for v in old.values()} == {1}
    kept = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]
    assert sorted((c["attempt"], c["step"], c["state"]) for c in kept) == [(1, saved, "valid"), (2, 250, "valid")]
    dependent = daemon.api("DELETE", f"/v1/checkpoints/{kept[0]['id']}")
    assert dependent.status_code == 409, "the newest of the present history stays"


def test_a_short_history_begun_anew_counts_more_than_a_long_one_given_up(daemon, images):
    run = submit(daemon, images, steps=3000)
    first = cancel_at(daemon, run, 300)
    requeue(daemon, run, **{"from": "scratch"})
    wait_until("it counts anew", lambda: daemon.run(run)["attempts"] == 2 and 5 <= daemon.run(run)["step"] < first)
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.wait_for_state(run, "canceled")
    rows = {c["attempt"]: c for c in daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"]}
    assert rows[2]["step"] < rows[1]["step"]
    requeue(daemon, run)
    wait_until("it goes on", lambda: daemon.api(
        "GET", f"/v1/runs/{run}/attempts").json()["items"][0]["from_step"] == rows[2]["step"])
    daemon.api("POST", f"/v1/runs/{run}/kill")
    daemon.wait_for_state(run, "canceled")
    assert daemon.api("DELETE", f"/v1/checkpoints/{rows[1]['id']}").status_code == 200
    assert daemon.api("DELETE", f"/v1/checkpoints/{rows[2]['id']}").status_code == 409


def test_a_queued_run_can_be_told_to_begin_anew(daemon, images):
    busy = [submit(daemon, images), submit(daemon, images)]
    run = submit(daemon, images, steps=50, priority=-1)
    assert requeue(daemon, run)["state"] == "queued", "what holds already is fine"
    assert requeue(daemon, run, **{"from": "scratch"})["state"] == "queued"
    for one in busy:
        daemon.api("POST", f"/v1/runs/{one}/kill")
    assert daemon.wait_for_state(run, "succeeded")["attempts"] == 1
