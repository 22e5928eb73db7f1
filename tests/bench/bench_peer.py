"""The host engine's training step against PyTorch's on this machine, in the same run.

    bench_peer.py [CASE...]        all cases of CASES, or those named

Peers: python3-torch of the system and, if IJEPAD_PEER_PYTHON names an interpreter, that one's PyTorch.
Engine and peers take turns for ROUNDS rounds, with the same sizes of masks (the peer's are random), batch,
precision (IJEPAD_PEER_PRECISIONS, both) and number of threads (IJEPAD_PEER_THREADS, 2). One JSON line per
round and a last one per case with medians. OPENBLAS_CORETYPE is set to SkylakeX unless it is set: without it
OpenBLAS may take kernels of half the speed. A peer that is not there is skipped with its reason.
"""
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORKER = pathlib.Path(os.environ.get("IJEPAD_BUILD", ROOT / "build")) / "ijepad-worker"
STEP = pathlib.Path(__file__).with_name("peer_step.py")
THREADS = int(os.environ.get("IJEPAD_PEER_THREADS", 2))
ROUNDS = int(os.environ.get("IJEPAD_PEER_ROUNDS", 3))

SMALL_32 = {"model": "vit_tiny", "crop": 32, "patch": 4, "pred-width": 96, "pred-depth": 4}
CASES = {
    "vit_small_16": ({"model": "vit_small"}, 16, 2),
    "vit_small_64": ({"model": "vit_small"}, 64, 2),
    "vit_base_16": ({"model": "vit_base"}, 16, 2),
    "vit_tiny_32": (SMALL_32, 64, 10),
}
PRECISIONS = os.environ.get("IJEPAD_PEER_PRECISIONS", "float32 bfloat16").split()


def options(values):
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def run(command, **more):
    """The last line of its output as JSON, or the reason why there is none."""
    env = {"OPENBLAS_CORETYPE": "SkylakeX", **os.environ, "OMP_NUM_THREADS": str(THREADS), **more}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        return {"error": (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def engine(shape, batch, steps, precision):
    return run([str(WORKER), "bench", "step", *options(shape), "--batch", str(batch), "--steps",
                str(steps), "--warmup", "1", "--precision", precision, "--threads", str(THREADS)])


def peer(python, shape, batch, steps, precision, ours):
    return run([python, str(STEP), "bench", "--device", "cpu", *options(shape), "--batch", str(batch),
                "--steps", str(steps), "--warmup", "1", "--limit", "120", "--precision", precision,
                "--threads", str(THREADS), "--context", f"{ours['mean_context_patches']:.0f}",
                "--targets", f"{ours['mean_target_patches']:.0f}"])


def peers():
    """name -> interpreter, of those that have PyTorch; tells of those that have not."""
    found = {}
    for name, python in (("system", "/usr/bin/python3"), ("venv", os.environ.get("IJEPAD_PEER_PYTHON"))):
        if not python:
            tell({"bench": "peer", "peer": name, "skipped": "IJEPAD_PEER_PYTHON is not set"})
            continue
        done = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True)
        if done.returncode:
            tell({"bench": "peer", "peer": name, "skipped": done.stderr.strip().splitlines()[-1]})
        else:
            found[name] = python
    return found


def machine():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return platform.machine()


def tell(line):
    print(json.dumps(line, separators=(",", ":")), flush=True)


def case(name, found):
    shape, batch, steps = CASES[name]
    for precision in PRECISIONS:
        rates = {"engine": []}
        for turn in range(ROUNDS):
            ours = engine(shape, batch, steps, precision)
            tell({"bench": "peer", "case": name, "round": turn, "who": "engine", **ours})
            if "error" in ours:
                return 1
            rates["engine"].append(ours["images_per_s"])
            for who, python in found.items():
                theirs = peer(python, shape, batch, steps, precision, ours)
                tell({"bench": "peer", "case": name, "round": turn, "who": who, **theirs})
                if "error" not in theirs:
                    rates.setdefault(who, []).append(theirs["images_per_s"])
        medians = {who: statistics.median(values) for who, values in rates.items()}
        tell({"bench": "peer", "case": name, "precision": precision, "batch": batch, "threads": THREADS,
              "rounds": ROUNDS, "machine": machine(), "commit": ours["build"], "images_per_s": medians,
              "ratio": {who: round(medians["engine"] / rate, 3) for who, rate in medians.items()
                        if who != "engine"}})
    return 0


def main():
    names = sys.argv[1:] or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        print(f"no such case: {unknown[0]}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    found = peers()
    return max(case(name, found) for name in names)


if __name__ == "__main__":
    sys.exit(main())
