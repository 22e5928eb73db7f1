"""Benchmarks as runs in the queue: what each answers, what is refused, and that one can be stopped."""
import json

import pytest

from harness import Daemon, wait_until

SMALL = dict(crop=32, patch=8, model="custom", width=32, depth=1, heads=2, pred_width=16, pred_depth=1, pred_heads=2, min_keep=0,
             batch=4, threads=1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("benchmark")).start()
    yield d
    d.stop()


def result(daemon, **params):
    run = daemon.submit("benchmark", **SMALL, **params)
    daemon.wait_for_state(run, "succeeded")
    item, = daemon.api("GET", f"/v1/runs/{run}/results").json()["items"]
    assert item["name"] == "benchmark" and item["result"]["what"] == params["what"] and item["result"]["build"]
    assert item["result"] == json.loads((daemon.state / "runs" / run / "result.json").read_text())
    return item["result"]["result"]


def test_steps_are_timed_on_synthetic_images(daemon):
    got = result(daemon, what="step", steps=3, warmup=1)
    assert (got["batch"], got["steps"], got["width"], got["precision"]) == (4, 3, 32, "float32")
    assert 0 < got["step_s"]["min"] <= got["step_s"]["median"] <= got["step_s"]["max"]
    assert got["images_per_s"] == pytest.approx(4 / got["step_s"]["median"], rel=1e-3)


def test_the_loader_is_timed_on_the_dataset(daemon, scenes):
    got = result(daemon, what="loader", dataset=str(scenes), seconds=0.2, loader_threads=1)
    assert got["images_per_s"] > 0, got


def test_operations_are_timed_one_by_one(daemon):
    ceiling, *lines = result(daemon, what="ops", seconds=0.001)
    assert ceiling["ceiling"] == "host" and len(lines) > 10


@pytest.mark.parametrize("params, pointer", [
    ({"what": "loader"}, "/params/dataset"), ({"what": "nothing"}, "/params/what"), ({"steps": 0}, "/params/steps"),
    ({"seconds": 121}, "/params/seconds"), ({"epochs": 3}, "/params/epochs"), ({"min_keep": 4000}, "/params/min_keep")])
def test_what_makes_no_benchmark_is_refused(daemon, params, pointer):
    answer = daemon.api("POST", "/v1/runs", json={"kind": "benchmark", "params": {**SMALL, **params}})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == pointer, answer.text


def test_one_that_takes_long_tells_how_far_it_is_and_stops_when_asked(daemon):
    run = daemon.submit("benchmark", **{**SMALL, "batch": 64}, what="step", steps=10000)
    row = wait_until("steps are told", lambda: (r := daemon.run(run))["step"] > 2 and r)
    assert row["phase"] == "measuring" and row["steps"] == 10001
    assert daemon.api("POST", f"/v1/runs/{run}/cancel").status_code == 202
    assert daemon.wait_for_state(run, "canceled")["reason"] == "user"
    assert daemon.api("GET", f"/v1/runs/{run}/results").json()["items"] == []
