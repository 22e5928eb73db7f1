"""The thin command line, over the socket and over TCP with a token."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from harness import Daemon, wait_until
from test_api import PARAMS

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "ijepactl"
pytestmark = pytest.mark.skipif(not shutil.which("jq") or not shutil.which("curl"), reason="curl or jq is not installed")


@pytest.fixture(params=["socket", "tcp"])
def ctl(request, idle_daemon):
    env = {"PATH": os.environ["PATH"]}
    if request.param == "socket":
        env["IJEPAD_SOCKET"] = str(idle_daemon.state / "ijepad.sock")
    else:
        env.update(IJEPAD_URL=idle_daemon.url, IJEPAD_TOKEN=idle_daemon.token)

    def call(*arguments, expect=0, stdin=None):
        done = subprocess.run([TOOL, *arguments], env=env, capture_output=True, text=True, input=stdin, timeout=60)
        assert done.returncode == expect, (arguments, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stderr
    return call


def test_a_run_from_submission_to_end(ctl, images, tmp_path):
    body = {"kind": "pretrain", "name": "by-hand", "hold": True, "params": {**PARAMS, "dataset": str(images)}}
    (tmp_path / "run.json").write_text(json.dumps(body))
    run = ctl("submit", str(tmp_path / "run.json")).strip()
    assert json.loads(ctl("show", run))["name"] == "by-hand"
    assert any(line.split()[:4] == [run, "held", "pretrain", "by-hand"] for line in ctl("list", "name=by-hand").splitlines())
    assert run in ctl("queue")
    assert ctl("cancel", run).split() == [run, "canceled"]
    assert ctl("wait", run, expect=1) == "", "a run that was canceled has not succeeded"
    assert json.loads(ctl("check", "-", stdin=json.dumps(body)))["dry_run"] is True
    assert json.loads(ctl("status"))["status"] == "ok"
    assert json.loads(ctl("get", "/v1/session"))["role"] == "admin"


def test_a_log_is_followed_until_the_run_has_ended(tmp_path, images):
    worker = tmp_path / "worker"
    worker.write_text("#!/bin/sh\necho before\nexec sleep 600\n")
    worker.chmod(0o755)
    daemon = Daemon(tmp_path, worker=worker, start_timeout_s=600, stop_grace_s=1).start()
    env = {"PATH": os.environ["PATH"], "IJEPAD_SOCKET": str(daemon.state / "ijepad.sock")}

    def reads():
        found = re.search(r'_count\{route="/v1/runs/\{id\}/logs",method="GET",code="2xx"\} (\d+)', daemon.api("GET", "/metrics").text)
        return int(found.group(1)) if found else 0
    try:
        run = daemon.submit("pretrain", dataset=str(images), labels="none", batch=4)
        log = daemon.state / "logs" / f"{run}-a1.log"
        wait_until("its worker has printed", lambda: log.exists() and log.read_text() == "before\n")
        with subprocess.Popen([TOOL, "follow", run], env=env, stdout=subprocess.PIPE, text=True) as follow:
            wait_until("it has looked", lambda: reads() > 1)
            with open(log, "a") as more:
                more.write("one\ntwo")
            assert follow.stdout.readline() == "one\n"
            with open(log, "a") as more:
                more.write(" and a half\nthree")
            daemon.api("POST", f"/v1/runs/{run}/kill")
            assert follow.stdout.read() == "two and a half\nthree"
            assert follow.wait(20) == 0
    finally:
        daemon.stop()


def test_mistakes_are_told(ctl, images):
    assert "dataset" in ctl("submit", "-", stdin='{"kind":"pretrain","params":{}}', expect=1)
    assert "/params/bacth" in ctl("submit", "-", stdin=json.dumps({"kind": "pretrain", "params": {"bacth": 1}}), expect=1)
    assert "no run r999999" in ctl("show", "r999999", expect=1)
    for wrong in ("42", "r", "r0", "r1x", "../x", "r1?x=1"):
        assert "is no run" in ctl("pause", wrong, expect=1)
    assert "unknown command" in ctl("dance", expect=1)
    assert "Usage" in ctl("help")


def test_without_a_daemon(tmp_path):
    done = subprocess.run([TOOL, "list"], env={"PATH": os.environ["PATH"], "IJEPAD_SOCKET": str(tmp_path / "none")},
                          capture_output=True, text=True)
    assert done.returncode == 1 and "cannot be reached" in done.stderr
