"""What holds for many routes: repetition by Idempotency-Key, pages with Link, gzip, filters of the audit log, quotas."""
import gzip

import pytest
import requests

from harness import Daemon, idle_worker, wait_until
from test_api import as_user, make_token, submit, verb


def twice(daemon, path, body, key):
    answers = [daemon.api("POST", path, json=body, headers={"Idempotency-Key": key}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201], [answer.text for answer in answers]
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]
    first, again = [answer.json() for answer in answers]
    assert first["id"] == again["id"]
    return first, again


def test_a_token_is_made_once(idle_daemon):
    count = len(idle_daemon.api("GET", "/v1/tokens").json()["items"])
    first, again = twice(idle_daemon, "/v1/tokens", {"user": "ann", "role": "viewer"}, "token-1")
    assert first["token"].startswith("ijp_") and again == {**first, "token": None}
    assert len(idle_daemon.api("GET", "/v1/tokens").json()["items"]) == count + 1
    other = idle_daemon.api("POST", "/v1/tokens", json={"user": "bob", "role": "viewer"}, headers={"Idempotency-Key": "token-1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert idle_daemon.api("POST", "/v1/tokens", json={"user": "a", "role": "viewer"}, headers={"Idempotency-Key": "x y"}).status_code == 400


def test_a_webhook_is_made_once(idle_daemon):
    body = {"url": "http://example.org/", "events": ["run.failed"]}
    first, again = twice(idle_daemon, "/v1/webhooks", body, "hook-1")
    assert first["secret"] and again == {**first, "secret": None}
    assert [hook["id"] for hook in idle_daemon.api("GET", "/v1/webhooks").json()["items"]] == [first["id"]]
    for path, sent in (("/v1/tokens", {"user": "a", "role": "viewer"}), ("/v1/webhooks", {**body, "note": "x"})):
        answer = idle_daemon.api("POST", path, json=sent, headers={"Idempotency-Key": "hook-1"})
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    idle_daemon.api("DELETE", f"/v1/webhooks/{first['id']}")


@pytest.mark.parametrize("path", ["/v1/runs?limit=2&sort=-created", "/v1/audit?limit=2&action=run.submit"])
def test_link_leads_through_all_pages(idle_daemon, images, path):
    for _ in range(3):
        submit(idle_daemon, images)
    seen, pages, answer = [], 0, idle_daemon.api("GET", path)
    while True:
        items = answer.json()["items"]
        seen += [item["id"] for item in items]
        pages += 1
        follow = answer.links.get("next", {}).get("url")
        more = answer.json().get("next_cursor") or answer.json().get("next_before")
        assert bool(follow) == bool(more)
        if not follow:
            break
        assert follow.startswith(path.split("?")[0] + "?limit=2&") and len(items) == 2
        answer = idle_daemon.api("GET", follow)
    assert pages >= 2 and len(seen) == len(set(seen)) >= 3


def test_gzip_where_it_is_taken(idle_daemon):
    def raw(**headers):
        with idle_daemon.api("GET", "/v1/presets", headers=headers, stream=True) as answer:
            return answer.headers, answer.raw.read(decode_content=False)
    plain_headers, plain = raw(**{"Accept-Encoding": "identity"})
    packed_headers, packed = raw(**{"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain_headers and packed_headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed) == plain and len(packed) < len(plain) == int(plain_headers["Content-Length"])
    assert plain_headers["Vary"] == packed_headers["Vary"] == "Accept-Encoding"
    small = requests.get(idle_daemon.url + "/healthz", headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert "Content-Encoding" not in small.headers


def test_filters_of_the_audit_log(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    token = as_user(make_token(idle_daemon, "olga", "operator"))
    assert idle_daemon.api("POST", f"/v1/runs/{run}/cancel", headers=token).status_code == 200

    def audit(query):
        return [(e["actor"], e["action"], e["target"]) for e in idle_daemon.api("GET", "/v1/audit?" + query).json()["items"]]
    assert audit("actor=olga") == [("olga", "run.cancel", run)]
    assert audit(f"target={run}&actor=admin") == [("admin", "run.submit", run)]
    assert ("admin", "token_create", None) in audit("action=token_create&limit=500")
    assert audit("actor=nobody") == []


def test_a_quota_of_runs_per_user(tmp_path, images):
    daemon = Daemon(tmp_path, quota_live_runs=3).start()
    runs = [submit(daemon, images).json()["id"] for _ in range(3)]
    refused = submit(daemon, images, expect=429).json()
    assert refused["code"] == "too_many" and "quota_live_runs" in refused["detail"] and "admin" in refused["detail"]
    ann = as_user(make_token(daemon, "ann", "submitter"))
    submit(daemon, images, headers=ann)
    sweep = {"kind": "pretrain", "hold": True, "params": {"dataset": str(images), "model": "vit_tiny", "batch": 8, "warmup_epochs": 0}}
    for seeds, status in (([1, 2, 3], 429), ([1, 2], 201), ([4], 429)):
        answer = daemon.api("POST", "/v1/sweeps", json={**sweep, "grid": {"seed": seeds}}, headers=ann)
        assert answer.status_code == status, answer.text
    verb(daemon, runs[0], "cancel", 200)
    submit(daemon, images)
    submit(daemon, images, expect=429)
    daemon.stop()


def test_a_quota_of_devices_per_user(tmp_path, images):
    worker = idle_worker(tmp_path)
    daemon = Daemon(tmp_path, worker=worker, slots=3, quota_devices=2, start_timeout_s=600, stop_grace_s=1).start()
    mine = [submit(daemon, images, hold=False).json()["id"] for _ in range(3)]
    ann = submit(daemon, images, hold=False, headers=as_user(make_token(daemon, "ann", "submitter"))).json()["id"]
    for run in (mine[0], mine[1], ann):
        daemon.wait_for_state(run, "starting")
    waits = wait_until("it says why", lambda: (daemon.run(mine[2])["pending"] or {}).get("code") == "quota" and daemon.run(mine[2]))
    assert "admin holds 2 devices and may hold 2" in waits["pending"]["text"]
    verb(daemon, mine[0], "kill", 202)
    daemon.wait_for_state(mine[2], "starting")
    daemon.stop()
