#!/usr/bin/python3
"""A worker that only counts: quick to start, with checkpoints to go on from, and bad on request.

It makes params.max_steps steps of 10 ms, tells each, saves when asked and at the end, and goes on
from its newest checkpoint. params.seed picks another part: see PARTS.
"""
import json
import os
import pathlib
import select
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from fake_worker import Link, forever  # noqa: E402

STEP_S = 0.01


def newest(folder):
    return max((int(p.name[5:]) for p in folder.glob("step-*")), default=0)


def save(link, folder, step):
    path = folder / f"step-{step:012d}"
    path.mkdir(parents=True, exist_ok=True)
    link.send("checkpoint", path=str(path), step=step, epoch=0.1, bytes=1, hash="0" * 64)


def count(link, spec):
    folder = pathlib.Path(spec["directory"]) / "checkpoints"
    step, steps = newest(folder), spec["params"]["max_steps"]
    link.send("stream", stream=0, name="train", keys=["loss"])
    while step < steps:
        step += 1
        link.send_bytes("metrics", struct.pack("<IIQqf", 0, 1, step, 0, spec["attempt"] + step / 1000))
        link.send("progress", phase="training", step=step, steps=steps, epoch=0.1, images_per_s=1.0,
                  eta_s=(steps - step) * STEP_S)
        while select.select([link.socket], [], [], STEP_S)[0]:
            kind, _ = link.receive()
            if kind in ("stop", "checkpoint_now"):
                save(link, folder, step)
            if kind == "stop":
                link.finish("stopped", "stopped as asked", 75)
    save(link, folder, step)
    link.finish()


def poison(link, spec):
    link.finish("internal", "something that cannot be", 70)


def hangs(link, spec):
    forever()


def hangs_once(link, spec):
    if spec["attempt"] == 1:
        forever()
    count(link, spec)


def out_of_memory(link, spec):
    link.finish("no_memory", "no memory for the activations", 71)


PARTS = {1001: poison, 1002: hangs, 1003: hangs_once, 1004: out_of_memory}


def main():
    link = Link()
    _, payload = link.receive()
    spec = json.loads(payload)
    link.send("hello", build="stepping", pid=os.getpid())
    PARTS.get(spec["params"]["seed"], count)(link, spec)


if __name__ == "__main__":
    main()
