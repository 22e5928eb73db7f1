"""The API as a person uses it: submit, list, change, command. No worker reports here, so that every
state is what the test made it."""
import base64
import json

import pytest
import requests

from harness import wait_until

PARAMS = {"model": "vit_tiny", "batch": 8, "warmup_epochs": 0, "epochs": 1}


def submit(daemon, images, hold=True, headers=None, expect=201, **extra):
    body = {"kind": "pretrain", "params": {**PARAMS, "dataset": str(images)}, "hold": hold, **extra}
    answer = daemon.api("POST", "/v1/runs", json=body, headers=headers)
    assert answer.status_code == expect, answer.text
    return answer


def verb(daemon, run, name, expect, **kwargs):
    answer = daemon.api("POST", f"/v1/runs/{run}/{name}", **kwargs)
    assert answer.status_code == expect, answer.text
    return answer.json()


def make_token(daemon, user, role):
    answer = daemon.api("POST", "/v1/tokens", json={"user": user, "role": role})
    assert answer.status_code == 201, answer.text
    return answer.json()


def as_user(token):
    return {"Authorization": f"Bearer {token['token']}"}


def test_submit_tells_the_run_and_where_it_is(idle_daemon, images):
    answer = submit(idle_daemon, images, name="told", tags=["x"], priority=3, notes="n")
    run = answer.json()
    assert answer.headers["Location"] == f"/v1/runs/{run['id']}"
    assert (run["state"], run["name"], run["tags"], run["priority"], run["notes"], run["user"]) == \
        ("held", "told", ["x"], 3, "n", "admin")
    assert idle_daemon.run(run["id"])["created"] == run["created"]


def test_dry_run_resolves_and_changes_nothing(idle_daemon, images):
    before = idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"]
    answer = idle_daemon.api("POST", "/v1/runs?dry_run=1",
                             json={"kind": "pretrain", "params": {**PARAMS, "dataset": str(images)}})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["resolved"]["params"]["width"] == 192 and body["resolved"]["params"]["lr"] == 0.001
    assert body["plan"]["parameters_encoder"] > 5e6
    assert idle_daemon.api("GET", "/v1/runs?count=1&limit=1").json()["total"] == before


def test_the_resolved_parameters_can_be_submitted_again(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    config = idle_daemon.api("GET", f"/v1/runs/{run}/config").json()
    again = idle_daemon.api("POST", "/v1/runs", json={"kind": config["kind"], "hold": True,
                                                      "params": config["resolved"]}).json()["id"]
    assert idle_daemon.api("GET", f"/v1/runs/{again}/config").json()["resolved"] == config["resolved"]


def test_idempotency_key(idle_daemon, images):
    key = {"Idempotency-Key": "k" * 128}
    first = submit(idle_daemon, images, headers=key, name="once")
    second = submit(idle_daemon, images, headers=key, name="once")
    assert second.json()["id"] == first.json()["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    other = submit(idle_daemon, images, headers=key, name="twice", expect=422)
    assert other.json()["code"] == "idempotency_key_reused"
    submit(idle_daemon, images, headers={"Idempotency-Key": "k" * 129}, expect=400)


def test_pages_neither_repeat_nor_miss(idle_daemon, images):
    made = {submit(idle_daemon, images, name=f"page-{i}").json()["id"] for i in range(7)}
    seen, cursor, pages = [], "", 0
    while cursor is not None:
        answer = idle_daemon.api("GET", f"/v1/runs?name=page-&limit=3&cursor={cursor}" if cursor else
                                 "/v1/runs?name=page-&limit=3").json()
        seen += [run["id"] for run in answer["items"]]
        cursor, pages = answer["next_cursor"], pages + 1
    assert len(seen) == len(set(seen)) == 7 and set(seen) == made and pages == 3
    numbers = [int(run[1:]) for run in seen]
    assert numbers == sorted(numbers, reverse=True)


def test_cursor_of_another_sort_or_made_up_is_refused(idle_daemon, images):
    for i in range(2):
        submit(idle_daemon, images, name=f"cursor-{i}")
    cursor = idle_daemon.api("GET", "/v1/runs?limit=1").json()["next_cursor"]
    for bad in (f"sort=-priority&cursor={cursor}", "cursor=zzz",
                "cursor=" + base64.urlsafe_b64encode(b"0.1.-5").decode()):
        answer = idle_daemon.api("GET", f"/v1/runs?limit=1&{bad}")
        assert answer.status_code == 422 and answer.json()["detail"].startswith("cursor"), answer.text


def test_filters(idle_daemon, images):
    run = submit(idle_daemon, images, name="filter-me", tags=["blue"]).json()["id"]

    def ids(query):
        answer = idle_daemon.api("GET", f"/v1/runs?limit=500&{query}")
        assert answer.status_code == 200, answer.text
        return [item["id"] for item in answer.json()["items"]]
    for query in ("tag=blue", "name=filter-", "kind=pretrain", "state=held", "state=live", "user=admin",
                  "state=running,held"):
        assert run in ids(query), query
    for query in ("tag=red", "name=zz", "kind=knn", "state=failed", "user=nobody", "parent=r999"):
        assert run not in ids(query), query


def test_etag_and_if_match(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    path = f"/v1/runs/{run}"
    etag = idle_daemon.api("GET", path).headers["ETag"]
    assert idle_daemon.api("GET", path, headers={"If-None-Match": etag}).status_code == 304
    patched = idle_daemon.api("PATCH", path, json={"priority": 9}, headers={"If-Match": etag})
    assert patched.status_code == 200 and patched.json()["priority"] == 9, patched.text
    assert patched.headers["ETag"] != etag
    stale = idle_daemon.api("PATCH", path, json={"priority": 1}, headers={"If-Match": etag})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert idle_daemon.run(run)["priority"] == 9
    assert idle_daemon.api("GET", path, headers={"If-None-Match": etag}).status_code == 200
    assert idle_daemon.api("PATCH", path, json={"priority": 1},
                           headers={"If-Match": "17"}).status_code == 400


def test_patch_takes_only_what_may_change(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    answer = idle_daemon.api("PATCH", f"/v1/runs/{run}", json={"prioritty": 3})
    assert answer.status_code == 422 and "priority" in answer.json()["errors"][0]["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/prioritty"
    for bad in ({"priority": 1001}, {"priority": "1"}, {"name": "../x"}, {"tags": ["a b"]}, {"notes": 5}, {}):
        answer = idle_daemon.api("PATCH", f"/v1/runs/{run}", json=bad)
        assert answer.status_code == 422, (bad, answer.text)


def test_commands_on_a_run_that_waits(idle_daemon, images):
    blocker = submit(idle_daemon, images, hold=False, priority=1000).json()["id"]
    idle_daemon.wait_for_state(blocker, "starting")
    run = submit(idle_daemon, images).json()["id"]
    for name, state in (("release", "queued"), ("release", "queued"), ("hold", "held"), ("hold", "held"),
                        ("release", "queued"), ("pause", "paused"), ("pause", "paused"),
                        ("resume", "queued"), ("cancel", "canceled"), ("cancel", "canceled"),
                        ("requeue", "queued"), ("kill", "canceled")):
        assert verb(idle_daemon, run, name, 200)["state"] == state, name
    refused = verb(idle_daemon, run, "pause", 409)
    assert refused["code"] == "conflict" and refused["state"] == "canceled"
    assert "requeue" in refused["allowed"] and "pause" not in refused["allowed"]
    queue = idle_daemon.api("GET", "/v1/queue").json()
    assert blocker in [item["id"] for item in queue["active"]]
    verb(idle_daemon, blocker, "kill", 202)
    idle_daemon.wait_for_state(blocker, "canceled")
    attempts = idle_daemon.api("GET", f"/v1/runs/{blocker}/attempts").json()["items"]
    assert [attempt["n"] for attempt in attempts] == [1]
    kinds = [event["type"] for event in idle_daemon.api("GET", f"/v1/runs/{run}/events").json()["items"]]
    assert kinds.count("run.state") >= 8


def test_a_command_takes_no_unknown_body(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    assert verb(idle_daemon, run, "cancel", 422, json={"grace": 1})["errors"][0]["pointer"] == "/grace"
    assert idle_daemon.run(run)["state"] == "held"
    verb(idle_daemon, run, "cancel", 200, json={})
    verb(idle_daemon, run, "requeue", 422, json={"from": "nowhere"})
    verb(idle_daemon, run, "requeue", 200, json={"from": "checkpoint"})
    assert idle_daemon.api("POST", f"/v1/runs/{run}/kill").status_code in (200, 202)  # it may have started
    idle_daemon.wait_for_state(run, "canceled")


def test_roles(idle_daemon, images):
    tokens = {role: make_token(idle_daemon, role, role) for role in ("viewer", "submitter", "operator")}
    body = {"kind": "pretrain", "hold": True, "params": {**PARAMS, "dataset": str(images)}}

    def call(role, method, path, **kwargs):
        return idle_daemon.api(method, path, headers=as_user(tokens[role]), **kwargs).status_code
    assert call("viewer", "GET", "/v1/runs") == 200
    assert call("viewer", "POST", "/v1/runs", json=body) == 403
    assert call("submitter", "POST", "/v1/runs", json=body) == 201
    mine = idle_daemon.api("GET", "/v1/runs?user=submitter").json()["items"][0]["id"]
    theirs = submit(idle_daemon, images).json()["id"]
    assert call("viewer", "POST", f"/v1/runs/{mine}/cancel") == 403
    assert call("submitter", "POST", f"/v1/runs/{theirs}/cancel") == 403
    assert call("submitter", "PATCH", f"/v1/runs/{theirs}", json={"priority": 1}) == 403
    assert call("submitter", "POST", f"/v1/runs/{mine}/cancel") == 200
    assert call("operator", "POST", f"/v1/runs/{theirs}/cancel") == 200
    assert call("operator", "GET", "/v1/tokens") == 403
    assert call("operator", "POST", "/v1/admin/backup", json={"file": "/tmp/never"}) == 403


def test_a_revoked_token_and_its_session_end_at_once(idle_daemon):
    token = make_token(idle_daemon, "gone", "viewer")
    browser = requests.Session()
    opened = browser.post(idle_daemon.url + "/v1/session",
                          headers={**as_user(token), "Content-Type": "application/json"}, timeout=10)
    assert opened.status_code == 200
    cookie = opened.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert browser.get(idle_daemon.url + "/v1/runs", timeout=10).status_code == 200
    assert idle_daemon.api("GET", "/v1/runs", headers=as_user(token)).status_code == 200
    assert idle_daemon.api("DELETE", f"/v1/tokens/{token['id']}").status_code == 200
    assert browser.get(idle_daemon.url + "/v1/runs", timeout=10).status_code == 401
    assert idle_daemon.api("GET", "/v1/runs", headers=as_user(token)).status_code == 401


def test_an_expired_token_is_refused(idle_daemon):
    answer = idle_daemon.api("POST", "/v1/tokens", json={"user": "brief", "role": "viewer", "expires_s": 1})
    token = answer.json()
    assert token["expires"]
    wait_until("the token has expired", lambda: idle_daemon.api(
        "GET", "/v1/runs", headers=as_user(token)).status_code == 401, deadline_s=10)


def test_a_cookie_changes_nothing_without_the_right_origin(idle_daemon, images):
    token = make_token(idle_daemon, "browser", "submitter")
    browser = requests.Session()
    url, json_type = idle_daemon.url, {"Content-Type": "application/json"}
    assert browser.post(url + "/v1/session", headers={**as_user(token), **json_type}, timeout=10).ok
    body = json.dumps({"kind": "pretrain", "hold": True, "params": {**PARAMS, "dataset": str(images)}})
    for origin in (None, "null", "http://evil.test", url + ".evil.test", "http://localhost:1"):
        headers = {**json_type, **({"Origin": origin} if origin else {})}
        answer = browser.post(url + "/v1/runs", data=body, headers=headers, timeout=10)
        assert answer.status_code == 403, (origin, answer.text)
    answer = browser.post(url + "/v1/runs", data=body, timeout=10, headers={**json_type, "Origin": url})
    assert answer.status_code == 201, answer.text
    assert browser.delete(url + "/v1/session", headers={**json_type, "Origin": url}, timeout=10).ok
    assert browser.get(url + "/v1/runs", timeout=10).status_code == 401


def test_secrets_are_not_told_twice(idle_daemon):
    token = make_token(idle_daemon, "quiet", "viewer")
    listed = idle_daemon.api("GET", "/v1/tokens").text
    assert token["id"] in listed and token["token"] not in listed
    assert token["token"] not in idle_daemon.log()


def test_logs_show_control_bytes_as_text(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    assert idle_daemon.api("GET", f"/v1/runs/{run}/logs").text == ""
    started = submit(idle_daemon, images, hold=False, priority=900).json()["id"]
    idle_daemon.wait_for_state(started, "starting")
    log = idle_daemon.state / "logs" / f"{started}-a1.log"
    log.write_bytes(b"one\n\x1b[31mtwo\xff\n\xc2\x9bthree \xc3\xa4\x00\n")
    answer = idle_daemon.api("GET", f"/v1/runs/{started}/logs")
    assert answer.content.decode() == "one\n\\x1b[31mtwo\\xff\n\\xc2\\x9bthree ä\\x00\n"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Log-Next"] == answer.headers["Log-Size"] == str(log.stat().st_size)
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?tail=1").content.decode().startswith("\\xc2\\x9bthree")
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?from=4").content.decode().startswith("\\x1b[31m")
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?from=999999").text == ""
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?attempt=2").status_code == 404
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?attempt=0").status_code == 422
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?from=1&tail=1").status_code == 422
    (idle_daemon.state / "logs" / f"{started}-a1.log").write_bytes(b"one\nTwo \x1b\nthree two\nfour two")
    found = idle_daemon.api("GET", f"/v1/runs/{started}/logs?search=TWO")
    assert found.text == "Two \\x1b\nthree two\nfour two" and found.headers["Log-Next"] == "28"
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?search=two&from=10").text == "three two\nfour two"
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?search=five").text == ""
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?search=two&tail=1").status_code == 422
    assert idle_daemon.api("GET", f"/v1/runs/{started}/logs?search=").status_code == 422
    verb(idle_daemon, started, "kill", 202)
    idle_daemon.wait_for_state(started, "canceled")


def test_files_of_an_evaluation(idle_daemon, images):
    run = submit(idle_daemon, images).json()["id"]
    files = f"/v1/runs/{run}/files"
    assert idle_daemon.api("GET", files).json()["items"] == []
    folder = idle_daemon.state / "runs" / run / "visualize"
    folder.mkdir(parents=True)
    (folder / "pca.png").write_bytes(b"picture")
    (folder / "grids.safetensors").write_bytes(bytes(range(256)))
    (folder / ".hidden").write_bytes(b"no")
    (folder / "link.png").symlink_to(idle_daemon.state / "admin.token")
    (folder / "folder.png").mkdir()
    (folder.parent / "spec.json").write_bytes(b"no")
    items = idle_daemon.api("GET", files).json()["items"]
    assert [(i["name"], i["folder"], i["type"], i["size_bytes"]) for i in items] == [
        ("grids.safetensors", "visualize", "application/octet-stream", 256),
        ("pca.png", "visualize", "image/png", 7)]
    picture = idle_daemon.api("GET", f"{files}/pca.png")
    assert picture.content == b"picture" and picture.headers["Content-Type"] == "image/png"
    known = {"If-None-Match": picture.headers["ETag"]}
    assert idle_daemon.api("GET", f"{files}/pca.png", headers=known).status_code == 304
    part = idle_daemon.api("GET", f"{files}/grids.safetensors", headers={"Range": "bytes=8-15"})
    assert part.status_code == 206 and part.content == bytes(range(8, 16))
    assert idle_daemon.api("GET", f"{files}/grids.safetensors", headers={"Range": "bytes=256-"}).status_code == 416
    for name in (".hidden", "link.png", "folder.png", "spec.json", "admin.token", "..", "no.png"):
        answer = idle_daemon.api("GET", f"{files}/{name}")
        assert answer.status_code == 404, (name, answer.text)
    assert idle_daemon.api("GET", "/v1/runs/r999999/files").status_code == 404


def test_unix_socket_needs_no_token(idle_daemon):
    import socket
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(idle_daemon.state / "ijepad.sock"))
        peer.sendall(b"GET /v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n", 1)
    assert b" 200 " in head.split(b"\r\n")[0]
    assert json.loads(body)["role"] == "admin"
    assert (idle_daemon.state / "ijepad.sock").stat().st_mode & 0o777 == 0o660


def test_mask_preview(idle_daemon):
    def masks(**body):
        answer = idle_daemon.api("POST", "/v1/preview/masks", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()
    first = masks(params={"crop": 224, "patch": 16}, sample=1)
    assert first["grid"] == 14 and len(first["targets"]) == 4
    assert max(first["context"]) < 196 and first == masks(params={"crop": 224, "patch": 16}, sample=1)
    assert first != masks(params={"crop": 224, "patch": 16}, sample=2)
    for target in first["targets"]:
        assert not set(target) & set(first["context"])
    for masking, targets, context in (("rasterized", 3, 49), ("block", 1, None), ("random", 1, 79)):
        drawn = masks(params={"crop": 224, "patch": 16, "masking": masking}, sample=1)
        assert len(drawn["targets"]) == targets and context in (None, len(drawn["context"]))
        for target in drawn["targets"]:
            assert target and not set(target) & set(drawn["context"])
    assert "kept" not in first
    kept = masks(params={"crop": 224, "patch": 16}, sample=1, draws=1000)["kept"]
    sizes = [size for size, _ in kept["counts"]]
    assert kept["draws"] == 1000 == sum(n for _, n in kept["counts"]) and sizes == sorted(set(sizes))
    assert [len(masks(params={"crop": 224, "patch": 16}, sample=i)["context"]) in sizes for i in range(5)] == [True] * 5
    fixed = masks(params={"crop": 224, "patch": 16, "masking": "random"}, draws=10)["kept"]
    assert fixed == {"draws": 10, "counts": [[79, 10]]}
    assert idle_daemon.api("POST", "/v1/preview/masks", json={"draws": 1001}).json()["errors"][0]["pointer"] == "/draws"
    wrong = idle_daemon.api("POST", "/v1/preview/masks", json={"params": {"patc": 16}})
    assert wrong.status_code == 422 and "patch" in wrong.json()["errors"][0]["detail"]


@pytest.mark.parametrize("path", ["/", "/app.js", "/app.css", "/icon.svg"])
def test_static_files(idle_daemon, path):
    plain = requests.get(idle_daemon.url + path, headers={"Accept-Encoding": "identity"}, timeout=10)
    packed = requests.get(idle_daemon.url + path, headers={"Accept-Encoding": "gzip"}, timeout=10)
    assert plain.status_code == packed.status_code == 200
    assert packed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert packed.content == plain.content
    again = requests.get(idle_daemon.url + path, headers={"If-None-Match": plain.headers["ETag"]}, timeout=10)
    assert again.status_code == 304 and not again.content
