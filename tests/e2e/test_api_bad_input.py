"""Bad input: a clear error that names what is wrong, and no effect."""
import gzip
import json
import os

import pytest

PARAMS = {"model": "vit_tiny", "batch": 8, "warmup_epochs": 0}


@pytest.fixture
def nothing_happens(idle_daemon):
    """Runs, events and queue are the same after the test as before."""
    def state():
        runs = idle_daemon.api("GET", "/v1/runs?limit=500&count=1").json()
        return runs["total"], [(run["id"], run["state"]) for run in runs["items"]]
    before = state()
    yield
    assert state() == before


def post(daemon, body, path="/v1/runs", **kwargs):
    return daemon.api("POST", path, json=body, **kwargs)


def pretrain(images, **params):
    return {"kind": "pretrain", "hold": True, "params": {**PARAMS, "dataset": str(images), **params}}


def refused(answer, status, code, pointer=None, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code and problem["status"] == status, problem
    assert problem["type"] == f"/problems/{code}" and problem["title"] and problem["detail"]
    assert problem["request_id"] == answer.headers["Request-Id"]
    if pointer is not None:
        found = {error["pointer"]: error["detail"] for error in problem["errors"]}
        assert pointer in found, problem
        for word in words:
            assert word in found[pointer], problem
    return problem


BAD_PARAMS = [
    ("unknown key", {"lerning_rate": 1e-3}, "/params/lerning_rate", ()),
    ("nearest key", {"bacth": 8}, "/params/bacth", ("batch",)),
    ("wrong type", {"lr": "fast"}, "/params/lr", ("number",)),
    ("wrong type, integer", {"batch": 1.5}, "/params/batch", ()),
    ("wrong type, boolean", {"flip": "yes"}, "/params/flip", ()),
    ("out of range", {"epochs": -1}, "/params/epochs", ("between",)),
    ("out of range, huge", {"batch": 10 ** 12}, "/params/batch", ()),
    ("unknown name", {"model": "vit_tini"}, "/params/model", ("vit_tiny",)),
    ("unknown preset", {"preset": "nope"}, "/params/preset", ()),
    ("masks that cannot end", {"crop": 32, "patch": 16, "min_keep": 200}, None, ()),
]


@pytest.mark.parametrize("params, pointer, words", [row[1:] for row in BAD_PARAMS], ids=[row[0] for row in BAD_PARAMS])
@pytest.mark.parametrize("path", ["/v1/runs", "/v1/runs?dry_run=1"])
def test_bad_parameters(idle_daemon, images, nothing_happens, path, params, pointer, words):
    problem = refused(post(idle_daemon, pretrain(images, **params), path), 422, "invalid", pointer, *words)
    if pointer is None:
        assert problem["errors"] and "mask" in json.dumps(problem).lower() or "min_keep" in json.dumps(problem), problem


def test_every_wrong_field_is_told_at_once(idle_daemon, images, nothing_happens):
    body = pretrain(images, lr="x", bacth=1, epochs=-1)
    body.update(priority="high", tags="x", notess="")
    pointers = {error["pointer"] for error in refused(post(idle_daemon, body), 422, "invalid")["errors"]}
    assert pointers >= {"/params/lr", "/params/bacth", "/params/epochs", "/priority", "/tags", "/notess"}


def test_missing_dataset(idle_daemon, tmp_path, nothing_happens):
    missing = tmp_path / "nowhere"
    refused(post(idle_daemon, pretrain(missing)), 422, "invalid", "/params/dataset", str(missing))
    refused(post(idle_daemon, {"kind": "pretrain", "params": {}}), 422, "invalid", "/params/dataset", "required")


def test_zero_images(idle_daemon, tmp_path, nothing_happens):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no image")
    refused(post(idle_daemon, pretrain(tmp_path)), 422, "invalid", "/params/dataset", "no images")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_unreadable_folder(idle_daemon, tmp_path, nothing_happens):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    refused(post(idle_daemon, pretrain(closed)), 422, "invalid", "/params/dataset", str(closed))


def test_dataset_that_is_no_folder(idle_daemon, nothing_happens):
    for path in ("/dev/null", "/proc/self/mem", "relative/path", "/etc/passwd"):
        answer = post(idle_daemon, pretrain(path))
        refused(answer, 422, "invalid", "/params/dataset")
        assert "root:" not in answer.text


def test_submissions_of_the_wrong_form(idle_daemon, images, nothing_happens):
    good = pretrain(images)
    for change, pointer in (({"kind": "pretrian"}, "/kind"), ({"kind": 3}, "/kind"), ({"name": "a b"}, "/name"),
                            ({"name": ".x"}, "/name"), ({"name": "x" * 65}, "/name"), ({"priority": 1001}, "/priority"),
                            ({"tags": ["ok", "no good"]}, "/tags/1"), ({"tags": ["x"] * 17}, "/tags"),
                            ({"notes": "x" * 4097}, "/notes"), ({"hold": 1}, "/hold"), ({"after": ["r999999"]}, None),
                            ({"params": []}, "/params"), ({"parms": {}}, "/parms")):
        refused(post(idle_daemon, {**good, **change}), 422, "invalid", pointer)


def test_an_unknown_checkpoint(idle_daemon, images, nothing_happens):
    for checkpoint in ("c999", "r999", "/nowhere/at/all"):
        answer = post(idle_daemon, {"kind": "knn", "params": {"dataset": str(images), "checkpoint": checkpoint}})
        assert answer.status_code == 422, answer.text
        assert checkpoint in answer.text or "checkpoint" in answer.text
    assert idle_daemon.api("GET", "/v1/checkpoints/c999").status_code == 404
    assert idle_daemon.api("GET", "/v1/checkpoints/c999/content").status_code == 404
    for name in ("../state.db", "state.db", "/etc/passwd", "model.safetensors/.."):
        answer = idle_daemon.api("GET", "/v1/checkpoints/c1/content", params={"file": name})
        refused(answer, 422, "invalid")


@pytest.mark.parametrize("text", [
    b"{", b"", b"[]", b'"x"', b"3", b"nul", b"{'a':1}", b'{"kind":"pretrain",}', b'{"a":1,"a":2}', b'{"a":"\xff"}',
    b'{"a":"\\u0000"}', b'{"a":1}x', b"\xef\xbb\xbf{}", b"{" + b'"a":' * 1, b'{"a":NaN}', b'{"a":1e999}',
    b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", b'{"a":"' + b"x" * 65537 + b'"}', gzip.compress(b"{}")])
def test_malformed_json(idle_daemon, nothing_happens, text):
    answer = idle_daemon.api("POST", "/v1/runs", data=text)
    assert refused(answer, 400, "malformed")["detail"].startswith("JSON"), answer.text


def test_the_place_of_a_json_error_is_told(idle_daemon, nothing_happens):
    answer = idle_daemon.api("POST", "/v1/runs", data=b'{\n "kind": "pretrain",\n "params": {,}\n}')
    assert "line 3" in refused(answer, 400, "malformed")["detail"]


def test_json_limits_at_the_limit(idle_daemon, nothing_happens):
    """What is just small enough is refused for what it says, not for its size."""
    deep = b'{"a":' + b"[" * 31 + b"]" * 31 + b"}"
    long = b'{"a":"' + b"x" * 65536 + b'"}'
    for text in (deep, long):
        refused(idle_daemon.api("POST", "/v1/runs", data=text), 422, "invalid", "/a")


def test_a_body_of_1_mib_is_read_and_one_byte_more_is_not(idle_daemon, nothing_happens):
    limit = 1 << 20
    body = b'{"a":1' + b" " * (limit - 7) + b"}"
    assert len(body) == limit
    refused(idle_daemon.api("POST", "/v1/runs", data=body), 422, "invalid", "/a")
    refused(idle_daemon.api("POST", "/v1/runs", data=body + b" "), 413, "too_large")
    refused(idle_daemon.api("POST", "/v1/runs", data=body * 3), 413, "too_large")


def test_wrong_content_types(idle_daemon, nothing_happens):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""):
        answer = idle_daemon.api("POST", "/v1/runs", data=b"{}", headers={"Content-Type": kind})
        refused(answer, 415, "unsupported_media_type")


def test_unknown_things_are_404(idle_daemon, nothing_happens):
    for path in ("/v1/runs/r999", "/v1/runs/42", "/v1/runs/r0", "/v1/runs/r-1", "/v1/runs/r1x", "/v1/nothing", "/v1",
                 "/v1/runs/", "/v1/runs/r999/attempts", "/v1/runs/r999/logs", "/v1/runs/r999/metrics", "/nothing.js",
                 "/v1/runs/r99999999999999999999", "/v1/checkpoints/r1", "/v1/schema/pretrian", "/problems/nothing",
                 "/v1/metrics?runs=r999&keys=loss"):
        refused(idle_daemon.api("GET", path), 404, "not_found")
    for path in ("/v1/runs/r999/pause", "/v1/runs/r999/cancel", "/v1/runs/r999/kill"):
        refused(idle_daemon.api("POST", path), 404, "not_found")
    refused(idle_daemon.api("PATCH", "/v1/runs/r999", json={"priority": 1}), 404, "not_found")
    refused(idle_daemon.api("DELETE", "/v1/tokens/nosuch"), 404, "not_found")


def test_queries(idle_daemon, nothing_happens):
    def problem(query, status=422, path="/v1/runs"):
        return refused(idle_daemon.api("GET", f"{path}?{query}"), status,
                       "invalid" if status == 422 else "malformed")["detail"]
    assert "limit" in problem("limitt=3")
    assert "running" in problem("state=runing")
    for query in ("limit=0", "limit=501", "limit=-1", "limit=x", "limit=", "limit=1e3", "sort=name", "count=2", "parent=42",
                  "tag=" + "x" * 65):
        assert query.split("=")[0] in problem(query), query
    for query in ("limit=3&limit=4", "name=%ff", "&".join(f"a{i}=1" for i in range(33))):
        problem(query, 400)
    for query in ("", "runs=r1", "keys=loss", "runs=&keys=loss", "runs=r1&keys=", "runs=r1&keys=a,,b", "runs=1&keys=a",
                  "runs=r1&keys=a&max_points=0", "runs=r1&keys=a&max_points=10001", "runs=r1&keys=a&agg=mean",
                  "runs=r1&keys=a&from=5&to=4", "runs=" + ",".join(["r1"] * 51) + "&keys=a"):
        answer = idle_daemon.api("GET", f"/v1/metrics?{query}")
        assert answer.status_code in (404, 422) and answer.json()["detail"], query
    problem("topics=everything", path="/v1/events")


def test_an_unknown_token(idle_daemon, nothing_happens):
    good = idle_daemon.token
    head, _, secret = good.rpartition("_")
    flipped = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for bad in ("", "x", "ijp_", good[:-1], good + "A", f"{head}_{flipped}", f"ijp_zzz_{secret}", good.upper(),
                f"ijp_{'a' * 17}_{secret}", good.replace("_", "-", 1), "ijp__" + secret, good + " "):
        if bad == good + " ":
            continue  # white space at the end of a header is not part of its value
        answer = idle_daemon.api("GET", "/v1/runs", headers={"Authorization": f"Bearer {bad}"})
        refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for scheme in ("Basic", "Token", "bearerx", ""):
        answer = idle_daemon.api("GET", "/v1/runs", headers={"Authorization": f"{scheme} {good}".strip()})
        refused(answer, 401, "unauthorized")


def test_bad_tokens_to_make(idle_daemon, nothing_happens):
    for body, pointer in (({"user": "a b", "role": "viewer"}, "/user"), ({"user": "a", "role": "root"}, "/role"),
                          ({"role": "viewer"}, "/user"), ({"user": "a"}, "/role"), ({"user": 1, "role": "viewer"}, "/user"),
                          ({"user": "a", "role": "viewer", "expires_s": 0}, "/expires_s"),
                          ({"user": "a", "role": "viewer", "expire_s": 5}, "/expire_s")):
        refused(post(idle_daemon, body, "/v1/tokens"), 422, "invalid", pointer)
    refused(idle_daemon.api("POST", "/v1/tokens"), 400, "malformed")


def test_a_body_where_none_is_taken(idle_daemon, nothing_happens):
    refused(idle_daemon.api("POST", "/v1/session", json={"x": 1}), 400, "malformed")


def test_backup_needs_a_new_absolute_path(idle_daemon, tmp_path, nothing_happens):
    there = tmp_path / "there"
    there.write_text("precious")
    for file in ("x", "../x", "/tmp/../x", "", 3, str(there), str(tmp_path / "no" / "folder")):
        answer = post(idle_daemon, {"file": file}, "/v1/admin/backup")
        assert 400 <= answer.status_code <= 507 and answer.json()["detail"], answer.text
    assert there.read_text() == "precious"
