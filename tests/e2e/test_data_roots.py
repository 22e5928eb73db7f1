"""data_roots: what requests may name, and that no answer tells which files exist elsewhere."""
import shutil

import pytest

from harness import Daemon, idle_worker


@pytest.fixture(scope="module")
def walled(tmp_path_factory, images):
    """A daemon that lets data lie below one folder, and a folder beside it with 100 others in it."""
    top = tmp_path_factory.mktemp("walled")
    shutil.copytree(images, top / "data" / "set")
    (top / "elsewhere").mkdir()
    for i in range(100):
        (top / "elsewhere" / f"here{i:02}").mkdir()
    (top / "data" / "out").symlink_to(top / "elsewhere")
    worker = idle_worker(top)
    daemon = Daemon(top, worker=worker, slots=1, start_timeout_s=600, stop_grace_s=1,
                    data_roots=f"{top}/none:{top}/data").start()
    yield daemon
    daemon.stop()


def ask(daemon, route, body, name):
    """Status and text of the answer, with the name of the folder and the request's own id replaced."""
    answer = daemon.api("POST", route, json=body)
    assert name in answer.text, answer.text
    return answer.status_code, answer.text.replace(name, "NAME").replace(answer.json()["request_id"], "ID")


def bodies(inside, path):
    """Every way to name a path, as (route, body)."""
    for field in ("dataset", "eval_dataset", "init_from"):
        params = {"dataset": inside, field: path}
        yield "/v1/runs", {"kind": "pretrain", "params": params}
        yield "/v1/runs?dry_run=1", {"kind": "pretrain", "params": params}
        yield "/v1/sweeps", {"kind": "pretrain", "params": params, "grid": {"seed": [1]}}
        yield "/v1/sweeps?dry_run=1", {"kind": "pretrain", "params": params, "grid": {"seed": [1]}}
    for kind, field in (("features", "checkpoint"), ("low_shot", "split_list"), ("visualize", "reference")):
        yield "/v1/runs", {"kind": kind, "params": {"dataset": inside, "checkpoint": "r1", field: path}}


@pytest.mark.parametrize("way", ["elsewhere", "data/out", "data/../elsewhere"])
def test_no_answer_tells_what_exists_elsewhere(walled, way):
    inside, top = f"{walled.folder}/data/set", walled.folder
    for (route, there), (_, missing) in zip(bodies(inside, f"{top}/{way}/here00"), bodies(inside, f"{top}/{way}/none00")):
        first, second = ask(walled, route, there, "here00"), ask(walled, route, missing, "none00")
        assert first == second and first[0] == 422, (route, there, first, second)


def test_a_hundred_that_exist_and_a_hundred_that_do_not(walled):
    answers = {ask(walled, "/v1/runs", {"kind": "pretrain", "params": {"dataset": f"{walled.folder}/elsewhere/{name}"}},
                   name) for i in range(100) for name in (f"here{i:02}", f"none{i:02}")}
    assert len(answers) == 1, answers
    assert walled.api("GET", "/v1/runs").json()["items"] == []


def test_data_below_them_is_accepted(walled):
    assert walled.submit("pretrain", dataset=f"{walled.folder}/data/set", batch=4, warmup_epochs=0)
