"""The daemon's side of the wire in Python: starts the real ijepad-worker and decides, frame by
frame, what it is told and when it dies."""
import json
import signal
import socket
import struct
import subprocess

from fake_worker import HEADER, MAGIC, NAMES, TYPES
from harness import BUILD

SEND_BUFFER = 1  # the kernel's minimum: the worker is never more than a few frames ahead


class WireHost:
    def __init__(self, directory, params, program=None, resume=""):
        directory.mkdir(exist_ok=True)
        self.log = open(directory / "log", "ab")
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.seq, self.seen = 0, 0
        self.warnings, self.checkpoints = [], []
        fd = theirs.fileno()
        command = [*(program or []), BUILD / "ijepad-worker", "run", "--fd", str(fd)]
        self.process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        theirs.close()
        self.send("spec", json.dumps({"kind": "pretrain", "params": params, "run": 1, "attempt": 1,
                                      "directory": str(directory), "resume": resume}).encode())

    def send(self, kind, payload=b""):
        self.seq += 1
        try:
            self.socket.send(HEADER.pack(MAGIC, 1, TYPES[kind], len(payload), 0, self.seq) + payload)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def frames(self):
        """(type, fields) of each frame until the worker ends; metrics as {"step": n}."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not data:
                return
            kind, payload = NAMES[HEADER.unpack_from(data)[2]], data[HEADER.size:]
            self.seen += 1
            if kind == "metrics":
                stream, count, step, _ = struct.unpack_from("<IIQq", payload)
                values = struct.unpack_from(f"<{count}f", payload, 24)
                yield kind, {"stream": stream, "step": step, "values": values}
            else:
                yield kind, json.loads(payload)
            self.send("ack", struct.pack("<Q", self.seen))

    def run(self, at_step=None, do=None):
        """Serves the worker to its end; when the metrics of training step `at_step` arrive, calls
        do(self). Returns the exit code and the steps whose metrics arrived."""
        steps, streams = [], {}
        for kind, fields in self.frames():
            if kind == "warning":
                self.warnings.append(fields["code"])
            if kind == "checkpoint":
                self.checkpoints.append(fields)
            if kind == "stream":
                streams[fields["stream"]] = fields["name"]
            if kind == "metrics" and streams[fields["stream"]] == "train":
                steps.append((fields["step"], fields["values"][0]))
                if fields["step"] == at_step:
                    do(self)
        code = self.process.wait(60)
        self.socket.close()
        self.log.close()
        return code, steps

    def stop(self):
        self.send("stop")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
