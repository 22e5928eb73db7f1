#!/usr/bin/python3
"""How fast a slot is free again, as JSON lines; part of `make bench`.

    tests/bench/bench_slots.py

A real daemon with the real worker in the midst of training. Each figure is from the answer to the
request until the device is "free" in GET /v1/gpus, polled every 5 ms:

  kill     the worker is killed
  cancel   it saves a checkpoint first; pause does the same
  preempt  from the submission of a run of higher priority until that run holds the slot
"""
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from bench_client import median, ms, percentile, report  # noqa: E402
from harness import BUILD, Daemon, wait_until  # noqa: E402
from outcome import SHORT_RUN  # noqa: E402

ROUNDS = 20


class Bench(Daemon):
    def __init__(self, folder):
        super().__init__(folder, slots=1, preempt_min_runtime_s=0, preempt_max=1000, disk_floor_bytes=0)
        self.images = folder / "images"
        subprocess.run([BUILD / "ijepad-worker", "scenes", self.images, "--count", "96", "--size", "48"], check=True,
                       capture_output=True)

    def train(self, **extra):
        params = {**SHORT_RUN, "dataset": str(self.images), "epochs": 10000, "eval_every_epochs": 0,
                  "checkpoint_every_steps": 0}
        answer = self.api("POST", "/v1/runs", json={"kind": "pretrain", "params": params, **extra})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def training(self, run):
        wait_until(f"{run} trains", lambda: (r := self.run(run))["state"] == "running" and r["phase"] == "training")

    def holder(self):
        row = self.api("GET", "/v1/gpus/host-0").json()
        return row["run"] if row["state"] == "held" else None


def summary(what, times):
    report(what, rounds=len(times), p50_ms=ms(median(times)), p95_ms=ms(percentile(times, 0.95)), worst_ms=ms(max(times)),
           command="make bench_slots")


def after_verb(daemon, verb):
    times = []
    for _ in range(ROUNDS):
        run = daemon.train()
        daemon.training(run)
        answer = daemon.api("POST", f"/v1/runs/{run}/{verb}")
        accepted = time.perf_counter()
        assert answer.status_code == 202, answer.text
        wait_until("the slot is free", lambda: not daemon.holder(), every_s=0.005)
        times.append(time.perf_counter() - accepted)
        if verb == "pause":
            daemon.api("POST", f"/v1/runs/{run}/cancel")
    summary(f"slot_free_after_{verb}", times)


def preempt(daemon):
    times = []
    soft = daemon.train(preemptible=True)
    for _ in range(ROUNDS):
        daemon.training(soft)
        urgent = daemon.train(priority=5)
        accepted = time.perf_counter()
        wait_until("the slot is taken", lambda: daemon.holder() == urgent, every_s=0.005)
        times.append(time.perf_counter() - accepted)
        daemon.api("POST", f"/v1/runs/{urgent}/kill")
        wait_until("it is left", lambda: daemon.holder() != urgent, every_s=0.005)
    daemon.api("POST", f"/v1/runs/{soft}/kill")
    summary("slot_taken_by_preemption", times)


def main():
    with tempfile.TemporaryDirectory(prefix="ijepad-bench-") as folder:
        daemon = Bench(pathlib.Path(folder))
        daemon.start()
        try:
            for verb in ("kill", "cancel", "pause"):
                after_verb(daemon, verb)
            preempt(daemon)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
