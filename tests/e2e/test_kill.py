"""Kill -9 of daemon or worker at random moments: the run ends by itself, bit for bit as if nothing
had happened."""
import os
import random
import signal
import time

import pytest

from harness import Daemon, wait_until
from outcome import SHORT_RUN, Outcome, seed

KILLS = int(os.environ.get("IJEPAD_KILLS", "20"))


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path, retry_failures_max=1000, retry_stuck_max=1000, retry_base_ms=1, retry_cap_ms=20)
    d.start()
    yield d
    d.stop()


def kill_something(daemon, rng):
    """Kills the daemon (and with it the worker), or the worker alone. True if a worker was hit."""
    pids = daemon.worker_pids()
    if rng.random() < 0.5:
        daemon.kill()
        daemon.start()
    else:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return bool(pids)


def test_killed_runs_end_bitwise_equal(daemon, scenes):
    """IJEPAD_SEED repeats the moments; IJEPAD_KILLS says how many shall hit a worker (20)."""
    rng = random.Random(seed())
    begin = time.monotonic()
    reference = daemon.submit("pretrain", dataset=str(scenes), **SHORT_RUN)
    daemon.wait_for_state(reference, "succeeded")
    longest_s = time.monotonic() - begin
    whole = Outcome(daemon, reference)

    victim, hits, kills, finished = None, 0, 0, 0
    while hits < KILLS:
        assert kills < 4 * KILLS, "the moments are not within the runs"
        if victim is None or daemon.run(victim)["state"] == "succeeded":
            if victim:
                finished += 1
                Outcome(daemon, victim).assert_equals(whole)
            victim = daemon.submit("pretrain", dataset=str(scenes), **SHORT_RUN)
        wait_until("an attempt runs or has run", lambda: daemon.worker_pids() or
                   daemon.run(victim)["state"] == "succeeded")
        time.sleep(rng.uniform(0, longest_s))  # the random moment; nothing is assumed of it
        hits += kill_something(daemon, rng)
        kills += 1
    daemon.wait_for_state(victim, "succeeded", deadline_s=180)
    Outcome(daemon, victim).assert_equals(whole)
    print(f"{kills} kills, {hits} hit a worker, {finished + 1} runs compared")
