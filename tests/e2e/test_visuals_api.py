"""Pictures by step and kind: GET /v1/runs/{id}/visuals, whichever visualisation made them."""
import pytest

from harness import Daemon
from outcome import SHORT_RUN

SHEETS = {"masks", "pca", "error", "similarity", "attention", "neighbors", "decoder"}


@pytest.fixture(scope="module")
def pictured(tmp_path_factory, scenes):
    """A daemon, a run of two checkpoints, and the visualisation that looked at both."""
    daemon = Daemon(tmp_path_factory.mktemp("visuals")).start()
    run = daemon.submit("pretrain", dataset=str(scenes), **{**SHORT_RUN, "epochs": 1, "warmup_epochs": 0, "eval_every_epochs": 0})
    daemon.wait_for_state(run, "succeeded")
    shown = daemon.submit("visualize", dataset=str(scenes), labels="none", checkpoint=run, history=2, images=2, bank=8, threads=1)
    daemon.wait_for_state(shown, "succeeded")
    yield daemon, run, shown
    daemon.stop()


def visuals(daemon, run):
    return daemon.api("GET", f"/v1/runs/{run}/visuals").json()["items"]


def test_every_picture_is_found_by_step_and_kind(pictured):
    daemon, run, shown = pictured
    items = visuals(daemon, run)
    assert visuals(daemon, shown) == items, "a visualisation has its own"
    steps = {c["step"]: c["sha256"] for c in daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"] if c["state"] == "valid"}
    assert {item["step"]: item["sha256"] for item in items} == steps and len(items) == 2
    for item in items:
        assert set(item["kinds"]) == SHEETS | {"grids"} and item["run"] == shown
        for kind, name in item["kinds"].items():
            answer = daemon.api("GET", f"/v1/runs/{run}/visuals/{item['step']}/{kind}")
            assert answer.status_code == 200
            assert answer.content == (daemon.state / "runs" / shown / "visualize" / name).read_bytes()
            assert answer.headers["Content-Type"] == ("application/octet-stream" if kind == "grids" else "image/png")
            again = daemon.api("GET", f"/v1/runs/{run}/visuals/{item['step']}/{kind}", headers={"If-None-Match": answer.headers["ETag"]})
            assert again.status_code == 304
            part = daemon.api("GET", f"/v1/runs/{run}/visuals/{item['step']}/{kind}", headers={"Range": "bytes=2-9"})
            assert part.status_code == 206 and part.content == answer.content[2:10]


def test_of_two_that_looked_at_one_step_the_newest_counts(pictured, scenes):
    daemon, run, shown = pictured
    newest = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][0]
    second = daemon.submit("visualize", dataset=str(scenes), labels="none", checkpoint=newest["id"], images=1, bank=8, threads=1)
    daemon.wait_for_state(second, "succeeded")
    assert {item["step"]: item["run"] for item in visuals(daemon, run)} == {
        newest["step"]: second, **{item["step"]: shown for item in visuals(daemon, shown) if item["step"] != newest["step"]}}
    got = daemon.api("GET", f"/v1/runs/{run}/visuals/{newest['step']}/pca").content
    assert got == (daemon.state / "runs" / second / "visualize" / "pca.png").read_bytes()


@pytest.mark.parametrize("place", ["1/pca", "x/pca", "-1/pca", "99999999999999999999/pca", "{step}/spectrum", "{step}/..", "{step}/result"])
def test_what_is_not_there_is_not_found(pictured, place):
    daemon, run, _ = pictured
    step = visuals(daemon, run)[0]["step"]
    assert daemon.api("GET", f"/v1/runs/{run}/visuals/" + place.format(step=step)).status_code == 404
    assert daemon.api("GET", "/v1/runs/r999999/visuals").status_code == 404


def test_a_run_without_pictures_has_none(pictured, images):
    daemon, _, _ = pictured
    held = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {"dataset": str(images)}}).json()["id"]
    assert visuals(daemon, held) == []
