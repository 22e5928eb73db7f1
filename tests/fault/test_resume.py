"""A resume is exact: whatever stopped a run and wherever, its end has the same bits as that of a run
that nothing stopped, and every step's metrics are the same."""
import os
import random
import signal

import pytest

from harness import Daemon, wait_until
from outcome import SHORT_RUN, Outcome, file_hashes, seed
from wire_host import WireHost

STEPS = 33  # 3 epochs of 11 steps: 100 scenes, a tenth set aside, batches of 8
PARAMS = {**SHORT_RUN, "epochs": 3, "eval_every_epochs": 2}


def spec_of(scenes, loader_threads=1):
    return {**PARAMS, "dataset": str(scenes), "loader_threads": loader_threads}


def newest(directory):
    return file_hashes(sorted(p for p in (directory / "checkpoints").iterdir() if ".tmp" not in p.name)[-1])


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """The uninterrupted run: hashes of its last checkpoint, losses by step."""
    directory = tmp_path_factory.mktemp("whole")
    code, steps = WireHost(directory, spec_of(scenes)).run()
    assert code == 0 and [step for step, _ in steps] == list(range(1, STEPS + 1))
    return newest(directory), dict(steps)


def finish(directory, scenes, whole, first, loader_threads=1):
    """Goes on to the end; `first` are the steps reported before."""
    code, steps = WireHost(directory, spec_of(scenes, loader_threads)).run()
    hashes, losses = whole
    assert code == 0
    if steps:
        assert steps[0][0] <= (first[-1][0] + 1 if first else 1), "steps were left out"
    for step, loss in first + steps:
        assert loss == losses[step], f"the loss of step {step} differs"
    assert {step for step, _ in first + steps} == set(losses)
    assert newest(directory) == hashes, "the last checkpoints differ"


@pytest.mark.parametrize("loader_threads", [1, 4])
def test_stopped_at_each_step(scenes, whole, tmp_path, thorough, loader_threads):
    """At the first step, in an epoch, at its last step, at a checkpoint: every step is one of them."""
    where = range(0, STEPS) if thorough else (0, 1, 7, 10, 11, 32)
    stops = set()
    for step in where:
        directory = tmp_path / str(step)
        host = WireHost(directory, spec_of(scenes, loader_threads))
        if step == 0:
            host.stop()
        code, first = host.run(step, WireHost.stop)
        assert code in (0, 75), (directory / "log").read_text()
        stops.add(first[-1][0] if first else 0)
        finish(directory, scenes, whole, first, loader_threads)
    assert len(stops) > len(where) // 3


def test_killed_at_each_step(scenes, whole, tmp_path, thorough):
    for step in range(1, STEPS + 1) if thorough else (1, 6, 8, 22, 33):
        directory = tmp_path / str(step)
        code, first = WireHost(directory, spec_of(scenes)).run(step, WireHost.kill)
        assert code == -signal.SIGKILL or step > STEPS - 8, code
        finish(directory, scenes, whole, first)


def test_stopped_after_every_few_steps(scenes, whole, tmp_path):
    """Again and again, so that no attempt sees more than a handful of steps."""
    first, attempts, code = [], 0, 75
    while code == 75:
        code, steps = WireHost(tmp_path, spec_of(scenes)).run((first[-1][0] if first else 0) + 1, WireHost.stop)
        first += steps
        attempts += 1
        assert attempts <= STEPS + 1, "it makes no progress"
    assert attempts >= 4
    assert [step for step, _ in first] == list(range(1, STEPS + 1)), "a saved step was done again"
    finish(tmp_path, scenes, whole, first)


# ---- Through the API ------------------------------------------------------------------------------

LONG = {"epochs": 40, "checkpoint_every_steps": 50}


def pause(daemon, run):
    daemon.api("POST", f"/v1/runs/{run}/pause")
    daemon.wait_for_state(run, "paused", "succeeded")


def resume(daemon, run):
    daemon.api("POST", f"/v1/runs/{run}/resume")


def change_of_mind(daemon, run):
    """Resumes while the pause is still being carried out."""
    daemon.api("POST", f"/v1/runs/{run}/pause")
    daemon.api("POST", f"/v1/runs/{run}/resume")


def save(daemon, run):
    daemon.api("POST", f"/v1/runs/{run}/checkpoint")


def kill_worker(daemon, run, number=signal.SIGKILL):
    for pid in daemon.worker_pids():
        os.kill(pid, number)


def terminate_worker(daemon, run):
    kill_worker(daemon, run, signal.SIGTERM)


def kill_daemon(daemon, run):
    daemon.kill()
    daemon.start()


def stop_daemon(daemon, run):
    daemon.stop()
    daemon.start()


def two_signals(daemon, run):
    """The second one makes the daemon stop at once."""
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.wait(60)
    daemon.start()


def next_step(daemon, run):
    """Waits until one more step is recorded than now."""
    before = recorded(daemon, run)
    wait_until("one more step", lambda: recorded(daemon, run) > before or ended(daemon, run))


PATTERNS = [
    [pause, resume], [pause, resume, pause, resume], [change_of_mind], [change_of_mind, change_of_mind],
    [pause, kill_daemon, resume], [pause, stop_daemon, resume], [kill_worker], [kill_worker, next_step, kill_worker],
    [terminate_worker], [kill_daemon], [kill_daemon, kill_daemon], [kill_daemon, next_step, kill_daemon],
    [stop_daemon], [stop_daemon, next_step, stop_daemon], [two_signals], [save, kill_worker], [save, kill_daemon],
    [save, pause, resume], [kill_worker, pause, resume], [pause, resume, next_step, kill_daemon, next_step, kill_worker],
]


def recorded(daemon, run):
    tables = daemon.api("GET", f"/v1/metrics?runs={run}&keys=train/loss&agg=none").json()["tables"]
    return tables[0]["step"][-1] if tables and tables[0]["step"] else 0


def ended(daemon, run):
    return daemon.run(run)["state"] == "succeeded"


def test_twenty_patterns_through_the_api(scenes, tmp_path, thorough):
    rng = random.Random(seed())
    daemon = Daemon(tmp_path, retry_base_ms=1, retry_cap_ms=20, retry_stuck_max=100, retry_failures_max=100).start()
    try:
        references = {}
        for threads in (1, 4):
            params = {**spec_of(scenes, threads), **LONG}
            run = daemon.submit("pretrain", **params)
            daemon.wait_for_state(run, "succeeded")
            references[threads] = Outcome(daemon, run)
        assert references[1].losses == references[4].losses, "the loader's threads change the result"
        assert len(PATTERNS) == 20
        cases = [(pattern, threads) for pattern in PATTERNS for threads in (1, 4)]
        for pattern, threads in cases if thorough else rng.sample(cases, 6):
            params = {**spec_of(scenes, threads), **LONG}
            run = daemon.submit("pretrain", **params)
            moment = rng.randrange(1, references[1].step * 3 // 4)
            wait_until("the moment has come", lambda: recorded(daemon, run) >= moment or ended(daemon, run))
            for action in pattern:
                action(daemon, run)
            daemon.wait_for_state(run, "succeeded")
            print(f"{' '.join(a.__name__ for a in pattern)} at {moment}, {threads} loader threads: "
                  f"{daemon.run(run)['attempts']} attempts")
            Outcome(daemon, run).assert_equals(references[threads])
    finally:
        daemon.stop()
