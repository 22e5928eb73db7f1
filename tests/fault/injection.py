"""System calls that kill their process or fail, by strace: the Nth call of each kind, in turn."""
import collections
import pathlib
import re
import shutil
import subprocess

import pytest

# What changes files, by the name strace knows.
FILE_CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "unlink", "unlinkat",
              "mkdir", "rmdir", "ftruncate", "fallocate")


def need_strace(folder):
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    probe = subprocess.run(["strace", "-o", folder / "probe", "-e", "inject=fsync:error=EIO", "true"],
                           capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"strace cannot trace here: {probe.stderr.strip()[-200:]}")


def counting(output, detached=False):
    """Counts instead of failing; read the result with count_calls()."""
    return ["strace", *(["-D"] if detached else []), "-f", "-o", str(output), "-e", "trace=" + ",".join(FILE_CALLS)]


def count_calls(output):
    """{call: the largest number of times one thread made it}."""
    counts = collections.Counter()
    for line in open(output, errors="replace"):
        found = re.match(r"(\d+) +(\w+)\(", line)
        if found:
            counts[found.groups()] += 1
    most = {}
    for (_, call), count in counts.items():
        most[call] = max(most.get(call, 0), count)
    return most


def failing(call, what, n, output="/dev/null", detached=False):
    """`what`: "signal=SIGKILL" or "error=EIO"; n counts the calls of each thread, from 1; "n+" means
    all from there on."""
    return ["strace", *(["-D"] if detached else []), "-f", "-o", str(output), "-e", f"trace={call}", "-e",
            f"inject={call}:{what}:when={n}"]


def shim(name, folder):
    """Compiles tests/fault/<name>.c to be preloaded; its path."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    made = pathlib.Path(folder) / f"{name}.so"
    source = pathlib.Path(__file__).resolve().parent / f"{name}.c"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


def short_writes(library, n):
    """`n`: the call that takes only half, "n+": all from there on."""
    return ["env", f"LD_PRELOAD={library}", f"SHORT_SHIM={n}"]
