#!/usr/bin/python3 -ES
"""A worker that speaks the wire protocol (daemon/wire.h) and misbehaves on request.

The daemon starts it like the real one (`run --fd 3`); the run's parameter `seed` chooses what it
does, by its place in BEHAVIOURS. It imports little, and no site packages, so it starts fast.
"""
import json
import os
import signal
import socket
import struct
import sys

TYPES = {name: i + 1 for i, name in enumerate(
    ["hello", "progress", "stream", "metrics", "barrier", "checkpoint", "result", "warning",
     "finished", "spec", "stop", "abort", "checkpoint_now", "ack", "rewind"])}
NAMES = {number: name for name, number in TYPES.items()}
HEADER = struct.Struct("<IHHIIQ")
MAGIC = 0x31574A49
# RankMe and k-NN top-1 of saves_and_measures.
MEASURED = [(10, 0.1), (90, 0.2), (20, 0.7), (30, 0.3), (40, 0.7), (50, 0.6), (60, 0.4), (70, 0.5)]


class Link:
    def __init__(self):
        self.socket = socket.socket(fileno=3)
        self.seq = 0

    def send_bytes(self, kind, payload):
        self.seq += 1
        self.socket.send(HEADER.pack(MAGIC, 1, TYPES[kind], len(payload), 0, self.seq) + payload)

    def send(self, kind, **fields):
        self.send_bytes(kind, json.dumps(fields).encode())

    def receive(self):
        """(type, payload) of the next frame; ends the program when the daemon is gone."""
        data = self.socket.recv(65536)
        if not data:
            sys.exit(75)
        kind = HEADER.unpack_from(data)[2]
        return NAMES[kind], data[HEADER.size:]

    def wait_for(self, kind):
        while self.receive()[0] != kind:
            pass

    def wait_for_ack(self):
        """Until everything sent is acknowledged."""
        while True:
            kind, payload = self.receive()
            if kind == "ack" and struct.unpack("<Q", payload)[0] >= self.seq:
                return

    def progress(self, step, steps=10):
        self.send("progress", phase="training", step=step, steps=steps, epoch=0.5,
                  images_per_s=1.0, eta_s=1.0)

    def finish(self, status="ok", text="", code=0):
        self.send("finished", status=status, field="", text=text)
        sys.exit(code)


def forever():
    while True:
        signal.pause()


def good(link, spec):
    link.progress(10)
    link.finish()


def hang(link, spec):
    link.progress(1)
    forever()


def mute(link, spec):
    """Never reached: main() does not even say hello for it."""


def garbage(link, spec):
    link.socket.send(b"this is not a frame, though it is long enough for one")
    forever()


def refuses(link, spec):
    link.finish("invalid", "min_keep: nothing would be left", 78)


def crash(link, spec):
    os.kill(os.getpid(), signal.SIGSEGV)


def lies_about_success(link, spec):
    sys.exit(0)


def floods(link, spec):
    for _ in range(160):
        sys.stdout.write("x" * 65535 + "\n")
    sys.stdout.flush()
    link.send("stream", stream=0, name="train", keys=["loss"])
    for step in range(1, 5001):
        link.send_bytes("metrics", struct.pack("<IIQqf", 0, 1, step, 0, 1.0 / step))
    link.progress(10)
    link.finish()


def leaves_children(link, spec):
    """Grandchildren in the worker's own group that would outlive it by ten minutes."""
    for _ in range(20):
        os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)
    link.progress(10)
    link.finish()


def leaves_daemons(link, spec):
    """200 grandchildren, each in a session of its own and without a parent: no signal to the worker's group reaches them."""
    worker = os.getpid()
    for _ in range(200):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv("/bin/sleep", ["sleep", f"600.{worker}"])
            os._exit(0)
        os.wait()
    link.progress(10)
    link.finish()


def hogs(link, spec):
    """Takes memory until it is stopped."""
    link.progress(1)
    hoard = []
    while True:
        hoard.append(bytearray(1 << 20))


def ignores_stop(link, spec):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    link.progress(1)
    forever()


def stops_when_asked(link, spec):
    link.progress(3)
    link.wait_for("stop")
    link.finish("stopped", "stopped as asked", 75)


def foreign_checkpoint(link, spec):
    link.send("checkpoint", path="/etc", step=1, epoch=0.1, bytes=1, hash="0" * 64)
    forever()


def undeclared_stream(link, spec):
    link.send_bytes("metrics", struct.pack("<IIQqf", 5, 1, 1, 0, 0.5))
    forever()


def bug(link, spec):
    link.finish("internal", "something that cannot be", 70)


def freezes(link, spec):
    link.progress(1)
    os.kill(os.getpid(), signal.SIGSTOP)


def skips_a_frame(link, spec):
    link.seq += 1
    link.progress(1)
    forever()


def write_checkpoint(folder, step):
    """As little as passes for a whole one (docs/formats.md)."""
    import hashlib
    files = {}
    for name in ("model.safetensors", "optimizer.safetensors"):
        data = f"{name} of {step}".encode()
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    body = json.dumps({"step": step, "epochs_done": step, "files": files}, indent=2)[:-2]
    with open(folder + "/state.json", "w") as file:
        file.write(f'{body},\n  "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n')


def fails_after_progress(link, spec):
    """A newer checkpoint in each attempt, then a crash."""
    folder = os.path.join(spec["directory"], "checkpoints", f"step-{spec['attempt']:012d}")
    os.makedirs(folder)
    write_checkpoint(folder, spec["attempt"])
    link.progress(spec["attempt"])
    link.send("checkpoint", path=folder, step=spec["attempt"], epoch=0.1, bytes=1, hash="0" * 64)
    os.kill(os.getpid(), signal.SIGKILL)


def saves_and_measures(link, spec):
    """Eight checkpoints of one epoch each, with k-NN and RankMe measured before each; keeps the newest
    `keep_checkpoints` as the engine does, and what has a file ".pinned" beside it."""
    import shutil
    link.send("stream", stream=0, name="ssl", keys=["ssl/rankme", "probe/knn_top1"])
    folders, keep = {}, spec["params"]["keep_checkpoints"]
    for step, (rankme, knn) in enumerate(MEASURED, 1):
        link.progress(step, len(MEASURED))
        link.send_bytes("metrics", struct.pack("<IIQqff", 0, 2, step, 0, rankme, knn))
        folder = os.path.join(spec["directory"], "checkpoints", f"step-{step:012d}")
        os.makedirs(folder)
        write_checkpoint(folder, step)
        link.send("checkpoint", path=folder, step=step, epoch=step, bytes=1000, hash="0" * 64)
        link.wait_for_ack()
        folders[step] = folder
        for old in sorted(folders)[:-keep]:
            if not os.path.exists(folders[old] + ".pinned"):
                shutil.rmtree(folders.pop(old))
    if spec["params"]["batch"] == 5:
        link.wait_for("stop")
        link.finish("stopped", "stopped as asked", 75)
    link.finish()


def prints(link, count):
    block = (b"x" * 8191 + b"\n") * 128
    link.progress(1)
    for _ in range(count):
        sys.stdout.buffer.write(block)
    sys.stdout.flush()
    link.finish()


def prints_64_megabytes(link, spec):
    prints(link, 64)


def prints_a_gigabyte(link, spec):
    prints(link, 1024)


def goes_back(link, spec):
    """Its loss breaks at step 8 of the first attempt; the second goes on from step 6."""
    first = spec["attempt"] == 1
    link.send("stream", stream=0, name="train", keys=["loss"])
    for step in range(1, 8) if first else range(7, 11):
        link.send_bytes("metrics", struct.pack("<IIQqf", 0, 1, step, 0, step + (0 if first else 100)))
        link.progress(step)
    if first:
        link.send("rewind", why="nonfinite", failed_step=8, back_to=6, skip_first=6, skip_count=4, number=1, max=2)
        link.finish("nonfinite", "the loss is not finite at step 8", 76)
    link.finish()


def goes_back_for_ever(link, spec):
    link.send("rewind", why="spike", failed_step=8, back_to=6, skip_first=6, skip_count=4, number=1, max=2)
    link.finish("nonfinite", "the loss jumped", 76)


def goes_back_to_nowhere(link, spec):
    link.send("rewind", why="nonfinite", failed_step=8, back_to=-1, skip_first=6, skip_count=4, number=1, max=2)
    forever()


BEHAVIOURS = [good, hang, mute, garbage, refuses, crash, lies_about_success, floods,
              leaves_children, ignores_stop, stops_when_asked, foreign_checkpoint,
              undeclared_stream, bug, freezes, skips_a_frame, fails_after_progress,
              saves_and_measures, prints_64_megabytes, prints_a_gigabyte,
              leaves_daemons, hogs, goes_back, goes_back_for_ever, goes_back_to_nowhere]


def main():
    link = Link()
    # The spec is in the socket before the program starts, so even a mute worker knows its part.
    kind, payload = link.receive()
    assert kind == "spec", kind
    spec = json.loads(payload)
    behaviour = BEHAVIOURS[spec["params"]["seed"]]
    if behaviour is mute:
        forever()
    link.send("hello", build="fake", pid=os.getpid())
    behaviour(link, spec)


if __name__ == "__main__":
    main()
