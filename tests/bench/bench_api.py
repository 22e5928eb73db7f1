#!/usr/bin/python3
"""Timings of the whole service over its sockets, as JSON lines: `make bench_api`, which is part of
`make bench`; `make bench_api PARTS='list start'` does some of it.

    tests/bench/bench_api.py [PART ...]      list metrics streams start misbehaving

Each part starts a real daemon in a folder of its own, with bench_worker.py in the place of the
worker. Client and daemon share the machine, so every latency includes the client's own work; cpu
figures are the daemon's processor time, which other work on the machine disturbs little.
"""
import json
import os
import pathlib
import selectors
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

import bench_worker  # noqa: E402
from bench_client import (Client, cpu_s, median, memory_mib, ms, percentile, report,  # noqa: E402
                          rounds)
from harness import Daemon, wait_until  # noqa: E402

RUNS = 10000
ROUNDS = 5


class Bench(Daemon):
    """A daemon whose workers do what bench_worker.PARTS says."""

    made = []

    def __init__(self, folder, **config):
        self.data = pathlib.Path(folder) / "data"
        self.data.mkdir(parents=True)
        (self.data / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        super().__init__(folder, worker=HERE / "bench_worker.py", disk_floor_bytes=0,
                         **{"stop_grace_s": 1, **config})
        self.made.append(self)

    def submit_part(self, part):
        seed = bench_worker.PARTS.index(getattr(bench_worker, part))
        return self.submit("pretrain", dataset=str(self.data), labels="none", seed=seed)

    def client(self):
        return Client(self.port, self.token)


def add_runs(daemon, count):
    """Copies of the first run, ended, straight into the database of a daemon that is stopped."""
    with sqlite3.connect(daemon.state / "state.db") as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(run)") if row[1] != "id"]
        fixed = {"state": "CASE WHEN n%50=0 THEN 'paused' WHEN n%9=0 THEN 'failed' ELSE 'succeeded' END",
                 "created_ms": "created_ms+n", "updated_ms": "updated_ms+n*7919%100003",
                 "name": "'run-'||n", "priority": "n%21-10", "queue_pos": "queue_pos+n",
                 "tags": "CASE WHEN n%7=0 THEN '[\"baseline\"]' ELSE '[\"sweep\"]' END"}
        values = ",".join(fixed.get(name, name) for name in columns)
        db.execute(f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<{count}) "
                   f"INSERT INTO run({','.join(columns)}) SELECT {values} FROM c, "
                   "(SELECT * FROM run ORDER BY id LIMIT 1)")
    db.close()


def time_gets(daemon, client, paths, accept="application/json"):
    """([seconds], processor seconds of the daemon per request, bytes of the last answer)."""
    before, times, body = cpu_s(daemon.process.pid), [], b""
    for path in paths:
        took, body = client.get(path, accept)
        times.append(took)
    return times, (cpu_s(daemon.process.pid) - before) / len(times), len(body)


def report_gets(name, daemon, client, make_paths, accept="application/json", **figures):
    time_gets(daemon, client, make_paths()[:20], accept)
    samples, cpus, size = [], [], 0
    for _ in range(ROUNDS):
        times, cpu, size = time_gets(daemon, client, make_paths(), accept)
        samples.append(times)
        cpus.append(cpu)
    report(name, **figures, **rounds(samples), cpu_ms=ms(median(cpus)), bytes=size)


# ---- Lists ---------------------------------------------------------------------------------------

def walk(client, query, pages=200):
    """Paths of successive pages."""
    paths, cursor = [], None
    while len(paths) < pages:
        path = f"/v1/runs?limit=50{query}" + (f"&cursor={cursor}" if cursor else "")
        paths.append(path)
        cursor = json.loads(client.get(path)[1])["next_cursor"]
    return paths


def bench_list(folder):
    daemon = Bench(folder).start()
    daemon.wait_for_state(daemon.submit_part("hang"), "running")
    daemon.stop()
    add_runs(daemon, RUNS)
    daemon.start()
    client = daemon.client()
    for name, query in (("none", ""), ("sort=updated", "&sort=-updated"), ("state=failed", "&state=failed"),
                        ("state=live", "&state=live"), ("tag=baseline", "&tag=baseline"),
                        ("name", "&name=run-99"), ("user, no match", "&user=nobody"),
                        ("count", "&count=1")):
        paths = walk(client, query)
        report_gets("list", daemon, client, lambda: paths, runs=RUNS, limit=50, filter=name)
    report_gets("list", daemon, client, lambda: ["/v1/runs/r5000"] * 200, runs=RUNS, filter="one run")
    daemon.stop()


# ---- Metrics -------------------------------------------------------------------------------------

def bench_metrics(folder):
    daemon = Bench(folder).start()
    before = cpu_s(daemon.process.pid)
    run = daemon.submit_part("ingest")
    figures = daemon.data / "figures.json"
    wait_until("the run is stored", figures.exists, 600, 0.2)
    cpu = cpu_s(daemon.process.pid) - before
    told = json.loads(figures.read_text())
    points = bench_worker.STEPS * bench_worker.KEYS
    size = sum(f.stat().st_size for f in daemon.state.glob("metrics.db*"))
    report("ingest", points=points, keys=bench_worker.KEYS, points_per_s=round(told["points_per_s"]),
           points_per_cpu_s=round(points / cpu), bytes_per_point=round(size / points, 2),
           commit_p50_ms=ms(median(told["barriers_s"])),
           commit_p99_ms=ms(percentile(told["barriers_s"], 0.99)), commits=len(told["barriers_s"]))
    daemon.wait_for_state(run, "succeeded")
    keys = ",".join(f"train/key{k:02d}" for k in range(20))
    client = daemon.client()
    for accept in ("application/vnd.ijepad.f32", "application/json", "text/csv"):
        for name, span in (("summaries", ""), ("frames", "&to=31999")):
            path = f"/v1/metrics?runs={run}&keys={keys}&max_points=1000{span}"
            report_gets("metrics", daemon, client, lambda: [path] * 40, accept, levels=name,
                        keys=20, steps=32000 if span else bench_worker.STEPS, form=accept)
    report_gets("metrics", daemon, client, lambda: [f"/v1/runs/{run}/metrics"] * 40, levels="catalogue",
                keys=bench_worker.KEYS, steps=bench_worker.STEPS)
    daemon.stop()


# ---- Streams -------------------------------------------------------------------------------------

def open_stream(daemon, topics):
    s = socket.create_connection(("127.0.0.1", daemon.port))
    s.sendall(f"GET /v1/events?topics={topics} HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\n"
              f"Authorization: Bearer {daemon.token}\r\n\r\n".encode())
    s.setblocking(False)
    return s


def steps_of(data):
    """The `step` of each metric event in some bytes; one that is cut in two is not counted."""
    for part in data.split(b'"step":')[1:]:
        digits = part.split(b",", 1)
        if len(digits) == 2 and digits[0].isdigit():
            yield int(digits[0])


def collect(streams, seconds):
    """Delays in seconds between a frame's send and its arrival, over all streams."""
    selector, delays = selectors.DefaultSelector(), []
    for s in streams:
        selector.register(s, selectors.EVENT_READ)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(0.1):
            data = key.fileobj.recv(1 << 16)
            now = time.monotonic_ns() // 1000
            assert data, "a stream was closed"
            delays += [(now - step) * 1e-6 for step in steps_of(data) if now - step < 5000000]
    return delays


def bench_streams(folder):
    count, seconds = 200, 6
    daemon = Bench(folder, connections_max=count + 50, streams_max=count, streams_per_token_max=count).start()
    report("memory", clients=0, resident_mib=memory_mib(daemon.process.pid)[0])
    run = daemon.submit_part("beat")
    daemon.wait_for_state(run, "running")
    streams = [open_stream(daemon, "metrics") for _ in range(count)]
    collect(streams, 2)
    samples, cpus = [], []
    for _ in range(ROUNDS):
        before = cpu_s(daemon.process.pid)
        samples.append(collect(streams, seconds))
        cpus.append((cpu_s(daemon.process.pid) - before) / seconds)
    got = [len(delays) / seconds / count for delays in samples]
    p95 = [percentile(delays, 0.95) for delays in samples]
    report("streams", clients=count, events_per_s=5, received_per_client_s=round(median(got), 2), rounds=ROUNDS,
           p50_ms=ms(median([median(d) for d in samples])), p95_ms=ms(median(p95)),
           p95_best_ms=ms(min(p95)), p95_worst_ms=ms(max(p95)), cpu_share=round(median(cpus), 3))
    times = [Client(daemon.port, daemon.token).get("/v1/runs?limit=50")[0] for _ in range(200)]
    report("request beside streams", clients=count, p50_ms=ms(median(times)), p99_ms=ms(percentile(times, 0.99)))
    resident, most = memory_mib(daemon.process.pid)
    report("memory", clients=count, resident_mib=resident, most_mib=most)
    for s in streams:
        s.close()
    daemon.stop()


# ---- Starts --------------------------------------------------------------------------------------

def time_start(daemon):
    """Seconds from exec to the first 200 of /readyz, and the daemon's processor time until then."""
    start = time.perf_counter()
    with open(daemon.folder / "daemon.log", "ab") as log:
        daemon.process = subprocess.Popen([daemon_program(), "--config", daemon.folder / "ijepad.conf"],
                                          stderr=log, stdout=log)
    request = f"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\nConnection: close\r\n\r\n".encode()
    while True:
        assert daemon.process.poll() is None, daemon.log()[-1000:]
        try:
            with socket.create_connection(("127.0.0.1", daemon.port)) as s:
                s.sendall(request)
                if s.recv(4096).startswith(b"HTTP/1.1 200"):
                    return time.perf_counter() - start, cpu_s(daemon.process.pid)
        except ConnectionError:
            pass
        time.sleep(0.002)


def daemon_program():
    return str(pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve() / "ijepad")


def grow_metrics(daemon, mib):
    """Copies of the streams that are there until the file has the size."""
    with sqlite3.connect(daemon.state / "metrics.db") as db:
        db.execute("PRAGMA cache_size=-200000")
        offset = base = db.execute("SELECT max(id) FROM stream").fetchone()[0]
        while (daemon.state / "metrics.db").stat().st_size < mib << 20:
            for table, columns in (("stream", "run+1000000+{0},attempt,name,keys,dead_after"),
                                   ("frame", "step,ts_ms,v"), ("frame_lod", "lvl,bucket,n,v")):
                key = "id" if table == "stream" else "stream"
                db.execute(f"INSERT INTO {table} SELECT {key}+{offset},{columns.format(offset)} FROM {table} "
                           f"WHERE {key}<={base}")
            offset += base
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def times_of(name, times):
    wall, cpu = zip(*times)
    return {f"{name}_ms": ms(median(wall)), f"{name}_best_ms": ms(min(wall)), f"{name}_worst_ms": ms(max(wall)),
            f"{name}_cpu_ms": ms(median(cpu))}


def bench_start(folder):
    daemon = Bench(folder).start()
    run = daemon.submit_part("ingest")
    daemon.wait_for_state(run, "succeeded", deadline_s=600)
    daemon.stop()
    runs = 1
    for mib, more in ((80, 1000), (320, 9000), (1280, 0), (1280, 40000)):
        grow_metrics(daemon, mib)
        if more:
            add_runs(daemon, more)
        runs += more
        clean, killed = [], []
        for _ in range(ROUNDS):
            clean.append(time_start(daemon))
            daemon.stop()
        for _ in range(ROUNDS):
            time_start(daemon)
            flood = daemon.submit_part("flood_metrics")
            log = daemon.state / "metrics.db-wal"
            wait_until("the log is long", lambda: log.stat().st_size > 3 << 20)
            daemon.kill()
            killed.append(time_start(daemon))
            daemon.api("POST", f"/v1/runs/{flood}/kill")
            daemon.wait_for_state(flood, "canceled")
            daemon.stop()
        report("start", runs=runs, state_mib=round((daemon.state / "state.db").stat().st_size / 2**20, 1),
               metrics_mib=round((daemon.state / "metrics.db").stat().st_size / 2**20), rounds=ROUNDS,
               **times_of("ready", clean), **times_of("after_kill", killed))


# ---- Workers that misbehave ----------------------------------------------------------------------

def time_mixed(client, run, seconds):
    """A person's requests, back to back with a pause: reads, and one change in ten."""
    reads, changes, end, i = [], [], time.monotonic() + seconds, 0
    paths = ["/v1/runs?limit=50", f"/v1/runs/{run}", "/v1/queue", f"/v1/runs/{run}/logs?tail=50", "/metrics",
             f"/v1/runs/{run}/events", f"/v1/runs/{run}/metrics", "/v1/sweeps", "/readyz"]
    while time.monotonic() < end:
        i += 1
        if i % 10:
            reads.append(client.get(paths[i % 9])[0])
        else:
            changes.append(client.send("PATCH", f"/v1/runs/{run}", b'{"priority":%d}' % (i % 100))[0])
        time.sleep(0.01)
    return reads, changes


def bench_misbehaving(folder):
    for part in os.environ.get("MISBEHAVING", "hang spin flood_metrics flood_log flood_warnings all").split():
        parts = [part] * 2 if part != "all" else [
            "hang", "spin", "flood_metrics", "flood_log", "flood_warnings"]
        place = pathlib.Path(folder) / part
        daemon = Bench(place, slots=8).start()
        runs = [daemon.submit_part(name) for name in parts]
        for run in runs:
            daemon.wait_for_state(run, "running")
        client, samples = daemon.client(), []
        time_mixed(client, runs[0], 1)
        for _ in range(3):
            samples.append(time_mixed(client, runs[0], 8))
        reads, changes = [s[0] for s in samples], [s[1] for s in samples]
        report("misbehaving", workers=part, count=len(runs), requests=sum(map(len, reads)),
               changes=sum(map(len, changes)), read_p50_ms=ms(median(sum(reads, []))),
               read_p99_ms=ms(median([percentile(r, 0.99) for r in reads])), read_worst_ms=ms(max(sum(reads, []))),
               change_p50_ms=ms(median(sum(changes, []))),
               change_p99_ms=ms(percentile(sum(changes, []), 0.99)), change_worst_ms=ms(max(sum(changes, []))),
               resident_mib=memory_mib(daemon.process.pid)[0])
        for run in runs:
            daemon.api("POST", f"/v1/runs/{run}/kill")
        daemon.stop()
        shutil.rmtree(place)


PARTS = {"list": bench_list, "metrics": bench_metrics, "streams": bench_streams, "start": bench_start,
         "misbehaving": bench_misbehaving}


def main():
    for name in sys.argv[1:] or PARTS:
        folder = tempfile.mkdtemp(prefix="ijepad-bench-")
        try:
            PARTS[name](folder)
        finally:
            for daemon in Bench.made:
                if daemon.process and daemon.process.poll() is None:
                    daemon.kill()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
