"""The two programs from the command line: options, exit codes, administration, a run by hand."""
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess

import pytest

from harness import BUILD, Daemon, wait_until

SPEC = {"kind": "pretrain",
        "params": dict(labels="none", crop=32, patch=8, model="custom", width=32, depth=1, heads=2,
                       pred_width=16, pred_depth=1, pred_heads=2, batch=2, epochs=100,
                       warmup_epochs=1, min_keep=0, sampler="unbiased", threads=1,
                       loader_threads=1, checkpoint_every_steps=10, eval_every_epochs=0)}


def program(name, *arguments):
    return subprocess.run([BUILD / name, *map(str, arguments)], capture_output=True, text=True,
                          timeout=60)


@pytest.mark.parametrize("name, arguments, says", [
    ("ijepad", ["--confg", "x"], "did you mean --config?"),
    ("ijepad", ["--config"], "--config needs a value"),
    ("ijepad", ["--config", "/nonexistent/x.conf"], "/nonexistent/x.conf"),
    ("ijepad-worker", ["runn"], 'did you mean "run"'),
    ("ijepad-worker", [], "no command"),
    ("ijepad-worker", ["run", "--spce", "x"], "did you mean --spec?"),
    ("ijepad-worker", ["bench", "stpe"], 'did you mean "step"'),
    ("ijepad-worker", ["bench", "step", "--batch", "many"], "takes a whole number"),
    ("ijepad-worker", ["bench", "step", "--model", "vit_smal"], 'did you mean "vit_small"'),
    ("ijepad-worker", ["scenes", "/tmp/x"], "--count"),
    ("ijepad-worker", ["plan"], "--spec"),
])
def test_mistakes_are_named_in_one_line(name, arguments, says):
    result = program(name, *arguments)
    assert result.returncode == 78, result
    assert says in result.stderr.replace('\\"', '"'), result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""


@pytest.mark.parametrize("name", ["ijepad", "ijepad-worker"])
def test_no_library_of_a_gpu_is_linked(name):
    """The worker opens them by name when it uses one."""
    linked = subprocess.run(["ldd", BUILD / name], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in linked
    assert not [line for line in linked.splitlines() if re.search("cuda|cublas|cudnn|nccl|nvidia|nvrtc", line)]


@pytest.mark.parametrize("says, code, given, device, why", [
    ("loss of step 1 agrees", 0, "", "cuda", "This machine's GPU computes what the host does: it is used."),
    ("ijepad-worker: there is no GPU", 69, "", "host", "On the host: there is no GPU"),
    ("ijepad-worker: the loss differs", 65, "", "host", "On the host: the loss differs"),
    ("loss of step 1 agrees", 0, "host", "host", "As DEMO_DEVICE says."),
])
def test_the_demo_takes_a_gpu_that_computes_what_the_host_does(tmp_path, says, code, given, device, why):
    worker = tmp_path / "ijepad-worker"
    worker.write_text(f'#!/bin/sh\n[ "$1" = check-device ] || exit 1\necho "{says}" >&2\nexit {code}\n')
    worker.chmod(0o755)
    script = pathlib.Path(__file__).resolve().parents[2] / "tools" / "demo_device.sh"
    result = subprocess.run([script, tmp_path], env={**os.environ, "DEMO_DEVICE": given}, capture_output=True, text=True)
    assert (result.returncode, result.stdout.splitlines()) == (0, [device, why])


def test_a_step_is_timed_with_all_its_micro_batches():
    result = program("ijepad-worker", "bench", "step", "--model", "vit_tiny", "--batch", 2, "--crop", 32, "--patch", 8,
                     "--accumulate", 3, "--warmup", 0, "--steps", 2, "--threads", 1, "--device", "host", "--gelu-tanh")
    got = json.loads(result.stdout)
    assert (got["batch"], got["accumulate"], got["gelu"]) == (2, 3, "tanh")
    assert got["images_per_s"] == pytest.approx(6 / got["step_s"]["median"], rel=1e-3)
    assert 0 < got["mean_context_patches"] < 16 and got["loss"] > 0, "means over them, not sums"


@pytest.mark.parametrize("name", ["ijepad", "ijepad-worker"])
def test_help_and_version(name):
    assert "Usage" in program(name, "--help").stdout
    assert program(name, "--version").stdout.startswith(name + " ")


def test_check_config_names_line_and_key(tmp_path):
    conf = tmp_path / "ijepad.conf"
    conf.write_text(f"state_dir = {tmp_path}\nslotz = 2\n")
    result = program("ijepad", "--config", conf, "--check-config")
    assert result.returncode == 78
    assert f"{conf}:2:" in result.stderr and "slots" in result.stderr
    conf.write_text(f"state_dir = {tmp_path}\nslots = 2\n")
    result = program("ijepad", "--config", conf, "--check-config")
    assert result.returncode == 0 and "valid" in result.stdout
    assert not (tmp_path / "state.db").exists(), "a check changes nothing"
    assert "slots = 2\n" in program("ijepad", "--config", conf, "--print-config").stdout


def test_administration(tmp_path):
    daemon = Daemon(tmp_path).start()
    conf = tmp_path / "ijepad.conf"
    try:
        assert oct((daemon.state / "admin.token").stat().st_mode & 0o777) == "0o600"
        assert daemon.token not in daemon.log(), "the log names the file only"
        busy = program("ijepad", "--config", conf, "token", "create", "--user", "eva", "--role", "viewer")
        assert busy.returncode == 75 and "daemon is running" in busy.stderr
        assert "admin" in program("ijepad", "--config", conf, "token", "list").stdout
        copy = tmp_path / "copy.db"
        assert program("ijepad", "--config", conf, "backup", copy).returncode == 0
        assert sqlite3.connect(copy).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        daemon.stop()
        made = program("ijepad", "--config", conf, "token", "create", "--user", "eva", "--role", "viewer")
        token = made.stdout.strip()
        assert made.returncode == 0 and token.startswith("ijp_")
        daemon.start()
        eva = {"Authorization": f"Bearer {token}"}
        assert daemon.api("GET", "/v1/runs", headers=eva).status_code == 200
        daemon.stop()
        assert program("ijepad", "--config", conf, "token", "revoke", token.split("_")[1]).returncode == 0
        daemon.start()
        assert daemon.api("GET", "/v1/runs", headers=eva).status_code == 401
    finally:
        daemon.stop()


def test_thirty_starts_at_once_leave_one(tmp_path):
    daemon = Daemon(tmp_path).start()
    try:
        crowd = [subprocess.Popen([BUILD / "ijepad", "--config", tmp_path / "ijepad.conf"],
                                  stderr=subprocess.PIPE, text=True) for _ in range(30)]
        for process in crowd:
            _, said = process.communicate(timeout=60)
            assert process.returncode == 75 and "another ijepad is running" in said
        assert daemon.api("GET", "/readyz").status_code == 200
    finally:
        daemon.stop()


def test_a_run_by_hand_stops_and_goes_on(tmp_path, images):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**SPEC, "params": {**SPEC["params"], "dataset": str(images)}}))
    command = [BUILD / "ijepad-worker", "run", "--spec", spec, "--directory", tmp_path / "run"]
    refused = program("ijepad-worker", "run", "--spec", spec)
    assert refused.returncode == 78 and "--directory" in refused.stderr

    with open(tmp_path / "first.jsonl", "w") as out:
        process = subprocess.Popen(command, stdout=out)
        wait_until("a checkpoint was reported",
                   lambda: '"checkpoint"' in (tmp_path / "first.jsonl").read_text() or
                   process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    first = [json.loads(line) for line in (tmp_path / "first.jsonl").read_text().splitlines()]
    saved = [e["step"] for e in first if e["event"] == "checkpoint"][-1]
    if process.returncode != 0:  # it may have been faster than the signal
        assert process.returncode == 75
        assert saved == [e["step"] for e in first if e["event"] == "metrics"][-1], \
            "what was done is saved"

    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 0, second.stderr
    events = [json.loads(line) for line in second.stdout.splitlines()]
    steps = [e["step"] for e in events if e["event"] == "metrics" and e["stream"] == "train"]
    total = [e["steps"] for e in events if e["event"] == "progress"][-1]
    assert saved < total and steps == list(range(saved + 1, total + 1)), "each step is done once"


def test_a_bad_description_is_refused(tmp_path, images):
    spec = tmp_path / "spec.json"
    for text, code, says in (
            ("{", 65, f"{spec}:1:"),
            ('{"kind": "pretrain", "parms": {}}', 78, 'did you mean "params"'),
            ('{"kind": "pretrane"}', 78, "kind"),
            ('{"kind": "pretrain", "params": {"dataset": "/nonexistent"}}', 78, "/nonexistent")):
        spec.write_text(text)
        result = program("ijepad-worker", "run", "--spec", spec, "--directory", tmp_path / "run")
        assert result.returncode == code, (text, result)
        assert says in result.stderr, (text, result.stderr)
    assert not (tmp_path / "run").exists(), "a refused run leaves nothing"
