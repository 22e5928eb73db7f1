"""Each system call of a worker that touches files kills it, or fails: nothing false is published, and
the run that is started again ends with the same bits."""
import random
import signal

import pytest

from injection import FILE_CALLS, count_calls, counting, failing, need_strace, shim, short_writes
from outcome import SHORT_RUN, file_hashes, seed
from wire_host import WireHost

STEPS = 22
PARAMS = {**SHORT_RUN, "epochs": 2, "eval_every_epochs": 0, "keep_checkpoints": 2}
SAMPLE = 12


@pytest.fixture(scope="module")
def whole(scenes, tmp_path_factory):
    """Hashes and losses of the run without faults, and how often it makes each call."""
    directory = tmp_path_factory.mktemp("whole")
    need_strace(directory)
    params = {**PARAMS, "dataset": str(scenes)}
    code, steps = WireHost(directory / "run", params, counting(directory / "calls")).run()
    assert code == 0
    calls = count_calls(directory / "calls")
    assert calls["fsync"] >= 8 and calls["rename"] >= 3, calls
    return params, newest(directory / "run"), dict(steps), calls


def newest(directory):
    return file_hashes(sorted(p for p in (directory / "checkpoints").iterdir() if ".tmp" not in p.name)[-1])


def points(calls, thorough):
    every = [(call, n) for call in FILE_CALLS for n in range(1, calls.get(call, 0) + 1)]
    return every if thorough else random.Random(seed()).sample(every, SAMPLE)


def finish(directory, whole, first):
    """Started again without faults: every checkpoint that was told is there or was replaced by a
    later one, none is found damaged, and the end is the same."""
    params, hashes, losses, _ = whole
    host = WireHost(directory, params)
    code, steps = host.run()
    assert code == 0, (directory / "log").read_text()
    assert "checkpoint_corrupt" not in host.warnings
    for step, loss in first + steps:
        assert loss == losses[step]
    assert {step for step, _ in first + steps} == set(losses), "a step was left out"
    assert newest(directory) == hashes
    assert not [p.name for p in (directory / "checkpoints").iterdir() if ".tmp" in p.name], "leftovers"


def test_killed_at_each_call(whole, tmp_path, thorough):
    killed = 0
    for call, n in points(whole[3], thorough):
        directory = tmp_path / f"{call}-{n}"
        host = WireHost(directory, whole[0], failing(call, "signal=SIGKILL", n))
        code, first = host.run()
        killed += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL), (call, n, code)
        told = max((c["step"] for c in host.checkpoints), default=0)
        second = WireHost(directory, whole[0])
        second.stop()
        _, steps = second.run()
        begin = steps[0][0] - 1 if steps else None
        assert begin is None or begin >= told, f"{call} {n}: checkpoint {told} was told and lost"
        finish(directory, whole, first + steps)
    print(f"killed at {killed} calls")
    assert killed > 0


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EINTR"])
def test_failing_calls(whole, tmp_path, thorough, error):
    """The worker says I/O error (74), or the call did not matter and its result is right; a call that
    was only interrupted is made again, or counts as failed."""
    failed = 0
    for call, n in points(whole[3], thorough):
        directory = tmp_path / f"{call}-{n}"
        host = WireHost(directory, whole[0], failing(call, f"error={error}", n))
        code, first = host.run()
        log = (directory / "log").read_text() if (directory / "log").exists() else ""
        assert code in (0, 74), (call, n, error, code, log[-500:])
        failed += code != 0
        if code == 0:
            assert newest(directory) == whole[1], f"{call} {n} {error}: success with another result"
        finish(directory, whole, first)
    print(f"{failed} calls ended the worker")
    assert failed > 0 or error == "EINTR"


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failing_for_good(whole, tmp_path, thorough, error):
    """From the nth call on every one fails: the worker says I/O error, and publishes nothing false."""
    places = [(call, n) for call, n in points(whole[3], True) if call not in ("unlink", "rmdir")]
    for call, n in places if thorough else random.Random(seed()).sample(places, 4):
        directory = tmp_path / f"{call}-{n}"
        host = WireHost(directory, whole[0], failing(call, f"error={error}", f"{n}+"))
        code, first = host.run()
        assert code in (0, 74), (call, n, error, code)
        if code == 0:
            assert newest(directory) == whole[1], f"{call} {n} {error}: success with another result"
        finish(directory, whole, first)


def test_short_writes(whole, tmp_path, thorough):
    """Each write in turn takes only half of what it was given, then all of them: the same bits."""
    library = shim("short_shim", tmp_path)
    calls = sum(whole[3].get(call, 0) for call in ("write", "pwrite64"))
    places = [str(n) for n in range(1, calls + 1)] + ["1+"]
    for n in places if thorough else random.Random(seed()).sample(places[:-1], 5) + places[-1:]:
        directory = tmp_path / f"short-{n}"
        code, steps = WireHost(directory, whole[0], short_writes(library, n)).run()
        assert code == 0 and dict(steps) == whole[2], n
        assert newest(directory) == whole[1], n
