#!/usr/bin/python3
"""Its first life reports ten steps and is killed; the second goes on after the sixth, reports one step
and waits."""
import json
import os
import signal
import struct

from fake_worker import Link, forever


def main():
    link = Link()
    _, payload = link.receive()
    first = json.loads(payload)["attempt"] == 1
    link.send("hello", build="fake", pid=os.getpid())
    link.send("stream", stream=0, name="train", keys=["loss"])
    for step in range(1, 11) if first else (7,):
        link.send_bytes("metrics", struct.pack("<IIQqf", 0, 1, step, step, step * (0.5 if first else 2)))
    acknowledged, target = 0, link.seq
    while acknowledged < target:
        kind, payload = link.receive()
        if kind == "ack":
            acknowledged = struct.unpack("<Q", payload)[0]
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    forever()


if __name__ == "__main__":
    main()
