#!/usr/bin/env python3
"""The loader against Pillow and torchvision: the same files, the same crops, the same run.

    loader_peer.py [--rounds 5] [--epochs 2] [--python PYTHON ...]

Files: the ImageNet sample in IJEPAD_TEST_DATA. Crops: those that the loader draws (loader_epochs crops).
The peer opens each file, decodes it as RGB, cuts and resizes to 224 with antialiasing, and, as the published
pipeline does, makes a tensor of it and normalises ("normalised"); also without the last two steps ("uint8"), which is
what the loader makes. Rounds alternate. "1 core" pins each side to one core: one decoding thread and its reader
against one process with one torch thread. "all cores": as many threads against as many processes, files dealt out.
Each Python named is a peer; the default is the one that runs this. JSON lines.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("IJEPAD_BUILD", "build")).resolve()
EPOCHS_PROGRAM = BUILD / "tests" / "bench" / "loader_epochs"
SIDE, MEAN, STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def tell(what, **values):
    print(json.dumps({"bench": "loader", "what": what, **values}), flush=True)


# ---- The peer: runs in a Python that has Pillow and torchvision --------------------------------------

def read_crops(path):
    rows = (line.rstrip("\n").split(" ", 4) for line in open(path))
    return [(file, *map(int, box)) for *box, file in rows]


def decode(file, x, y, width, height, normalised):
    from PIL import Image
    from torchvision.transforms import functional as F
    with open(file, "rb") as f:
        image = Image.open(f).convert("RGB")
    image = F.resized_crop(image, y, x, height, width, (SIDE, SIDE))
    return F.normalize(F.to_tensor(image), MEAN, STD) if normalised else image


def pass_over(crops, normalised, ready, go):
    import torch
    torch.set_num_threads(1)
    decode(*crops[0], normalised)
    ready.release()
    go.acquire()
    for crop in crops:
        decode(*crop, normalised)


def peer_time(crops, processes, normalised):
    """Seconds from the start signal to the end of the last process; imports are not counted."""
    ready, go = multiprocessing.Semaphore(0), multiprocessing.Semaphore(0)
    workers = [multiprocessing.Process(target=pass_over, args=(crops[i::processes], normalised, ready, go))
               for i in range(processes)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    start = time.perf_counter()
    for _ in workers:
        go.release()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    return time.perf_counter() - start


def compare(crops, pixels):
    """Largest and mean difference of the loader's bytes to Pillow's."""
    import numpy
    ours = numpy.fromfile(pixels, numpy.uint8).reshape(-1, SIDE, SIDE, 3)
    assert len(ours) == len(crops)
    largest, total = 0, 0.0
    for crop, mine in zip(crops, ours):
        difference = numpy.abs(numpy.asarray(decode(*crop, False)).astype(numpy.int16) - mine)
        largest, total = max(largest, int(difference.max())), total + float(difference.mean())
    return {"images": len(crops), "largest": largest, "mean": round(total / len(crops), 4)}


def peer_main(arguments):
    import PIL
    import torch
    import torchvision
    crops = read_crops(arguments.crops)
    if arguments.peer == "versions":
        out = {"pillow": PIL.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
    elif arguments.peer == "compare":
        out = compare(crops, arguments.pixels)
    else:
        crops = crops * arguments.epochs
        seconds = peer_time(crops, len(os.sched_getaffinity(0)), arguments.peer == "normalised")
        out = {"images": len(crops), "wall_s": seconds}
    print(json.dumps(out))


# ---- The comparison ----------------------------------------------------------------------------------

def run(command, cores):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores))
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return json.loads(done.stdout)


def peer(python, what, cores, arguments):
    return run([python, __file__, "--peer", what, *arguments], cores)


def measure(name, cores, peers, folder, crops, options):
    """Alternating rounds of one set of cores; the medians and their ratios."""
    sides = {"ijepad": lambda: run([EPOCHS_PROGRAM, "time", folder, len(cores), options.epochs], cores)}
    for label, python in peers.items():
        for what in ("normalised", "uint8"):
            sides[f"{label} {what}"] = lambda python=python, what=what: peer(
                python, what, cores, ["--crops", crops, "--epochs", options.epochs])
    rates = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, once in sides.items():
            got = once()
            rates[side].append(round(got["images"] / got["wall_s"], 1))
    medians = {side: statistics.median(values) for side, values in rates.items()}
    tell(name, cores=len(cores), images_per_s=medians, rounds=rates,
         ratio={side: round(medians["ijepad"] / rate, 2) for side, rate in medians.items() if side != "ijepad"})
    return medians["ijepad"]


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
                 platform.machine())
    version = subprocess.run([BUILD / "ijepad-worker", "--version"], capture_output=True, text=True).stdout.split()
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "load_1m": round(os.getloadavg()[0], 1),
            "commit": version[-1] if version else None, "flags": os.environ.get("BENCH_FLAGS", "")}


def find_peers(pythons, crops, cores):
    peers = {}
    for python in pythons:
        try:
            versions = peer(python, "versions", cores, ["--crops", crops])
        except (OSError, RuntimeError) as error:
            tell("skipped", python=python, reason=f"no Pillow with torchvision there: {error}")
            continue
        label = f"Pillow {versions['pillow']} + torchvision {versions['torchvision']}"
        tell("peer", label=label, **versions)
        peers[label] = python
    return peers


def against_peers(folder, work, options):
    cores = os.sched_getaffinity(0)
    crops, pixels = work / "crops.txt", work / "pixels"
    with open(crops, "w") as out:
        subprocess.run([EPOCHS_PROGRAM, "crops", folder], stdout=out, check=True)
    peers = find_peers(options.python or [sys.executable], crops, cores)
    if peers:
        subprocess.run([EPOCHS_PROGRAM, "pixels", folder, pixels], check=True)
        for label, python in peers.items():
            tell("difference to Pillow, levels", peer=label,
                 **peer(python, "compare", cores, ["--crops", crops, "--pixels", pixels]))
    one = measure("1 core", {min(cores)}, peers, folder, crops, options)
    if len(cores) > 1:
        every = measure("all cores", cores, peers, folder, crops, options)
        tell("scaling", cores=len(cores), over_one_core=round(every / one, 2))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--python", action="append")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--crops", help=argparse.SUPPRESS)
    parser.add_argument("--pixels", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer_main(options)
    archive = pathlib.Path(os.environ.get("IJEPAD_TEST_DATA", "")) / "imagenet-sample.tar.gz"
    if not os.environ.get("IJEPAD_TEST_DATA") or not archive.exists():
        return tell("skipped", reason="no imagenet-sample.tar.gz in IJEPAD_TEST_DATA")
    tell("machine", **machine())
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["tar", "-xzf", archive, "-C", work], check=True)
        against_peers(pathlib.Path(work) / "imagenet-sample", pathlib.Path(work), options)


if __name__ == "__main__":
    main()
