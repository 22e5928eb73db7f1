"""A disk that stops answering: the file system of the runs' folders is frozen (FIFREEZE), so a worker that writes there hangs in the
kernel and hears no signal. The API goes on, it is told, and the run goes on once the disk does."""
import contextlib
import fcntl
import os
import statistics
import time

from harness import Daemon, wait_until
from outcome import SHORT_RUN, Outcome
from power_cut import Disk, run

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878


@contextlib.contextmanager
def mounted(disk, folder):
    folder.mkdir(parents=True)
    problem = run("mount", "--bind", disk.mount_point, folder)
    assert problem is None, problem
    try:
        yield
    finally:
        wait_until("the folder is unmounted", lambda: run("umount", folder) is None, 20)
        disk.close()


@contextlib.contextmanager
def frozen(disk):
    fd = os.open(disk.mount_point, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, FIFREEZE, 0)
        try:
            yield
        finally:
            fcntl.ioctl(fd, FITHAW, 0)
    finally:
        os.close(fd)


def asked(daemon, method, path, **body):
    """How long the answer takes, in milliseconds."""
    begin = time.monotonic()
    answer = daemon.api(method, path, **body)
    assert answer.status_code == 200, answer.text
    return 1000 * (time.monotonic() - begin)


def test_a_disk_that_stalls(tmp_path, scenes, thorough):
    params = {**SHORT_RUN, "dataset": str(scenes), "epochs": 20, "checkpoint_every_steps": 1}
    daemon = Daemon(tmp_path, hang_timeout_s=2, unkillable_s=1, stop_grace_s=3, retry_base_ms=1)
    disk = Disk(tmp_path, "ext4")
    with contextlib.ExitStack() as stack:
        stack.enter_context(mounted(disk, daemon.state / "runs"))
        daemon.start()
        stack.callback(daemon.stop)
        whole = daemon.submit("pretrain", **params)
        daemon.wait_for_state(whole, "succeeded")
        stalled = daemon.submit("pretrain", **params)
        wait_until("it saves", lambda: daemon.api("GET", f"/v1/runs/{stalled}/checkpoints").json()["items"])
        with frozen(disk):
            wait_until("it is told", lambda: "unkillable" in [e["data"].get("code") for e in events(daemon, stalled)], 30)
            times = [asked(daemon, "GET", path) for _ in range(50) for path in
                     ("/healthz", "/v1/runs", f"/v1/runs/{stalled}", f"/v1/runs/{stalled}/checkpoints")]
            times += [asked(daemon, "PATCH", f"/v1/runs/{stalled}", json={"priority": n}) for n in range(20)]
        daemon.wait_for_state(stalled, "succeeded")
        Outcome(daemon, stalled).assert_equals(Outcome(daemon, whole))
        p99 = statistics.quantiles(times, n=100)[-1]
        print(f"{len(times)} answers while the disk stalled, p99 {p99:.1f} ms, the slowest after {max(times):.1f} ms")
        assert p99 < 100 or not thorough


def events(daemon, number):
    return daemon.api("GET", f"/v1/runs/{number}/events").json()["items"]
