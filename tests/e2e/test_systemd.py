"""The units by systemd's own tools, and the daemon through systemd's protocols: sockets passed in, READY, STATUS,
WATCHDOG, STOPPING."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest
import requests

from harness import BUILD, Daemon, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = ROOT / "systemd"
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def installed(tmp_path):
    subprocess.run(["make", "-s", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr"], cwd=ROOT, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("name,drop_in,threshold", [("ijepad", None, 10), ("ijepad", "nccl.conf", 20), ("ijepad-webhook", None, 20)])
@needs_systemd
def test_exposure_stays_under_the_bar(tmp_path, name, drop_in, threshold):
    unit = tmp_path / f"{name}.service"
    text = (UNITS / f"{name}.service").read_text()
    unit.write_text(text + ("\n" + (UNITS / drop_in).read_text() if drop_in else ""))
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={threshold}", "--no-pager", unit],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    assert "SAFE" in done.stdout or "OK" in done.stdout, done.stdout[-300:]


def settings(name):
    """The [Section] key = value lines of a unit; repeated keys as lists."""
    found = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_what_the_unit_promises():
    unit = settings("ijepad.service")
    assert unit["OOMPolicy"] == ["continue"], "one worker out of memory must not take the others along"
    assert unit["KillMode"] == ["mixed"] and unit["Type"] == ["notify"] and unit["RestartPreventExitStatus"] == ["78"]
    for key in ("After", "Wants"):  # the device nodes must be there before the daemon may not make them any more
        assert "modprobe@nvidia_uvm.service" in unit[key][0] and "nvidia-persistenced.service" in unit[key][0]
    assert "ijepad.socket" in unit["Requires"][0] and unit["PrivateNetwork"] == ["yes"]
    assert int(unit["WatchdogSec"][0]) >= 30 and unit["TimeoutStopSec"] == ["5min"]
    sender = settings("ijepad-webhook.service")
    assert "PrivateNetwork" not in sender and sender["DynamicUser"] == ["yes"]


@needs_systemd
def test_units_verify_clean(tmp_path):
    units = tmp_path / "units"
    units.mkdir()
    for name in ("ijepad.service", "ijepad.socket", "ijepad-http.socket", "ijepad-webhook.service", "ijepad-webhook.socket"):
        text = (UNITS / name).read_text().replace("/usr/bin/ijepad", str(BUILD / "ijepad"))
        (units / name).write_text("\n".join(line for line in text.splitlines() if not line.startswith("Documentation=")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units.iterdir()], capture_output=True, text=True,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"})
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "ijepad" in line]
    assert done.returncode == 0 and not ours, done.stdout + done.stderr


def test_install_puts_everything_in_place_and_keeps_a_configuration(tmp_path):
    root = installed(tmp_path)
    for name in ("usr/bin/ijepad", "usr/bin/ijepad-worker", "usr/lib/systemd/system/ijepad.service",
                 "usr/lib/systemd/system/ijepad.socket", "usr/lib/systemd/system/ijepad-http.socket",
                 "usr/lib/systemd/system/ijepad-webhook.service", "usr/lib/systemd/system/ijepad-webhook.socket",
                 "usr/bin/ijepad-webhook", "usr/bin/ijepactl", "usr/lib/sysusers.d/ijepad.conf", "usr/lib/tmpfiles.d/ijepad.conf", "etc/ijepad/ijepad.conf",
                 "usr/share/doc/ijepad/nccl.conf"):
        assert (root / name).is_file(), name
    unit = (root / "usr/lib/systemd/system/ijepad.service").read_text()
    assert "ExecStart=/usr/bin/ijepad --config /etc/ijepad/ijepad.conf\n" in unit
    conf = root / "etc/ijepad/ijepad.conf"
    check = [root / "usr/bin/ijepad", "--config", conf, "--check-config"]
    assert subprocess.run(check, capture_output=True).returncode == 0
    conf.write_text("slots = 7\n")
    installed(tmp_path)
    assert conf.read_text() == "slots = 7\n"
    conf.write_text("slotz = 7\n")
    wrong = subprocess.run(check, capture_output=True, text=True)
    assert wrong.returncode == 78 and "slots" in wrong.stderr, "RestartPreventExitStatus=78 counts on it"


@pytest.mark.skipif(not shutil.which("systemd-sysusers"), reason="systemd-sysusers is not installed")
def test_users_and_folders_are_made(tmp_path):
    root = installed(tmp_path)
    done = subprocess.run(["systemd-sysusers", f"--root={root}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ijepad:" in (root / "etc/passwd").read_text() and "ijepad-admin:" in (root / "etc/group").read_text()


class Activated(Daemon):
    """A daemon that gets its sockets and its supervisor's address as systemd would pass them."""

    def start(self, tcp, unix, notify_path, watchdog_us=600000):
        conf = self.folder / "ijepad.conf"
        conf.write_text("".join(f"{k} = {v}\n" for k, v in self.config.items()))
        env = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:unix", "NOTIFY_SOCKET": str(notify_path),
               "WATCHDOG_USEC": str(watchdog_us)}
        high = [os.dup2(tcp.fileno(), 103), os.dup2(unix.fileno(), 104)]
        script = 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$0" --config "$1" 3<&103 4<&104 103<&- 104<&-'
        with open(self.folder / "daemon.log", "ab") as log:
            self.process = subprocess.Popen(["bash", "-c", script, BUILD / "ijepad", conf], env=env, stderr=log, stdout=log,
                                            pass_fds=high)
        for fd in high:
            os.close(fd)
        return self


@pytest.fixture
def activated(tmp_path):
    tcp, unix, notify = socket.socket(), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    tcp.bind(("127.0.0.1", 0))
    tcp.listen(16)
    unix.bind(str(tmp_path / "passed.sock"))
    unix.listen(16)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(60)
    daemon = Activated(tmp_path, stop_grace_s=5)
    daemon.url = "http://127.0.0.1:%d" % tcp.getsockname()[1]
    daemon.start(tcp, unix, tmp_path / "notify")
    daemon.tcp, daemon.notify, daemon.unix_path = tcp, notify, tmp_path / "passed.sock"
    yield daemon
    notify.close()  # unread messages would block the daemon's next one
    daemon.stop()
    tcp.close()
    unix.close()


def hear(daemon, wanted):
    """Reads messages until one holds `wanted`; returns all of them."""
    text = []
    while not text or wanted not in text[-1]:
        text.append(daemon.notify.recv(4096).decode())
    return text


def test_sockets_passed_in_are_the_ones_that_serve(activated):
    messages = hear(activated, "READY=1")
    assert requests.get(activated.url + "/readyz", timeout=10).status_code == 200
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(activated.unix_path))
        peer.sendall(b"GET /v1/session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b" 200 " in b"".join(iter(lambda: peer.recv(65536), b"")).split(b"\r\n")[0]
    assert "sockets that systemd passed on" in activated.log()
    assert not (activated.state / "ijepad.sock").exists(), "it listens on nothing of its own"
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{activated.port}/healthz", timeout=5)
    assert messages


def test_status_watchdog_and_stopping(activated):
    hear(activated, "READY=1")
    hear(activated, "STATUS=0 running, 0 queued")
    hear(activated, "WATCHDOG=1")
    hear(activated, "WATCHDOG=1")
    activated.process.send_signal(signal.SIGTERM)
    assert "EXTEND_TIMEOUT_USEC=35000000" in hear(activated, "STOPPING=1")[-1]
    assert activated.process.wait(30) == 0


def test_a_loop_that_stands_still_feeds_no_watchdog(activated):
    hear(activated, "WATCHDOG=1")
    activated.process.send_signal(signal.SIGSTOP)
    try:
        activated.notify.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                activated.notify.recv(4096)
        activated.notify.settimeout(2)
        with pytest.raises(TimeoutError):
            activated.notify.recv(4096)
    finally:
        activated.process.send_signal(signal.SIGCONT)
    activated.notify.settimeout(60)
    hear(activated, "WATCHDOG=1")


def test_the_sockets_outlive_a_daemon(activated):
    """A connection made while nobody runs is answered by the next life."""
    hear(activated, "READY=1")
    activated.process.send_signal(signal.SIGTERM)
    assert activated.process.wait(30) == 0
    assert activated.unix_path.exists(), "a socket that was passed in is not removed"
    early = socket.create_connection(activated.tcp.getsockname())
    host = "127.0.0.1:%d" % activated.tcp.getsockname()[1]
    early.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    with socket.socket(fileno=os.dup(activated.tcp.fileno())) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(activated.folder / "second.sock"))
        unix.listen(4)
        activated.start(tcp, unix, activated.folder / "notify")
        early.settimeout(30)
        answer = b"".join(iter(lambda: early.recv(65536), b""))
    assert b" 200 " in answer.split(b"\r\n")[0]
    early.close()
    wait_until("ready again", lambda: requests.get(activated.url + "/readyz", timeout=5).status_code == 200)
