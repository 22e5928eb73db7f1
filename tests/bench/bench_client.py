"""What the service's benchmarks share: a lean HTTP client, percentiles, the figures of a process,
and the line that is printed."""
import json
import math
import os
import pathlib
import platform
import socket
import subprocess
import sys
import time

BUILD = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve()


class Client:
    """One connection that is kept; nothing is parsed but what the figures need."""

    def __init__(self, port, token):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"

    def get(self, path, accept="application/json"):
        """(seconds, body)."""
        return self.ask(f"GET {path} HTTP/1.1\r\n{self.head}Accept: {accept}\r\n\r\n".encode())

    def send(self, method, path, body=b"{}"):
        head = (f"{method} {path} HTTP/1.1\r\n{self.head}Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        return self.ask(head.encode() + body)

    def ask(self, request):
        start = time.perf_counter()
        self.socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.split(b" ", 2)[1][:1] == b"2", data[:500]
        lower = head.lower()
        size = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        parts = [body]
        have = len(body)
        while have < size:
            parts.append(self.receive())
            have += len(parts[-1])
        return time.perf_counter() - start, b"".join(parts)

    def receive(self):
        data = self.socket.recv(1 << 20)
        assert data, "the server closed the connection"
        return data


def percentile(values, share):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values):
    return percentile(values, 0.5)


def ms(seconds):
    return round(seconds * 1e3, 3)


def rounds(samples):
    """Times of several rounds: the median of their medians and of their p99, and the best p99."""
    tails = [percentile(times, 0.99) for times in samples]
    return {"rounds": len(samples), "per_round": len(samples[0]),
            "p50_ms": ms(median([median(times) for times in samples])),
            "p99_ms": ms(median(tails)), "p99_best_ms": ms(min(tails)), "p99_worst_ms": ms(max(tails))}


def cpu_s(pid):
    """Processor time of all threads that live, in seconds."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total * 1e-9


def memory_mib(pid):
    """(resident now, the most ever), MiB."""
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(round(int(fields[name].split()[0]) / 1024, 1) for name in ("VmRSS", "VmHWM"))


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def machine():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": processor(), "cores": os.cpu_count(), "memory_gib": round(pages / 2**30, 1),
            "kernel": platform.release()}


def commit():
    """What the programs under test were built from."""
    out = subprocess.run([BUILD / "ijepad", "--version"], capture_output=True, text=True, check=True)
    return out.stdout.split()[-1]


def report(bench, **figures):
    """`load` is the run queue's length when the figures were taken: 1 or less is a quiet machine."""
    command = figures.pop("command", "make bench_api")
    line = {"bench": bench, **figures, "load": round(os.getloadavg()[0], 1), "commit": commit(),
            "machine": machine(), "command": command}
    if sys.argv[1:]:
        line["command"] += f" PARTS='{' '.join(sys.argv[1:])}'"
    print(json.dumps(line), flush=True)
