"""Each system call of the daemon that touches files kills it, or fails: what it has answered holds,
what it has not answered can be asked again, nothing is done twice, and the run ends with the same
bits."""
import contextlib
import random
import sqlite3
import time

import pytest
import requests

from harness import Daemon
from injection import count_calls, counting, failing, need_strace, shim, short_writes
from outcome import SHORT_RUN, Outcome, seed

# Calls that the daemon's store makes and its worker does not: strace follows both.
CALLS = ("pwrite64", "fdatasync", "ftruncate", "unlink")
SAMPLE = 6
PARAMS = {**SHORT_RUN, "epochs": 2, "eval_every_epochs": 0}
QUICK = dict(retry_base_ms=1, retry_cap_ms=20, retry_stuck_max=100, retry_failures_max=100)


class Client:
    """Three runs are submitted, one of them changed and canceled, one trained to its end. Every answer
    is kept; what was not answered is asked again with the same key after the next start."""

    def __init__(self, daemon, scenes):
        self.daemon, self.answers = daemon, {}
        self.params = {**PARAMS, "dataset": str(scenes)}

    def ask(self, name, method, path, body=None):
        """Once per name; raises requests.ConnectionError when the daemon goes down on the way."""
        if name not in self.answers:
            answer = self.daemon.api(method, path, json=body, headers={"Idempotency-Key": name})
            if answer.status_code >= 500:
                raise requests.ConnectionError(answer.text)
            assert answer.status_code < 300, (name, answer.text)
            self.answers[name] = answer.json()
        return self.answers[name]

    def submit(self, name, hold):
        return self.ask(name, "POST", "/v1/runs", {"kind": "pretrain", "name": name, "hold": hold,
                                                   "params": self.params})["id"]

    def work(self, deadline_s=180):
        """TimeoutError: the run has not ended by then, as on a disk that stays full."""
        held = self.submit("held", True)
        self.ask("priority", "PATCH", f"/v1/runs/{held}", {"priority": 7})
        trained = self.submit("trained", False)
        doomed = self.submit("doomed", True)
        self.ask("cancel", "POST", f"/v1/runs/{doomed}/cancel")
        end = time.monotonic() + deadline_s
        while self.daemon.run(trained)["state"] != "succeeded":
            if time.monotonic() > end:
                raise TimeoutError(self.daemon.run(trained))
            time.sleep(0.02)

    def check(self, reference):
        rows = {row["name"]: row for row in self.daemon.api("GET", "/v1/runs").json()["items"]}
        assert sorted(rows) == ["doomed", "held", "trained"], "a run is missing"
        assert len(self.daemon.api("GET", "/v1/runs").json()["items"]) == 3, "a run was submitted twice"
        assert {name: rows[name]["id"] for name in rows} == {name: self.answers[name]["id"] for name in rows}
        assert rows["held"]["priority"] == 7 and rows["held"]["state"] == "held"
        assert rows["doomed"]["state"] == "canceled"
        outcome = Outcome(self.daemon, rows["trained"]["id"])
        if reference:
            outcome.assert_equals(reference)
        return outcome


def integrity(daemon):
    for name in ("state.db", "metrics.db"):
        with contextlib.closing(sqlite3.connect(daemon.state / name)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], name


@pytest.fixture(scope="module")
def reference(scenes, tmp_path_factory):
    """The outcome without faults, and the daemon's calls on the way."""
    folder = tmp_path_factory.mktemp("reference")
    need_strace(folder)
    daemon = Daemon(folder, **QUICK)
    daemon.start(under=counting(folder / "calls", detached=True))
    client = Client(daemon, scenes)
    client.work()
    outcome = client.check(None)
    daemon.stop()
    calls = {call: n for call, n in count_calls(folder / "calls").items() if call in CALLS}
    assert calls["pwrite64"] > 50 and calls.get("fdatasync", 0) + calls.get("fsync", 0) > 10, calls
    print(f"calls of the daemon: {calls}")
    return outcome, calls


def points(calls, thorough, each=40):
    """All of the rare calls; of the frequent ones `each`, evenly spread."""
    every = [(call, n) for call in sorted(calls) for n in range(1, calls[call] + 1, max(1, calls[call] // each))]
    return every if thorough else random.Random(seed()).sample(every, SAMPLE)


def suffer(folder, scenes, under, longest_s=120):
    """Works under injection until the daemon is gone (or all is done, or the time is over). Returns the
    client, and the exit code or None."""
    folder.mkdir()
    daemon = Daemon(folder, **QUICK)
    client, done = Client(daemon, scenes), False
    try:
        daemon.start(under=under)
    except (AssertionError, FileNotFoundError):  # it went down before it was ready
        done = True
    end = time.monotonic() + longest_s
    while not done and daemon.process.poll() is None and time.monotonic() < end:
        try:
            client.work(longest_s)
            done = True
        except (requests.ConnectionError, FileNotFoundError, TimeoutError):
            time.sleep(0.1)  # an answer of 5xx is asked again, a daemon that is gone is seen above
        except BaseException:
            daemon.kill()
            raise
    code = daemon.process.poll()
    if time.monotonic() >= end:
        daemon.kill()
    daemon.stop()
    return client, code


def recover(client, reference):
    """One ordinary start brings everything back."""
    client.daemon.session.close()
    begin = time.monotonic()
    client.daemon.start()
    ready_s = time.monotonic() - begin
    client.work()
    client.check(reference)
    client.daemon.stop()
    integrity(client.daemon)
    return ready_s


def test_killed_at_each_call(reference, scenes, tmp_path, thorough):
    outcome, calls = reference
    killed, slowest = 0, 0
    for call, n in points(calls, thorough):
        client, code = suffer(tmp_path / f"{call}-{n}", scenes,
                              failing(call, "signal=SIGKILL", n, detached=True))
        killed += code == -9
        slowest = max(slowest, recover(client, outcome))
    print(f"killed at {killed} calls, ready again after at most {slowest:.2f} s")
    assert killed > 0


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_calls(reference, scenes, tmp_path, thorough, error):
    """The disk fails once. An ordinary start afterwards finds nothing lost and nothing double."""
    outcome, calls = reference
    ended = 0
    for call, n in points({c: calls[c] for c in calls if c in ("pwrite64", "fdatasync")}, thorough, 20):
        client, code = suffer(tmp_path / f"{call}-{n}", scenes,
                              failing(call, f"error={error}", n, detached=True))
        assert code in (None, 74), (call, n, error, code, client.daemon.log()[-800:])
        ended += code == 74
        recover(client, outcome)
    print(f"{error}: the daemon ended with code 74 {ended} times")


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_for_good(reference, scenes, tmp_path, thorough, error):
    """From the nth call on the disk fails always: nothing false is answered meanwhile, and once it works again nothing is
    lost. A full disk is waited for; a broken one ends the daemon."""
    outcome, calls = reference
    every = points({c: calls[c] for c in calls if c in ("pwrite64", "fdatasync")}, thorough, 10)
    for call, n in every if thorough else every[:2]:
        client, code = suffer(tmp_path / f"{call}-{n}", scenes, failing(call, f"error={error}", f"{n}+", detached=True), 4)
        assert code in (None, 74), (call, n, error, code, client.daemon.log()[-800:])
        recover(client, outcome)


def test_short_writes(reference, scenes, tmp_path, thorough):
    """One write that takes half of what it was given, or every one: the rest is written after it."""
    outcome, _ = reference
    library = shim("short_shim", tmp_path)
    places = [str(n) for n in range(1, 120)] + ["1+", "40+"]
    for n in places if thorough else random.Random(seed()).sample(places[:-2], 2) + places[-2:-1]:
        client, code = suffer(tmp_path / f"short-{n}", scenes, short_writes(library, n))
        assert code is None, (n, client.daemon.log()[-800:])
        recover(client, outcome)
