#!/usr/bin/python3
"""A long mixed load against one daemon, with faults: memory, descriptors and threads must stay flat.

    make soak                         600 seconds
    tests/fault/soak.py --seconds 30  a short one, as in make test
    tests/fault/soak.py --seed 7      the same choices again

Workers are played by fake_worker.py: most end at once, some crash, hang, flood, lie or will not stop. Clients read, change,
clone, pause, cancel, delete, open and drop event streams, send rubbish. Every five seconds the daemon's memory, descriptors,
threads and children are noted; the slopes of the later half are judged. Ends with one JSON line and 0 if all is well.
"""
import argparse
import json
import os
import pathlib
import random
import socket
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "bench")]

import fake_worker  # noqa: E402
from bench_client import Client, commit, machine, percentile  # noqa: E402
from harness import ENDED, Daemon, wait_until  # noqa: E402

SAMPLE_S, PIPELINE = 2, 16
# Behaviour, weight. What hangs or will not stop costs seconds of a slot, so it is rare.
BEHAVIOURS = [("good", 60), ("saves_and_measures", 12), ("crash", 4), ("lies_about_success", 3), ("refuses", 5), ("garbage", 3),
              ("bug", 3), ("floods", 2), ("leaves_children", 2), ("undeclared_stream", 3), ("skips_a_frame", 2),
              ("fails_after_progress", 2), ("stops_when_asked", 3), ("hang", 1), ("ignores_stop", 1)]
READS = ["/v1/runs?limit=20", "/v1/runs?state=failed&count=1", "/v1/queue", "/metrics", "/readyz", "/v1/audit", "/v1/sweeps",
         "/v1/runs?sort=-updated", "/v1/presets", "/version"]
OF_RUN = ["", "/events", "/attempts", "/logs?tail=20", "/metrics", "/checkpoints", "/config", "/results"]


class Soak:
    def __init__(self, folder, seconds, seed):
        self.rng = random.Random(seed)
        self.seconds, self.end = seconds, 0
        self.images = pathlib.Path(folder) / "images"
        self.images.mkdir()
        (self.images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        self.daemon = Daemon(folder, worker=HERE / "fake_worker.py", slots=6, start_timeout_s=5, hang_timeout_s=2, stop_grace_s=1,
                             pause_grace_s=1, retry_base_ms=20, retry_cap_ms=100, disk_floor_bytes=0, log_bytes_max=100000,
                             streams_max=64, streams_per_token_max=64).start()
        self.lock = threading.Lock()
        self.requests = self.refused = self.runs = 0
        self.times, self.recent, self.samples, self.failures = [], [], [], []

    # ---- Clients: each thread has a generator of its own, so that a seed gives the same choices ----

    def count(self, status, took):
        with self.lock:
            self.requests += 1
            self.refused += status >= 400
            if took is not None:
                self.times.append(took)
            if status >= 500 and status != 503:
                self.failures.append(f"a request was answered with {status}")

    def ask(self, client, rng, method, path, body=None):
        data = b"" if method == "GET" else json.dumps(body or {}).encode()
        head = f"{method} {path} HTTP/1.1\r\n{client.head}"
        if method != "GET":
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        start = time.perf_counter()
        status, answer = exchange(client.socket, head.encode() + b"\r\n" + data)
        self.count(status, time.perf_counter() - start)
        return status, answer

    def submitter(self, seed):
        """Keeps a short queue full; what is submitted is drawn."""
        rng, client = random.Random(seed), self.client()
        names, weights = zip(*BEHAVIOURS)
        while time.monotonic() < self.end:
            behaviour = rng.choices(names, weights)[0]
            body = {"kind": "pretrain", "priority": rng.randint(-5, 5), "tags": [behaviour.replace("_", "-")],
                    "params": {"dataset": str(self.images), "labels": "none", "batch": 4, "keep_checkpoints": 2,
                               "seed": fake_worker.BEHAVIOURS.index(getattr(fake_worker, behaviour))}}
            status, answer = self.ask(client, rng, "POST", "/v1/runs", body)
            if status != 201:
                self.failures.append(f"a submission was answered with {status}: {answer[:200]}")
                return
            with self.lock:
                self.runs += 1
                self.recent = (self.recent + [json.loads(answer)["id"]])[-200:]
            while time.monotonic() < self.end and self.waiting(client, rng) > 20:
                time.sleep(0.05)

    def waiting(self, client, rng):
        _, answer = self.ask(client, rng, "GET", "/v1/runs?state=queued&count=1&limit=1")
        return json.loads(answer)["total"]

    def reader(self, seed):
        """Batches of requests in one go, answered in their order."""
        rng, client = random.Random(seed), self.client()
        answers = client.socket.makefile("rb")
        while time.monotonic() < self.end:
            with self.lock:
                run = rng.choice(self.recent) if self.recent else "r1"
            paths = [rng.choice(READS) if rng.random() < 0.5 else f"/v1/runs/{run}{rng.choice(OF_RUN)}" for _ in range(PIPELINE)]
            client.socket.sendall("".join(f"GET {path} HTTP/1.1\r\n{client.head}\r\n" for path in paths).encode())
            for _ in paths:
                self.count(read_answer(answers), None)

    def meddler(self, seed):
        """Commands in any state, deletions, wrong requests."""
        rng, client = random.Random(seed), self.client()
        while time.monotonic() < self.end:
            with self.lock:
                run = rng.choice(self.recent) if self.recent else "r1"
            kind = rng.randrange(10)
            if kind < 5:
                verb = rng.choice(["pause", "resume", "cancel", "kill", "hold", "release", "checkpoint", "requeue"])
                self.ask(client, rng, "POST", f"/v1/runs/{run}/{verb}")
            elif kind == 5:
                self.ask(client, rng, "DELETE", f"/v1/runs/{run}")
            elif kind == 6:
                self.ask(client, rng, "PATCH", f"/v1/runs/{run}", {"retention": {"latest": rng.randint(1, 3)}, "notes": "x" * rng.randint(0, 4000)})
            elif kind == 7:
                self.ask(client, rng, "POST", "/v1/runs/bulk", {"action": "resume", "ids": [run]})
            elif kind == 8:
                self.ask(client, rng, "POST", "/v1/runs", {"kind": "pretran", "params": [1] * rng.randint(0, 500)})
            else:
                self.ask(client, rng, "POST", "/v1/admin/gc", {"keep": 1})
            time.sleep(0.02)

    def listener(self, seed):
        """Event streams that come, listen or not, and go; heads and bodies that never end."""
        rng = random.Random(seed)
        head = self.client().head
        while time.monotonic() < self.end:
            s = socket.create_connection(("127.0.0.1", self.daemon.port))
            kind = rng.randrange(4)
            if kind == 3:
                s.sendall(f"POST /v1/runs HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())
            else:
                last = "Last-Event-ID: 0\r\n" if kind == 2 else ""
                s.sendall(f"GET /v1/events?topics=runs,metrics HTTP/1.1\r\n{head}{last}\r\n".encode())
            until = time.monotonic() + rng.uniform(0.1, 2)
            s.settimeout(0.2)
            while kind in (0, 2) and time.monotonic() < until:
                try:
                    if not s.recv(65536):
                        break
                except TimeoutError:
                    pass
            time.sleep(max(0, until - time.monotonic()) if kind in (1, 3) else 0)
            s.close()

    def client(self):
        return Client(self.daemon.port, self.daemon.token)

    # ---- The daemon's figures -------------------------------------------------------------------

    def sample(self):
        root = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        fields = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
        self.samples.append({"s": round(self.seconds - (self.end - time.monotonic()), 1),
                             "rss_kib": int(fields["VmRSS"].split()[0]), "threads": int(fields["Threads"]),
                             "fds": len(list((root / "fd").iterdir())), "requests": self.requests, "runs": self.runs})

    def guard(self, work, seed):
        try:
            work(seed)
        except Exception as error:  # noqa: BLE001: told at the end, the others go on
            self.failures.append(f"{work.__name__}: {error!r}")

    def run(self):
        self.end = time.monotonic() + self.seconds
        parts = [self.submitter, self.reader, self.reader, self.meddler, self.listener, self.listener]
        threads = [threading.Thread(target=self.guard, args=(work, self.rng.random())) for work in parts]
        for thread in threads:
            thread.start()
        while time.monotonic() < self.end and self.daemon.process.poll() is None:
            self.sample()
            time.sleep(SAMPLE_S)
        for thread in threads:
            thread.join(60)

    def settle(self):
        """Everything ends, and nothing is left over."""
        client, rng = self.client(), random.Random(0)

        def empty():
            _, answer = self.ask(client, rng, "GET", "/v1/runs?state=live&limit=500")
            for item in json.loads(answer)["items"]:
                self.ask(client, rng, "POST", f"/v1/runs/{item['id']}/kill")
            return not json.loads(answer)["items"]
        wait_until("every run has ended", empty, 120, 0.3)
        wait_until("no worker is left", lambda: not self.daemon.worker_pids(), 30, 0.2)
        wait_until("no connection is left", lambda: len(list(pathlib.Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))
                   <= self.samples[0]["fds"] + 12, 30, 0.2)

    def states(self):
        """Every run that is left has ended in a state that fits what its worker does."""
        client, rng, cursor = self.client(), random.Random(0), None
        counts, wrong = {}, []
        while True:
            _, answer = self.ask(client, rng, "GET", "/v1/runs?limit=500" + (f"&cursor={cursor}" if cursor else ""))
            page = json.loads(answer)
            for item in page["items"]:
                counts[item["state"]] = counts.get(item["state"], 0) + 1
                if item["state"] not in ENDED or (item["state"] == "succeeded" and item["tags"][0] in ("crash", "hang", "garbage", "bug")):
                    wrong.append((item["id"], item["tags"], item["state"]))
            cursor = page["next_cursor"]
            if not cursor:
                return counts, wrong


def read_answer(answers):
    """The status of the next answer on a buffered connection."""
    status, size = int(answers.readline().split(b" ", 2)[1]), 0
    while (line := answers.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    assert len(answers.read(size)) == size, "an answer was cut off"
    return status


def exchange(s, request):
    """(status, body) of one exchange on a connection that is kept."""
    s.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(1 << 20)
        assert more, "the server closed a connection"
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < size:
        more = s.recv(1 << 20)
        assert more, "an answer was cut off"
        body += more
    return int(head.split(b" ", 2)[1]), body


def slope(samples, name):
    """Least squares over the later half, per hour."""
    later = samples[len(samples) // 2:]
    n = len(later)
    x, y = [s["s"] / 3600 for s in later], [s[name] for s in later]
    mx, my = sum(x) / n, sum(y) / n
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / (sum((a - mx) ** 2 for a in x) or 1)


def judge(soak, counts, wrong, strict):
    first, last = soak.samples[len(soak.samples) // 2], soak.samples[-1]
    thirds = len(soak.samples) // 4 or 1
    middle = soak.samples[-2 * thirds:-thirds] or soak.samples[:1]
    ends = soak.samples[-thirds:]
    growth_kib = sum(s["rss_kib"] for s in ends) / len(ends) - sum(s["rss_kib"] for s in middle) / len(middle)
    result = {"bench": "soak", "seconds": soak.seconds, "runs": soak.runs, "requests": soak.requests, "refused": soak.refused,
              "states": counts, "wrong_states": len(wrong), "p99_ms": round(percentile(soak.times, 0.99) * 1e3, 2),
              "worst_ms": round(max(soak.times) * 1e3, 1), "rss_kib": [soak.samples[0]["rss_kib"], first["rss_kib"], last["rss_kib"]],
              "rss_most_kib": max(s["rss_kib"] for s in soak.samples), "rss_last_quarter_growth_kib": round(growth_kib),
              "rss_slope_kib_per_h": round(slope(soak.samples, "rss_kib")), "fds": [soak.samples[0]["fds"], last["fds"]],
              "fds_slope_per_h": round(slope(soak.samples, "fds"), 1), "threads": [soak.samples[0]["threads"], last["threads"]],
              "load": round(os.getloadavg()[0], 1), "commit": commit(), "machine": machine()}
    bad = list(dict.fromkeys(soak.failures)) + [f"wrong state: {w}" for w in wrong[:5]]
    if last["threads"] > first["threads"]:
        bad.append("there are more threads than half way")
    if strict and growth_kib > 1024:
        bad.append("memory grew by more than 1 MiB in the last quarter")
    if strict and (soak.runs < 2000 or soak.requests < 200000):
        bad.append("less than 2,000 runs or 200,000 requests")
    return result, bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("IJEPAD_SEED", random.randrange(10 ** 9))))
    parser.add_argument("--samples", help="write every sample to this file")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ijepad-soak-") as folder:
        soak = Soak(folder, arguments.seconds, arguments.seed)
        try:
            soak.run()
            assert soak.daemon.process.poll() is None, soak.daemon.log()[-2000:]
            soak.settle()
            result, bad = judge(soak, *soak.states(), strict=arguments.seconds >= 600)
        finally:
            soak.daemon.stop()
    if arguments.samples:
        pathlib.Path(arguments.samples).write_text("".join(json.dumps(s) + "\n" for s in soak.samples))
    print(json.dumps({**result, "seed": arguments.seed, "command": f"tests/fault/soak.py --seconds {arguments.seconds:g} --seed {arguments.seed}",
                      "failures": bad}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
