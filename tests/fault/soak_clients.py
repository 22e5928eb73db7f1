"""The clients of the soak, each a process of its own: one submits, some read, one meddles, some listen.

Every one has a generator of its own, so that a seed gives the same choices, and keeps to a pace of its own: a load that is the
same on a fast machine and on a slow one. What they count is shared; times and failures come back at the end.
"""
import json
import multiprocessing
import random
import socket
import time

import fake_worker
from bench_client import Client

PIPELINE, READS_PER_S, READERS = 16, 220, 2
RUNS_PER_S, QUEUE_MAX = 6, 20
FORK = multiprocessing.get_context("fork")
# Behaviour, weight. What hangs or will not stop costs seconds of a slot, so it is rare.
BEHAVIOURS = [("good", 60), ("saves_and_measures", 12), ("crash", 4), ("lies_about_success", 3), ("refuses", 5), ("garbage", 3),
              ("bug", 3), ("floods", 2), ("leaves_children", 2), ("undeclared_stream", 3), ("skips_a_frame", 2),
              ("fails_after_progress", 2), ("stops_when_asked", 3), ("hang", 1), ("ignores_stop", 1)]
READS = ["/v1/runs?limit=20", "/v1/runs?state=failed&count=1", "/v1/queue", "/metrics", "/readyz", "/v1/audit", "/v1/sweeps",
         "/v1/runs?sort=-updated", "/v1/presets", "/version"]
OF_RUN = ["", "/events", "/attempts", "/logs?tail=20", "/metrics", "/checkpoints", "/config", "/results"]


class Counts:
    """What all clients count together."""

    def __init__(self):
        self.requests, self.refused, self.runs = (FORK.Value("q", 0) for _ in range(3))
        self.newest = FORK.Value("q", 1)  # the newest run's number

    def add(self, answered, refused):
        with self.requests.get_lock():
            self.requests.value += answered
        with self.refused.get_lock():
            self.refused.value += refused


class Worker:
    """What every client has: the daemon's address, the end, its own choices."""

    def __init__(self, daemon, counts, end, seed):
        self.port, self.token = daemon.port, daemon.token
        self.images, self.counts, self.end = daemon.images, counts, end
        self.rng = random.Random(seed)
        self.times, self.failures = [], []

    def goes_on(self):
        return time.monotonic() < self.end

    def client(self):
        return Client(self.port, self.token)

    def a_run(self):
        newest = self.counts.newest.value
        return f"r{self.rng.randint(max(1, newest - 200), newest)}"

    def judge(self, status):
        if status >= 500 and status != 503:
            self.failures.append(f"a request was answered with {status}")

    def ask(self, client, method, path, body=None):
        data = b"" if method == "GET" else json.dumps(body or {}).encode()
        head = f"{method} {path} HTTP/1.1\r\n{client.head}"
        if method != "GET":
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        start = time.perf_counter()
        status, answer = exchange(client.socket, head.encode() + b"\r\n" + data)
        self.times.append(time.perf_counter() - start)
        self.judge(status)
        self.counts.add(1, status >= 400)
        return status, answer


def pace(due, every_s):
    """Sleeps until the next time that is due, which it returns; what was missed is made up for, but not for ever."""
    due = max(due + every_s, time.monotonic() - 5)
    time.sleep(max(0, due - time.monotonic()))
    return due


def submitter(self):
    """So many a second while the queue is short; what is submitted is drawn."""
    client, due = self.client(), time.monotonic()
    names, weights = zip(*BEHAVIOURS)
    while self.goes_on():
        behaviour = self.rng.choices(names, weights)[0]
        body = {"kind": "pretrain", "priority": self.rng.randint(-5, 5), "tags": [behaviour.replace("_", "-")],
                "params": {"dataset": self.images, "labels": "none", "batch": 4, "keep_checkpoints": 2,
                           "seed": fake_worker.BEHAVIOURS.index(getattr(fake_worker, behaviour))}}
        status, answer = self.ask(client, "POST", "/v1/runs", body)
        if status != 201:
            self.failures.append(f"a submission was answered with {status}: {answer[:200]}")
            return
        self.counts.runs.value += 1
        self.counts.newest.value = int(json.loads(answer)["id"][1:])
        while self.goes_on() and waiting(self, client) > QUEUE_MAX:
            time.sleep(0.1)
        due = pace(due, 1 / RUNS_PER_S)


def waiting(self, client):
    _, answer = self.ask(client, "GET", "/v1/runs?state=queued&count=1&limit=1")
    return json.loads(answer)["total"]


def reader(self):
    """Batches of requests in one go, answered in their order."""
    client = self.client()
    answers = client.socket.makefile("rb")
    due = time.monotonic()
    while self.goes_on():
        run = self.a_run()
        paths = [self.rng.choice(READS) if self.rng.random() < 0.5 else f"/v1/runs/{run}{self.rng.choice(OF_RUN)}"
                 for _ in range(PIPELINE)]
        client.socket.sendall("".join(f"GET {path} HTTP/1.1\r\n{client.head}\r\n" for path in paths).encode())
        statuses = [read_answer(answers) for _ in paths]
        for status in statuses:
            self.judge(status)
        self.counts.add(PIPELINE, sum(status >= 400 for status in statuses))
        due = pace(due, PIPELINE / READS_PER_S)


def meddler(self):
    """Commands in any state, deletions, wrong requests."""
    rng, client = self.rng, self.client()
    while self.goes_on():
        run, kind = self.a_run(), rng.randrange(10)
        if kind < 5:
            verb = rng.choice(["pause", "resume", "cancel", "kill", "hold", "release", "checkpoint", "requeue"])
            self.ask(client, "POST", f"/v1/runs/{run}/{verb}")
        elif kind == 5:
            self.ask(client, "DELETE", f"/v1/runs/{run}")
        elif kind == 6:
            self.ask(client, "PATCH", f"/v1/runs/{run}", {"retention": {"latest": rng.randint(1, 3)}, "notes": "x" * rng.randint(0, 4000)})
        elif kind == 7:
            self.ask(client, "POST", "/v1/runs/bulk", {"action": "resume", "ids": [run]})
        elif kind == 8:
            self.ask(client, "POST", "/v1/runs", {"kind": "pretran", "params": [1] * rng.randint(0, 500)})
        else:
            self.ask(client, "POST", "/v1/admin/gc", {"keep": 1})
        time.sleep(0.02)


def listener(self):
    """Event streams that come, listen or not, and go; heads and bodies that never end."""
    head = self.client().head
    while self.goes_on():
        s = socket.create_connection(("127.0.0.1", self.port))
        kind = self.rng.randrange(4)
        if kind == 3:
            s.sendall(f"POST /v1/runs HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())
        else:
            last = "Last-Event-ID: 0\r\n" if kind == 2 else ""
            s.sendall(f"GET /v1/events?topics=runs,metrics HTTP/1.1\r\n{head}{last}\r\n".encode())
        until = time.monotonic() + self.rng.uniform(0.1, 2)
        s.settimeout(0.2)
        while kind in (0, 2) and time.monotonic() < until:
            try:
                if not s.recv(65536):
                    break
            except TimeoutError:
                pass
        time.sleep(max(0, until - time.monotonic()) if kind in (1, 3) else 0)
        s.close()


PARTS = [submitter] + [reader] * READERS + [meddler] + [listener] * 2


def run_part(part, worker, results):
    try:
        part(worker)
    except Exception as error:  # noqa: BLE001: told at the end, the others go on
        worker.failures.append(f"{part.__name__}: {error!r}")
    results.put((worker.times, worker.failures))


class Clients:
    """All of them, from start() to the figures of finish()."""

    def __init__(self, daemon, counts, end, rng):
        self.results = FORK.Queue()
        self.processes = [FORK.Process(target=run_part, args=(part, Worker(daemon, counts, end, rng.random()), self.results),
                                       daemon=True) for part in PARTS]

    def start(self):
        for process in self.processes:
            process.start()

    def finish(self, timeout_s=60):
        """(times, failures) of all."""
        times, failures = [], []
        for _ in self.processes:
            more = self.results.get(timeout=timeout_s)
            times += more[0]
            failures += more[1]
        for process in self.processes:
            process.join(timeout_s)
        return times, failures


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
