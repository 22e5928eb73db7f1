"""Hostile requests, byte by byte: nothing is changed, nothing is told, the server goes on."""
import itertools
import socket

import pytest
import requests


def raw(daemon, data, expect_close=True):
    """Sends bytes, returns (status, head, body) of the first answer; reads until the server closes."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    if not answer:
        return 0, b"", b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, body


def request(daemon, line="GET /v1/runs HTTP/1.1", headers=(), body=b"", host=None, token=True):
    lines = [line]
    if host is not False:
        lines.append(f"Host: {host or f'127.0.0.1:{daemon.port}'}")
    if token:
        lines.append(f"Authorization: Bearer {daemon.token}")
    lines += list(headers)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@pytest.fixture
def alive(idle_daemon):
    before = idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"]
    yield
    assert requests.get(idle_daemon.url + "/healthz", timeout=5).status_code == 200
    assert idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"] == before


BODY = b'{"kind":"pretrain","hold":true}'
JSON = "Content-Type: application/json"

SHAPES = {
    "two hosts, same": ["Host: 127.0.0.1:{port}"],
    "two hosts, other": ["Host: evil.test"],
    "transfer-encoding": ["Transfer-Encoding: chunked"],
    "transfer-encoding and length": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "unknown transfer-encoding": ["Transfer-Encoding: xchunked"],
    "transfer-encoding identity": ["Transfer-Encoding: identity"],
    "two lengths": ["Content-Length: 31", "Content-Length: 0"],
    "two lengths, same": ["Content-Length: 31", "Content-Length: 31"],
    "space before the colon": ["Transfer-Encoding : chunked"],
    "space in a name": ["X Y: 1"],
    "tab in a name": ["X\tY: 1"],
    "two authorizations": ["Authorization: Bearer x"],
    "two content types": [JSON, "Content-Type: text/plain"],
    "control byte in a value": ["X-A: a\x01b"],
    "upgrade": ["Upgrade: h2c", "Connection: Upgrade"],
    "65 headers": [f"X-{i}: 1" for i in range(65)],
    "list of lengths": ["Content-Length: 31, 31"],
    "negative length": ["Content-Length: -1"],
    "signed length": ["Content-Length: +31"],
    "huge length": ["Content-Length: 99999999999999999999999"],
    "hex length": ["Content-Length: 0x1f"],
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_can_be_read_in_two_ways(idle_daemon, alive, name):
    headers = [h.replace("{port}", str(idle_daemon.port)) for h in SHAPES[name]]
    smuggled = b"5\r\nhello\r\n0\r\n\r\nPOST /v1/runs HTTP/1.1\r\n"
    body = smuggled if "encoding" in name else BODY
    status, head, _ = raw(idle_daemon, request(idle_daemon, "POST /v1/runs HTTP/1.1", [JSON, *headers], body))
    assert status in (0, 400, 413), (status, head)
    assert head.count(b"HTTP/1.1 ") <= 1


TARGETS = ["/v1/../etc/passwd", "/..", "/%2e%2e/etc/passwd", "/v1/runs/%2e%2e", "/v1/runs%2fr1", "/v1/runs%5cr1",
           "/v1/runs\\r1", "/v1/runs/r1%00", "/v1/runs?name=%00", "/%252e%252e/", "//evil.test/v1/runs", "/v1//runs",
           "http://evil.test/v1/runs", "evil", "*", "/v1/runs;x=1", "/v1/runs#x", "/<script>", "/v1/runs\x7f",
           "/" + "a" * 5000, "/v1/runs?name=a\"b"]


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_targets(idle_daemon, alive, target):
    status, head, body = raw(idle_daemon, request(idle_daemon, f"GET {target} HTTP/1.1"))
    assert status in (0, 400, 404, 414), (status, head)
    assert b"root:" not in body and b"<script>" not in body


@pytest.mark.parametrize("query", ["name=%zz", "name=%", "name=%4", "%=1"])
def test_bad_escapes(idle_daemon, alive, query):
    assert raw(idle_daemon, request(idle_daemon, f"GET /v1/runs?{query} HTTP/1.1",
                                    ["Connection: close"]))[0] == 400


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "localhost", "127.0.0.1:1", "localhost.:{port}",
                                  "127.0.0.1:{port}.evil.test", "evil.test:{port}", "127.0.0.1:{port},evil", "[::1]",
                                  "0.0.0.0:{port}", "127.1:{port}", "user@127.0.0.1:{port}", "2130706433:{port}"])
@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "GET /healthz HTTP/1.1", "GET /v1/runs HTTP/1.1",
                                  "POST /v1/runs HTTP/1.1", "GET /v1/openapi.json HTTP/1.1"])
def test_other_hosts(idle_daemon, alive, host, line):
    host = host.replace("{port}", str(idle_daemon.port))
    status, head, body = raw(idle_daemon, request(idle_daemon, line, ["Connection: close"], host=host))
    assert status == 421, head
    assert b"misdirected" in body and b"components" not in body


def test_good_hosts(idle_daemon):
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        sent = request(idle_daemon, headers=["Connection: close"], host=f"{host}:{idle_daemon.port}")
        assert raw(idle_daemon, sent)[0] == 200, host


def test_no_host(idle_daemon, alive):
    assert raw(idle_daemon, request(idle_daemon, host=False))[0] == 400
    assert raw(idle_daemon, request(idle_daemon, "GET /v1/runs HTTP/1.0", host=False))[0] in (0, 400)


METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "post", "BREW"]


@pytest.mark.parametrize("method", METHODS)
def test_methods(idle_daemon, alive, method):
    """What the table does not have is 405 with Allow, and without effect."""
    status, head, _ = raw(idle_daemon, request(idle_daemon, f"{method} /v1/runs HTTP/1.1", ["Connection: close", JSON]))
    if method in ("GET", "HEAD"):
        assert status == 200
    elif method == "POST":
        assert status == 400  # no body
    else:
        assert status in (400, 405) and (status != 405 or b"Allow: GET, HEAD, POST" in head), head


ORIGINS = [None, "null", "http://evil.test", "https://127.0.0.1", "file://"]
TYPES = [None, "text/plain", "application/x-www-form-urlencoded", "application/json"]
CHANGES = ["POST /v1/runs", "PATCH /v1/runs/r1", "POST /v1/runs/r1/cancel", "POST /v1/tokens", "DELETE /v1/tokens/a",
           "DELETE /v1/session", "POST /v1/session", "POST /v1/preview/masks", "POST /v1/admin/backup"]


@pytest.mark.parametrize("line", CHANGES)
def test_changes_from_elsewhere(idle_daemon, alive, line):
    """Cross-site requests as a browser would send them, with a token to make it as easy as can be."""
    for origin, kind in itertools.product(ORIGINS, TYPES):
        headers = ["Connection: close", f"Content-Length: {len(BODY)}"]
        headers += [f"Origin: {origin}"] if origin else []
        headers += [f"Content-Type: {kind}"] if kind else []
        status, head, _ = raw(idle_daemon, request(idle_daemon, f"{line} HTTP/1.1", headers, BODY))
        if origin:
            assert status == 403, (origin, kind, head)
        elif kind != "application/json":
            assert status == 415, (origin, kind, head)
        else:
            assert status in (400, 404, 422), (origin, kind, head)
        assert b"access-control" not in head.lower()


@pytest.mark.parametrize("site, allowed", [("cross-site", False), ("same-site", False), ("same-origin", True), ("none", True)])
def test_sec_fetch_site(idle_daemon, alive, site, allowed):
    headers = ["Connection: close", JSON, f"Sec-Fetch-Site: {site}", "Content-Length: 2"]
    status, _, _ = raw(idle_daemon, request(idle_daemon, "POST /v1/runs HTTP/1.1", headers, b"{}"))
    assert status == (422 if allowed else 403)


def test_pipelined_requests_are_answered_in_order(idle_daemon):
    one = request(idle_daemon, "GET /healthz HTTP/1.1")
    last = request(idle_daemon, "GET /readyz HTTP/1.1", ["Connection: close"])
    with socket.create_connection(("127.0.0.1", idle_daemon.port), timeout=20) as peer:
        peer.sendall(one + one + last)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200") == 3 and answer.index(b"uptime_s") < answer.index(b"checks")


def test_an_early_refusal_is_not_lost_while_the_body_is_sent(idle_daemon, alive):
    """401, and 413 up to a few MiB, reach a client that sends its whole body first."""
    big = b"x" * 900_000
    answer = requests.post(idle_daemon.url + "/v1/runs", data=big, headers={"Content-Type": "application/json"}, timeout=20)
    assert answer.status_code == 401
    answer = idle_daemon.api("POST", "/v1/runs", data=b"x" * 3_000_000)
    assert answer.status_code == 413


def test_names_and_errors_are_data(idle_daemon, alive):
    for text in ("<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'; DROP TABLE run;--", "$(reboot)"):
        answer = idle_daemon.api("POST", "/v1/runs", json={"kind": text, "name": text, text: 1})
        assert answer.status_code == 422
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
