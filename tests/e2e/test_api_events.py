"""The event stream: what happens arrives, in order, once; a reader that comes back misses nothing."""
import json
import socket
import threading

import pytest
import requests

from harness import Daemon, idle_worker, wait_until

PARAMS = {"model": "vit_tiny", "batch": 8, "warmup_epochs": 0}


class Stream:
    """A reader in a thread of its own; `events` grows as they come."""

    def __init__(self, daemon, query="", **headers):
        self.events, self.comments = [], []
        self.answer = requests.get(f"{daemon.url}/v1/events{query}", stream=True, timeout=60,
                                   headers={"Authorization": f"Bearer {daemon.token}", **headers})
        self.thread = threading.Thread(target=self.read, daemon=True)
        if self.answer.status_code == 200:
            self.thread.start()

    def read(self):
        event = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                if line.startswith(":"):
                    self.comments.append(line)
                elif line:
                    key, _, value = line.partition(": ")
                    event[key] = value
                elif "event" in event:
                    self.events.append({**event, "data": json.loads(event["data"])})
                    event = {}
        except (requests.RequestException, AttributeError, ValueError):
            pass  # closed by the test

    def wait(self, condition, what):
        return wait_until(what, lambda: next((e for e in list(self.events) if condition(e)), None), deadline_s=20)

    def close(self):
        connection = self.answer.raw._connection
        if connection is not None and connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
        self.answer.close()


@pytest.fixture
def stream(idle_daemon):
    opened = []

    def start(query="", **headers):
        opened.append(Stream(idle_daemon, query, **headers))
        return opened[-1]
    yield start
    for each in opened:
        each.close()
    wait_until("the server has let the streams go", lambda: "ijepad_sse_clients 0" in
               idle_daemon.api("GET", "/metrics").text, deadline_s=10)


def submit(daemon, images, **extra):
    answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {
        **PARAMS, "dataset": str(images)}, **extra})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def newest_event(daemon, run):
    return daemon.api("GET", f"/v1/runs/{run}/events").json()["items"][-1]["id"]


def test_states_arrive_live(idle_daemon, images, stream):
    reader = stream()
    assert reader.answer.headers["Content-Type"] == "text/event-stream"
    assert reader.answer.headers["Cache-Control"] == "no-store"
    wait_until("the greeting", lambda: reader.comments)
    run = submit(idle_daemon, images)
    idle_daemon.api("POST", f"/v1/runs/{run}/cancel")
    event = reader.wait(lambda e: e["data"].get("run") == run and e["data"].get("state") == "canceled", "the end")
    assert event["event"] == "run.state" and int(event["id"]) == newest_event(idle_daemon, run)
    ids = [int(e["id"]) for e in reader.events if "id" in e]
    assert ids == sorted(set(ids))


def test_replay_from_an_id_then_live_without_gap_or_repeat(idle_daemon, images, stream):
    first = submit(idle_daemon, images)
    position = newest_event(idle_daemon, first)
    missed = [submit(idle_daemon, images) for _ in range(5)]
    reader = stream(**{"Last-Event-ID": str(position)})
    reader.wait(lambda e: e["data"].get("run") == missed[-1], "the last missed one")
    later = submit(idle_daemon, images)
    reader.wait(lambda e: e["data"].get("run") == later, "a live one")
    runs = [e["data"]["run"] for e in reader.events]
    assert runs == missed + [later]


def test_a_new_reader_does_not_get_the_past(idle_daemon, images, stream):
    submit(idle_daemon, images)
    reader = stream()
    wait_until("the greeting", lambda: reader.comments)
    run = submit(idle_daemon, images)
    reader.wait(lambda e: e["data"].get("run") == run, "the new one")
    assert [e["data"]["run"] for e in reader.events] == [run]


def test_topics(idle_daemon, images, stream):
    mine, other = submit(idle_daemon, images), submit(idle_daemon, images)
    reader = stream(f"?topics=run:{mine}")
    wait_until("the greeting", lambda: reader.comments)
    idle_daemon.api("PATCH", f"/v1/runs/{other}", json={"priority": 3})
    idle_daemon.api("PATCH", f"/v1/runs/{mine}", json={"priority": 4})
    reader.wait(lambda e: e["data"].get("priority") == 4, "the change")
    assert {e["data"]["run"] for e in reader.events} == {mine}


def test_an_id_from_the_future_is_a_reset(idle_daemon, images, stream):
    submit(idle_daemon, images)
    reader = stream(**{"Last-Event-ID": "999999999"})
    reader.wait(lambda e: e["event"] == "reset", "the reset")


@pytest.mark.parametrize("bad", ["x", "-1", "1.5", "99999999999999999999"])
def test_a_bad_position_is_refused(idle_daemon, bad):
    answer = idle_daemon.api("GET", "/v1/events", headers={"Last-Event-ID": bad})
    assert answer.status_code == 400, answer.text


def test_four_streams_per_token(idle_daemon, stream):
    readers = [stream() for _ in range(4)]
    assert all(reader.answer.status_code == 200 for reader in readers)
    fifth = idle_daemon.api("GET", "/v1/events")
    assert (fifth.status_code, fifth.json()["code"]) == (429, "too_many")
    other = idle_daemon.api("POST", "/v1/tokens", json={"user": "other", "role": "viewer"}).json()["token"]
    assert stream(**{"Authorization": f"Bearer {other}"}).answer.status_code == 200


def test_streams_up_to_the_limit_of_all(idle_daemon, stream):
    tokens = [idle_daemon.api("POST", "/v1/tokens", json={"user": f"many{i}", "role": "viewer"}).json()["token"]
              for i in range(9)]
    readers = [stream(**{"Authorization": f"Bearer {token}"}) for token in tokens[:8] for _ in range(4)]
    assert [reader.answer.status_code for reader in readers] == [200] * 32
    one_more = idle_daemon.api("GET", "/v1/events", headers={"Authorization": f"Bearer {tokens[8]}"})
    assert (one_more.status_code, one_more.json()["code"]) == (429, "too_many")
    assert idle_daemon.api("GET", "/v1/runs").status_code == 200


def test_bodies_that_do_not_come_hold_up_nobody(idle_daemon):
    """Heads of changes, complete and authorized, whose bodies are waited for."""
    slow = []
    for _ in range(40):
        slow.append(socket.create_connection(("127.0.0.1", idle_daemon.port)))
        slow[-1].sendall(f"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{idle_daemon.port}\r\n"
                         f"Authorization: Bearer {idle_daemon.token}\r\nContent-Type: application/json\r\n"
                         "Content-Length: 1000\r\n\r\n{".encode())
    for _ in range(20):
        assert idle_daemon.api("GET", "/v1/runs").status_code == 200
    for s in slow:
        s.close()


def test_streams_do_not_slow_others(idle_daemon, stream):
    """Four readers, one of which reads nothing: requests are answered as ever."""
    for _ in range(3):
        stream()
    with socket.create_connection(("127.0.0.1", idle_daemon.port)) as silent:
        silent.sendall(f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{idle_daemon.port}\r\n"
                       f"Authorization: Bearer {idle_daemon.token}\r\n\r\n".encode())
        times = []
        for _ in range(200):
            answer = idle_daemon.api("GET", "/v1/runs?limit=1")
            assert answer.status_code == 200
            times.append(answer.elapsed.total_seconds())
        times.sort()
        assert times[197] < 1.0, times[-5:]


def test_the_daemon_stops_with_streams_open(tmp_path, images):
    worker = idle_worker(tmp_path)
    daemon = Daemon(tmp_path, worker=worker).start()
    readers = [Stream(daemon) for _ in range(4)]
    for reader in readers:
        wait_until("the greeting", lambda: reader.comments)
    daemon.stop(deadline_s=20)
    assert daemon.process.returncode == 0
    for reader in readers:
        reader.thread.join(10)
        assert not reader.thread.is_alive()
