"""A checkpoint with one wrong byte: evaluations refuse it by name, and a run goes on from the one
before, saying so; nothing else changes."""
import pytest

from harness import Daemon
from outcome import SHORT_RUN, Outcome

LONGER_RUN = {**SHORT_RUN, "epochs": 150}  # long enough to be paused on the way


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    d = Daemon(tmp_path_factory.mktemp("corrupt"), retry_base_ms=1, retry_cap_ms=20).start()
    yield d
    d.stop()


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def newest(daemon, run_id):
    return sorted((daemon.state / "runs" / run_id / "checkpoints").iterdir())[-1]


def test_an_evaluation_names_the_damaged_file(daemon, scenes):
    run_id = daemon.submit("pretrain", dataset=str(scenes), **SHORT_RUN)
    daemon.wait_for_state(run_id, "succeeded")
    damaged = newest(daemon, run_id) / "model.safetensors"
    flip_a_byte(damaged)
    before = damaged.read_bytes()
    probe = daemon.submit("knn", dataset=str(scenes), crop=32, labels="shape",
                          checkpoint=str(damaged.parent))
    row = daemon.wait_for_state(probe, "failed")
    assert "model.safetensors" in row["reason_text"], row
    assert daemon.run(run_id)["state"] == "succeeded"
    assert damaged.read_bytes() == before, "a damaged checkpoint is evidence: it stays as it is"


def test_a_resume_falls_back_and_says_so(daemon, scenes):
    whole = daemon.submit("pretrain", dataset=str(scenes), **LONGER_RUN)
    daemon.wait_for_state(whole, "succeeded")
    run_id = daemon.submit("pretrain", dataset=str(scenes), **LONGER_RUN)
    daemon.wait_for_step(run_id, 15)
    assert daemon.api("POST", f"/v1/runs/{run_id}/pause").status_code in (200, 202)
    daemon.wait_for_state(run_id, "paused")
    flip_a_byte(newest(daemon, run_id) / "optimizer.safetensors")
    assert daemon.api("POST", f"/v1/runs/{run_id}/resume").status_code in (200, 202)
    daemon.wait_for_state(run_id, "succeeded")
    Outcome(daemon, run_id).assert_equals(Outcome(daemon, whole))
    events = daemon.api("GET", f"/v1/runs/{run_id}/events").json()["items"]
    assert any("checkpoint_corrupt" in str(event) for event in events), events
