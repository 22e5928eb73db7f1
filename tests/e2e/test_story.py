"""A day at the lab in a minute: thirty runs of every sort, and everything that happens to a server.

Workers are killed, the daemon is, a run is paused and resumed, the queue is rearranged, a device is
taken out of use and comes back. Nobody helps; in the end every run is where it belongs, and its
history explains how it came there. IJEPAD_SEED repeats the draws.
"""
import collections
import os
import pathlib
import random
import signal
import time

import pytest
from harness import ENDED, Daemon, wait_until
from outcome import SHORT_RUN, seed

WORKER = pathlib.Path(__file__).resolve().parent / "story_worker.py"
DEADLINE_S = 240  # on a busy machine; an idle one needs a quarter of it
KILLS = 6
POISON, HANGS, HANGS_ONCE, NO_MEMORY = 1001, 1002, 1003, 1004

# What may follow on what (daemon/run_machine.h); "" is before the submission.
ARROWS = {
    "": {"queued", "held"}, "held": {"queued"}, "queued": {"starting", "paused"},
    "starting": {"running", "pausing", "backoff", "queued", "quarantined", "failed"},
    "running": {"pausing", "backoff", "queued", "quarantined", "failed", "succeeded"},
    "pausing": {"paused", "queued", "backoff", "succeeded"}, "paused": {"queued"}, "backoff": {"queued"},
}


class Story:
    def __init__(self, daemon, scenes, rng):
        self.daemon, self.scenes, self.rng = daemon, scenes, rng
        self.expected, self.after, self.unkillable = {}, {}, set()
        self.killed = collections.Counter()
        self.notes = []

    def note(self, text):
        self.notes.append(f"{time.monotonic() - self.begin:6.2f} s  {text}")

    # ---- Submissions ----

    def submit(self, kind, params, expect="succeeded", after=(), **extra):
        body = {"kind": kind, "params": {"dataset": str(self.scenes), **params}, "after": list(after), **extra}
        answer = self.daemon.api("POST", "/v1/runs", json=body)
        assert answer.status_code == 201, answer.text
        run = answer.json()["id"]
        self.expected[run] = expect
        self.after[run] = [a if isinstance(a, str) else a["run"] for a in after]
        return run

    def pretrain(self, **extra):
        return self.submit("pretrain", {**SHORT_RUN, "epochs": 3, "seed": self.rng.randrange(500)}, **extra)

    def probe(self, of, kind):
        extra = {"probe_epochs": 2} if kind == "linear_probe" else {}
        run = self.submit(kind, {"checkpoint": of, "crop": 32, "labels": "shape", "threads": 1, **extra})
        self.after[run] = [of]

    def count(self, seed=500, steps=None, **extra):
        steps = steps or self.rng.randrange(10, 80)
        return self.submit("pretrain", {"batch": 4, "labels": "none", "max_steps": steps, "seed": seed}, **extra)

    def submit_all(self):
        """Thirty: six pretrainings and two evaluations of two of them each, four of a sweep, the rest counts."""
        trained = [self.pretrain() for _ in range(6)]
        for run in trained[:2]:
            self.probe(run, "knn")
            self.probe(run, "linear_probe")
        poison = self.count(POISON, expect="quarantined")
        self.unkillable |= {poison, self.count(HANGS, expect="quarantined"), self.count(HANGS_ONCE),
                            self.count(NO_MEMORY, expect="failed")}
        self.count(after=[{"run": poison, "on": "any"}])
        first = self.count()
        second = self.count(after=[first])
        self.count(after=[second, {"run": trained[0], "on": "ok"}])
        for priority in (3, -2, 0):
            self.count(priority=priority)
        for _ in range(3):
            self.count(preemptible=True, priority=-1, steps=150)
        self.count(gpus=2)
        sweep = {"kind": "pretrain", "name": "lr", "max_parallel": 1, "grid": {"lr": [1e-4, 2e-4, 3e-4, 4e-4]},
                 "params": {"dataset": str(self.scenes), "batch": 4, "labels": "none", "max_steps": 20, "seed": 500}}
        answer = self.daemon.api("POST", "/v1/sweeps", json=sweep)
        assert answer.status_code == 201, answer.text
        self.sweep = [run["id"] for run in self.daemon.api("GET", "/v1/runs?state=live&limit=100").json()["items"]
                      if run["sweep"]]
        self.expected |= dict.fromkeys(self.sweep, "succeeded")
        assert len(self.expected) == 29 and len(self.sweep) == 4, "the thirtieth comes in a hurry"

    # ---- Events ----

    def live(self, *states):
        return [run for run in self.daemon.api("GET", "/v1/runs?state=live&limit=100").json()["items"]
                if not states or run["state"] in states]

    def kill_worker(self):
        """A random worker that was not killed twice; a third time without a checkpoint would be one too many."""
        running = [r["id"] for r in self.live("running")
                   if r["id"] not in self.unkillable and self.killed[r["id"]] < 2]
        if not running:
            return False
        run = self.rng.choice(running)
        attempt = self.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"][0]
        if attempt["ended"] or not attempt["pid"] or attempt["pid"] not in self.daemon.worker_pids():
            return False
        try:
            os.kill(attempt["pid"], signal.SIGKILL)
        except ProcessLookupError:  # it has ended by itself since
            return False
        self.killed[run] += 1
        self.note(f"killed the worker of {run}")
        return True

    def kill_daemon(self):
        self.daemon.kill()
        self.note("killed the daemon")
        self.daemon.start()
        return True

    def pause_and_resume(self):
        running = [r["id"] for r in self.live("running") if r["id"] not in self.unkillable]
        if not running:
            return False
        run = self.rng.choice(running)
        self.daemon.api("POST", f"/v1/runs/{run}/pause")
        state = self.daemon.wait_for_state(run, "paused", "succeeded")["state"]
        self.note(f"paused {run}: {state}")
        return state == "paused" and self.daemon.api("POST", f"/v1/runs/{run}/resume").status_code == 200

    def rearrange(self):
        waiting = [r["id"] for r in self.live("queued")]
        if len(waiting) < 2:
            return False
        run = waiting[0]
        self.note(f"moved {run} to the top")
        return self.daemon.api("POST", "/v1/queue/move", json={"run": run, "top": True}).status_code == 200

    def hurry(self):
        """A run of high priority: somebody has to give way if both slots hold preemptible ones."""
        run = self.count(priority=9, steps=10)
        self.note(f"submitted {run} in a hurry")
        return True

    def cordon(self):
        answer = self.daemon.api("POST", "/v1/gpus/host-1/cordon", json={"reason": "new fan", "evict": True})
        assert answer.status_code == 200, answer.text
        self.cordoned = [time.time()]
        self.note("cordoned host-1")
        return True

    def uncordon(self):
        self.cordoned.append(time.time())
        assert self.daemon.api("POST", "/v1/gpus/host-1/uncordon").status_code == 200
        self.note("uncordoned host-1")
        return True

    def live_through(self):
        events = [self.kill_worker] * KILLS + [self.kill_daemon, self.pause_and_resume, self.rearrange, self.hurry,
                                               self.cordon]
        self.rng.shuffle(events)
        at = self.rng.randrange(events.index(self.cordon) + 1, len(events) + 1)
        events.insert(at, self.uncordon)
        for event in events:
            time.sleep(self.rng.uniform(0, 1))  # the random moment; nothing is assumed of it
            wait_until(f"{event.__name__} finds somebody", event, every_s=0.1)

    # ---- What must be true in the end ----

    def check(self):
        rows = {run: self.daemon.run(run) for run in self.expected}
        for run, expect in self.expected.items():
            assert rows[run]["state"] == expect, rows[run]
            self.check_history(run, rows[run])
        assert {r["reason"] for run, r in rows.items() if self.expected[run] == "quarantined"} == {"no_progress"}
        failed, = [r for run, r in rows.items() if self.expected[run] == "failed"]
        assert (failed["reason"], failed["attempts"]) == ("no_memory", 1), "no memory is not tried again"
        for run, others in self.after.items():
            assert all(rows[run]["started"] >= rows[other]["finished"] for other in others), f"{run} came too early"
        self.check_devices()

    def check_history(self, run, row):
        events = [e for e in self.daemon.api("GET", f"/v1/runs/{run}/events?limit=1000").json()["items"]
                  if e["type"] == "run.state"]
        state = ""
        for event in events:
            data = event["data"]
            assert data.get("from", "") == state, (run, events)
            assert data["state"] in ARROWS[state], (run, state, data["state"])
            state = data["state"]
            if state in ("backoff", "paused", "pausing", "failed", "quarantined"):
                assert data["reason"] and data["reason_text"], (run, data)
        assert state == row["state"], (run, state)
        attempts = self.attempts(run)
        starts = sum(event["data"]["state"] == "starting" for event in events)
        assert row["attempts"] == len(attempts) == starts, (run, attempts)
        assert all(a["ended"] and a["cause"] for a in attempts), (run, attempts)
        assert attempts[-1]["cause"] != "done" or state == "succeeded"
        gone = sum(a["cause"] in ("killed", "daemon_restart", "stopped", "preempted", "evicted", "done", "forced")
                   for a in attempts)
        assert gone >= self.killed[run], (run, attempts)

    def attempts(self, run):
        return sorted(self.daemon.api("GET", f"/v1/runs/{run}/attempts").json()["items"], key=lambda a: a["n"])

    def check_devices(self):
        """No device was held twice at a time, and none while it was cordoned."""
        spans = collections.defaultdict(list)
        for run in self.expected:
            for attempt in self.attempts(run):
                for gpu in attempt["gpus"]:
                    spans[gpu].append((attempt["started"], attempt["ended"], run))
        assert set(spans) == {"host-0", "host-1"}
        for gpu, one in spans.items():
            one.sort()
            for (_, ended, run), (started, _, other) in zip(one, one[1:]):
                assert ended <= started, f"{gpu}: {other} began before {run} had ended"
        stamp = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t % 1 * 1000):03d}Z" for t in self.cordoned]
        during = [run for started, _, run in spans["host-1"] if stamp[0] < started < stamp[1]]
        assert not during, f"started on a cordoned device: {during}"


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path, worker=WORKER, slots=2, threads=1, hang_timeout_s=5, start_timeout_s=30, pause_grace_s=30,
                    retry_base_ms=50, retry_cap_ms=200, retry_stuck_max=4, preempt_min_runtime_s=0)
    yield daemon.start()
    daemon.stop()


def test_thirty_runs_and_a_day_of_trouble(daemon, scenes):
    story = Story(daemon, scenes, random.Random(seed()))
    story.begin = time.monotonic()
    try:
        story.submit_all()
        story.live_through()
        wait_until("everything has ended", lambda: not story.live(), DEADLINE_S, every_s=0.2)
        story.note("everything has ended")
        story.check()
    finally:
        print("\n".join(story.notes))
        print("\n".join(f"{r['id']} {r['kind']} {r['state']} {r['reason']} {r['attempts']} attempts"
                        for r in daemon.api("GET", "/v1/runs?limit=100").json()["items"] if r["state"] not in ENDED))
