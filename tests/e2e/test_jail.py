"""A worker of the host backend runs in its jail: the kernel says so of every one of its threads."""
import pathlib

import pytest

from harness import Daemon, sanitized
from outcome import SHORT_RUN


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path)
    d.start()
    yield d
    d.stop()


def status_of(task):
    lines = (task / "status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def test_every_thread_of_a_worker_is_filtered(daemon, scenes):
    if sanitized("ijepad-worker"):
        pytest.skip("a sanitizer's own calls do not fit into the jail of decoding threads")
    run = daemon.submit("pretrain", dataset=str(scenes), **{**SHORT_RUN, "epochs": 1000})
    daemon.wait_for_step(run, 1)
    (pid,) = daemon.worker_pids()
    around = int(status_of(pathlib.Path(f"/proc/{daemon.process.pid}"))["Seccomp_filters"])
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        status = status_of(task)
        name = status["Name"].strip()
        assert status["Seccomp"].strip() == "2", name
        assert status["NoNewPrivs"].strip() == "1", name
        filters = int(status["Seccomp_filters"]) - around
        assert filters == (2 if name == "loader" else 1), name
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.wait_for_state(run, "canceled")
