#!/usr/bin/python3
"""Branch coverage of the files in coverage_files.txt: coverage.py run|show|missing BUILD [FILE...]

    run      the unit tests, the fuzz targets' corpora, the end-to-end tests and some of tests/fault, counted by gcov; not those
             that compute for long and are about other files
    show     a table; 1 if less than 90 % of all branches were taken
    missing  what was never taken, line by line, of these files or all

Every branch that the compiler made of a line counts, also the failing side of each call that is checked. Left out are assertions:
they end the process and have no other side that a test could take; and what follows SEED_BUG, which is constant.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
LEAST = 0.9
LEFT_OUT = re.compile(r"\bIJ_ASSERT\(|SEED_BUG\(")
# Their tests make writing fail, also that of the counts: each runs alone, so that it spoils no other's.
ALONE = ("test_checkpoint", "test_checkpoint_faults", "test_checkpoint_writer", "test_store_fault", "test_store_kill", "test_file")
SLOW = ("test_engine_golden", "test_evaluate", "test_finetune", "test_frozen", "test_logistic", "test_low_shot", "test_monitor", "test_probe",
        "test_probe_group", "test_probe_heads", "test_rand_augment", "test_scene", "test_tuner", "test_loader", "test_crop")
E2E = ["tests/e2e", *(f"--ignore=tests/e2e/test_{name}.py" for name in ("evaluations", "story", "ranks", "interop", "health", "gpu_bundle"))]
FAULT = ["tests/fault/test_allocations.py::test_the_daemon", "tests/fault/test_daemon_calls.py", "tests/fault/test_retention_cycles.py", "tests/fault/test_leftovers.py"]


# ---- Running -----------------------------------------------------------------------------------------

def count(build, name, command, **environment):
    """Runs with the counts going to a folder of their own."""
    folder = build / "gcda" / name
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={
        **os.environ, "GCOV_PREFIX": str(folder), "OMP_WAIT_POLICY": "passive", **environment})
    print(f"{'ok   ' if done.returncode == 0 else 'FAIL '} {name}", flush=True)
    if done.returncode:
        print(done.stdout[-1500:], done.stderr[-1500:])


def tests_of(program):
    """suite/test of a Criterion program."""
    suite, found = "", []
    for line in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.splitlines():
        if re.match(r"\w+: \d+ test", line):
            suite = line.split(":")[0]
        elif line.strip():
            found.append(f"{suite}/{re.sub(r'[^0-9A-Za-z_]', '', line)}")
    return found


def counts_for(program):
    """Is one of the files in it, beside those of base/, which are everywhere?"""
    data = program.read_bytes()
    return program.name not in SLOW and any(source.replace(".c", ".gcda").encode() in data for source in named() if not source.startswith("base/"))


def run(build):
    subprocess.run(["rm", "-rf", build / "gcda"], check=True)
    programs = [p for kind in ("unit", "fuzz") for p in sorted((build / "tests" / kind).iterdir())
                if os.access(p, os.X_OK) and p.is_file() and (counts_for(p) or p.name in ("test_address", "test_text"))]
    for program in programs:
        if program.name in ALONE:
            for n, test in enumerate(tests_of(program)):
                count(build, f"{program.name}.{n}", [program, "--filter", test, "--timeout", "300"])
        else:
            count(build, program.name, [program, "--jobs", "2", "--timeout", "300"])
    pytest = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    for name, tests in {"fault": FAULT, "e2e": E2E}.items():
        count(build, name, [*pytest, *tests], IJEPAD_BUILD=str(build), PYTHONPATH="tests/e2e", IJEPAD_ALLOCATIONS="120")


# ---- Reading -----------------------------------------------------------------------------------------

def named():
    lines = (ROOT / "tests" / "coverage_files.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read_counts(build, folder, source):
    """[(line, taken)] of every branch in `source` in one folder of counts; empty where it has none or they are spoiled."""
    notes = (build / "obj" / source).with_suffix(".gcno")
    data = folder / str(notes.with_suffix(".gcda")).lstrip("/")
    if not data.exists():
        return []
    beside = data.with_suffix(".gcno")
    if not beside.exists():
        beside.symlink_to(notes)
    out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", data], cwd=ROOT, capture_output=True, text=True)
    if out.returncode or not out.stdout.strip():
        return []
    return [(line["line_number"], branch["count"] > 0) for file in json.loads(out.stdout)["files"] if file["file"] == source
            for line in file["lines"] for branch in line["branches"] if not branch["throw"]]


def branches_of(build, source):
    """[(line, taken by any)] without what is left out."""
    text, lines, taken = (ROOT / source).read_text().splitlines(), [], []
    for folder in sorted((build / "gcda").iterdir()):
        counts = read_counts(build, folder, source)
        if not lines:
            lines, taken = [line for line, _ in counts], [False] * len(counts)
        if counts:
            assert [line for line, _ in counts] == lines, source
            taken = [a or b for a, (_, b) in zip(taken, counts)]
    return [(line, was) for line, was in zip(lines, taken) if not LEFT_OUT.search(text[line - 1])]


def missing(build, sources):
    for source in sources or named():
        text, lines = (ROOT / source).read_text().splitlines(), {}
        for line, taken in branches_of(build, source):
            lines[line] = lines.get(line, 0) + (not taken)
        for line, number in sorted(lines.items()):
            if number:
                print(f"{source}:{line}: {number} not taken: {text[line - 1].strip()}")


def show(build):
    """True: enough."""
    all_taken = all_count = 0
    for source in named():
        branches = branches_of(build, source)
        assert branches, f"{source} never ran"
        taken = sum(was for _, was in branches)
        all_taken, all_count = all_taken + taken, all_count + len(branches)
        print(f"{source:40} {taken:5} of {len(branches):5} {100 * taken / len(branches):5.1f} %", flush=True)
    print(f"{'all':40} {all_taken:5} of {all_count:5} {100 * all_taken / all_count:5.1f} %")
    return all_taken >= LEAST * all_count


def main():
    command, build = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if command == "run":
        run(build)
    elif command == "missing":
        missing(build, sys.argv[3:])
    else:
        return 0 if show(build) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
