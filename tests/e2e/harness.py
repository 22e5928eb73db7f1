"""A real daemon in a folder of its own, for the end-to-end tests.

    daemon = Daemon(tmp_path); daemon.start(); daemon.api("GET", "/v1/runs"); daemon.stop()

Waiting is always for something that can be seen (a port that answers, a run's state), with a
deadline; nothing sleeps and hopes.
"""
import atexit
import os
import pathlib
import signal
import socket
import subprocess
import time

import requests

BUILD = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve()
DEADLINE_S = float(os.environ.get("IJEPAD_WAIT_S", 120))  # of a wait that is given none: generous, as other work may share the machine
ENDED = ("succeeded", "failed", "canceled", "quarantined")


def sanitized(program="ijepad"):
    """Was it built with a sanitizer, which takes memory, time and system calls of its own?"""
    text = (BUILD / program).read_bytes()
    return b"__asan_init" in text or b"__tsan_init" in text


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def idle_worker(folder):
    """A program in `folder` that never reports: what it is started for stays "starting"."""
    worker = folder / "worker"
    worker.write_text("#!/bin/sh\nexec sleep 600\n")
    worker.chmod(0o755)
    return worker


def wait_until(what, condition, deadline_s=DEADLINE_S, every_s=0.02):
    """Returns the first truthy value of condition(); fails after deadline_s naming `what`."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(every_s)


class Daemon:
    IDLE_S = 5  # a connection is not used again after more: the daemon closes it after ten seconds

    def __init__(self, folder, **config):
        self.folder = pathlib.Path(folder)
        self.state = self.folder / "state"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.config = {"state_dir": self.state, "listen": f"127.0.0.1:{self.port}", **config}
        self.session, self.asked = requests.Session(), 0
        atexit.register(self.kill)  # one that a failed fixture has left would train on

    @property
    def token(self):
        return (self.state / "admin.token").read_text().strip()

    def start(self, under=(), deadline_s=DEADLINE_S):
        """`under`: a program with its options that runs the daemon, as strace does."""
        conf = self.folder / "ijepad.conf"
        conf.write_text("".join(f"{k} = {v}\n" for k, v in self.config.items()))
        with open(self.folder / "daemon.log", "ab") as log:
            self.process = subprocess.Popen([*under, BUILD / "ijepad", "--config", conf], stderr=log,
                                            stdout=log)

        def ready():
            assert self.process.poll() is None, self.log()[-2000:]
            try:
                return requests.get(self.url + "/readyz", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False
        wait_until("the daemon is ready", ready, deadline_s)
        return self

    def log(self):
        return (self.folder / "daemon.log").read_text(errors="replace")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, deadline_s=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(deadline_s)

    def api(self, method, path, json=None, headers=None, **kwargs):
        """The response; a bearer token and the JSON content type are added."""
        sent = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json",
                **(headers or {})}
        if time.monotonic() > self.asked + self.IDLE_S:
            self.session.close()
        self.asked = time.monotonic()
        return self.session.request(method, self.url + path, json=json, headers=sent, timeout=30,
                                    **kwargs)

    def submit(self, kind, **params):
        answer = self.api("POST", "/v1/runs", json={"kind": kind, "params": params})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def run(self, run_id):
        answer = self.api("GET", f"/v1/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for_state(self, run_id, *states, deadline_s=DEADLINE_S):
        def reached():
            row = self.run(run_id)
            assert row["state"] in states or row["state"] not in ENDED, row
            return row if row["state"] in states else None
        return wait_until(f"{run_id} is {' or '.join(states)}", reached, deadline_s)

    def wait_for_step(self, run_id, step, deadline_s=DEADLINE_S):
        return wait_until(f"{run_id} reaches step {step}",
                          lambda: (self.run(run_id)["step"] or 0) >= step, deadline_s)

    def worker_pids(self):
        """Processes whose parent is the daemon, but for the probe of the GPUs."""
        out = subprocess.run(["pgrep", "-a", "-P", str(self.process.pid)], capture_output=True,
                             text=True)
        return [int(line.split()[0]) for line in out.stdout.splitlines() if " gpus --watch" not in line]
