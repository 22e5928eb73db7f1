"""Every route of the server's own table against strangers and hostile shapes: a new route is in here without an edit.

Nothing may change, nothing of a file outside may be told, and the server goes on.
"""
import json
import os
import re
import select
import socket
import sqlite3
import threading
import time
import urllib.parse

import pytest
import requests

from bench_client import memory_mib
from fake_worker import write_checkpoint
from harness import Daemon, idle_worker, sanitized, wait_until
from test_api_hostile import raw
from test_wrong_requests import rows

CANARY = "canary-5f1d-of-a-file-outside"
CHANGES = ("post", "patch", "put", "delete")


class Stage:
    """A daemon whose workers never report, a run that is held, one that has ended, and tokens of every kind."""

    def __init__(self, folder, images):
        worker = idle_worker(folder)
        self.daemon = Daemon(folder, worker=worker, slots=1, start_timeout_s=600, stop_grace_s=1).start()
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text(CANARY)
        body = {"kind": "pretrain", "hold": True, "params": {"dataset": str(images)}}
        self.run, self.ended = (self.daemon.api("POST", "/v1/runs", json=body).json()["id"] for _ in range(2))
        self.daemon.api("POST", f"/v1/runs/{self.ended}/cancel")
        self.tokens = {role: self.token(role, role) for role in ("viewer", "submitter", "operator")}
        gone = self.daemon.api("POST", "/v1/tokens", json={"user": "gone", "role": "admin"}).json()
        self.daemon.api("DELETE", f"/v1/tokens/{gone['id']}")
        self.revoked = gone["token"]
        self.expired = self.token("late", "admin", expires_s=1)
        wait_until("the token has expired", lambda: self.ask("GET", "/v1/tokens", [self.bearer(self.expired)])[0] == 401, 10, 0.1)
        document = requests.get(self.daemon.url + "/v1/openapi.json", timeout=10).json()
        self.schemas = document["components"]["schemas"]
        self.routes = [(method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()]

    def token(self, user, role, **more):
        answer = self.daemon.api("POST", "/v1/tokens", json={"user": user, "role": role, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    @staticmethod
    def bearer(token):
        return f"Authorization: Bearer {token}"

    def concrete(self, path, **values):
        names = {"id": self.run, "kind": "pretrain", "code": "conflict", "file": "app.js", **values}
        return re.sub(r"\{(\w+)\}", lambda m: names.get(m.group(1), "x1"), path)

    def ask(self, method, target, headers, body=b"", host=None):
        lines = [f"{method} {target} HTTP/1.1"]
        if host is not False:
            lines.append(f"Host: {host or f'127.0.0.1:{self.daemon.port}'}")
        lines += [*headers, "Connection: close"]
        return raw(self.daemon, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def state(self):
        return rows(self.daemon)


@pytest.fixture(scope="module")
def stage(tmp_path_factory, images):
    stage = Stage(tmp_path_factory.mktemp("matrix"), images)
    yield stage
    stage.daemon.stop()


@pytest.fixture
def unchanged(stage):
    before = stage.state()
    yield
    after = stage.state()
    for table in after:
        news = [row for row in after[table] if row not in before[table]]
        assert table == "audit" and all("backup" in row for row in news) or not news, f"{table} has changed: {news}"
        assert len(after[table]) - len(news) == len(before[table]), f"{table} has lost rows"
    assert requests.get(stage.daemon.url + "/healthz", timeout=5).status_code == 200
    assert CANARY not in stage.daemon.log()


def body_of(method):
    return (["Content-Type: application/json", "Content-Length: 2"], b"{}") if method in CHANGES else ([], b"")


# ---- Strangers -----------------------------------------------------------------------------------

def test_strangers_on_every_route(stage, unchanged):
    good = stage.daemon.token
    strangers = {
        "none": [], "empty": ["Authorization:"], "no token": ["Authorization: Bearer"], "wrong": [stage.bearer(good[:-2] + "AA")],
        "short": [stage.bearer(good[:-1])], "long": [stage.bearer(good + "A" * 3000)], "expired": [stage.bearer(stage.expired)],
        "revoked": [stage.bearer(stage.revoked)], "two": [stage.bearer(good), stage.bearer("x")], "scheme": [f"Authorization: Basic {good}"],
        "cookie": ["Cookie: ijepad_session=" + "A" * 43], "other header": [f"X-Authorization: Bearer {good}"]}
    checked = 0
    for method, path, operation in stage.routes:
        if operation["x-role"] == "none":
            continue
        headers, body = body_of(method)
        for name, token in strangers.items():
            status, _, answer = stage.ask(method.upper(), stage.concrete(path), [*token, *headers], body)
            assert status == (400 if name == "two" else 401), (method, path, name, status, answer)
            checked += 1
        status, _, answer = stage.ask(method.upper(), stage.concrete(path) + f"?token={good}&access_token={good}", headers, body)
        assert status in (400, 401, 422), (method, path, status, answer)
    assert checked >= 40 * len(strangers)


def test_roles_on_every_route(stage, unchanged):
    order = ["viewer", "submitter", "operator", "admin"]
    refused = 0
    for method, path, operation in stage.routes:
        role = operation["x-role"]
        for lower in order[:order.index(role)] if role in order else []:
            headers, body = body_of(method)
            status, _, answer = stage.ask(method.upper(), stage.concrete(path), [stage.bearer(stage.tokens[lower]), *headers], body)
            assert status == 403, (method, path, lower, status, answer)
            refused += 1
    assert refused >= 25


# ---- Shapes --------------------------------------------------------------------------------------

def test_rebinding_and_smuggling_on_every_route(stage, unchanged):
    port, good = stage.daemon.port, stage.bearer(stage.daemon.token)
    hosts = {"evil.test": 421, f"evil.test:{port}": 421, f"127.0.0.1.evil.test:{port}": 421, "127.0.0.1:1": 421}
    shapes = [["Content-Length: 2", "Transfer-Encoding: chunked"], ["Content-Length: 2", "Content-Length: 3"],
              ["Transfer-Encoding: xchunked"], ["Transfer-Encoding : chunked"], [f"Host: 127.0.0.1:{port}"]]
    for method, path, _ in stage.routes:
        target = stage.concrete(path)
        for host, expected in hosts.items():
            status, head, answer = stage.ask(method.upper(), target, [good, "Content-Type: application/json"], host=host)
            assert status == expected, (method, path, host, status, answer)
            assert b"access-control" not in head.lower()
        assert stage.ask(method.upper(), target, [good], host=False)[0] == 400, (method, path)
        assert stage.ask(method.upper(), f"http://evil.test{target}", [good])[0] == 400, (method, path)
        for shape in shapes:
            status, _, answer = stage.ask(method.upper(), target, [good, "Content-Type: application/json", *shape], b"{}")
            assert status == 400, (method, path, shape, status, answer)


def test_other_origins_and_content_types_on_every_change(stage, unchanged):
    good = stage.bearer(stage.daemon.token)
    pages = [["Origin: http://evil.test"], ["Origin: null"], ["Sec-Fetch-Site: cross-site"], ["Sec-Fetch-Site: same-site"],
             [f"Origin: https://127.0.0.1:{stage.daemon.port + 1}"]]
    types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
    changes = [(method, path) for method, path, _ in stage.routes if method in CHANGES]
    for method, path in changes:
        target = stage.concrete(path)
        for page in pages:
            status, head, answer = stage.ask(method.upper(), target, [good, *page, "Content-Type: application/json", "Content-Length: 2"], b"{}")
            assert status == 403, (method, path, page, status, answer)
            assert b"access-control" not in head.lower()
        for kind in types:
            status, _, answer = stage.ask(method.upper(), target, [good, f"Content-Type: {kind}", "Content-Length: 2"], b"{}")
            assert status == 415, (method, path, kind, status, answer)
    assert len(changes) >= 20


def test_other_methods_on_every_path(stage, unchanged):
    known = {}
    for method, path, _ in stage.routes:
        known.setdefault(path, set()).add(method.upper())
    for path, methods in known.items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "Delete", "FOO"):
            if method in methods:
                continue
            headers = [stage.bearer(stage.daemon.token), "Content-Type: application/json", "Content-Length: 2"]
            status, _, answer = stage.ask(method, stage.concrete(path), headers, b"{}")
            assert status in (400, 404, 405, 501), (method, path, status, answer)


# ---- Paths out -----------------------------------------------------------------------------------

def payloads(stage):
    secret = str(stage.outside / "secret")
    up = "../" * 12
    return [secret, up + secret, "/../.." + secret, "....//....//" + secret[1:], "..\\..\\" + secret, "file://" + secret, f"{secret}\u0000.json",
            "%2e%2e%2f" * 8 + secret[1:], "..%2f..%2f" + secret, "..%252f" * 6 + secret, "..;/..;" + secret, ".", "..", "~root/.ssh/id_rsa",
            "/proc/self/environ", "/dev/zero", "/dev/fd/3", f"|cat {secret}", f"$(cat {secret})", f"`cat {secret}`\n", "C:\\secret", ".hidden", "-rf /",
            "a" * 5000, "\u202e" + secret, "\r\nSet-Cookie: a=b", "{{7*7}}", "%s%n%x", "' OR 1=1 --", "<script>alert(1)</script>",
            "/etc/passwd", "..%c0%af" * 8 + secret[1:], "..\u2215" * 8 + secret[1:], "%2e%2e/" * 8 + secret[1:], "//" + secret, "./" * 20 + secret,
            f"/proc/1/root{secret}", f"/proc/self/cwd/{up}{secret}", f"{secret}%00.safetensors", "..%5c..%5c" + secret]


def check_answer(status, head, answer, what):
    assert status < 500 or status == 503, (what, status, answer)
    assert CANARY.encode() not in answer + head and b"root:x:" not in answer and b"\r\nset-cookie: a=b" not in head.lower(), what


def test_every_part_of_every_path(stage, unchanged):
    good = stage.bearer(stage.daemon.token)
    for method, path, _ in stage.routes:
        headers, body = body_of(method)
        for name in re.findall(r"\{(\w+)\}", path):
            for payload in payloads(stage):
                for text in {urllib.parse.quote(payload, safe=""), urllib.parse.quote(payload, safe="/.%")}:
                    target = stage.concrete(path, **{name: text})
                    status, head, answer = stage.ask(method.upper(), target, [good, *headers], body)
                    assert status >= 400, (method, target, status, answer[:200])
                    check_answer(status, head, answer, (method, target))


def test_every_query_parameter(stage, unchanged):
    good = stage.bearer(stage.daemon.token)
    seen = 0
    for method, path, operation in stage.routes:
        for parameter in operation.get("parameters", []):
            if parameter["in"] != "query" or path == "/v1/events" or method in CHANGES:
                continue
            seen += 1
            for payload in payloads(stage):
                target = f"{stage.concrete(path)}?{parameter['name']}={urllib.parse.quote(payload, safe='')}"
                check_answer(*stage.ask(method.upper(), target, [good]), (method, target[:200]))
    assert seen >= 20


# Valid bodies, so that a field is judged by itself; a schema that is not here gets the field alone.
BASES = {"Submission": {"kind": "pretrain", "params": {}}, "TokenRequest": {"user": "ann", "role": "viewer"},
         "Bulk": {"action": "cancel", "ids": ["r999"]}, "SweepRequest": {"kind": "pretrain", "params": {}, "grid": {"lr": [0.1]}},
         "Move": {"run": "r999", "top": True}}
FREE_TEXT = {"notes", "note", "reason", "secret"}


def string_fields(schema, schemas):
    """Names of the properties that take text, or lists or objects of it."""
    schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    properties = {}
    for one in schema.get("oneOf", [schema]):
        properties.update(one.get("properties", {}))
    for name, value in properties.items():
        kinds = value.get("type", "object")
        if {"string", "array", "object"} & set([kinds] if isinstance(kinds, str) else kinds):
            yield name, kinds if isinstance(kinds, str) else kinds[0]


def request_schema(operation):
    content = operation.get("requestBody", {}).get("content", {})
    return content.get("application/json", {}).get("schema")


def test_every_field_of_every_body(stage, unchanged):
    good, fields = stage.bearer(stage.daemon.token), 0
    for method, path, operation in stage.routes:
        schema = request_schema(operation)
        if not schema:
            continue
        name = schema.get("$ref", "/").rsplit("/", 1)[1]
        dry = any(p["name"] == "dry_run" for p in operation.get("parameters", []))
        for field, kind in string_fields(schema, stage.schemas):
            if field in FREE_TEXT:
                continue
            fields += 1
            for payload in payloads(stage):
                value = {"array": [payload], "object": {payload[:60]: payload, "name": payload, "file": payload}}.get(kind, payload)
                if field == "file" and payload.startswith("/") and "\u0000" not in payload and len(payload) < 100:
                    value = str(stage.outside / "secret")  # a backup onto what is there
                body = json.dumps({**BASES.get(name, {}), field: value}).encode()
                target = stage.concrete(path) + ("?dry_run=1" if dry else "")
                headers = [good, "Content-Type: application/json", f"Content-Length: {len(body)}"]
                status, head, answer = stage.ask(method.upper(), target, headers, body)
                check_answer(status, head, answer, (method, path, field, payload[:80]))
                assert status >= 400, (method, path, field, payload[:80], status, answer[:200])
    assert fields >= 15
    assert (stage.outside / "secret").read_text() == CANARY and [p.name for p in stage.outside.iterdir()] == ["secret"]


def test_every_path_parameter_of_every_kind(stage, images, unchanged):
    """The parameters of runs that are text, of each kind that the server knows."""
    seen = 0
    for kind in [one["properties"]["kind"]["const"] for one in stage.schemas["Submission"]["oneOf"]]:
        schema = stage.daemon.api("GET", f"/v1/schema/{kind}").json()
        for field, value in schema["properties"].items():
            if value.get("type") != "string" or "enum" in value:
                continue
            seen += 1
            for payload in payloads(stage):
                params = {"dataset": str(images), field: payload}
                answer = stage.daemon.api("POST", "/v1/runs?dry_run=1", json={"kind": kind, "params": params})
                assert answer.status_code < 500, (kind, field, payload[:80], answer.text[:300])
                assert CANARY not in answer.text
    assert seen >= 5


# ---- Links that change while they are used --------------------------------------------------------

@pytest.fixture
def with_files(tmp_path, images):
    """A daemon with an ended run that has two checkpoints and a log, and a secret beside the state directory."""
    stage = Stage(tmp_path, images)
    daemon, run = stage.daemon, stage.ended
    folder = daemon.state / "runs" / run / "checkpoints" / "step-000000000001"
    daemon.stop()
    folder.mkdir(parents=True)
    (daemon.state / "logs").mkdir(exist_ok=True)
    with sqlite3.connect(daemon.state / "state.db") as db:
        for step in (1, 2):
            path = folder.parent / f"step-{step:012d}"
            path.mkdir(exist_ok=True)
            write_checkpoint(str(path), step)
            db.execute("INSERT INTO checkpoint(run,attempt,step,epoch,path,bytes,hash,state,pinned,score,created_ms) "
                       "VALUES(?,1,?,1,?,600,?,'valid',0,NULL,1)", (run[1:], step, str(path), "0" * 64))
        db.execute("INSERT INTO attempt SELECT run,n,pid,boot_id,started_ms,ended_ms,exit_code,signal,cause,text,from_step,last_step,"
                   "device,gpus FROM (SELECT ? AS run,1 AS n,0 AS pid,'' AS boot_id,1 AS started_ms,2 AS ended_ms,0 AS exit_code,"
                   "0 AS signal,'' AS cause,'' AS text,0 AS from_step,1 AS last_step,'host' AS device,'[]' AS gpus)", (run[1:],))
    db.close()
    daemon.start()
    yield stage, run, folder
    daemon.stop()


def flip(place, inside, outside, i):
    other = place.with_name(place.name + ".next")
    if i % 2:
        other.symlink_to(outside)
    else:
        other.write_text(inside)
    other.rename(place)


def test_links_out_are_never_followed(with_files):
    """While a swapper puts links in place of files and back, as fast as it can; `make fault` makes 5,000 requests."""
    stage, run, folder = with_files
    daemon, secret, over = stage.daemon, stage.outside / "secret", threading.Event()
    log = daemon.state / "logs" / f"{run}-a1.log"
    checkpoint = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][-1]["id"]
    paths = [f"/v1/checkpoints/{checkpoint}/content", f"/v1/runs/{run}/logs", f"/v1/runs/{run}/files"]
    swaps, answered = 0, 0

    def swap():
        nonlocal swaps
        while not over.is_set():
            flip(folder / "model.safetensors", "inside" * 100, secret, swaps)
            flip(log, "inside\n", secret, swaps)
            swaps += 1
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for i in range(5000 if os.environ.get("IJEPAD_FAULT") == "all" else 300):
            answer = daemon.api("GET", paths[i % 3])
            assert CANARY not in answer.text, (paths[i % 3], swaps)
            answered += answer.status_code == 200
    finally:
        over.set()
        swapper.join()
    print(f"{i + 1} requests, {answered} answered with what is inside, {swaps} swaps")
    assert answered >= i // 3 and swaps > i // 10, "what is inside is told"


def test_a_deletion_follows_no_link(with_files):
    stage, run, folder = with_files
    daemon = stage.daemon
    (folder / "link").symlink_to(stage.outside)
    (folder / "optimizer.safetensors").unlink()
    (folder / "optimizer.safetensors").symlink_to(stage.outside / "secret")
    (daemon.state / "runs" / run / "features").symlink_to(stage.outside)
    (daemon.state / "logs" / f"{run}-a1.log").symlink_to(stage.outside / "secret")
    checkpoint = daemon.api("GET", f"/v1/runs/{run}/checkpoints").json()["items"][-1]["id"]
    assert daemon.api("DELETE", f"/v1/checkpoints/{checkpoint}").status_code == 200
    wait_until("the checkpoint is gone", lambda: daemon.api("GET", f"/v1/checkpoints/{checkpoint}").json()["state"] == "gone")
    assert daemon.api("DELETE", f"/v1/runs/{run}").status_code == 200
    wait_until("the run's files are gone", lambda: not list((daemon.state / "runs").glob(f"{run}*")))
    assert (stage.outside / "secret").read_text() == CANARY


# ---- Clients that take their time -----------------------------------------------------------------

def test_half_open_connections_do_not_keep_others_out(stage):
    slow = []
    for i in range(200):
        slow.append(socket.create_connection(("127.0.0.1", stage.daemon.port)))
        slow[-1].sendall(b"GET /v1/runs HTTP/1.1\r\nX-A: " + b"a" * i)
    times = []
    for _ in range(50):
        start = time.monotonic()
        assert stage.daemon.api("GET", "/v1/runs").status_code == 200
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(str(stage.daemon.state / "ijepad.sock"))
            local.sendall(b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert local.recv(15) == b"HTTP/1.1 200 OK"
        times.append(time.monotonic() - start)
    print(f"with 200 half-open connections: median of two requests {sorted(times)[25] * 1e3:.1f} ms")
    for s in slow:
        s.close()


def test_streams_starve_nobody(tmp_path, images):
    """32 event streams that read, 8 that do not, events all the time: every request is answered, and memory stays where it was."""
    daemon = Daemon(tmp_path, streams_max=64, streams_per_token_max=64).start()
    streams = []
    try:
        for i in range(40):
            streams.append(socket.create_connection(("127.0.0.1", daemon.port)))
            streams[-1].sendall(f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{daemon.port}\r\nAuthorization: Bearer {daemon.token}\r\n\r\n".encode())
            assert streams[-1].recv(12) == b"HTTP/1.1 200"
        before, heard = memory_mib(daemon.process.pid)[0], 0
        run = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {"dataset": str(images)}}).json()["id"]
        for i in range(5000 if os.environ.get("IJEPAD_FAULT") == "all" else 400):
            assert daemon.api("PATCH", f"/v1/runs/{run}", json={"notes": "x" * 3000 + str(i)}).status_code == 200
            assert daemon.api("GET", "/v1/runs").status_code == 200
            heard += sum(len(s.recv(1 << 20)) for s in select.select(streams[:32], [], [], 0)[0])
        more = memory_mib(daemon.process.pid)[1] - before
        print(f"{2 * (i + 1)} requests beside 40 streams, {heard} bytes of events read, {more:.1f} MiB more at most")
        assert heard > 32 * 100 and (more < 16 or sanitized())
    finally:
        for s in streams:
            s.close()
        daemon.stop()
