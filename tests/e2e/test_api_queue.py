"""Bulk commands, clones, the order of the queue, and why each run waits."""
import itertools

from harness import wait_until
from test_api import PARAMS, as_user, make_token, submit, verb

counter = itertools.count()


def bulk(daemon, action, ids, expect=200, **kwargs):
    answer = daemon.api("POST", "/v1/runs/bulk", json={"action": action, "ids": ids}, **kwargs)
    assert answer.status_code == expect, answer.text
    return answer.json()


def waiting(daemon, priority):
    """Ids of the runs of one priority, in the order in which they will start."""
    queue = daemon.api("GET", "/v1/queue").json()
    return [run["id"] for run in queue["waiting"] + queue["parked"] if run["priority"] == priority]


def line_of(daemon, images, count, priority):
    return [submit(daemon, images, priority=priority, name=f"line-{next(counter)}").json()["id"] for _ in range(count)]


def wait_for_code(daemon, run, code):
    return wait_until(f"{run} waits for {code}", lambda: (p := daemon.run(run)["pending"])["code"] == code and p)


def move(daemon, expect=200, **body):
    answer = daemon.api("POST", "/v1/queue/move", json=body)
    assert answer.status_code == expect, answer.text
    return answer.json()


def test_bulk_tells_what_came_of_each(idle_daemon, images):
    held, ended = submit(idle_daemon, images).json()["id"], submit(idle_daemon, images).json()["id"]
    verb(idle_daemon, ended, "cancel", 200)
    answer = bulk(idle_daemon, "pause", [held, ended, "r999999"])
    assert (answer["done"], answer["refused"]) == (0, 3)
    assert [item["status"] for item in answer["items"]] == [409, 409, 404]
    assert [item["code"] for item in answer["items"]] == ["conflict", "conflict", "not_found"]
    assert [item["state"] for item in answer["items"]] == ["held", "canceled", None]
    answer = bulk(idle_daemon, "cancel", [held, ended, "r999999"])
    assert (answer["done"], answer["refused"]) == (2, 1)
    assert [item["status"] for item in answer["items"]] == [200, 200, 404]
    assert idle_daemon.run(held)["state"] == "canceled"


def test_bulk_checks_the_whole_request_before_the_first_run(idle_daemon, images):
    held = submit(idle_daemon, images).json()["id"]
    for ids in ([], [held, held], [held, "42"], [held, 42], "r1", [held] + [f"r{i}" for i in range(1000, 1200)]):
        assert bulk(idle_daemon, "cancel", ids, 422)["code"] == "invalid"
    assert "cancel" in bulk(idle_daemon, "cancle", [held], 422)["detail"]
    assert bulk(idle_daemon, "submit", [held], 422)
    assert idle_daemon.run(held)["state"] == "held"
    most = [held] + [f"r{i}" for i in range(100000, 100199)]
    assert len(bulk(idle_daemon, "cancel", most)["items"]) == 200
    assert idle_daemon.run(held)["state"] == "canceled"


def test_bulk_of_a_submitter_reaches_only_his_own(idle_daemon, images):
    token = make_token(idle_daemon, "bulky", "submitter")
    mine = submit(idle_daemon, images, headers=as_user(token)).json()["id"]
    theirs = submit(idle_daemon, images).json()["id"]
    answer = bulk(idle_daemon, "cancel", [theirs, mine], headers=as_user(token))
    assert [(item["status"], item["state"]) for item in answer["items"]] == [(403, "held"), (200, "canceled")]


def test_a_clone_is_the_same_but_for_the_edits(idle_daemon, images):
    source = submit(idle_daemon, images, name="mother", tags=["x"], notes="n", priority=4).json()
    path = f"/v1/runs/{source['id']}/clone"
    answer = idle_daemon.api("POST", path, json={"params": {"lr": 0.002, "batch": None}, "hold": True})
    assert answer.status_code == 201, answer.text
    clone = answer.json()
    assert clone["parent"] == source["id"] and clone["id"] != source["id"]
    assert (clone["name"], clone["tags"], clone["notes"], clone["priority"]) == ("mother", ["x"], "n", 4)
    config = idle_daemon.api("GET", f"/v1/runs/{clone['id']}/config").json()
    assert config["submitted"] == {**{k: v for k, v in PARAMS.items() if k != "batch"}, "dataset": str(images), "lr": 0.002}
    assert {d["key"] for d in config["diff"]} >= {"lr", "batch"} and config["parent"] == source["id"]
    lr = next(d for d in config["diff"] if d["key"] == "lr")
    assert (lr["parent"], lr["value"]) == (0.001, 0.002)
    assert idle_daemon.api("GET", f"/v1/runs/{source['id']}/config").json()["diff"] is None
    assert clone["id"] in [run["id"] for run in idle_daemon.api("GET", f"/v1/runs?parent={source['id']}").json()["items"]]


def test_a_clone_without_edits_differs_in_nothing(idle_daemon, images):
    source = submit(idle_daemon, images).json()["id"]
    clone = idle_daemon.api("POST", f"/v1/runs/{source}/clone", json={"hold": True}).json()["id"]
    assert idle_daemon.api("GET", f"/v1/runs/{clone}/config").json()["diff"] == []


def test_a_clone_is_checked_like_a_submission(idle_daemon, images):
    source = submit(idle_daemon, images).json()["id"]
    path = f"/v1/runs/{source}/clone"

    def total():
        return idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"]
    before = total()
    for body, pointer in (({"params": {"lrr": 1}}, "/params/lrr"), ({"params": {"lr": "x"}}, "/params/lr"),
                          ({"kind": "knn"}, "/kind"), ({"params": []}, "/params"), ({"priority": 1001}, "/priority")):
        answer = idle_daemon.api("POST", path, json=body)
        assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == pointer, answer.text
    dry = idle_daemon.api("POST", path + "?dry_run=1", json={"params": {"lr": 0.003}})
    assert dry.status_code == 200 and dry.json()["resolved"]["params"]["lr"] == 0.003
    assert idle_daemon.api("POST", "/v1/runs/r999999/clone", json={}).status_code == 404
    assert total() == before
    first = idle_daemon.api("POST", path, json={"hold": True}, headers={"Idempotency-Key": f"clone-{source}"})
    again = idle_daemon.api("POST", path, json={"hold": True}, headers={"Idempotency-Key": f"clone-{source}"})
    assert first.status_code == again.status_code == 201 and first.json()["id"] == again.json()["id"]
    assert total() == before + 1


def test_moves_within_a_priority(idle_daemon, images):
    a, b, c, d = line_of(idle_daemon, images, 4, 311)
    assert waiting(idle_daemon, 311) == [a, b, c, d]
    move(idle_daemon, run=d, top=True)
    assert waiting(idle_daemon, 311) == [d, a, b, c]
    move(idle_daemon, run=d, after=b)
    assert waiting(idle_daemon, 311) == [a, b, d, c]
    move(idle_daemon, run=c, before=a)
    assert waiting(idle_daemon, 311) == [c, a, b, d]
    move(idle_daemon, run=a, after=d)
    assert waiting(idle_daemon, 311) == [c, b, d, a]
    events = idle_daemon.api("GET", f"/v1/runs/{a}/events").json()["items"]
    assert events[-1]["type"] == "run.changed"


def test_a_gap_is_never_used_up(idle_daemon, images):
    """Each move halves the gap behind `a`: 60 of them would reach the end of a double."""
    a, b, c = line_of(idle_daemon, images, 3, 312)
    for turn in range(60):
        run = (b, c)[turn % 2]
        move(idle_daemon, run=run, after=a)
        assert waiting(idle_daemon, 312)[:2] == [a, run], turn
    assert sorted(waiting(idle_daemon, 312)) == sorted([a, b, c])


def test_a_move_takes_over_the_priority_of_the_other(idle_daemon, images):
    a, b = line_of(idle_daemon, images, 2, 313)
    (low,) = line_of(idle_daemon, images, 1, -313)
    assert move(idle_daemon, run=low, before=b)["priority"] == 313
    assert waiting(idle_daemon, 313) == [a, low, b]


def test_moves_that_make_no_sense(idle_daemon, images):
    a, b = line_of(idle_daemon, images, 2, 314)
    ended = submit(idle_daemon, images).json()["id"]
    verb(idle_daemon, ended, "cancel", 200)
    assert move(idle_daemon, 422, run=a)["errors"][0]["pointer"] == "/top"
    assert move(idle_daemon, 422, run=a, top=True, before=b)["code"] == "invalid"
    assert move(idle_daemon, 422, run=a, top=False)["errors"][0]["pointer"] == "/top"
    assert move(idle_daemon, 422, run=a, before=a)["errors"][0]["pointer"] == "/before"
    assert move(idle_daemon, 422, run=a, before="x")["errors"][0]["pointer"] == "/before"
    assert move(idle_daemon, 422, top=True)["errors"][0]["pointer"] == "/run"
    assert move(idle_daemon, 409, run=a, before=ended)["code"] == "conflict"
    assert move(idle_daemon, 409, run=a, before="r999999")["code"] == "conflict"
    assert move(idle_daemon, 409, run=ended, top=True)["state"] == "canceled"
    assert move(idle_daemon, 404, run="r999999", top=True)
    assert waiting(idle_daemon, 314) == [a, b]


def test_every_waiting_run_says_why(idle_daemon, images):
    blocker = submit(idle_daemon, images, hold=False, priority=1000).json()["id"]
    idle_daemon.wait_for_state(blocker, "starting")
    held = submit(idle_daemon, images).json()
    assert held["pending"]["code"] == "held" and held["pending"]["text"]
    queued = submit(idle_daemon, images, hold=False).json()["id"]
    after = submit(idle_daemon, images, hold=False, after=[queued]).json()["id"]
    wait_for_code(idle_daemon, queued, "no_slots")
    pending = wait_for_code(idle_daemon, after, "dependency")
    assert queued in pending["text"] and pending["eta"] is None
    verb(idle_daemon, queued, "pause", 200)
    assert idle_daemon.run(queued)["pending"]["code"] == "paused"
    verb(idle_daemon, queued, "cancel", 200)
    assert idle_daemon.run(queued)["pending"] is None
    wait_for_code(idle_daemon, after, "dependency_failed")
    assert idle_daemon.run(blocker)["pending"] is None
    verb(idle_daemon, blocker, "kill", 202)
    idle_daemon.wait_for_state(blocker, "canceled")
    bulk(idle_daemon, "cancel", [after, held["id"]])
