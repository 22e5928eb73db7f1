"""The house rules as tests: sizes, order of folders, names, banned calls.

A waiver is one line in WAIVERS with its reason.
"""
import collections
import json
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FUNCTION_LINES, FILE_LINES, COLUMNS = 70, 500, 100

# path[:function] -> reason
WAIVERS = {
}

# Folder -> folders it may include from. main.c and worker.c are the roots and may use all.
ORDER = {
    "base": {"base"},
    "store": {"base", "store"},
    "gpu": {"base", "gpu"},
    "daemon": {"base", "store", "gpu", "daemon"},
    "api": {"base", "store", "gpu", "daemon", "api"},
}
ROOTS = {"daemon/main.c", "daemon/worker.c", "daemon/deliver.c"}

# call -> what to use instead
BANNED = {
    "malloc": "mem_new, mem_array", "calloc": "mem_new, mem_array", "realloc": "mem_grow",
    "strdup": "mem_strdup", "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strcat": "struct buf", "atoi": "text_to_u64", "atof": "text_to_double", "strtok": "own scan",
    "gets": "fgets", "system": "a worker process", "popen": "a worker process",
    "rand": "base/rng.h", "srand": "base/rng.h", "random": "base/rng.h", "usleep": "a timer",
}


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--", *patterns], cwd=ROOT, capture_output=True, text=True)
    if out.returncode != 0:
        pytest.skip("not a git checkout")
    return [p for p in out.stdout.split("\n") if p and (ROOT / p).exists()]


C_FILES = ("*.c", "*.h", "*.cu", "*.cuh")


def code_of(path):
    """Text without comments and string contents."""
    text = (ROOT / path).read_text()
    text = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def test_files_are_small():
    long = [f"{p}: {n} lines" for p in tracked(*C_FILES, "*.py", "*.js")
            if (n := len((ROOT / p).read_text().splitlines())) > FILE_LINES and p not in WAIVERS]
    assert not long, long


def test_lines_fit():
    wide = [f"{p}:{i}" for p in tracked(*C_FILES) for i, line in
            enumerate((ROOT / p).read_text().splitlines(), 1) if len(line) > COLUMNS]
    assert not wide, wide


def test_functions_are_short():
    if not shutil.which("ctags"):
        pytest.skip("universal-ctags is not installed")
    out = subprocess.run(["ctags", "--output-format=json", "--fields=+ne", "--kinds-C=f",
                          "--kinds-C++=f", "-f", "-", *tracked("*.c", "*.cu")],
                         cwd=ROOT, capture_output=True, text=True, check=True)
    long = []
    for row in map(json.loads, out.stdout.splitlines()):
        lines = row.get("end", row["line"]) - row["line"] + 1
        if lines > FUNCTION_LINES and f"{row['path']}:{row['name']}" not in WAIVERS:
            long.append(f"{row['path']}:{row['name']}: {lines} lines")
    assert not long, long


def test_every_file_begins_with_what_it_is():
    bare = [p for p in tracked(*C_FILES) if not (ROOT / p).read_text().startswith("/*")]
    assert not bare, bare


def test_stems_are_unique():
    stems = collections.defaultdict(set)
    for p in tracked(*C_FILES):
        stems[pathlib.Path(p).stem].add(str(pathlib.Path(p).parent))
    twice = {s: sorted(d) for s, d in stems.items() if len(d) > 1}
    assert not twice, twice


def test_folders_include_only_what_they_may():
    wrong = []
    for p in tracked(*C_FILES):
        top = p.split("/")[0]
        if top not in ORDER or p in ROOTS:
            continue
        for other in re.findall(r'^#include "(\w+)/', (ROOT / p).read_text(), flags=re.M):
            if other not in ORDER[top]:
                wrong.append(f"{p} includes {other}/")
    assert not wrong, wrong


def test_only_engine_h_is_seen_from_outside():
    allowed = {"gpu/engine.h"}
    wrong = [f"{p}: {h}" for p in tracked("daemon/*.[ch]", "api/*.[ch]", "store/*.[ch]")
             for h in re.findall(r'^#include "(gpu/[^"]+)"', (ROOT / p).read_text(), flags=re.M)
             if h not in allowed]
    assert not wrong, wrong


def test_no_banned_calls():
    found = []
    for p in tracked("base/*.c", "store/*.c", "gpu/**.c", "daemon/*.c", "api/*.c"):
        if p == "base/mem.c":
            continue
        for call in re.findall(r"(?<![\w.>])([a-z]\w*)\s*\(", code_of(p)):
            if call in BANNED:
                found.append(f"{p}: {call}: use {BANNED[call]}")
    assert not found, sorted(set(found))


def test_sql_lives_in_store():
    words = re.compile(r'"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE TABLE)\b')
    found = [p for p in tracked("api/*.c", "daemon/*.c", "gpu/**.c", "base/*.c")
             if words.search((ROOT / p).read_text())]
    assert not found, found


def test_nothing_is_left_unfinished():
    words = re.compile(r"\b(TODO|FIXME|XXX)\b")
    found = [f"{p}:{i}" for p in tracked(*C_FILES, "*.js", "*.sh") for i, line in
             enumerate((ROOT / p).read_text().splitlines(), 1) if words.search(line)]
    assert not found, found


def test_every_folder_says_what_lives_there():
    folders = {"/".join(p.split("/")[:-1]) for p in tracked(*C_FILES) if "/" in p}
    tops = {f.split("/")[0] for f in folders} | {f for f in folders if f.startswith("gpu/")}
    missing = [f for f in sorted(tops) if not (ROOT / f / "README.md").exists()
               and f not in ("gpu/ops/host",)]
    assert not missing, missing
