#!/usr/bin/python3
"""A long mixed load against one daemon, with faults: memory, descriptors and threads must stay flat.

    make soak                         600 seconds
    tests/fault/soak.py --seconds 30  a short one, as in make test
    tests/fault/soak.py --seed 7      the same choices again

Workers are played by fake_worker.py: most end at once, some crash, hang, flood, lie or will not stop. Clients (soak_clients.py)
read, change, clone, pause, cancel, delete, open and drop event streams, send rubbish. Every two seconds the daemon's memory,
descriptors and threads are noted; the later half is judged. Ends with one JSON line and 0 if all is well.
"""
import argparse
import json
import os
import pathlib
import random
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e"), str(HERE.parent / "bench")]

from bench_client import commit, machine, percentile  # noqa: E402
from harness import ENDED, Daemon, wait_until  # noqa: E402
from soak_clients import Clients, Counts, Worker  # noqa: E402

SAMPLE_S = 2
KEPT_FDS = 48  # eight handles for reading, each with two databases and their logs, are kept once they were needed
GROWTH_MAX_KIB = 1024  # in the last quarter of a run of ten minutes
NEVER_SUCCEED = ("crash", "hang", "garbage", "bug")


class Soak:
    def __init__(self, folder, seconds, seed):
        self.seconds, self.end, self.seed = seconds, 0, seed
        images = pathlib.Path(folder) / "images"
        images.mkdir()
        (images / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        self.daemon = Daemon(folder, worker=HERE / "fake_worker.py", slots=6, start_timeout_s=5, hang_timeout_s=2, stop_grace_s=1,
                             pause_grace_s=1, retry_base_ms=20, retry_cap_ms=100, disk_floor_bytes=0, log_bytes_max=100000,
                             streams_max=64, streams_per_token_max=64).start()
        self.daemon.images = str(images)
        self.counts, self.samples, self.idle, self.times, self.failures = Counts(), [], [], [], []

    # ---- The daemon's figures -------------------------------------------------------------------

    def sample(self):
        root = pathlib.Path(f"/proc/{self.daemon.process.pid}")
        fields = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
        return {"s": round(self.seconds - (self.end - time.monotonic()), 1), "rss_kib": int(fields["VmRSS"].split()[0]),
                "anon_kib": int(fields["RssAnon"].split()[0]), "threads": int(fields["Threads"]),
                "fds": len(list((root / "fd").iterdir())), "requests": self.counts.requests.value, "runs": self.counts.runs.value}

    def run(self):
        self.end = time.monotonic() + self.seconds
        self.idle = [self.sample()]
        clients = Clients(self.daemon, self.counts, self.end, random.Random(self.seed))
        clients.start()
        while time.monotonic() < self.end and self.daemon.process.poll() is None:
            self.samples.append(self.sample())
            time.sleep(SAMPLE_S)
        self.times, self.failures = clients.finish()

    def settle(self):
        """Everything ends, and nothing is left over."""
        asker = Worker(self.daemon, self.counts, self.end, 0)
        client = asker.client()

        def empty():
            _, answer = asker.ask(client, "GET", "/v1/runs?state=live&limit=500")
            for item in json.loads(answer)["items"]:
                asker.ask(client, "POST", f"/v1/runs/{item['id']}/kill")
            return not json.loads(answer)["items"]
        wait_until("every run has ended", empty, 120, 0.3)
        wait_until("no worker is left", lambda: not self.daemon.worker_pids(), 30, 0.2)
        wait_until("no connection is left", lambda: len(list(pathlib.Path(f"/proc/{self.daemon.process.pid}/fd").iterdir()))
                   <= self.idle[0]["fds"] + KEPT_FDS, 30, 0.2)
        self.idle.append(self.sample())

    def states(self):
        """Every run that is left has ended in a state that fits what its worker does."""
        asker = Worker(self.daemon, self.counts, self.end, 0)
        client, cursor, counts, wrong = asker.client(), None, {}, []
        while True:
            _, answer = asker.ask(client, "GET", "/v1/runs?limit=500" + (f"&cursor={cursor}" if cursor else ""))
            page = json.loads(answer)
            for item in page["items"]:
                counts[item["state"]] = counts.get(item["state"], 0) + 1
                if item["state"] not in ENDED or (item["state"] == "succeeded" and item["tags"][0] in NEVER_SUCCEED):
                    wrong.append((item["id"], item["tags"], item["state"]))
            cursor = page["next_cursor"]
            if not cursor:
                return counts, wrong


def slope(samples, name):
    """Least squares over the later half, per hour."""
    later = samples[len(samples) // 2:]
    n = len(later)
    x, y = [s["s"] / 3600 for s in later], [s[name] for s in later]
    mx, my = sum(x) / n, sum(y) / n
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / (sum((a - mx) ** 2 for a in x) or 1)


def judge(soak, counts, wrong, strict):
    runs, requests = soak.samples[-1]["runs"], soak.samples[-1]["requests"]
    first, last = soak.samples[len(soak.samples) // 2], soak.samples[-1]
    thirds = len(soak.samples) // 4 or 1
    middle = soak.samples[-2 * thirds:-thirds] or soak.samples[:1]
    ends = soak.samples[-thirds:]
    growth_kib = sum(s["rss_kib"] for s in ends) / len(ends) - sum(s["rss_kib"] for s in middle) / len(middle)
    result = {"bench": "soak", "seconds": soak.seconds, "runs": runs, "requests": requests,
              "refused": soak.counts.refused.value,
              "states": counts, "wrong_states": len(wrong), "p99_ms": round(percentile(soak.times, 0.99) * 1e3, 2),
              "worst_ms": round(max(soak.times) * 1e3, 1), "rss_kib": [soak.samples[0]["rss_kib"], first["rss_kib"], last["rss_kib"]],
              "rss_most_kib": max(s["rss_kib"] for s in soak.samples), "rss_last_quarter_growth_kib": round(growth_kib),
              "rss_slope_kib_per_h": round(slope(soak.samples, "rss_kib")), "fds": [soak.samples[0]["fds"], last["fds"]],
              "fds_idle": [s["fds"] for s in soak.idle], "threads": [s["threads"] for s in soak.idle],
              "load": round(os.getloadavg()[0], 1), "commit": commit(), "machine": machine()}
    bad = list(dict.fromkeys(soak.failures)) + [f"wrong state: {w}" for w in wrong[:5]]
    if soak.idle[1]["threads"] != soak.idle[0]["threads"]:
        bad.append("there are more threads than before")
    if strict and growth_kib > GROWTH_MAX_KIB:
        bad.append("memory grew by more than 1 MiB in the last quarter")
    if strict and (runs < 2000 or requests < 200000):
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
