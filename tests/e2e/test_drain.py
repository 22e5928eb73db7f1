"""A drained machine starts nothing, says why, remembers it, and goes on when it is told to."""
import pytest

from harness import Daemon, wait_until
from outcome import SHORT_RUN

TINY = {**SHORT_RUN, "epochs": 1, "warmup_epochs": 0, "eval_every_epochs": 0}


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path, slots=2)
    d.start()
    yield d
    d.stop()


def test_a_drained_machine(daemon, scenes):
    running = daemon.submit("pretrain", dataset=str(scenes), **{**SHORT_RUN, "epochs": 1000})
    daemon.wait_for_step(running, 1)
    answer = daemon.api("POST", "/v1/admin/drain", json={"reason": "a new driver"})
    assert answer.status_code == 200 and answer.json()["drained"]["reason"] == "a new driver"
    waiting = daemon.submit("pretrain", dataset=str(scenes), **TINY)

    def drained():
        pending = daemon.run(waiting).get("pending") or {}
        return pending if pending.get("code") == "drained" else None
    assert "a new driver" in wait_until("it says why it waits", drained)["text"]
    step = daemon.run(running)["step"]
    daemon.wait_for_step(running, step + 1)
    daemon.api("POST", f"/v1/runs/{running}/cancel")
    daemon.wait_for_state(running, "canceled")
    daemon.stop()
    daemon.start()
    assert daemon.api("GET", "/v1/status").json()["drained"]["by"] == "admin"
    assert daemon.run(waiting)["state"] == "queued"
    assert {g["id"] for g in daemon.api("GET", "/v1/gpus").json()["items"]} == {"host-0", "host-1"}
    assert daemon.api("POST", "/v1/admin/undrain").json()["drained"] is None
    daemon.wait_for_state(waiting, "succeeded")
    actions = [row["action"] for row in daemon.api("GET", "/v1/audit").json()["items"]]
    assert actions.count("drain") == 1 and actions.count("undrain") == 1
