"""The order of a checkpoint's system calls: what is told is durable before it is told, on any file
system, whatever it happens to flush by itself."""
import re

from injection import need_strace
from outcome import SHORT_RUN
from wire_host import WireHost

CALLS = "openat,write,pwrite64,fsync,rename,renameat2,sendto,fallocate"


def calls_of(trace):
    """(call, path or text) in order, of finished calls; a call cut in two by another thread is joined."""
    open_calls = {}
    for line in open(trace, errors="replace"):
        pid, rest = line.split(maxsplit=1)
        if rest.rstrip().endswith("<unfinished ...>"):
            open_calls[pid] = rest.split("<unfinished")[0]
            continue
        if rest.startswith("<..."):
            rest = open_calls.pop(pid, "") + rest.split("resumed>", 1)[1]
        found = re.match(r"(\w+)\((.*)", rest)
        if found:
            yield found.groups()


def test_nothing_is_told_before_it_is_durable(scenes, tmp_path):
    need_strace(tmp_path)
    trace = tmp_path / "trace"
    host = WireHost(tmp_path / "run", {**SHORT_RUN, "dataset": str(scenes), "epochs": 2, "eval_every_epochs": 0},
                    ["strace", "-f", "-y", "-s", "400", "-o", str(trace), "-e", "trace=" + CALLS])
    assert host.run()[0] == 0
    dirty, renamed, told, synced = set(), [], 0, 0
    for call, text in calls_of(trace):
        where = re.match(r"\d+<([^>]*)>", text)
        path = where.group(1) if where else ""
        if call in ("write", "pwrite64") and ".tmp-" in path:
            dirty.add(path)
        elif call == "fsync":
            dirty.discard(path)
            synced += 1
            if path.endswith("/checkpoints"):
                renamed.clear()
        elif call.startswith("rename"):
            names = re.findall(r'"([^"]+)"', text)
            if names[-1].endswith("-removed"):  # retention
                continue
            assert not {d for d in dirty if d.startswith(names[0] + "/")}, f"{names[0]} got its name with {dirty} unsynced"
            renamed.append(names[-1])
        elif call == "sendto" and '\\"path\\"' in text and "checkpoints/step-" in text:
            assert not renamed, f"told before {renamed} were durable in their directory"
            told += 1
    assert told == len(host.checkpoints) >= 3, (told, len(host.checkpoints))
    assert synced >= told * 5
