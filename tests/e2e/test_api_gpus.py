"""Devices as a noun: listed, cordoned, uncordoned, and kept so over a restart."""
import pytest
from harness import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("gpus"), slots=2)
    yield daemon.start()
    daemon.stop()


def gpus(daemon):
    return {row["id"]: row for row in daemon.api("GET", "/v1/gpus").json()["items"] if row["kind"] == "host"}


def test_host_slots_are_devices(daemon):
    rows = gpus(daemon)
    assert sorted(rows) == ["host-0", "host-1"]
    for index, row in enumerate(rows.values()):
        assert row["state"] == "free" and row["schedulable"] and row["run"] is None and row["index"] == index
        assert row["memory_bytes"] > 0 and row["cordon"] is None and row["foreign"] == []
        assert row["temperature_c"] is None
    assert daemon.api("GET", "/v1/gpus/host-1").json() == rows["host-1"]
    answer = daemon.api("GET", "/v1/gpus/host-2")
    assert answer.status_code == 404 and answer.json()["code"] == "not_found"


def test_a_cordon_is_told_audited_and_survives(daemon):
    row = daemon.api("POST", "/v1/gpus/host-1/cordon", json={"reason": "new fan"})
    assert row.status_code == 200, row.text
    row = row.json()
    assert row["state"] == "cordoned" and not row["schedulable"]
    assert row["cordon"]["by"] == "admin" and row["cordon"]["reason"] == "new fan" and row["cordon"]["since"]
    audit = daemon.api("GET", "/v1/audit").json()["items"][0]
    assert audit["action"] == "gpu.cordon" and audit["target"] == "host-1"
    with daemon.api("GET", "/v1/events?topics=gpus", headers={"Last-Event-ID": "0"}, stream=True) as stream:
        lines = stream.iter_lines(decode_unicode=True)
        assert next(line for line in lines if line.startswith("event: ")) == "event: gpu.state"
        data = next(line for line in lines if line.startswith("data: "))
        assert '"host-1"' in data and '"cordoned"' in data, data
    daemon.kill()
    daemon.start()
    assert gpus(daemon)["host-1"]["cordon"]["reason"] == "new fan"
    assert gpus(daemon)["host-0"]["state"] == "free"
    row = daemon.api("POST", "/v1/gpus/host-1/uncordon").json()
    assert row["state"] == "free" and row["cordon"] is None
    assert daemon.api("POST", "/v1/gpus/host-1/uncordon").status_code == 200, "asked twice"
    daemon.kill()
    daemon.start()
    assert gpus(daemon)["host-1"]["state"] == "free"


def test_schedulable_is_the_same_by_patch(daemon):
    row = daemon.api("PATCH", "/v1/gpus/host-0", json={"schedulable": False, "reason": "x" * 255}).json()
    assert row["state"] == "cordoned" and len(row["cordon"]["reason"]) == 255
    assert daemon.api("PATCH", "/v1/gpus/host-0", json={"schedulable": True}).json()["state"] == "free"


@pytest.mark.parametrize("method, path, body, status, pointer", [
    ("POST", "/v1/gpus/host-0/cordon", {}, 422, "/reason"),
    ("POST", "/v1/gpus/host-0/cordon", {"reason": ""}, 422, "/reason"),
    ("POST", "/v1/gpus/host-0/cordon", {"reason": "x" * 256}, 422, "/reason"),
    ("POST", "/v1/gpus/host-0/cordon", {"reason": "a", "why": "b"}, 422, "/why"),
    ("POST", "/v1/gpus/host-0/cordon", {"reason": 3}, 422, "/reason"),
    ("POST", "/v1/gpus/host-0/cordon", {"reason": "a", "evict": 1}, 422, "/evict"),
    ("POST", "/v1/gpus/host-9/cordon", {"reason": "a"}, 404, None),
    ("POST", "/v1/gpus/host-9/uncordon", None, 404, None),
    ("POST", "/v1/gpus/host-0/uncordon", {"reason": "a"}, 422, "/reason"),
    ("PATCH", "/v1/gpus/host-0", {"reason": "a"}, 422, "/schedulable"),
    ("PATCH", "/v1/gpus/host-0", {"schedulable": False}, 422, "/reason"),
])
def test_wrong_requests_change_nothing(daemon, method, path, body, status, pointer):
    answer = daemon.api(method, path, json=body)
    assert answer.status_code == status, answer.text
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert all(row["state"] == "free" for row in gpus(daemon).values())


def test_a_submitter_may_look_but_not_touch(daemon):
    token = daemon.api("POST", "/v1/tokens", json={"user": "sue", "role": "submitter"}).json()["token"]
    hers = {"Authorization": f"Bearer {token}"}
    assert daemon.api("GET", "/v1/gpus", headers=hers).status_code == 200
    answer = daemon.api("POST", "/v1/gpus/host-0/cordon", json={"reason": "mine"}, headers=hers)
    assert answer.status_code == 403
    assert gpus(daemon)["host-0"]["state"] == "free"
