"""Kill -9 of daemon or worker at random moments: the run ends by itself, bit for bit as if nothing
had happened."""
import hashlib
import os
import random
import signal
import time

import pytest

from harness import Daemon, wait_until

KILLS = int(os.environ.get("IJEPAD_KILLS", "20"))
SEED = int(os.environ.get("IJEPAD_SEED", str(random.SystemRandom().randrange(1 << 30))))

# A run of a few seconds with a checkpoint at every few steps and a monitor on the way.
PARAMS = dict(crop=32, patch=8, model="custom", width=32, depth=2, heads=2, pred_width=16,
              pred_depth=1, pred_heads=2, batch=8, epochs=12, warmup_epochs=1, min_keep=0,
              sampler="unbiased", threads=1, loader_threads=1, checkpoint_every_s=0,
              checkpoint_every_steps=7, keep_checkpoints=2, eval_every_epochs=4, eval_images=32,
              labels="none")


def checkpoint_hashes(daemon, run_id):
    folder = daemon.state / "runs" / run_id / "checkpoints"
    last = sorted(p for p in folder.iterdir() if ".tmp" not in p.name)[-1]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(last.iterdir())}


def metric_steps(daemon, run_id):
    answer = daemon.api("GET", f"/v1/metrics?runs={run_id}&keys=loss&agg=none")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path, retry_failures_max=1000, retry_stuck_max=1000, retry_base_ms=1, retry_cap_ms=20)
    d.start()
    yield d
    d.stop()


def test_killed_runs_end_bitwise_equal(daemon, scenes, capsys):
    """IJEPAD_SEED repeats the moments; IJEPAD_KILLS changes how many there are (20)."""
    rng = random.Random(SEED)
    print(f"seed {SEED}")
    reference = daemon.submit("pretrain", dataset=str(scenes), **PARAMS)
    whole = daemon.wait_for_state(reference, "succeeded")
    duration_s = 2.0

    victim = daemon.submit("pretrain", dataset=str(scenes), **PARAMS)
    kills = 0
    while kills < KILLS:
        wait_until("an attempt runs", lambda: daemon.run(victim)["state"] in
                   ("running", "starting", "succeeded"))
        if daemon.run(victim)["state"] == "succeeded":
            victim = daemon.submit("pretrain", dataset=str(scenes), **PARAMS)
            continue
        time.sleep(rng.uniform(0, duration_s))  # the random moment; nothing is assumed of it
        if rng.random() < 0.5:
            daemon.kill()
            daemon.start()
        else:
            for pid in daemon.worker_pids():
                os.kill(pid, signal.SIGKILL)
        kills += 1
        if daemon.run(victim)["state"] == "succeeded":
            assert checkpoint_hashes(daemon, victim) == checkpoint_hashes(daemon, reference), SEED
    done = daemon.wait_for_state(victim, "succeeded", deadline_s=180)
    assert done["step"] == whole["step"]
    assert checkpoint_hashes(daemon, victim) == checkpoint_hashes(daemon, reference), SEED
    first, second = metric_steps(daemon, reference), metric_steps(daemon, victim)
    assert first["runs"][0]["x"] == second["runs"][0]["x"], "a step's metrics are missing or double"
