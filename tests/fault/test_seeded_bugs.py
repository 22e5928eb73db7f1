"""The test of the tests: each mistake of base/seed_bug.h is built in, and the test that is meant for it
must fail. Only the file with the mistake is compiled; the rest comes from the ordinary build."""
import os
import pathlib
import random
import re
import subprocess

import pytest

from harness import BUILD, sanitized
from outcome import seed

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACKNOWLEDGED = "tests/fault/test_acknowledged.py"
WORKER_FAULTS = "tests/e2e/test_worker_faults.py"

# mistake: file, test, environment
BUGS = {
    "NO_FSYNC": ("gpu/checkpoint/checkpoint_write.c", "tests/fault/test_protocol.py", {}),
    "NO_DIRECTORY_FSYNC": ("gpu/checkpoint/checkpoint_write.c",
                           f"{ACKNOWLEDGED}::test_power_cuts_lose_no_checkpoint[ext4]", {"IJEPAD_CYCLES": "24"}),
    "EARLY_ACK": ("daemon/recorder.c", f"{ACKNOWLEDGED}::test_kills_lose_nothing", {"IJEPAD_CYCLES": "20"}),
    "SYNCHRONOUS_NORMAL": ("store/store.c", f"{ACKNOWLEDGED}::test_power_cuts_lose_no_row[ext4]",
                           {"IJEPAD_CYCLES": "12"}),
    "HOST_UNCHECKED": ("api/http_check.c", "tests/e2e/test_api_hostile.py::test_other_hosts", {}),
    "DEPTH_LIMIT": ("api/json_in.c", "tests/e2e/test_api_bad_input.py::test_malformed_json", {}),
    "KEEPS_SUPERSEDED": ("daemon/recorder.c",
                         "tests/fault/test_supervision.py::test_what_did_not_happen_is_not_shown", {}),
    "MOMENTS_LOST": ("gpu/train/train_save.c", "tests/fault/test_resume.py::test_stopped_at_each_step[1]", {}),
    "RESUME_OFF_BY_ONE": ("gpu/train/train.c", "tests/fault/test_resume.py::test_stopped_at_each_step[1]", {}),
    "DELETE_OPEN": ("api/admit.c", "tests/e2e/test_api_routes.py::test_every_route_needs_a_token", {}),
    "FOREIGN_PATH": ("daemon/record_event.c", f"{WORKER_FAULTS}", {"PYTEST_ADDOPTS": "-k foreign_checkpoint"}),
    "NEVER_QUARANTINED": ("daemon/run_machine.c", f"{WORKER_FAULTS}", {"PYTEST_ADDOPTS": "-k crash-crash"}),
}

@pytest.fixture(scope="module")
def variables():
    """What the Makefile compiles and links with."""
    names = ("CC", "CPPFLAGS", "CFLAGS", "LDFLAGS", "DAEMON_LIBS", "ENGINE_LIBS")
    rule = "show-variables: ; @true " + " ".join(f"$(info {name}=$({name}))" for name in names)
    shown = subprocess.run(["make", "-s", "--eval", rule, "show-variables"], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout
    return {name: re.search(rf"^{name}=(.*)$", shown, re.M).group(1).split() for name in names}


def build_with(bug, source, folder, variables):
    """The program with the mistake in it: its object comes first, so the library's is not taken."""
    if not (BUILD / "obj").is_dir():
        pytest.skip(f"{BUILD} holds no objects to link with")
    name, main, other = ("ijepad-worker", ["daemon/worker.o"], "ijepad") if source.startswith("gpu/") else \
                        ("ijepad", ["daemon/main.o", "webui.o"], "ijepad-worker")
    broken = folder / "broken.o"
    subprocess.run([*variables["CC"], *variables["CPPFLAGS"], *variables["CFLAGS"], f"-DIJ_SEED_BUG=SEED_BUG_{bug}",
                    "-c", source, "-o", broken], cwd=ROOT, check=True)
    archives = [BUILD / f"lib{part}.a" for part in ("api", "daemon", "store", "engine", "base")]
    subprocess.run([*variables["CC"], *variables["LDFLAGS"], "-o", folder / name, *[BUILD / "obj" / o for o in main],
                    broken, *archives, *variables["DAEMON_LIBS"], *variables["ENGINE_LIBS"]], cwd=ROOT, check=True)
    (folder / other).symlink_to(BUILD / other)


def sample(thorough):
    return list(BUGS) if thorough else random.Random(seed()).sample(sorted(BUGS), 3)


def test_every_bug_of_the_header_is_here():
    header = (ROOT / "base" / "seed_bug.h").read_text()
    assert set(re.findall(r"#define SEED_BUG_(\w+) +\d", header)) == set(BUGS)


@pytest.mark.skipif(sanitized(), reason="the mistakes are built into ordinary programs")
def test_seeded_bugs_are_caught(tmp_path, variables, thorough):
    missed, not_run = [], []
    for bug in sample(thorough):
        source, test, environment = BUGS[bug]
        folder = tmp_path / bug
        folder.mkdir()
        build_with(bug, source, folder, variables)
        done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-x", "-rs", "-p", "no:cacheprovider", test],
                              cwd=ROOT, capture_output=True, text=True, timeout=400,
                              env={**os.environ, **environment, "IJEPAD_BUILD": str(folder), "IJEPAD_FAULT": ""})
        ran = re.search(r"\d+ (passed|failed)", done.stdout)
        print(f"{bug}: {'caught' if done.returncode == 1 else 'not run' if not ran else 'MISSED'}")
        if done.returncode != 1:
            (missed if ran else not_run).append(bug)
        assert done.returncode in (0, 1, 5), done.stdout[-3000:] + done.stderr[-3000:]
    assert not missed, f"no test failed with {missed}"
    if not_run:
        pytest.skip(f"the tests of {not_run} do not run here")
