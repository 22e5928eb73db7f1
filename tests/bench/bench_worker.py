#!/usr/bin/python3
"""The worker of bench_api.py: speaks the daemon's protocol and does one thing for ever, or fast.

The run's parameter `seed` chooses what, by its place in PARTS. Figures that only the worker can
measure go to <dataset>/figures.json.
"""
import json
import os
import pathlib
import select
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from fake_worker import HEADER, MAGIC, TYPES, Link  # noqa: E402

KEYS, STEPS, WINDOW, BARRIERS = 30, 200000, 1000, 300
METRICS = TYPES["metrics"]
HEAD = struct.Struct("<IIQq")


def declare(link, keys=KEYS):
    link.send("stream", stream=0, name="train", keys=[f"key{k:02d}" for k in range(keys)])


def acknowledged(link, wait):
    """The number of the last frame acknowledged by what is there, or None."""
    last = None
    while select.select([link.socket], [], [], 5 if wait and last is None else 0)[0]:
        kind, payload = link.receive()
        if kind == "ack":
            last = struct.unpack("<Q", payload)[0]
        if kind in ("stop", "abort"):
            link.finish("stopped", "stopped as asked", 75)
    return last


def send_steps(link, first, count, values):
    size = HEAD.size + len(values)
    acked = link.seq
    for step in range(first, first + count):
        while link.seq - acked >= WINDOW:
            acked = acknowledged(link, True) or acked
        link.seq += 1
        link.socket.send(HEADER.pack(MAGIC, 1, METRICS, size, 0, link.seq)
                         + HEAD.pack(0, len(values) // 4, step, step) + values)
    while acked < link.seq:
        acked = acknowledged(link, True) or acked


def time_commits(link, values):
    """Ten steps and a barrier, which asks for the commit at once: until it is acknowledged."""
    times = []
    for i in range(BARRIERS):
        for step in range(10):
            link.send_bytes("metrics", HEAD.pack(0, KEYS, STEPS + i * 10 + step, 0) + values)
        start = time.perf_counter()
        link.send("barrier", step=STEPS)
        while (acknowledged(link, True) or 0) < link.seq:
            pass
        times.append(time.perf_counter() - start)
        time.sleep(0.01)
    return times


def ingest(link, spec):
    """A run of 200,000 steps as fast as the daemon takes it."""
    values = struct.pack(f"<{KEYS}f", *[0.001 * k + 0.123456 for k in range(KEYS)])
    declare(link)
    while acknowledged(link, True) is None:
        pass
    start = time.perf_counter()
    send_steps(link, 0, STEPS, values)
    took_s = time.perf_counter() - start
    figures = {"points_per_s": STEPS * KEYS / took_s, "barriers_s": time_commits(link, values)}
    path = pathlib.Path(spec["params"]["dataset"]) / "figures.json"
    path.with_suffix(".part").write_text(json.dumps(figures))
    path.with_suffix(".part").rename(path)
    link.finish()


def beat(link, spec):
    """Five times a second one frame whose step is the time in microseconds."""
    declare(link, 8)
    values = struct.pack("<8f", *range(8))
    due = time.monotonic()
    while True:
        acknowledged(link, False)
        step = time.monotonic_ns() // 1000
        link.send_bytes("metrics", HEAD.pack(0, 8, step, 0) + values)
        due += 0.2
        time.sleep(max(0, due - time.monotonic()))


def flood_metrics(link, spec):
    declare(link)
    values = struct.pack(f"<{KEYS}f", *range(KEYS))
    step = 0
    while True:
        send_steps(link, step, 10000, values)
        step += 10000


def flood_log(link, spec):
    line = b"x" * 4095 + b"\n"
    link.progress(1)
    while True:
        os.write(1, line)


def spin(link, spec):
    link.progress(1)
    while True:
        pass


def hang(link, spec):
    link.progress(1)
    while True:
        time.sleep(3600)


def flood_warnings(link, spec):
    """Each warning is an event: a transaction of its own."""
    while True:
        link.send("warning", code="flood", text="again")
        acknowledged(link, False)


PARTS = [ingest, beat, flood_metrics, flood_log, spin, hang, flood_warnings]


def main():
    link = Link()
    kind, payload = link.receive()
    assert kind == "spec", kind
    spec = json.loads(payload)
    link.send("hello", build="bench", pid=os.getpid())
    PARTS[spec["params"]["seed"]](link, spec)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(75)
