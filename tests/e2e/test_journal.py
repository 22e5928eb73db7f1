"""Entries in the journal, read by a journal of our own at the place where libsystemd looks for it."""
import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

from harness import Daemon, wait_until
from test_api import submit

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fields(datagram):
    """KEY=value lines, or KEY, a little-endian size and the bytes where a value has line breaks."""
    found, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        line = datagram[at:end]
        if b"=" in line:
            key, _, value = line.partition(b"=")
            at = end + 1
        else:
            size = int.from_bytes(datagram[end + 1:end + 9], "little")
            key, value, at = line, datagram[end + 9:end + 9 + size], end + 9 + size + 1
        found[key.decode()] = value.decode()
    return found


class Journaled(Daemon):
    """Runs the daemon in a mount namespace in which /run is a folder of ours; stderr counts as the journal's stream."""

    def start(self):
        run = self.folder / "run"
        (run / "systemd" / "journal").mkdir(parents=True)
        self.journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.journal.bind(str(run / "systemd" / "journal" / "socket"))
        self.journal.settimeout(60)
        (self.folder / "daemon.log").touch()
        st = os.stat(self.folder / "daemon.log")
        script = f'mount --bind "{run}" /run && export JOURNAL_STREAM={st.st_dev}:{st.st_ino} && exec "$@"'
        return super().start(under=["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "bash"])


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare")
                    or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
                    reason="needs root and mount namespaces to put a journal in place")
def test_entries_have_fields(tmp_path, images):
    daemon = Journaled(tmp_path).start()
    run = submit(daemon, images).json()["id"]
    daemon.api("POST", f"/v1/runs/{run}/cancel")
    daemon.process.send_signal(1)
    seen = []
    while not seen or seen[-1].get("IJEPAD_EVENT") != "config.reloaded":
        seen.append(fields(daemon.journal.recv(65536)))
    by_event = {entry["IJEPAD_EVENT"]: entry for entry in seen if "IJEPAD_EVENT" in entry}
    assert {"ready", "run.submitted", "run.state", "config.reloaded"} <= set(by_event)
    state = by_event["run.state"]
    assert (state["IJEPAD_RUN"], state["PRIORITY"], state["SYSLOG_IDENTIFIER"], state["IJEPAD_MODULE"]) == (run, "6", "ijepad", "run")
    assert state["MESSAGE"].startswith("held -> canceled") and state["MESSAGE_ID"] == "aa2a014c52574c1182fa7b229623e8e5"
    assert daemon.log() == "", "nothing twice"
    daemon.journal.close()
    daemon.stop()
    wait_until("without a journal the lines are back", lambda: re.search(r"^<5>\S+ notice main +event=stopped", daemon.log(), re.M))


def test_the_catalogue_is_documented():
    header, page = (ROOT / "base" / "log_message.h").read_text(), (ROOT / "docs" / "logging.md").read_text()
    rows = re.findall(r'X\((\w+), "([0-9a-f]{32})", "([^"]+)",\s*(?:\\\s*)?"([^"]+)"', header)
    assert len(rows) >= 15 and len({row[1] for row in rows}) == len(rows)
    table = re.findall(r"^\| `([a-z._]+)` \| `([0-9a-f]{32})` \| (.+) \|$", page, flags=re.M)
    assert table == [(event, number, text) for _, number, event, text in rows]
