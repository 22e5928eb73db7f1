"""A short training run, and what must come out of it bit for bit whatever happened on the way."""
import hashlib
import os
import random

# 12 epochs of 12 steps: some seconds, a checkpoint every few steps, a monitor on the way.
SHORT_RUN = dict(crop=32, patch=8, model="custom", width=32, depth=2, heads=2, pred_width=16,
                 pred_depth=1, pred_heads=2, batch=8, epochs=12, warmup_epochs=1, min_keep=0,
                 sampler="unbiased", threads=1, loader_threads=1, checkpoint_every_s=0,
                 checkpoint_every_steps=7, keep_checkpoints=2, eval_every_epochs=4, eval_images=32,
                 labels="none")


def seed():
    """IJEPAD_SEED repeats a random test; without it every run has another seed, which is printed."""
    value = int(os.environ.get("IJEPAD_SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"IJEPAD_SEED={value}")
    return value


def file_hashes(checkpoint):
    """SHA-256 of every file of a checkpoint: weights, optimiser, state; and its name."""
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(checkpoint.iterdir())}
    assert set(files) == {"model.safetensors", "optimizer.safetensors", "state.json"}, files
    return {"name": checkpoint.name, **files}


def checkpoint_hashes(daemon, run_id):
    """Of the newest checkpoint."""
    folder = daemon.state / "runs" / run_id / "checkpoints"
    return file_hashes(sorted(p for p in folder.iterdir() if ".tmp" not in p.name)[-1])


def losses(daemon, run_id):
    """{step: loss} of the training stream; fails if a step is there twice or out of order."""
    answer = daemon.api("GET", f"/v1/metrics?runs={run_id}&keys=train/loss&agg=none")
    assert answer.status_code == 200, answer.text
    tables = answer.json()["tables"]
    assert len(tables) == 1, tables
    steps, values = tables[0]["step"], tables[0]["series"][0]["last"]
    assert steps == sorted(set(steps)), f"{run_id}: a step's metrics are double or out of order"
    return dict(zip(steps, values))


class Outcome:
    """What a finished run left behind, to compare with another's."""

    def __init__(self, daemon, run_id):
        row = daemon.run(run_id)
        assert row["state"] == "succeeded", row
        self.run_id, self.step = run_id, row["step"]
        self.hashes, self.losses = checkpoint_hashes(daemon, run_id), losses(daemon, run_id)

    def assert_equals(self, other):
        assert self.step == other.step
        assert self.losses == other.losses, "a step's metrics are missing, or not the same"
        different = {name for name in self.hashes if self.hashes[name] != other.hashes.get(name)}
        assert not different, f"{self.run_id} and {other.run_id} differ in {different}"
        assert list(self.losses) == list(range(1, self.step + 1)), "the steps have a gap"
