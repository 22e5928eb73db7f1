"""Each allocation fails in turn, once and for good: a program ends with a documented code or goes on,
never by a crash, and what it had promised holds. CI takes a sample with a fixed seed; `make fault` takes every one
of the short programs and 400 of the others, with a seed that is printed. A daemon that gets no memory from some
point of its start on lives and answers nothing: its watchdog is not fed, and it ends when it is told to."""
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess

import pytest

from harness import BUILD, Daemon, sanitized
from outcome import SHORT_RUN, seed

HERE = pathlib.Path(__file__).resolve().parent
WORKER = BUILD / "ijepad-worker"
SAMPLE, SEED = 25, 1
READY_S, END_S = 6, 30  # of a daemon without memory
pytestmark = pytest.mark.skipif(sanitized(), reason="a sanitizer has an allocator of its own")
DOCUMENTED = {0, 1, 65, 69, 70, 71, 74, 75, 76, 78}  # 1: a library's own message, as libgomp's


def is_documented(code, words):
    """libjansson 2.14 asserts where its lexer gets no memory (load.c), and glibc says "Unexpected error." where
    there is none for the assertion's message either: such an end is the library's."""
    return code in DOCUMENTED or (code == -signal.SIGABRT and ("load.c" in words or "Unexpected error." in words))


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("shim") / "fail_alloc.so"
    made = subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "fail_alloc.c"], capture_output=True,
                          text=True)
    assert made.returncode == 0, made.stderr
    return library


def under(shim, choice=None, count_file=None):
    """A command that starts its arguments with the library."""
    words = ["env", f"LD_PRELOAD={shim}", "OMP_WAIT_POLICY=passive", "OMP_NUM_THREADS=1"]
    if choice:
        words.append(f"IJEPAD_FAIL_ALLOC={choice}")
    if count_file:
        words.append(f"IJEPAD_ALLOC_COUNT={count_file}")
    return words


def choices(count, thorough):
    """Which allocations fail: each (or 400) when thorough, else a sample; half of them for good."""
    rng = random.Random(seed() if thorough or os.environ.get("IJEPAD_SEED") else SEED)
    wanted = int(os.environ.get("IJEPAD_ALLOCATIONS", 400 if thorough else SAMPLE))
    numbers = range(1, count + 1)
    picked = list(numbers) if count <= wanted else sorted(rng.sample(numbers, wanted))
    return [f"{n}{'+' if i % 2 else ''}" for i, n in enumerate(picked)]


def tiny_spec(folder, dataset):
    params = {**SHORT_RUN, "epochs": 1, "warmup_epochs": 0, "eval_every_epochs": 0, "dataset": str(dataset)}
    path = folder / "spec.json"
    path.write_text(json.dumps({"kind": "pretrain", "params": params}))
    return path


def commands(folder, dataset):
    spec = tiny_spec(folder, dataset)
    return {
        "plan": lambda n: ["plan", "--spec", spec, "--images", "100"],
        "parameters": lambda n: ["parameters"],
        "scenes": lambda n: ["scenes", folder / f"drawn-{n}", "--count", "10", "--size", "32"],
        "run": lambda n: ["run", "--spec", spec, "--directory", folder / f"run-{n}"],
    }


@pytest.mark.parametrize("name", ["plan", "parameters", "scenes", "run"])
def test_a_program_of_the_worker(name, shim, scenes, tmp_path, thorough):
    command = commands(tmp_path, scenes)[name]
    count_file = tmp_path / "count"
    whole = subprocess.run([*under(shim, None, count_file), WORKER, *command("whole")], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    for n, choice in enumerate(choices(int(count_file.read_text()), thorough)):
        got = subprocess.run([*under(shim, choice), WORKER, *command(n)], capture_output=True, text=True, timeout=120)
        story = f"IJEPAD_FAIL_ALLOC={choice}: code {got.returncode}\n{got.stderr[-2000:]}"
        assert is_documented(got.returncode, got.stderr), story
        if got.returncode:
            assert got.stderr.strip(), f"{story}: it failed without a word"
        elif name in ("plan", "parameters"):
            assert got.stdout == whole.stdout, f"{story}: another answer"


@pytest.fixture(scope="module")
def template(scenes, tmp_path_factory):
    """The state of a daemon that has trained one run, to be copied to the place that its paths name."""
    folder = tmp_path_factory.mktemp("trained")
    daemon = Daemon(folder).start()
    run = daemon.submit("pretrain", dataset=str(scenes), **{**SHORT_RUN, "keep_checkpoints": 3})
    daemon.wait_for_state(run, "succeeded")
    daemon.stop()
    shutil.copytree(daemon.state, folder / "copy")
    return folder, folder / "copy"


def let_go(daemon):
    """Tokens made and revoked, checkpoints pinned, deleted and swept, the run deleted: any answer will do."""
    made = daemon.api("POST", "/v1/tokens", json={"user": "eve", "role": "viewer"})
    daemon.api("GET", "/v1/tokens")
    if made.status_code == 201:
        daemon.api("DELETE", f"/v1/tokens/{made.json()['id']}")
    listed = daemon.api("GET", "/v1/runs/r1/checkpoints")
    items = listed.json()["items"] if listed.status_code == 200 else []
    for item in items[1:]:
        for pinned in (True, False):
            daemon.api("PATCH", f"/v1/checkpoints/{item['id']}", json={"pinned": pinned})
    if items:
        daemon.api("DELETE", f"/v1/checkpoints/{items[-1]['id']}")
    daemon.api("PATCH", "/v1/runs/r1", json={"retention": {"latest": 1}})
    daemon.api("POST", "/v1/admin/gc", json={"keep": 1})
    daemon.api("DELETE", "/v1/runs/r1")


def session(daemon, dataset):
    """Some of everything; returns the ids of the runs that were acknowledged."""
    acknowledged = []
    for n in range(3):
        answer = daemon.api("POST", "/v1/runs", json={"kind": "pretrain", "hold": True, "params": {
            **SHORT_RUN, "dataset": str(dataset)}})
        if answer.status_code == 201:
            acknowledged.append(answer.json()["id"])
        for path in ("/v1/runs", "/v1/audit", "/metrics", "/v1/openapi.json", "/v1/schema", "/healthz"):
            assert daemon.api("GET", path).status_code in (200, 404, 500, 503, 507), path
    if acknowledged:
        daemon.api("PATCH", f"/v1/runs/{acknowledged[0]}", json={"priority": 5})
        daemon.api("POST", f"/v1/runs/{acknowledged[-1]}/cancel")
    let_go(daemon)
    return acknowledged


def new_daemon(template):
    folder, copy = template
    shutil.rmtree(folder / "state")
    (folder / "daemon.log").unlink()
    shutil.copytree(copy, folder / "state")
    return Daemon(folder)


def test_the_daemon(shim, scenes, template, tmp_path, thorough):
    """Every request is answered or refused, the daemon ends with a code, and whatever it acknowledged is there."""
    import requests
    counted = new_daemon(template)
    counted.start(under(shim, None, tmp_path / "count"))
    assert len(session(counted, scenes)) == 3
    counted.stop()
    mute = 0
    for n, choice in enumerate(choices(int((tmp_path / "count").read_text()), thorough)):
        print(f"IJEPAD_FAIL_ALLOC={choice}", flush=True)
        daemon = new_daemon(template)
        acknowledged = []
        try:
            daemon.start(under(shim, choice), READY_S)
            acknowledged = session(daemon, scenes)
        except (AssertionError, requests.ConnectionError, requests.Timeout) as error:
            code = daemon.process.poll()
            if code is None and isinstance(error, AssertionError) and "ready" not in str(error):
                raise
            mute += code is None
        daemon.stop(END_S)
        code = daemon.process.returncode
        assert is_documented(code, daemon.log()), f"IJEPAD_FAIL_ALLOC={choice}: code {code}\n{daemon.log()[-3000:]}"
        check_kept(daemon, acknowledged, choice)
    print(f"{n + 1} sessions, {mute} of them with a daemon that lived and did not answer")


def check_kept(daemon, acknowledged, choice):
    path = daemon.state / "state.db"
    if not path.exists():
        assert not acknowledged
        return
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), choice
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        held = {f"r{row[0]}" for row in db.execute("SELECT id FROM run")} if "run" in tables else set()
    assert set(acknowledged) <= held, f"IJEPAD_FAIL_ALLOC={choice}"
