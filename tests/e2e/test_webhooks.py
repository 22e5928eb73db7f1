"""Webhooks: signed messages to a receiver of our own, which answers as each test wants."""
import base64
import hashlib
import hmac
import http.server
import json
import queue
import socket
import subprocess
import threading
import time

import pytest

from harness import BUILD, Daemon, idle_worker, wait_until
from test_api import as_user, make_token, submit, verb


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what arrives; `answers` holds the next statuses, then it is 200. "hang" answers when it is released."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got, self.answers, self.release = queue.Queue(), queue.Queue(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.put((dict(self.headers), body, time.time()))
        try:
            status = self.server.answers.get_nowait()
        except queue.Empty:
            status = 200
        if status == "hang":
            self.server.release.wait(60)
            status = 200
        self.send_response(status)
        if status in (301, 302):
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hooks")
    worker = idle_worker(folder)
    daemon = Daemon(folder, worker=worker, slots=1, start_timeout_s=600, stop_grace_s=1, webhook_allow_local="yes",
                    webhook_tries=3, webhook_retry_base_ms=100).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def hook(daemon, receiver):
    """Makes webhooks that go to the receiver, and takes them away."""
    made = []

    def make(*events, url=None, expect=201):
        answer = daemon.api("POST", "/v1/webhooks", json={"url": url or receiver.url, "events": list(events), "note": "n"})
        assert answer.status_code == expect, answer.text
        if expect == 201:
            made.append(answer.json()["id"])
        return answer.json()
    yield make
    for one in made:
        daemon.api("DELETE", f"/v1/webhooks/{one}")


def deliveries(daemon, hook):
    return daemon.api("GET", f"/v1/webhooks/{hook['id']}/deliveries").json()["items"]


def ended(daemon, hook, count=1):
    def look():
        items = [item for item in deliveries(daemon, hook) if item["state"] != "waiting"]
        return items if len(items) >= count else None
    return wait_until(f"{count} deliveries of {hook['id']} have ended", look, 60)


def verify(secret, headers, body):
    """As any library for Standard Webhooks does."""
    lower = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{lower['webhook-id']}.{lower['webhook-timestamp']}.".encode() + body
    want = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(want, lower["webhook-signature"])
    assert abs(int(lower["webhook-timestamp"]) - time.time()) < 300
    return lower["webhook-id"]


def test_an_event_arrives_signed(daemon, images, receiver, hook):
    made = hook("run.canceled")
    assert made["secret"].startswith("whsec_") and len(base64.b64decode(made["secret"][6:])) == 32
    run = submit(daemon, images, name="told").json()["id"]
    verb(daemon, run, "cancel", 200)
    headers, body, _ = receiver.got.get(timeout=60)
    delivery = verify(made["secret"], headers, body)
    message = json.loads(body)
    assert message["event"] == "run.canceled" and message["data"]["state"] == "canceled"
    assert message["run"] == {"id": run, "name": "told", "kind": "pretrain", "user": "admin"}
    assert headers["Content-Type"] == "application/json" and headers["User-Agent"].startswith("ijepad/")
    item = ended(daemon, made)[0]
    assert item["id"] == delivery and (item["state"], item["http"], item["tries"]) == ("delivered", 200, 1)
    assert item["run"] == run and item["event_id"] == message["id"] and item["next"] is None
    events = daemon.api("GET", f"/v1/runs/{run}/events").json()["items"]
    assert message["id"] in [event["id"] for event in events]
    assert receiver.got.empty(), "other states are not told"


def test_the_secret_is_told_once(daemon, hook):
    made = hook("*")
    for path in ("/v1/webhooks", f"/v1/webhooks/{made['id']}", "/v1/audit"):
        assert made["secret"] not in daemon.api("GET", path).text
    shown = daemon.api("GET", f"/v1/webhooks/{made['id']}").json()
    assert {**shown, "secret": made["secret"]} == made
    entry = daemon.api("GET", "/v1/audit?limit=1").json()["items"][0]
    assert (entry["action"], entry["target"], entry["actor"]) == ("webhook_create", made["id"], "admin")


def test_a_failing_receiver_is_tried_again_then_taken(daemon, receiver, hook):
    made = hook("run.failed")
    for status in (500, 503):
        receiver.answers.put(status)
    answer = daemon.api("POST", f"/v1/webhooks/{made['id']}/test")
    assert answer.status_code == 202
    tries = [receiver.got.get(timeout=60) for _ in range(3)]
    ids = {verify(made["secret"], headers, body) for headers, body, _ in tries}
    assert ids == {answer.json()["delivery"]}, "the same id each time: a receiver can tell a repetition"
    assert tries[2][2] - tries[1][2] >= 0.4 and tries[1][2] - tries[0][2] >= 0.1, "pauses of 100 and 400 ms at least"
    item = ended(daemon, made)[0]
    assert (item["state"], item["tries"], item["error"], item["event"]) == ("delivered", 3, None, "test")


def test_it_gives_up_after_the_last_try(daemon, receiver, hook):
    made = hook("run.failed")
    for status in (500, 404, 302):
        receiver.answers.put(status)
    daemon.api("POST", f"/v1/webhooks/{made['id']}/test")
    item = ended(daemon, made)[0]
    assert (item["state"], item["tries"], item["http"], item["error"]) == ("failed", 3, 302, "answered 302")
    assert receiver.got.qsize() == 3, "a redirection is not followed"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = hook("run.failed", url="http://127.0.0.1:%d/" % closed.getsockname()[1])
    daemon.api("POST", f"/v1/webhooks/{nobody['id']}/test")
    item = ended(daemon, nobody)[0]
    assert (item["state"], item["tries"], item["http"]) == ("failed", 3, None) and item["error"]
    shown = daemon.api("GET", f"/v1/webhooks/{nobody['id']}").json()
    assert (shown["last_state"], shown["last_http"], shown["waiting"]) == ("failed", None, 0) and shown["last_ended"]


def test_gone_switches_it_off(daemon, receiver, hook):
    made = hook("run.failed")
    receiver.answers.put(410)
    daemon.api("POST", f"/v1/webhooks/{made['id']}/test")
    assert ended(daemon, made)[0]["tries"] == 1
    shown = wait_until("it is off", lambda: (row := daemon.api("GET", f"/v1/webhooks/{made['id']}").json())["enabled"] or row)
    assert not shown["enabled"] and "410" in shown["reason"]
    assert daemon.api("POST", f"/v1/webhooks/{made['id']}/test").status_code == 409
    again = daemon.api("PATCH", f"/v1/webhooks/{made['id']}", json={"enabled": True}).json()
    assert again["enabled"] and again["reason"] is None
    assert daemon.api("POST", f"/v1/webhooks/{made['id']}/test").status_code == 202
    assert ended(daemon, made, 2)[0]["state"] == "delivered"


def test_a_receiver_that_hangs_delays_nothing_else(daemon, images, receiver, hook):
    slow = Receiver()
    try:
        for _ in range(20):
            slow.answers.put("hang")
        hanging, quick = hook("run.held", url=slow.url), hook("run.held")
        runs = [submit(daemon, images).json()["id"] for _ in range(5)]
        told = {json.loads(receiver.got.get(timeout=60)[1])["run"]["id"] for _ in runs}
        assert told == set(runs)
        assert all(item["state"] == "delivered" for item in ended(daemon, quick, 5))
        assert {item["state"] for item in deliveries(daemon, hanging)} == {"waiting"}
        assert slow.got.qsize() <= 2, "at most two at a time to one receiver"
        assert daemon.api("GET", "/v1/runs").elapsed.total_seconds() < 5
    finally:
        slow.release.set()
        ended(daemon, hanging, 5)
        slow.shutdown()
        slow.server_close()


def test_a_helper_that_dies_is_started_again(daemon, receiver, hook):
    made = hook("run.failed")
    receiver.answers.put("hang")
    daemon.api("POST", f"/v1/webhooks/{made['id']}/test")
    receiver.got.get(timeout=60)
    helper = [pid for pid in daemon.worker_pids() if "ijepad-webhook" in open(f"/proc/{pid}/cmdline").read()]
    assert len(helper) == 1
    subprocess.run(["kill", "-9", str(helper[0])], check=True)
    receiver.got.get(timeout=60)
    item = ended(daemon, made)[0]
    assert (item["state"], item["tries"]) == ("delivered", 2)


def test_what_waits_survives_the_daemon(tmp_path, images, receiver):
    daemon = Daemon(tmp_path, webhook_allow_local="yes", webhook_retry_base_ms=100).start()
    receiver.answers.put("hang")
    made = daemon.api("POST", "/v1/webhooks", json={"url": receiver.url, "events": ["run.held"]}).json()
    run = submit(daemon, images).json()["id"]
    first = receiver.got.get(timeout=60)
    daemon.kill()
    daemon.start()
    second = receiver.got.get(timeout=60)
    assert verify(made["secret"], *first[:2]) == verify(made["secret"], *second[:2])
    assert json.loads(second[1])["run"]["id"] == run
    assert ended(daemon, made)[0]["state"] == "delivered"
    daemon.stop()


@pytest.mark.parametrize("url", [
    "http://127.0.0.1/", "http://localhost:9/", "http://LOCALHOST./", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/", "http://[fe80::1]/",
    "http://x.localhost/", "http://224.0.0.1/", "ftp://example.org/", "file:///etc/passwd", "example.org", "http://", "http://a@b.org/",
    "http://u:p@127.0.0.1/", "http://example.org:0/", "http://example.org:65536/", "http://example.org:x/", "http://exa mple.org/",
    "http://example.org/#x", "http://example.org\\@127.0.0.1/", "http://-x/", "http://[::1/", "gopher://x/", "http:///x", ""])
def test_targets_that_are_refused(idle_daemon, url):
    answer = idle_daemon.api("POST", "/v1/webhooks", json={"url": url, "events": ["*"]})
    assert answer.status_code == 422 and answer.json()["errors"][0]["pointer"] == "/url", answer.text
    assert idle_daemon.api("GET", "/v1/webhooks").json()["items"] == []


def test_a_name_that_turns_out_to_be_this_machine_is_refused(receiver):
    """The helper itself, as the daemon starts it: the address is looked at when it connects."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(["bash", "-c", f'exec "$0" 3<&{theirs.fileno()} {theirs.fileno()}<&-', BUILD / "ijepad-webhook"],
                               pass_fds=[theirs.fileno()])
    theirs.close()
    ours.settimeout(60)
    letter = {"id": 1, "url": receiver.url, "headers": [], "body": "{}", "timeout_ms": 5000, "allow_local": False}
    try:
        ours.send(json.dumps(letter).encode())
        answer = json.loads(ours.recv(4096))
        assert answer["id"] == 1 and answer["refused"] and answer["http"] == 0 and "not allowed" in answer["error"]
        assert receiver.got.empty()
        ours.send(json.dumps({**letter, "id": 2, "allow_local": True}).encode())
        assert json.loads(ours.recv(4096)) == {"id": 2, "http": 200, "refused": False, "error": ""}
        for wrong in (b"{", b"[]", b'{"id":3}', json.dumps({**letter, "id": 3, "timeout_ms": 0}).encode()):
            ours.send(wrong)
            assert json.loads(ours.recv(4096))["error"] == "the message cannot be read"
    finally:
        ours.close()
        assert process.wait(30) == 0, "it ends with its daemon"


def test_roles(daemon, hook):
    made = hook("run.failed")
    one = f"/v1/webhooks/{made['id']}"
    calls = [("GET", "/v1/webhooks", None, "operator"), ("GET", one, None, "operator"), ("GET", one + "/deliveries", None, "operator"),
             ("POST", one + "/test", None, "operator"), ("PATCH", one, {"enabled": False}, "admin"),
             ("POST", "/v1/webhooks", {"url": "http://example.org/", "events": ["*"]}, "admin"), ("DELETE", one, None, "admin")]
    roles = ["viewer", "submitter", "operator"]
    for role in roles:
        token = as_user(make_token(daemon, "someone", role))
        for method, path, body, needed in calls:
            allowed = needed in roles and roles.index(role) >= roles.index(needed)
            answer = daemon.api(method, path, json=body, headers=token)
            assert (answer.status_code < 300) == allowed and (allowed or answer.status_code == 403), (role, method, path, answer.text)


def test_sixteen_are_the_limit(daemon, hook):
    there = len(daemon.api("GET", "/v1/webhooks").json()["items"])
    for _ in range(16 - there):
        hook("run.failed")
    assert "16" in hook("run.failed", expect=409)["detail"]
