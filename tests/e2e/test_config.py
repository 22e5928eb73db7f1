"""The configuration file: wrong ones are told with their line and exit code 78, SIGHUP takes over what can change."""
import re
import signal
import subprocess

import pytest

from harness import BUILD, Daemon, idle_worker, wait_until
from test_api import submit


def check(conf):
    return subprocess.run([BUILD / "ijepad", "--config", conf, "--check-config"], capture_output=True, text=True)


@pytest.mark.parametrize("text, line, words", [
    ("slotz = 3\n", 1, ["slotz", "slots"]),
    ("# fine\nslots = 0\n", 2, ["slots", "1 to 64"]),
    ("slots = 65", 1, ["1 to 64"]),
    ("slots = 2\n\nslots = 3\n", 3, ["twice"]),
    ("slots\n", 1, ["key = value"]),
    ("slots = two\n", 1, ["two"]),
    ("state_dir = relative/path\n", 1, ["absolute"]),
    ("open_metrics = maybe\n", 1, ["yes or no"]),
    ("log_level = loud\n", 1, ["err, warn"]),
    ("\n\n[section]\nslots = 1\n", 4, ["sections"]),
    ("notes = " + "x" * 300, 1, ["longer"]),
    ("hosts = " + " ".join(f"h{i}" for i in range(17)), 1, ["16"]),
    ("webhook_tries = 21", 1, ["1 to 20"]),
    ("backup_keep = 0", 1, ["1 to 1000"]),
])
def test_a_wrong_file_is_told_with_its_line(tmp_path, text, line, words):
    conf = tmp_path / "ijepad.conf"
    conf.write_text(text)
    done = check(conf)
    assert done.returncode == 78, done.stderr
    assert f"{conf}:{line}: " in done.stderr and all(word in done.stderr for word in words), done.stderr


def test_limits_are_part_of_the_range(tmp_path):
    conf = tmp_path / "ijepad.conf"
    for text in ("slots = 64", "slots = 1", "webhook_tries = 20", "backup_keep = 1000", "hosts = " + " ".join(f"h{i}" for i in range(16))):
        conf.write_text(f"{text}\n")
        assert check(conf).returncode == 0, text


def test_a_missing_or_unreadable_file_is_no_configuration(tmp_path):
    for path in (tmp_path / "none.conf", tmp_path):
        done = check(path)
        assert done.returncode != 0 and str(path) in done.stderr
    (tmp_path / "nul.conf").write_bytes(b"slots = 1\0\n")
    assert check(tmp_path / "nul.conf").returncode == 78


def test_a_daemon_with_a_wrong_file_does_not_start(tmp_path):
    conf = tmp_path / "ijepad.conf"
    conf.write_text(f"state_dir = {tmp_path}/state\nslots = none\n")
    done = subprocess.run([BUILD / "ijepad", "--config", conf], capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and f"{conf}:2:" in done.stderr and not (tmp_path / "state").exists()


def test_sighup_takes_over_what_can_change(tmp_path, images):
    worker = idle_worker(tmp_path)
    daemon = Daemon(tmp_path, worker=worker, slots=1, start_timeout_s=600, stop_grace_s=1).start()
    conf = tmp_path / "ijepad.conf"
    before = conf.read_text()
    runs = [submit(daemon, images, hold=False).json()["id"] for _ in range(2)]
    daemon.wait_for_state(runs[0], "starting")
    assert daemon.run(runs[1])["state"] == "queued"

    def reload(text):
        seen = len(daemon.log())
        conf.write_text(text)
        daemon.process.send_signal(signal.SIGHUP)
        return wait_until("it was read", lambda: re.search(r"event=config\.\w+ .*", daemon.log()[seen:])).group()
    told = reload(before + "slotz = 2\n")
    assert "config.wrong" in told and f"{conf}:{len(before.splitlines()) + 1}: " in told and "stays" in told
    told = reload(before.replace("slots = 1", "slots = 2") + "hosts = gpu1.lab\nbody_bytes_max = 2048\n")
    assert "config.reloaded" in told and "restart: hosts, body_bytes_max" in told
    daemon.wait_for_state(runs[1], "starting")
    daemon.stop()
